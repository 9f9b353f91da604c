"""Every bundled scenario becomes scenes in which what it tells of can be seen."""

import numpy as np
import pytest
from tiny_run import tiny_scenario

from sim.errors import ScenarioError
from sim.scenario import bundled_names, find_scenario
from sim.scene_plan import as_placed, disaster_scene, scenes_of
from sim.world import HELD_OUT_KINDS, Label, Look, Renderer

TLE = (  # a made-up orbit that passes over the world's middle, with true checksums
    "1 99999U 26001A   26121.50000000  .00000000  00000-0  00000-0 0  9991",
    "2 99999  97.5000 100.0000 0001000   0.0000   0.0000 15.20000000    19",
)


@pytest.fixture(scope="module")
def scenes():
    found = {}
    for name in bundled_names():
        scenario = find_scenario(name)
        if name == "port-pass":
            scenario = scenario.changed(world={**scenario.world.model_dump(), "half_m": 250})
        found[name] = scenario, scenes_of(scenario, 1)
    return found


def _seen(scene, times, label):
    renderer = Renderer(scene.world, scene.camera, scene.look, metres_per_px=1.0)
    frames = [renderer.render(scene.flight.pose_at(t), t)[1] for t in times]
    return [[t for t in truth if t.label is label and t.visible > 0.3] for truth in frames]


@pytest.mark.parametrize("name", bundled_names())
def test_craft_share_one_world_and_fly_long_enough(scenes, name):
    scenario, found = scenes[name]
    assert len(found) == len(scenario.craft)
    assert len({id(scene.world) for scene in found}) == 1
    for scene in found:
        assert scene.flight.duration_s >= scenario.seconds
        poses = [scene.flight.pose_at(t) for t in np.linspace(0, scenario.seconds, 7)]
        assert all(pose.up_m > 10 and -90 <= pose.pitch_deg < -10 for pose in poses)


def test_same_seed_same_scenes(scenes):
    scenario, (first,) = scenes["pursuit"]
    (again,), (other,) = scenes_of(scenario, 1), scenes_of(scenario, 2)
    assert [(t.name, t.kind, t.motion) for t in again.world.things] == [
        (t.name, t.kind, t.motion) for t in first.world.things
    ]
    assert again.flight.pose_at(7.0) == first.flight.pose_at(7.0)
    assert other.flight.pose_at(7.0) != first.flight.pose_at(7.0)


def test_pursuit_follows_one_car_that_trees_hide_when_told(scenes):
    _, (scene,) = scenes["pursuit"]
    renderer = Renderer(scene.world, scene.camera, scene.look, metres_per_px=1.0)

    def visible(time_s):
        truth = renderer.render(scene.flight.pose_at(time_s), time_s)[1]
        return next((t.visible for t in truth if t.name == "target car"), 0.0)

    assert np.mean([visible(t) > 0.5 for t in (2.0, 5.0, 8.0, 22.0, 38.0, 55.0)]) >= 0.6
    assert max(visible(t) for t in (13.5, 28.5, 46.0)) < 0.35
    look_alikes = [t for t in scene.world.things if t.name == "look-alike car"]
    target = next(t for t in scene.world.things if t.name == "target car")
    assert len(look_alikes) == 6
    assert {t.kind for t in look_alikes} == {target.kind}


def test_port_pass_sees_ships_and_strange_things_on_the_water(scenes):
    _, (scene,) = scenes["port-pass"]
    ships = _seen(scene, [10.0, 45.0, 80.0], Label.SHIP)
    assert all(ships)
    strange = _seen(scene, [10.0, 30.0, 60.0], Label.NOVEL)
    assert not strange[0]
    assert strange[1] or strange[2]


def test_search_is_thermal_at_night_and_fog_comes(scenes):
    _, (scene,) = scenes["search"]
    assert scene.look is Look.THERMAL
    assert scene.world.sun.night == 1.0
    renderer = Renderer(scene.world, scene.camera, scene.look, metres_per_px=1.0)
    pose = scene.flight.pose_at(20.0)
    clear, foggy = (renderer.render(pose, t)[0].std() for t in (29.0, 55.0))
    assert foggy < 0.8 * clear


