"""What happens in a world during a flight: rubble falls, things appear."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from sim.errors import ScenarioError
from sim.world.catalogue import KINDS
from sim.world.landscapes import add_thing, put
from sim.world.layout import BlockUse, Label, Soil
from sim.world.motion import Motion
from sim.world.novel import HELD_OUT_KINDS, novel_object, novel_radius_m
from sim.world.town import Town

Place = tuple[float, float]

PILE_RADIUS_M = (1.1, 3.1)  # 15 to 50 px wide from the flight's height, and most of a lane
# The camera sees about this much of the ground when the earthquake strikes; so many piles try to find room there.
FIELD_AHEAD_M = (4.0, 44.0)
FIELD_HALF_M = 18.0
FIELD_TRIES = 120
PILE_EVERY_M = (7.0, 14.0)
TRIES = 60


@dataclass(frozen=True)
class Way:
    """The ground that a craft flies over.

    Attributes:
        place: east and north below the craft at a time, metres.
        speed_mps: of the craft over the ground.
        duration_s: of the flight.
        length_m: of the way; the craft may fly on a little after the scenario ends.
    """

    place: Callable[[float], Place]
    speed_mps: float
    duration_s: float
    length_m: float

    def beside(self, at_s: float, right_m: float) -> Place:
        """A point to the right of where the craft is at a time."""
        here, ahead = np.array(self.place(at_s)), np.array(self.place(at_s + 0.5))
        along = (ahead - here) / max(float(np.hypot(*(ahead - here))), 1e-6)
        return float(here[0] + right_m * along[1]), float(here[1] - right_m * along[0])


def earthquake(town: Town, ways: Sequence[Way], at_s: float, rng: np.random.Generator) -> None:
    """Rubble along the ways of the craft, or along all roads where there are none.

    Args:
        town: gets it.
        ways: of the craft that fly over streets.
        at_s: when it falls.
        rng: draws the piles.
    """
    stains = list(town.world.stains)
    for way in ways:
        _fall_along(town, way, at_s, rng)
    if not ways:
        _fall_on_roads(town, at_s, rng)
    # The ground is painted once: dust would lie there before the piles that are seen to fall.
    town.world.stains[:] = stains


def _fall_along(town: Town, way: Way, at_s: float, rng: np.random.Generator) -> None:
    """A field of rubble where the earthquake meets the craft, then a pile every few metres.

    The field makes up for a loop that closes within a few frames: enough instances are seen before the first prompt.
    """

    def fall(ahead_m: float, right_m: float) -> bool:
        place = way.beside(at_s + ahead_m / way.speed_mps, right_m)
        return town.place_debris(rng, place, float(rng.uniform(*PILE_RADIUS_M)), at_s)

    for _ in range(FIELD_TRIES):
        fall(float(rng.uniform(*FIELD_AHEAD_M)), float(rng.uniform(-FIELD_HALF_M, FIELD_HALF_M)))
    last_m = min((way.duration_s + 10.0) * way.speed_mps, way.length_m) - at_s * way.speed_mps
    ahead_m = FIELD_AHEAD_M[1]
    while ahead_m < last_m:
        for _ in range(12):
            if fall(ahead_m + float(rng.normal(0.0, 4.5)), float(rng.normal(0.0, 4.5))):
                break
        ahead_m += float(rng.uniform(*PILE_EVERY_M))


def _fall_on_roads(town: Town, at_s: float, rng: np.random.Generator) -> None:
    half_m = town.world.half_m
    for road in town.world.roads:
        for along_m in np.arange(-half_m, half_m, sum(PILE_EVERY_M) / 2):
            place = road.place(float(along_m + rng.normal(0.0, 3.0)), float(rng.normal(0.0, 4.5)))
            town.place_debris(rng, place, float(rng.uniform(*PILE_RADIUS_M)), at_s)


def appear(
    town: Town, name: str, places: Callable[[], Place], count: int, at_s: float, rng: np.random.Generator
) -> int:
    """Stands things where places are proposed, from a time on.

    Args:
        town: gets them.
        name: of the kind, one of `catalogue.APPEARING`; `novel` draws strange things of one kind that no
            training set holds.
        places: proposes a place.
        count: how many.
        at_s: when they are there.
        rng: draws instances.

    Returns:
        How many found room.
    """
    kind = int(rng.integers(HELD_OUT_KINDS.start, HELD_OUT_KINDS.stop))
    found = 0
    for _ in range(TRIES * count):
        if found < count:
            found += _appear_one(town, name, places(), at_s, (kind, rng))
    return found


def _appear_one(town: Town, name: str, place: Place, at_s: float, draw: tuple[int, np.random.Generator]) -> bool:
    kind, rng = draw
    heading, number = float(rng.uniform(0, 2 * math.pi)), int(rng.integers(1 << 30))
    if name != "novel":
        is_afloat = KINDS[name].label is Label.SHIP
        if is_afloat and not _is_in(town, place, Soil.WATER):
            return False
        if is_afloat:
            add_thing(town, name, number, Motion(place, heading), appears_s=at_s)
            return True
        return put(town, name, number, Motion(place, heading), appears_s=at_s)
    scale = float(rng.uniform(0.8, 1.2))
    radius = novel_radius_m(kind, scale, number)
    if not _is_in(town, place, Soil.WATER) and not town.ground.take(place, (radius, radius)):
        return False
    size = (0.7 * radius, 0.7 * radius, 3.0 * radius)
    make = partial(novel_object, kind, scale, number)
    town.add(Label.NOVEL, kind, Motion(place, heading), make, size, appears_s=at_s, name="novel")
    return True


def _is_in(town: Town, place: Place, soil: Soil) -> bool:
    """Whether a place lies in a patch of a soil."""
    outlines = [patch.outline_m.astype(np.float32) for patch in town.world.patches if patch.soil is soil]
    return any(cv2.pointPolygonTest(outline, place, False) >= 0 for outline in outlines)


def proposer(town: Town, where: str, way: Way, at_s: float, rng: np.random.Generator) -> Callable[[], Place]:
    """A function that proposes places of one sort; `where` as a scenario's `appear` event has it.

    Raises:
        ScenarioError: the world has no such place.
    """
    world, half = town.world, town.world.half_m * 0.95

    def anywhere() -> Place:
        return float(rng.uniform(-half, half)), float(rng.uniform(-half, half))

    def on_roads() -> Place:
        road = world.roads[int(rng.integers(len(world.roads)))]
        return road.place(float(rng.uniform(-half, half)), float(rng.uniform(-0.9, 0.9)) * road.half_m)

    def ahead() -> Place:
        later_s = float(rng.uniform(at_s, max(way.duration_s, at_s + 1.0)))
        return way.beside(later_s, float(rng.normal(0.0, 12.0)))

    def in_blocks(uses: tuple[BlockUse, ...]) -> Callable[[], Place]:
        blocks = [block for block in world.blocks if block.use in uses]
        if not blocks:
            raise ScenarioError(f"where = {where!r}: this world has no such place; choose anywhere, or another seed")

        def inside() -> Place:
            west, south, east, north = blocks[int(rng.integers(len(blocks)))].bounds_m
            return float(rng.uniform(west, east)), float(rng.uniform(south, north))

        return inside

    if where == "roads" and not world.roads:
        raise ScenarioError("where = 'roads': this world has none; choose another landscape")
    if where == "trees":
        return in_blocks((BlockUse.WOOD, BlockUse.PARK, BlockUse.HOUSES))
    if where == "open":
        return in_blocks((BlockUse.FIELD, BlockUse.MEADOW, BlockUse.CROP, BlockUse.PARK, BlockUse.PLAZA))
    return {"roads": on_roads, "ahead": ahead}.get(where, anywhere)
