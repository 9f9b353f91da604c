"""The truth must match the drawn pixels: tiny worlds with one or two things, evenly lit, without noise."""

import dataclasses
import sys
from functools import partial

import numpy as np
import pytest

from sim.craft.camera import Camera, CameraPose
from sim.errors import ScenarioError
from sim.world import Label, Look, Renderer, Sun, Thing, World, models, novel_object, rng_for
from sim.world.buildings import BuildingSize, building
from sim.world.catalogue import KINDS
from sim.world.debris import pile
from sim.world.ground import paint_ground
from sim.world.landscapes import build_world
from sim.world.layout import LandCover
from sim.world.motion import Motion
from sim.world.sensor import SensorTraits
from sim.world.settings import WorldSettings

EVEN_LIGHT = Sun(azimuth_deg=120.0, elevation_deg=60.0, ambient=1.0, tint=(1.0, 1.0, 1.0))
CAMERA = Camera(focal_px=700.0)
ABOVE = CameraPose(0.0, 0.0, 40.0, yaw_deg=20.0, pitch_deg=-70.0)
CLEAR = SensorTraits(blur_px=0.3, noise=0.0, vignette=0.0, gain=1.0, bias=0.0, haze=0.0, bloom=0.0)


def _car():
    return models.car(np.random.default_rng(1), False)


def _house():
    return building(np.random.default_rng(2), BuildingSize(9.0, 6.0, 9.0, False))


THINGS = {
    "car": (Label.CAR, _car, (2.2, 0.9), 1.7),
    "person": (Label.PERSON, lambda: models.person(np.random.default_rng(3)), (0.4, 0.4), 1.9),
    "debris": (Label.DEBRIS, lambda: pile(np.random.default_rng(4), 2.0), (1.6, 1.6), 2.4),
    "novel": (Label.NOVEL, partial(novel_object, 3), (2.0, 2.0), 6.0),
    "house": (None, _house, (9.0, 6.0), 11.0),
}


def _thing(number, name, place=(0.0, 5.0), **motion):
    label, make, half, height = THINGS[name]
    return Thing(number, label, 7, Motion(place, 0.6, **motion), make, half, height)


@pytest.fixture
def render(monkeypatch):
    monkeypatch.setattr("sim.world.render.draw_traits", lambda rng, look: CLEAR)

    def run(*things, pose=ABOVE, look=Look.RGB, time_s=0.0):
        return Renderer(_world(things), CAMERA, look, metres_per_px=0.25).render(pose, time_s)

    return run


@pytest.fixture
def render_view():
    def run(*things, look=Look.RGB):
        return Renderer(_world(things), CAMERA, look, metres_per_px=0.25).view(ABOVE, 0.0)

    return run


def _world(things):
    return World(("test", 0), 40.0, [], [], EVEN_LIGHT, (52.0, 105.0, 78.0), list(things))


@pytest.mark.parametrize("name", ["car", "person", "debris", "novel"])
@pytest.mark.parametrize("look", [Look.RGB, Look.THERMAL, Look.MULTISPECTRAL])
def test_box_matches_drawn_pixels(render, name, look):
    drawn, truth = render(_thing(1, name), look=look)
    empty, _ = render(look=look)
    changed = np.abs(drawn.astype(int) - empty).max(axis=2) > 6
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    pixels = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert truth[0].box_xyxy == pytest.approx(pixels, abs=5.0 if look is Look.THERMAL else 3.0)


def test_truth_names_the_thing(render):
    _, (truth,) = render(_thing(42, "car"))
    assert (truth.object_id, truth.label, truth.kind) == (42, Label.CAR, 7)
    assert truth.visible == pytest.approx(1.0)


def test_visible_halves_at_the_edge_of_the_frame(render):
    edge_m = 320.0 / 700.0 * 40.0
    pose = CameraPose(0.0, 0.0, 40.0)
    _, (truth,) = render(_thing(1, "car", (edge_m, 0.0)), pose=pose)
    assert truth.visible == pytest.approx(0.5, abs=0.12)
    assert truth.box_xyxy[2] == 640.0


def test_thing_outside_the_frame_has_no_truth(render):
    assert render(_thing(1, "car", (60.0, 0.0)))[1] == []


def test_house_hides_the_person_behind_it(render):
    low = CameraPose(0.0, -30.0, 25.0, 0.0, -50.0)
    person = _thing(1, "person", (0.0, 10.5))
    assert render(person, pose=low)[1][0].visible == pytest.approx(1.0)
    assert render(person, _thing(2, "house", (0.0, 0.0)), pose=low)[1] == []


def test_person_before_the_house_is_not_hidden(render):
    low = CameraPose(0.0, -30.0, 25.0, 0.0, -50.0)
    _, truth = render(_thing(1, "person", (0.0, -12.0)), _thing(2, "house", (0.0, 0.0)), pose=low)
    assert truth[0].visible > 0.95


def test_moving_thing_moves(render):
    thing = _thing(1, "car", (0.0, 0.0), speed_mps=5.0, span_m=100.0)
    (before,), (after,) = (render(thing, pose=CameraPose(0, 0, 60.0), time_s=t)[1] for t in (0.0, 1.0))
    shift = np.array(after.box_xyxy)[:2] - np.array(before.box_xyxy)[:2]
    assert np.hypot(*shift) == pytest.approx(5.0 * 700 / 60, rel=0.05)


