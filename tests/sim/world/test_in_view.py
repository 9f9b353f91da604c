"""What the rough look chooses must be all that a picture shows, shadows of things outside it included."""

import numpy as np
import pytest

from sim.craft.camera import Camera, CameraPose
from sim.world import Look, Renderer, Sun, Thing, World
from sim.world.buildings import BuildingSize, building
from sim.world.in_view import Chosen, InView
from sim.world.landscapes import build_world
from sim.world.motion import Motion
from sim.world.settings import WorldSettings

EVENING = Sun(azimuth_deg=270.0, elevation_deg=14.0, ambient=0.4, tint=(1.0, 1.0, 1.0))
"""Shadows fall to the east and are four times as long as things are high."""

CAMERA = Camera(focal_px=700.0)
DOWN = CameraPose(0.0, 0.0, 40.0)  # shows 18 m to either side


def _tower(place):
    size = BuildingSize(4.0, 4.0, 14.0, False)
    return Thing(1, None, 0, Motion(place, 0.0), lambda: building(np.random.default_rng(2), size), (4.0, 4.0), 16.0)


def _darkened(*things, pose=DOWN):
    """Where the picture is darker than that of the bare ground."""
    pictures = []
    for held in (things, ()):
        world = World(("test", 0), 60.0, [], [], EVENING, (52.0, 105.0, 78.0), list(held))
        pictures.append(Renderer(world, CAMERA, Look.RGB, metres_per_px=0.25).render(pose, 0.0)[0].astype(int))
    return (pictures[1] - pictures[0]).mean(axis=2) > 15.0


def test_shadow_stays_in_the_picture_after_its_building_has_left_it():
    dark = _darkened(_tower((-45.0, 0.0)))
    assert dark[200:312, :100].mean() > 0.5
    assert not dark[:, 600:].any()  # it ends 15 m east of the middle


def test_shadow_that_reaches_behind_the_camera_is_drawn():
    """The camera looks east from 30 m, the tower stands behind it: part of the shadow has no pixels."""
    low = CameraPose(0.0, 0.0, 12.0, yaw_deg=90.0, pitch_deg=-40.0)
    dark = _darkened(_tower((-22.0, 0.0)), pose=low)
    middle = dark[256:, 310:330]
    assert middle.mean() > 0.8


@pytest.mark.parametrize("focal_px", [150.0, 700.0], ids=["wide", "usual"])
def test_choosing_leaves_out_nothing_that_shows(focal_px, monkeypatch):
    world = build_world("in-view", 3, WorldSettings(half_m=60.0, hour=17.5))
    renderer = Renderer(world, Camera(focal_px, 320, 256), Look.RGB, metres_per_px=0.25)
    rng = np.random.default_rng(5)
    for _ in range(6):
        pitch = float(rng.uniform(-90, -45))
        pose = CameraPose(*rng.uniform(-40, 40, 2), 30.0, float(rng.uniform(0, 360)), pitch)
        chosen, _ = renderer.render(pose, 1.0)
        with monkeypatch.context() as patch:
            patch.setattr(InView, "choose", _choose_everything)
            everything, _ = renderer.render(pose, 1.0)
        assert (chosen == everything).all()


def _choose_everything(self, pose, places, time_s):
    rows = np.arange(len(places))
    return Chosen(self._far_to_near(pose, places, rows).tolist(), rows.tolist())
