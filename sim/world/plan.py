"""Draws the plan of a world: where roads run, what the land between them is for, water, and the hour of the day."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.world.layout import SIDEWALK_M, Block, BlockUse, Patch, Road, Soil, Sun, World
from sim.world.seeds import rng_for
from sim.world.settings import Landscape, Season, WorldSettings

LEAF_BGR = {
    Season.SPRING: ((45.0, 120.0, 88.0), (52.0, 112.0, 80.0)),
    Season.SUMMER: ((52.0, 105.0, 78.0), (45.0, 88.0, 60.0)),
    Season.AUTUMN: ((58.0, 120.0, 115.0), (60.0, 105.0, 135.0)),
    Season.WINTER: ((75.0, 110.0, 100.0), (84.0, 104.0, 106.0)),
}
DECLINATION_DEG = {Season.SPRING: 10.0, Season.SUMMER: 21.0, Season.AUTUMN: -8.0, Season.WINTER: -20.0}
"""Of the sun, mid-season in the north; it swings by 23.44 degrees over the year."""

LATITUDE_DEG = 47.0


@dataclass(frozen=True)
class Plan:
    """How one landscape is laid out.

    Attributes:
        road_gap_m: (least, most) between neighbouring roads.
        lanes: (share of two-lane roads, share of roads with kerb parking).
        uses: what blocks are for, with weights.
        has_cross_roads: roads run north, too.
    """

    road_gap_m: tuple[float, float]
    lanes: tuple[float, float]
    uses: dict[BlockUse, float]
    has_cross_roads: bool = True


PLANS = {
    Landscape.TOWN: Plan((42, 74), (0.2, 0.55), {
        BlockUse.HOUSES: 0.3, BlockUse.FLATS: 0.2, BlockUse.PARKING: 0.16, BlockUse.PARK: 0.12, BlockUse.PLAZA: 0.12,
        BlockUse.FIELD: 0.1}),
    Landscape.VILLAGE: Plan((70, 120), (0.0, 0.3), {
        BlockUse.HOUSES: 0.42, BlockUse.PARK: 0.08, BlockUse.MEADOW: 0.2, BlockUse.CROP: 0.24, BlockUse.PARKING: 0.06}),
    Landscape.FIELDS: Plan((110, 190), (0.0, 0.0), {
        BlockUse.CROP: 0.62, BlockUse.MEADOW: 0.22, BlockUse.WOOD: 0.1, BlockUse.HOUSES: 0.06}),
    Landscape.FOREST: Plan((150, 260), (0.0, 0.0), {
        BlockUse.WOOD: 0.82, BlockUse.MEADOW: 0.14, BlockUse.PARKING: 0.04}),
    Landscape.COAST: Plan((60, 110), (0.1, 0.6), {
        BlockUse.HOUSES: 0.34, BlockUse.PARK: 0.2, BlockUse.PLAZA: 0.12, BlockUse.PARKING: 0.14, BlockUse.MEADOW: 0.2}),
    Landscape.PORT: Plan((60, 95), (0.3, 0.1), {
        BlockUse.YARD: 0.62, BlockUse.PARKING: 0.16, BlockUse.PLAZA: 0.08, BlockUse.FLATS: 0.14}),
    Landscape.AIRFIELD: Plan((150, 240), (0.0, 0.2), {BlockUse.MEADOW: 0.8, BlockUse.CROP: 0.2}, has_cross_roads=False),
}  # fmt: skip


def draw_sun(rng: np.random.Generator) -> Sun:
    """A time of day: low warm sun, noon, or an overcast sky."""
    elevation = float(rng.uniform(18, 68))
    is_overcast = rng.random() < 0.25
    ambient = 0.82 if is_overcast else float(rng.uniform(0.42, 0.6))
    gain = float(rng.uniform(0.75, 1.1))
    return Sun(float(rng.uniform(0, 360)), elevation, ambient, _tint(elevation, gain))


def sun_at(hour: float, season: Season, *, is_overcast: bool = False) -> Sun:
    """The sun at a local solar time.

    Elevation and azimuth follow from hour angle, declination and latitude (J. Meeus, Astronomical Algorithms, 1998,
    chapter 13); below the horizon night falls within six degrees, as civil twilight does.
    """
    turn = math.radians(15.0 * (hour - 12.0))
    tilt, lat = math.radians(DECLINATION_DEG[season]), math.radians(LATITUDE_DEG)
    height = math.sin(lat) * math.sin(tilt) + math.cos(lat) * math.cos(tilt) * math.cos(turn)
    elevation = math.degrees(math.asin(height))
    azimuth = math.degrees(math.atan2(math.sin(turn), math.cos(turn) * math.sin(lat) - math.tan(tilt) * math.cos(lat)))
    night = min(max(-elevation / 6.0, 0.0), 1.0)
    ambient = 0.82 if is_overcast else 0.5
    return Sun((azimuth + 180.0) % 360.0, max(elevation, 8.0), ambient, _tint(elevation, 0.95), night)


def _tint(elevation_deg: float, gain: float) -> tuple[float, float, float]:
    """Low sun is warm."""
    warm = min(max(0.0, (40 - elevation_deg) / 40), 1.0)
    return gain * (1 - 0.28 * warm), gain * (1 - 0.1 * warm), gain * (1 + 0.05 * warm)


def _road_offsets(rng: np.random.Generator, half_m: float, gap_m: tuple[float, float]) -> list[float]:
    offsets = []
    at = -half_m + float(rng.uniform(8, 45))
    while at < half_m - 8:
        offsets.append(at)
        at += float(rng.uniform(*gap_m))
    return offsets


def draw_roads(rng: np.random.Generator, half_m: float, plan: Plan, traffic: float = 0.75) -> list[Road]:
    """A grid of roads. Only one of the two axes carries traffic, so that crossing vehicles never meet."""
    roads = []
    busy_axis = bool(rng.random() < 0.5) or not plan.has_cross_roads
    for is_east_west in (True, False) if plan.has_cross_roads else (True,):
        for offset in _road_offsets(rng, half_m, plan.road_gap_m):
            lanes = 2 if rng.random() < plan.lanes[0] else 1
            busy = is_east_west is busy_axis
            flows = (busy and bool(rng.random() < traffic), busy and bool(rng.random() < traffic))
            roads.append(Road(is_east_west, offset, lanes, bool(rng.random() < plan.lanes[1]), flows))
    return roads


def _draw_blocks(rng: np.random.Generator, roads: list[Road], half_m: float, plan: Plan) -> list[Block]:
    def edges(is_east_west: bool) -> list[tuple[float, float]]:
        own = [r for r in roads if r.is_east_west is is_east_west]
        lows = [-half_m] + [r.offset_m + r.half_m + SIDEWALK_M for r in own]
        highs = [r.offset_m - r.half_m - SIDEWALK_M for r in own] + [half_m]
        return list(zip(lows, highs, strict=True))

    uses, weights = list(plan.uses), list(plan.uses.values())
    blocks = []
    for south, north in edges(True):
        for west, east in edges(False):
            use = uses[int(rng.choice(len(uses), p=weights))]
            if min(north - south, east - west) > 3.0:
                blocks.append(Block((west, south, east, north), use))
    return blocks


def planned_world(purpose: str, seed: int, settings: WorldSettings) -> World:
    """Roads, blocks, water and light as the settings ask; nothing on them yet."""
    rng = rng_for(purpose, seed)
    plan, half_m = PLANS[settings.landscape], settings.half_m
    roads = draw_roads(rng, half_m, plan, settings.traffic)
    season = settings.season or list(Season)[int(rng.integers(4))]
    leaf = LEAF_BGR[season][int(rng.integers(2))]
    blocks = _draw_blocks(rng, roads, half_m, plan)
    sun = draw_sun(rng)
    if settings.hour is not None:
        sun = sun_at(settings.hour, season, is_overcast=settings.weather.overcast)
    world = World((purpose, seed), half_m, roads, blocks, sun, leaf, weather=settings.weather)
    world.is_rural = settings.landscape in (Landscape.FIELDS, Landscape.FOREST, Landscape.AIRFIELD)
    world.is_snowy = season is Season.WINTER and bool(rng.random() < 0.6)
    _shape(world, settings.landscape, rng)
    return world


def _shape(world: World, landscape: Landscape, rng: np.random.Generator) -> None:
    """What is not a grid: shore, quay, runway, river."""
    if landscape is Landscape.COAST:
        _shore(world, rng)
    elif landscape is Landscape.PORT:
        _quay(world, rng)
    elif landscape is Landscape.AIRFIELD:
        _runway(world, rng)
    elif landscape in (Landscape.VILLAGE, Landscape.FIELDS, Landscape.FOREST) and rng.random() < 0.5:
        _river(world, rng)


def _wavy(rng: np.random.Generator, half_m: float, swing_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(N,) positions across the world and (N,) smooth deviations."""
    along = np.arange(-half_m - 20.0, half_m + 21.0, 6.0)
    waves = [rng.uniform(0.3, 1.0) * np.sin(along / rng.uniform(25, 90) + rng.uniform(0, 6.28)) for _ in range(3)]
    return along, np.sum(waves, axis=0) * swing_m / 2.0