def test_frame_has_the_promised_form(render):
    for look in Look:
        frame, _ = render(_thing(1, "car"), look=look)
        assert frame.shape == (512, 640, 6 if look is Look.MULTISPECTRAL else 3)
        assert frame.dtype == np.uint8
        is_grey = bool((frame[:, :, 0] == frame[:, :, 2]).all())
        assert is_grey is (look in (Look.THERMAL, Look.SAR))


def test_empty_world_renders(render):
    frame, truth = render()
    assert truth == []
    assert frame.std() > 1.0


def test_rng_for_gives_every_purpose_its_own_stream():
    draws = [rng_for(purpose, key).random() for purpose in ("a", "b") for key in (0, 1)]
    assert len(set(draws)) == 4
    assert rng_for("a", 0).random() == draws[0]


def test_view_marks_every_pixel_of_what_it_names(render_view):
    view = render_view(_thing(42, "car"), _thing(43, "house", (-14.0, 12.0)))
    (car,) = view.objects
    rows, columns = np.nonzero(view.ids == 42)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert car.box_xyxy == pytest.approx(box, abs=1.5)
    assert len(rows) == car.area_px
    assert set(np.unique(view.cover[view.ids == 42])) == {LandCover.OBJECT}
    assert set(np.unique(view.cover[view.ids == 0])) <= {LandCover.GRASS, LandCover.BARE}
    assert (view.ids == 43).any()


def test_occlusion_is_not_truncation(render):
    """At the edge of the frame a thing is half visible and not hidden; behind a house it is hidden."""
    (cut,) = render(_thing(1, "car", (320.0 / 700.0 * 40.0, 0.0)), pose=CameraPose(0.0, 0.0, 40.0))[1]
    assert cut.visible < 0.7
    assert cut.occluded == pytest.approx(0.0, abs=0.05)
    low = CameraPose(0.0, -40.0, 35.0, 0.0, -40.0)
    hidden = [
        truth[0].occluded
        for north in np.arange(18.0, 34.0, 1.0)
        if (truth := render(_thing(1, "car", (0.0, north)), _thing(2, "house", (0.0, 0.0)), pose=low)[1])
    ]
    assert max(hidden) > 0.5
    assert hidden == sorted(hidden, reverse=True)


@pytest.mark.parametrize(("kind", "abs_"), [("tanker", 0.01), ("gantry crane", 0.08)])
@pytest.mark.parametrize("begin_m", [16.0, 8.0, 0.0])
def test_visible_counts_all_that_the_frame_cuts_off(render, monkeypatch, kind, abs_, begin_m):
    model = KINDS[kind]
    make = partial(model.make, 1)
    thing = Thing(1, model.label, 1, Motion((begin_m + model.half_m[0], 0.0), 0.0), make, model.half_m, 40.0)
    pose = CameraPose(0.0, 0.0, 90.0)
    (cut,) = render(thing, pose=pose)[1]
    monkeypatch.setattr(sys.modules[__name__], "CAMERA", Camera(700.0, 3000, 512))
    (whole,) = render(thing, pose=pose)[1]
    assert whole.visible == pytest.approx(1.0)
    assert cut.visible == pytest.approx(cut.area_px / whole.area_px, abs=abs_)


@pytest.mark.parametrize("kind", ["tanker", "cargo ship", "gantry crane", "wind turbine", "airliner"])
@pytest.mark.parametrize("up_m", [48.0, 60.0])
def test_large_things_are_seen_from_low_above(render, kind, up_m):
    model = KINDS[kind]
    thing = Thing(1, model.label, 1, Motion((0.0, 0.0), 0.0), partial(model.make, 1), model.half_m, model.height_m)
    aside = 0.5 * up_m + model.half_m[1]
    (truth,) = render(thing, pose=CameraPose(0.0, -aside, up_m, pitch_deg=-65.0))[1]
    assert truth.area_px > 500


def test_thing_that_appears_later_is_not_there_before(render):
    late = dataclasses.replace(_thing(1, "car"), appears_s=2.0)
    assert [len(render(late, time_s=t)[1]) for t in (0.0, 1.9, 2.0)] == [0, 0, 1]


def test_more_things_than_masks_can_number_are_refused(render_view, render, monkeypatch):
    monkeypatch.setattr("sim.world.render.MOST_NUMBERS", 1)
    things = [_thing(1, "car"), _thing(2, "car", (4.0, 5.0))]
    with pytest.raises(ScenarioError, match=r"masks: the world holds 2 things, 16 bits number 1; lower world"):
        render_view(*things)
    with pytest.raises(ScenarioError, match="2 things are in view at once, a frame numbers 1; raise camera"):
        render(*things)
    assert render(things[0], _thing(2, "car", (70.0, 0.0)))[1]


def test_paint_on_the_ground_is_nothing_to_a_radar():
    town = build_world("radar", 1, WorldSettings(half_m=60.0))
    radar, light = paint_ground(town, Look.SAR, 0.2), paint_ground(town, Look.RGB, 0.2)
    is_white = light.layers[0].min(axis=2) > 190
    is_road = (light.cover == LandCover.PAVED) & ~is_white
    levels = [float(radar.layers[0][pixels].mean()) for pixels in (is_white, is_road)]
    assert is_white.sum() > 200
    assert levels[0] < levels[1] + 25  # 20 dB of paint would be 110 levels