def test_fleet_meets_tents_when_told(scenes):
    scenario, found = scenes["fleet"]
    told = [event for event in scenario.event if event.kind == "appear"]
    tents = [t for t in found[0].world.things if t.label is Label.TENT]
    assert len(tents) >= 0.7 * sum(event.count for event in told)
    assert {t.appears_s for t in tents} == {event.at_s for event in told}


def test_what_found_no_room_is_told_and_not_counted():
    bus = {"kind": "appear", "at_s": 1, "object": "bus", "where": "roads", "count": 500}
    world = {"half_m": 80}
    scenario = find_scenario("disaster").changed(event=(bus,), world=world, seconds=2)
    (scene,) = scenes_of(scenario, 1)
    notes: list[str] = []
    flown = as_placed(scenario, scene.placed, notes.append)
    there = sum(thing.name == "bus" and thing.appears_s == 1 for thing in scene.world.things)
    assert flown.event[0].count == there < 500
    assert notes == [
        f"event[0] (appear): {there} of 500 found room with where = 'roads'; lower its count or choose another place"
    ]


def test_strange_things_of_one_event_are_of_one_kind_that_no_training_set_holds(scenes):
    _, (scene,) = scenes["search"]
    kinds = {t.kind for t in scene.world.things if t.label is Label.NOVEL}
    assert len(kinds) == 1
    assert kinds <= set(HELD_OUT_KINDS)


def test_a_pass_elsewhere_is_refused_with_the_start_of_one_that_would_do():
    scenario = find_scenario("port-pass")
    flight = {"kind": "satellite-pass", "tle": TLE, "start_utc": "2026-05-01T12:00:00Z"}
    craft = {**scenario.craft[0].model_dump(), "flight": flight}
    with pytest.raises(ScenarioError, match=r"stands at most .* set start_utc = 2026-05-01T15:19:40Z"):
        scenario.changed(craft=(craft,), event=())
    craft["flight"]["start_utc"] = "2026-05-01T15:19:40Z"
    assert scenario.changed(craft=(craft,), event=()).craft[0].flight.tle == TLE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 3000, "event": ()}, "give at most"),
        ({"world": {"landscape": "airfield", "half_m": 120}, "event": ()}, "no road in its middle"),
    ],
    ids=["too-long", "no-roads"],
)
def test_what_the_world_cannot_give_is_told_with_the_cure(change, message):
    with pytest.raises(ScenarioError, match=message):
        scenes_of(find_scenario("disaster").changed(**change), 1)


def test_earthquake_drops_rubble_on_the_roads_where_no_craft_follows_them():
    disaster = find_scenario("disaster")
    craft = {**disaster.craft[0].model_dump(), "flight": {"kind": "orbit-target"}}
    (scene,) = scenes_of(disaster.changed(craft=(craft,)), 1)
    piles = [t for t in scene.world.things if t.label is Label.DEBRIS]
    assert len(piles) > 50
    assert {pile.appears_s for pile in piles} == {3.0}
    assert any(_seen(scene, [5.0, 15.0, 25.0], Label.DEBRIS))


def test_disaster_debris_looks_like_nothing_in_training():
    """The unfamiliar kind and the strange things of training come from different generators and streams."""
    scene = disaster_scene(4)
    names = {t.name for t in scene.world.things if t.label is Label.DEBRIS}
    assert names == {"debris"}
    assert not any(t.label is Label.NOVEL for t in scene.world.things)


def test_a_rough_camera_sees_another_picture_of_the_same_scene():
    craft = tiny_scenario().craft[0].model_dump()
    rough = tiny_scenario(craft=[{**craft, "camera": {**craft["camera"], "rough": True}}])
    pictures = []
    for scenario in (tiny_scenario(), rough):
        (scene,) = scenes_of(scenario, 1)
        pictures.append(scene.renderer().render(scene.flight.pose_at(1.0), 1.0))
    assert pictures[0][1] == pictures[1][1]
    assert (pictures[0][0] != pictures[1][0]).any()
