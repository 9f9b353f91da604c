"""A vehicle that a craft follows: its way through the roads, and the trees that hide it for a while."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from sim.errors import ScenarioError
from sim.world.catalogue import KINDS
from sim.world.layout import LandCover, Road, Thing
from sim.world.mesh import Mesh
from sim.world.models import tree
from sim.world.motion import Motion, Route
from sim.world.seeds import rng_for
from sim.world.town import Town

Place = tuple[float, float]

CANOPY_RADIUS_M = 3.4


@dataclass(frozen=True)
class Chase:
    """A vehicle that is followed: its way through the roads, and when trees cover it.

    Attributes:
        route: of the vehicle.
        number: which instance of `car` it is.
    """

    route: Route
    number: int


def vehicle_route(roads: Sequence[Road], half_m: float, seconds: float, rng: np.random.Generator) -> Route:
    """A way along roads, to and fro on the right lane, long enough for a flight.

    Raises:
        ScenarioError: there are no roads to drive on.
    """
    across = sorted((r for r in roads if r.is_east_west and abs(r.offset_m) < half_m - 40.0), key=lambda r: r.offset_m)
    ups = sorted((r for r in roads if not r.is_east_west), key=lambda r: abs(r.offset_m))
    if not across:
        raise ScenarioError("the world has no road that a vehicle could drive along; choose another landscape or seed")
    speed, reach = float(rng.uniform(6.5, 8.5)), half_m - 50.0
    first = min(range(len(across)), key=lambda i: abs(across[i].offset_m))
    points: list[Place] = [across[first].place(-reach, across[first].lane_offset_m(0, is_forward=True))]
    is_forward, index, length = True, first, 0.0
    while length < (seconds + 20.0) * speed:
        turn = _turn_off(ups, reach, points[-1][0], is_forward=is_forward)
        lane = across[index].lane_offset_m(0, is_forward)
        points.append(across[index].place(turn, lane))
        index = index + 1 if index + 1 < len(across) else max(index - 1, 0)
        is_forward = not is_forward
        points.append(across[index].place(turn, across[index].lane_offset_m(0, is_forward)))
        length = sum(math.dist(a, b) for a, b in pairwise(points))
    distinct = [points[0]] + [b for a, b in pairwise(points) if math.dist(a, b) > 0.5]
    times = np.concatenate([[0.0], np.cumsum([math.dist(a, b) for a, b in pairwise(distinct)])])
    return Route(tuple(distinct), tuple(float(t) / speed for t in times))


def _turn_off(ups: Sequence[Road], reach: float, from_east: float, *, is_forward: bool) -> float:
    """Where the vehicle leaves its road: at a crossing well ahead, or where the world ends."""
    ahead = [
        r.offset_m for r in ups if abs(r.offset_m) < reach and (r.offset_m - from_east) * (1 if is_forward else -1) > 60
    ]
    if not ahead:
        return reach if is_forward else -reach
    return max(ahead) if is_forward else min(ahead)


def add_chase(town: Town, seconds: float, rng: np.random.Generator) -> Chase:
    """The vehicle that a craft follows, on a lane of its own."""
    number = int(rng.integers(1 << 30))
    chase = Chase(vehicle_route(town.world.roads, town.world.half_m, seconds, rng), number)
    for time_s in np.arange(0.0, seconds + 1.0, 0.4):
        town.ground.block(chase.route.at(float(time_s))[:2], (2.6, 2.6))
    kind = KINDS["moving car"]
    make = partial(kind.make, number)
    thing = Thing(
        len(town.world.things) + 1, kind.label, number, chase.route, make, kind.half_m, kind.height_m, name="target car"
    )
    town.world.things.append(thing)
    return chase


def hide(town: Town, chase: Chase, span_s: tuple[float, float], look_alikes: int, rng: np.random.Generator) -> None:
    """Trees over a stretch of the vehicle's way, and vehicles that look like it where it comes out.

    Args:
        town: gets them.
        chase: the vehicle.
        span_s: when it is under the trees.
        look_alikes: how many.
        rng: draws trees and places.
    """
    start_s, end_s = span_s
    steps = np.arange(start_s, end_s, 2.4 / max(chase.route.speed_mps, 1.0))
    for time_s in steps:
        place = chase.route.at(float(time_s))[:2]
        number = int(rng.integers(1 << 30))
        make = partial(_canopy, number, town.world.season_bgr)
        radius = CANOPY_RADIUS_M
        town.add(
            None, number, Motion(place, 0.0), make, (radius, radius, 2.6 * radius), name="tree", cover=LandCover.TREE
        )
    east, north, heading = chase.route.at(end_s + 1.5)
    kind = KINDS["car"]
    for slot in range(look_alikes):
        side = 3.4 if slot % 2 else -3.4
        along = 7.0 * (1 + slot // 2) * (1 if slot % 4 < 2 else -1)
        place = (
            east + along * math.cos(heading) - side * math.sin(heading),
            north + along * math.sin(heading) + side * math.cos(heading),
        )
        make = partial(KINDS["moving car"].make, chase.number)
        thing = Thing(len(town.world.things) + 1, kind.label, chase.number, Motion(place, heading), make, kind.half_m,
                      kind.height_m, name="look-alike car")  # fmt: skip
        town.world.things.append(thing)


def _canopy(number: int, season_bgr: tuple[float, float, float]) -> Mesh:
    return tree(rng_for("canopy", number), CANOPY_RADIUS_M, season_bgr)