def _shore(world: World, rng: np.random.Generator) -> None:
    """Sea in the south, a beach along it; roads that would end in the sea carry no traffic."""
    along, swing = _wavy(rng, world.half_m, 9.0)
    shore_m = float(rng.uniform(-0.35, 0.1)) * world.half_m
    bottom = np.array([[world.half_m + 20.0, -world.half_m - 20.0], [-world.half_m - 20.0, -world.half_m - 20.0]])
    for soil, north_m in ((Soil.SAND, 16.0), (Soil.SHALLOWS, 0.0), (Soil.WATER, -9.0)):
        edge = np.column_stack([along, shore_m + swing + north_m])
        world.patches.append(Patch(np.concatenate([edge, bottom]), soil, is_above_roads=True))
    _keep_dry(world, shore_m + 16.0 + float(swing.max()))


def _quay(world: World, rng: np.random.Generator) -> None:
    """A straight quay with water south of it."""
    edge_m, reach = float(rng.uniform(-0.3, 0.0)) * world.half_m, world.half_m + 20.0
    for soil, north_m in ((Soil.CONCRETE, 22.0), (Soil.WATER, 0.0)):
        top = edge_m + north_m
        outline = np.array([[-reach, top], [reach, top], [reach, -reach], [-reach, -reach]])
        world.patches.append(Patch(outline, soil, is_above_roads=True))
    _keep_dry(world, edge_m + 22.0)


