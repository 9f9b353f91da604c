"""Each landscape holds what it is named for, in the right places."""

import cv2
import numpy as np
import pytest

from sim.craft.camera import Camera, CameraPose
from sim.world import Label, Look, Renderer
from sim.world.landscapes import build_world
from sim.world.layout import LandCover, Soil
from sim.world.plan import sun_at
from sim.world.settings import Landscape, Season, WeatherSettings, WorldSettings

SIGNATURE = {
    Landscape.TOWN: {Label.CAR, Label.PERSON, Label.OTHER_VEHICLE},
    Landscape.VILLAGE: {Label.CAR, Label.ANIMAL},
    Landscape.FIELDS: {Label.BALE, Label.ANIMAL},
    Landscape.FOREST: {Label.LOGS, Label.BOULDER, Label.FALLEN_TREE},
    Landscape.COAST: {Label.SHIP, Label.UMBRELLA, Label.PERSON},
    Landscape.PORT: {Label.SHIP, Label.CONTAINER, Label.MACHINE},
    Landscape.AIRFIELD: {Label.AIRCRAFT, Label.OTHER_VEHICLE},
}


@pytest.fixture(scope="module")
def worlds():
    return {
        land: [build_world("test", seed, WorldSettings(landscape=land, half_m=200.0)) for seed in (1, 2)]
        for land in Landscape
    }


@pytest.mark.parametrize("land", Landscape)
def test_landscape_holds_what_it_is_named_for(worlds, land):
    labels = {thing.label for world in worlds[land] for thing in world.things}
    assert labels >= SIGNATURE[land]
    assert labels.isdisjoint({Label.DEBRIS, Label.NOVEL, Label.BICYCLE})


@pytest.mark.parametrize("land", Landscape)
def test_landscape_same_seed_is_the_same(worlds, land):
    again = build_world("test", 1, WorldSettings(landscape=land, half_m=200.0))
    first = worlds[land][0]
    assert [(t.name, t.kind, t.motion) for t in again.things] == [(t.name, t.kind, t.motion) for t in first.things]
    assert [t.motion for t in worlds[land][1].things] != [t.motion for t in first.things]


@pytest.mark.parametrize("land", [Landscape.COAST, Landscape.PORT])
def test_ships_swim_and_nothing_else_does(worlds, land):
    for world in worlds[land]:
        for thing in world.things:
            if thing.label is Label.SHIP:
                assert _is_water(world, thing.motion.start_m, margin_m=2.0)
            elif thing.is_static and thing.label is not None:
                assert not _is_water(world, thing.motion.start_m, margin_m=-2.0), thing.name


def test_ships_under_way_draw_wakes(worlds):
    ships = [t for world in worlds[Landscape.COAST] for t in world.things if t.label is Label.SHIP]
    lengths = {t.is_static: [] for t in ships}
    for thing in (t for t in ships if t.name != "sailing boat"):
        mesh = thing.make()
        lengths[thing.is_static].append(np.ptp(mesh.points[:, 0]) / np.ptp(mesh.extremes[:, 0]))
    assert lengths[False]
    assert min(lengths[False]) > 2.0
    assert max(lengths.get(True, [1.0]), default=1.0) < 1.2


def _is_water(world, place, margin_m):
    """Whether a place lies in open water or on the beach's wet edge, give or take a margin."""
    outlines = [p.outline_m for p in world.patches if p.soil is Soil.WATER]
    return any(
        cv2.pointPolygonTest(o.astype(np.float32), place, True) > -margin_m - 7.0 * (margin_m > 0) for o in outlines
    )


def test_cover_shows_water_where_the_sea_is(worlds):
    world = worlds[Landscape.PORT][0]
    renderer = Renderer(world, Camera(100.0, 200, 160), Look.RGB, metres_per_px=1.0)
    cover = renderer.view(CameraPose(0.0, 0.0, 200.0), 0.0).cover
    assert (cover[-30:] == LandCover.WATER).mean() > 0.8
    assert (cover[:30] == LandCover.WATER).mean() == 0.0


def test_settings_decide_what_lies_about():
    settings = WorldSettings(half_m=120.0, novel_per_hectare=20, debris_per_hectare=4, bicycles_per_hectare=10)
    labels = {thing.label for thing in build_world("test", 3, settings).things}
    assert labels >= {Label.NOVEL, Label.DEBRIS, Label.BICYCLE}


def test_traffic_zero_moves_no_vehicle():
    world = build_world("test", 3, WorldSettings(half_m=150.0, traffic=0.0))
    assert not [t for t in world.things if t.label in (Label.CAR, Label.OTHER_VEHICLE) and not t.is_static]


@pytest.mark.parametrize(("season", "height"), [(Season.SUMMER, 64.0), (Season.WINTER, 23.0)])
def test_sun_at_noon_stands_in_the_south_at_the_season_s_height(season, height):
    sun = sun_at(12.0, season)
    assert sun.elevation_deg == pytest.approx(height, abs=0.1)  # 90 - latitude + declination
    assert sun.azimuth_deg == pytest.approx(180.0, abs=0.1)
    assert sun.night == 0.0


def test_sun_rises_in_the_east_and_night_falls():
    assert 60 < sun_at(7.0, Season.SUMMER).azimuth_deg < 120
    assert 240 < sun_at(17.0, Season.SUMMER).azimuth_deg < 300
    assert sun_at(0.0, Season.SUMMER).night == 1.0


def test_night_is_dark_to_a_camera_and_not_to_a_thermal_one():
    def mean(look, hour):
        settings = WorldSettings(half_m=80.0, hour=hour, season=Season.SUMMER, weather=WeatherSettings())
        renderer = Renderer(build_world("test", 5, settings), Camera(150.0, 160, 128), look, metres_per_px=0.5)
        return renderer.render(CameraPose(0.0, 0.0, 60.0), 0.0)[0].mean()

    assert mean(Look.RGB, 1.0) < 0.5 * mean(Look.RGB, 12.0)
    assert mean(Look.THERMAL, 1.0) > 0.6 * mean(Look.THERMAL, 12.0)
