"""Every model in the catalogue: solid, of the size it claims, and found in its own picture."""

import numpy as np
import pytest

from sim.craft.camera import Camera, CameraPose
from sim.world import Label, Look, Renderer, Sun, Thing, World
from sim.world.catalogue import KINDS
from sim.world.layout import LandCover
from sim.world.motion import Motion

LIGHT = Sun(200.0, 50.0, 0.5, (1.0, 1.0, 1.0))


def test_catalogue_is_rich():
    assert sum(kind.label is not None for kind in KINDS.values()) >= 24
    assert {kind.label for kind in KINDS.values()} >= set(Label) - {Label.NOVEL}


@pytest.mark.parametrize("name", KINDS)
def test_mesh_has_the_size_its_kind_claims(name):
    kind = KINDS[name]
    for number in range(4):
        mesh = kind.make(number)
        reach = np.abs(mesh.extremes).max(axis=0)
        assert reach[0] <= kind.half_m[0] * 1.25 + 0.3
        assert reach[1] <= kind.half_m[1] * 1.25 + 0.3
        assert mesh.extremes[:, 2].max() <= kind.height_m * 1.1
        assert mesh.points[:, 2].min() >= -0.25


@pytest.mark.parametrize("name", KINDS)
def test_same_number_same_mesh(name):
    first, second, other = (KINDS[name].make(number) for number in (5, 5, 6))
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.bgr, second.bgr)
    is_alike = np.array_equal(first.points, other.points) and np.array_equal(first.bgr, other.bgr)
    assert not is_alike


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if kind.label is Label.SHIP])
def test_moving_ship_shows_it_and_keeps_its_box(name):
    """A wake, or sails set, is drawn beside the hull; a wake is no part of the ship."""
    still, moving = KINDS[name].make(3), KINDS[name].make(3, is_moving=True)
    assert len(moving.counts) > len(still.counts)
    if name != "sailing boat":
        assert np.ptp(moving.points[:, 0]) > 2 * np.ptp(still.points[:, 0])
        assert np.array_equal(moving.extremes, still.extremes)


@pytest.mark.parametrize("name", KINDS)
def test_kind_is_seen_in_its_own_picture(name):
    kind = KINDS[name]
    reach = max(*kind.half_m, kind.height_m)
    thing = Thing(7, kind.label, 1, Motion((0.0, 0.0), 0.4), lambda: kind.make(1), kind.half_m, kind.height_m,
                  name=name, cover=kind.cover)  # fmt: skip
    world = World(("test", 0), 2 * reach + 30.0, [], [], LIGHT, (52.0, 105.0, 78.0), [thing])
    pose = CameraPose(0.0, 0.0, 5.0 * reach + 5.0, pitch_deg=-90.0)
    view = Renderer(world, Camera(200.0, 160, 128), Look.RGB, metres_per_px=0.5).view(pose, 0.0)
    assert (view.ids == 7).sum() > 20
    covers = set(np.unique(view.cover[view.ids == 7]))
    assert covers == {kind.cover}
    if kind.label:
        (found,) = view.objects
        assert (found.label, found.name, found.visible) == (kind.label, name, pytest.approx(1.0, abs=0.02))
    assert kind.cover is not LandCover.GRASS
