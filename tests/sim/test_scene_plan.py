import pytest
from tiny_run import tiny_scenario

from sim import scene_plan
from sim.errors import ScenarioError
from sim.scenario import bundled_names, find_scenario
from sim.scene_plan import scenes_of
from sim.world.layout import Look


def test_the_disaster_is_the_demos_scene():
    scene = scenes_of(find_scenario("disaster"), 3)[0]
    assert (scene.name, scene.seed, scene.duration_s, scene.look) == ("disaster", 3, 30, Look.RGB)
    assert scene.camera.focal_px == 800


def test_camera_and_look_are_the_crafts():
    craft = tiny_scenario().craft[0].model_dump()
    craft["camera"]["look"] = "thermal"
    scene = scenes_of(tiny_scenario(craft=[craft]), 1)[0]
    assert (scene.camera.width, scene.camera.height, scene.look) == (160, 128, Look.THERMAL)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"event": []}, "event: other than one earthquake", id="no earthquake"),
        pytest.param({"event": [{"kind": "earthquake", "at_s": 1}]}, r"let it strike at_s = 0\.2", id="late quake"),
        pytest.param({"world": {"traffic": 0.1}}, r"this \[world\] cannot be rendered yet", id="other traffic"),
        pytest.param({"flight": {"speed_mps": 3}}, r"flight\.speed_mps = 3\.0 cannot be.*leave it at 8\.0", id="slow"),
        pytest.param(
            {"flight": {"kind": "waypoints", "points_m": [[0, 0], [9, 9]]}}, "'waypoints' cannot", id="points"
        ),
    ],
)
def test_what_cannot_be_rendered_yet_is_told(values, words):
    if "flight" in values:
        craft = tiny_scenario().craft[0].model_dump()
        flight = {"kind": "along-roads", **values["flight"]}
        values = {"craft": [{**craft, "flight": flight}]}
    with pytest.raises(ScenarioError, match=words):
        scenes_of(tiny_scenario(**values), 1)


def test_a_flight_longer_than_its_way_is_refused(monkeypatch):
    scene = scenes_of(tiny_scenario(), 1)[0]
    monkeypatch.setattr(scene_plan, "disaster_scene", lambda *_: scene)
    long = int(scene.flight.duration_s) + 5
    with pytest.raises(ScenarioError, match=f"give at most {long - 5}"):
        scenes_of(tiny_scenario(seconds=long), 1)


@pytest.mark.parametrize("name", bundled_names())
def test_every_bundled_scenario_is_rendered_or_refused_clearly(name):
    try:
        assert len(scenes_of(find_scenario(name), 1)) == len(find_scenario(name).craft)
    except ScenarioError as exc:
        assert "cannot be rendered yet" in str(exc)  # noqa: PT017 - both ends are allowed
