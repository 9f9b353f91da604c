"""Draws the plan of a town: where roads run, what the land between them is for, and the hour of the day."""

from __future__ import annotations

import numpy as np

from sim.world.layout import SIDEWALK_M, Block, BlockUse, Road, Sun, World
from sim.world.seeds import rng_for

SEASONS = ((52.0, 105.0, 78.0), (45.0, 88.0, 60.0), (58.0, 120.0, 115.0), (60.0, 105.0, 135.0), (75.0, 110.0, 100.0))


def draw_sun(rng: np.random.Generator) -> Sun:
    """A time of day: low warm sun, noon, or an overcast sky."""
    elevation = float(rng.uniform(18, 68))
    warm = max(0.0, (40 - elevation) / 40)
    is_overcast = rng.random() < 0.25
    ambient = 0.82 if is_overcast else float(rng.uniform(0.42, 0.6))
    gain = float(rng.uniform(0.75, 1.1))
    tint = (gain * (1 - 0.28 * warm), gain * (1 - 0.1 * warm), gain * (1 + 0.05 * warm))
    return Sun(float(rng.uniform(0, 360)), elevation, ambient, tint)


def _road_offsets(rng: np.random.Generator, half_m: float) -> list[float]:
    offsets = []
    at = -half_m + float(rng.uniform(8, 45))
    while at < half_m - 8:
        offsets.append(at)
        at += float(rng.uniform(42, 74))
    return offsets


def draw_roads(rng: np.random.Generator, half_m: float) -> list[Road]:
    """A grid of roads. Only one of the two axes carries traffic, so that crossing vehicles never meet."""
    roads = []
    busy_axis = bool(rng.random() < 0.5)
    for is_east_west in (True, False):
        for offset in _road_offsets(rng, half_m):
            lanes = 2 if rng.random() < 0.2 else 1
            busy = is_east_west is busy_axis
            traffic = (busy and bool(rng.random() < 0.75), busy and bool(rng.random() < 0.75))
            roads.append(Road(is_east_west, offset, lanes, bool(rng.random() < 0.55), traffic))
    return roads


def _draw_blocks(rng: np.random.Generator, roads: list[Road], half_m: float) -> list[Block]:
    def edges(is_east_west: bool) -> list[tuple[float, float]]:
        own = [r for r in roads if r.is_east_west is is_east_west]
        lows = [-half_m] + [r.offset_m + r.half_m + SIDEWALK_M for r in own]
        highs = [r.offset_m - r.half_m - SIDEWALK_M for r in own] + [half_m]
        return list(zip(lows, highs, strict=True))

    uses = list(BlockUse)
    blocks = []
    for south, north in edges(True):
        for west, east in edges(False):
            use = uses[int(rng.choice(len(uses), p=[0.3, 0.2, 0.16, 0.12, 0.12, 0.1]))]
            if min(north - south, east - west) > 3.0:
                blocks.append(Block((west, south, east, north), use))
    return blocks


def empty_world(purpose: str, seed: int, half_m: float) -> World:
    """Roads, blocks and light; nothing on them yet."""
    rng = rng_for(purpose, seed)
    roads = draw_roads(rng, half_m)
    season = SEASONS[int(rng.integers(len(SEASONS)))]
    blocks = _draw_blocks(rng, roads, half_m)
    return World((purpose, seed), half_m, roads, blocks, draw_sun(rng), season)