def _keep_dry(world: World, north_m: float) -> None:
    """Only roads and blocks north of a line stay; traffic runs along the shore."""
    kept = [r for r in world.roads if not r.is_east_west or r.offset_m > north_m + r.half_m + SIDEWALK_M]
    is_lively = any(any(r.has_traffic) for r in kept if r.is_east_west)
    world.roads[:] = [
        Road(r.is_east_west, r.offset_m, r.lanes, r.has_parking and r.is_east_west,
             ((is_lively or i % 2 == 0),) * 2 if r.is_east_west else (False, False))
        for i, r in enumerate(kept)
    ]  # fmt: skip
    raised = [
        Block((w, max(s, north_m), e, n), use) for (w, s, e, n), use in ((b.bounds_m, b.use) for b in world.blocks)
    ]
    world.blocks[:] = [b for b in raised if b.bounds_m[3] - b.bounds_m[1] > 6.0]


def _runway(world: World, rng: np.random.Generator) -> None:
    """A runway and a taxiway from west to east, an apron north of them."""
    reach, wide = world.half_m + 20.0, float(rng.uniform(11, 17))
    world.roads[:] = [r for r in world.roads if abs(r.offset_m) > 130.0]
    world.blocks[:] = [Block((-world.half_m, -world.half_m, world.half_m, world.half_m), BlockUse.MEADOW)]

    def band(south: float, north: float, soil: Soil, ends: tuple[float, float] = (-reach, reach)) -> None:
        outline = np.array([[ends[0], south], [ends[1], south], [ends[1], north], [ends[0], north]])
        world.patches.append(Patch(outline, soil))

    band(-wide, wide, Soil.RUNWAY)
    for east in np.arange(-reach, reach, 30.0):
        band(-0.45, 0.45, Soil.WHITE, (float(east), float(east) + 16.0))
    for edge in (-wide + 1.0, wide - 1.6):
        band(edge, edge + 0.6, Soil.WHITE)
    band(38.0, 50.0, Soil.ASPHALT)
    for east in (-0.6 * world.half_m, 0.5 * world.half_m):
        band(0.0, 44.0, Soil.ASPHALT, (east - 6.0, east + 6.0))
    band(50.0, 112.0, Soil.CONCRETE, (-0.7 * world.half_m, 0.7 * world.half_m))


def _river(world: World, rng: np.random.Generator) -> None:
    """A river across the world; roads cross it on bridges."""
    along, swing = _wavy(rng, world.half_m, 26.0)
    middle, half = float(rng.uniform(-0.5, 0.5)) * world.half_m + swing, float(rng.uniform(5.0, 11.0))
    for soil, bank in ((Soil.GRAVEL, 1.8), (Soil.SHALLOWS, 0.0), (Soil.WATER, -2.0)):
        upper = np.column_stack([along, middle + half + bank])
        lower = np.column_stack([along, middle - half - bank])[::-1]
        outline = np.concatenate([upper, lower])
        world.patches.append(Patch(outline if world.seed_key[1] % 2 else outline[:, ::-1], soil))
