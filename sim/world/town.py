"""Fills a planned town with buildings, vehicles, people, trees and strange things."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from sim.world import models
from sim.world.buildings import BuildingSize, building
from sim.world.debris import pile
from sim.world.layout import (
    PARKING_M,
    SIDEWALK_M,
    Block,
    BlockUse,
    Label,
    LandCover,
    Road,
    Stain,
    Thing,
    World,
    parking_bays,
)
from sim.world.mesh import Mesh
from sim.world.motion import Motion
from sim.world.novel import TRAINING_KINDS, novel_object, novel_radius_m
from sim.world.occupancy import Ground
from sim.world.seeds import rng_for


def _seeded(model: Callable[..., Mesh], purpose: str, kind: int, *sizes: object) -> Mesh:
    return model(rng_for(purpose, kind), *sizes)


class Town:
    """Fills a world step by step; each step draws from its own stream."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ground = Ground(world.half_m)

    def add(  # noqa: PLR0913 - a thing's fields; the optional ones are keywords
        self,
        label: Label | None,
        kind: int,
        motion: Motion,
        make: Callable[[], Mesh],
        size_m: tuple[float, float, float],
        *,
        appears_s: float = 0.0,
        name: str = "",
        cover: LandCover = LandCover.OBJECT,
    ) -> None:
        """Adds a thing; `size_m` is half length, half width and height."""
        number = len(self.world.things) + 1
        thing = Thing(
            number, label, kind, motion, make, size_m[:2], size_m[2], appears_s=appears_s, name=name, cover=cover
        )
        self.world.things.append(thing)

    def reserve_traffic(self) -> None:
        """Keeps lanes with moving vehicles free of everything else."""
        for road in self.world.roads:
            for is_forward, busy in zip((True, False), road.has_traffic, strict=True):
                for lane in range(road.lanes if busy else 0):
                    middle = road.place(0.0, road.lane_offset_m(lane, is_forward))
                    half = (self.world.half_m, 1.3) if road.is_east_west else (1.3, self.world.half_m)
                    self.ground.block(middle, half)

    def add_traffic(self) -> None:
        """Moving vehicles on lanes with traffic; those of one lane keep one speed and so their distances."""
        rng = self.world.rng("traffic")
        span = 2 * self.world.half_m
        for road in self.world.roads:
            for is_forward, busy in zip((True, False), road.has_traffic, strict=True):
                for lane in range(road.lanes if busy else 0):
                    speed, gap = float(rng.uniform(4, 13)), float(rng.uniform(13, 32))
                    heading = road.heading_rad + (0.0 if is_forward else math.pi)
                    start = road.place(-span / 2 if is_forward else span / 2, road.lane_offset_m(lane, is_forward))
                    for slot in range(int(span / gap)):
                        phase = slot * gap + float(rng.uniform(0, gap - 12.5))
                        self._vehicle(rng, Motion(start, heading, speed, span, phase))

    def _vehicle(self, rng: np.random.Generator, motion: Motion) -> None:
        kind = int(rng.integers(1 << 30))
        is_moving = motion.speed_mps > 0
        if rng.random() < 0.18:
            make = partial(_seeded, models.other_vehicle, "other-vehicle", kind, is_moving)
            self.add(Label.OTHER_VEHICLE, kind, motion, make, (4.6, 1.2, 3.2), name="truck")
        else:
            make = partial(_seeded, models.car, "car", kind, is_moving)
            self.add(Label.CAR, kind, motion, make, (2.2, 0.9, 1.7), name="car")

    def add_kerb_parking(self, fill: float) -> None:
        """Parked cars along kerbs, and halted ones on lanes without traffic."""
        rng = self.world.rng("kerb-parking")
        for road in self.world.roads:
            lefts = [(s * (road.half_m - PARKING_M / 2), s, fill) for s in (-1.0, 1.0) if road.has_parking]
            for is_forward, busy in zip((True, False), road.has_traffic, strict=True):
                if not busy:
                    lefts.append((road.lane_offset_m(0, is_forward), -1.0 if is_forward else 1.0, 0.16))
            for left, side, share in lefts:
                for along in np.arange(-self.world.half_m + 4, self.world.half_m - 4, 6.2):
                    if rng.random() < share and not self._near_crossing(road, float(along), 4.0):
                        place = road.place(float(along + rng.uniform(-0.4, 0.4)), left + float(rng.normal(0, 0.1)))
                        heading = road.heading_rad + (0.0 if side < 0 else math.pi) + float(rng.normal(0, 0.03))
                        self.park(rng, place, heading)

    def _near_crossing(self, road: Road, along_m: float, margin_m: float) -> bool:
        others = (r for r in self.world.roads if r.is_east_west is not road.is_east_west)
        return any(abs(along_m - r.offset_m) < r.half_m + margin_m for r in others)

    def park(self, rng: np.random.Generator, place: tuple[float, float], heading: float) -> None:
        """A standing vehicle, where there is room for it."""
        is_other = bool(rng.random() < 0.1)
        long = 3.2 if is_other else 2.5
        half = (long, 1.05) if abs(math.cos(heading)) > 0.7 else (1.05, long)
        if self.ground.take(place, half):
            kind = int(rng.integers(1 << 30))
            if is_other:
                make = partial(_seeded, models.other_vehicle, "other-vehicle", kind, False)
                self.add(Label.OTHER_VEHICLE, kind, Motion(place, heading), make, (3.0, 1.1, 2.6), name="van")
            else:
                make = partial(_seeded, models.car, "car", kind, False)
                self.add(Label.CAR, kind, Motion(place, heading), make, (2.2, 0.9, 1.7), name="car")

    def add_buildings(self) -> None:
        """Houses and flats on their blocks."""
        rng = self.world.rng("buildings")
        for block in self.world.blocks:
            if block.use in (BlockUse.HOUSES, BlockUse.FLATS):
                self._build_up(rng, block)

    def _build_up(self, rng: np.random.Generator, block: Block) -> None:
        west, south, east, north = block.bounds_m
        is_house = block.use is BlockUse.HOUSES
        pitch_m = float(rng.uniform(15, 19)) if is_house else float(rng.uniform(24, 34))
        for at_e in np.arange(west + pitch_m / 2, east - pitch_m / 2 + 1, pitch_m):
            for at_n in np.arange(south + pitch_m / 2, north - pitch_m / 2 + 1, pitch_m):
                if rng.random() < 0.15:
                    continue
                room = pitch_m / 2 - 1.5
                half = (float(rng.uniform(0.5, 0.85)) * room, float(rng.uniform(0.45, 0.75)) * room)
                wall = float(rng.uniform(3.0, 6.0)) if is_house else float(rng.choice([6.5, 9.5, 12.5]))
                size = BuildingSize(half[0], half[1], wall, is_house and bool(rng.random() < 0.8))
                quarter = int(rng.integers(2))
                footprint = half if quarter == 0 else half[::-1]
                place = (float(at_e + rng.uniform(-1, 1)), float(at_n + rng.uniform(-1, 1)))
                if self.ground.take(place, (footprint[0] + 0.6, footprint[1] + 0.6)):
                    kind = int(rng.integers(1 << 30))
                    make = partial(_seeded, building, "building", kind, size)
                    motion = Motion(place, quarter * math.pi / 2)
                    self.add(
                        None,
                        kind,
                        motion,
                        make,
                        (half[0], half[1], wall + (5.0 if size.is_pitched else 1.8)),
                        name="building",
                        cover=LandCover.BUILDING,
                    )

    def add_parking_lots(self, fill: float) -> None:
        """Rows of cars on parking blocks."""
        rng = self.world.rng("parking-lots")
        for block in self.world.blocks:
            if block.use is BlockUse.PARKING:
                for place, heading in parking_bays(block):
                    if rng.random() < fill:
                        nudged = (place[0] + float(rng.normal(0, 0.1)), place[1] + float(rng.normal(0, 0.2)))
                        turned = heading + math.pi * int(rng.integers(2)) + float(rng.normal(0, 0.03))
                        self.park(rng, nudged, turned)

    def add_trees(self) -> None:
        """Trees: many in parks, some in yards, rows along some roads."""
        rng = self.world.rng("trees")
        share = {BlockUse.PARK: 90.0, BlockUse.HOUSES: 35.0, BlockUse.FLATS: 25.0, BlockUse.FIELD: 12.0}
        for block in self.world.blocks:
            west, south, east, north = block.bounds_m
            hectares = (east - west) * (north - south) / 1e4
            for _ in range(int(share.get(block.use, 5.0) * hectares)):
                radius = float(rng.uniform(1.2, 3.8))
                place = (float(rng.uniform(west + 1, east - 1)), float(rng.uniform(south + 1, north - 1)))
                self.plant_tree(rng, place, radius)

    def plant_tree(self, rng: np.random.Generator, place: tuple[float, float], radius: float) -> None:
        """One broad-leaved tree, where there is room for it."""
        if self.ground.take(place, (0.8 * radius, 0.8 * radius)):
            kind = int(rng.integers(1 << 30))
            tone = np.array(self.world.season_bgr) * rng.normal(1.0, 0.12) + rng.normal(0, 5.0, 3)
            leaf = (float(tone[0]), float(tone[1]), float(tone[2]))
            make = partial(_seeded, models.tree, "tree", kind, radius, leaf)
            self.add(
                None, kind, Motion(place, 0.0), make, (radius, radius, 2.4 * radius), name="tree", cover=LandCover.TREE
            )

    def add_people(self, per_hectare: float) -> None:
        """People on sidewalks, plazas and fields; alone and in groups, standing and walking."""
        rng = self.world.rng("people")
        hectares = (2 * self.world.half_m) ** 2 / 1e4
        for _ in range(int(per_hectare * hectares)):
            if rng.random() < 0.6:
                place, heading = self._on_sidewalk(rng)
            else:
                place, heading = self._on_open_land(rng), float(rng.uniform(0, 2 * math.pi))
            for _ in range(int(rng.choice([1, 2, 3, 6], p=[0.6, 0.22, 0.1, 0.08]))):
                near = (place[0] + float(rng.normal(0, 1.1)), place[1] + float(rng.normal(0, 1.1)))
                self._person(rng, near, heading)

    def _on_sidewalk(self, rng: np.random.Generator) -> tuple[tuple[float, float], float]:
        if not self.world.roads:
            return self._on_open_land(rng), 0.0
        road = self.world.roads[int(rng.integers(len(self.world.roads)))]
        side = float(rng.choice([-1.0, 1.0]))
        along = float(rng.uniform(-self.world.half_m, self.world.half_m))
        left = side * (road.half_m + SIDEWALK_M / 2 + float(rng.normal(0, 0.5)))
        return road.place(along, left), road.heading_rad + math.pi * int(rng.integers(2))

    def _on_open_land(self, rng: np.random.Generator) -> tuple[float, float]:
        block = self.world.blocks[int(rng.integers(len(self.world.blocks)))]
        west, south, east, north = block.bounds_m
        return float(rng.uniform(west, east)), float(rng.uniform(south, north))

    def _person(self, rng: np.random.Generator, place: tuple[float, float], heading: float) -> None:
        if not self.ground.take(place, (0.3, 0.3)):
            return
        kind = int(rng.integers(1 << 30))
        motion = Motion(place, heading + float(rng.normal(0, 0.3)))
        if rng.random() < 0.65:
            span, speed = self._free_walk(place, heading), float(rng.uniform(0.6, 1.7))
            if span >= 2.0:
                motion = Motion(place, heading, speed, span, float(rng.uniform(0, 2 * span)), turns_back=True)
        make = partial(_seeded, models.person, "person", kind)
        self.add(Label.PERSON, kind, motion, make, (0.35, 0.35, 1.9), name="person")

    def _free_walk(self, place: tuple[float, float], heading: float) -> float:
        """How far one can walk before something is in the way, at most 25 m; takes the cells walked over."""
        for step in range(1, 26):
            ahead = (place[0] + step * math.cos(heading), place[1] + step * math.sin(heading))
            if not self.ground.take(ahead, (0.24, 0.24)):
                return float(step - 1)
        return 25.0

    def add_bicycles(self, per_hectare: float) -> None:
        """Rows of parked bicycles, single ones, and riders."""
        rng = self.world.rng("bicycles")
        for _ in range(int(per_hectare * (2 * self.world.half_m) ** 2 / 1e4)):
            place, heading = self._on_sidewalk(rng)
            across = heading + math.pi / 2
            if rng.random() < 0.4:
                self._rider(rng, place, heading)
                continue
            for slot in range(int(rng.choice([1, 3, 8], p=[0.5, 0.3, 0.2]))):
                at = (place[0] + 0.75 * slot * math.cos(heading), place[1] + 0.75 * slot * math.sin(heading))
                if self.ground.take(at, (0.3, 0.3)):
                    self._bicycle(rng, Motion(at, across + float(rng.normal(0, 0.12))))

    def _bicycle(self, rng: np.random.Generator, motion: Motion) -> None:
        kind = int(rng.integers(1 << 30))
        make = partial(_seeded, models.bicycle, "bicycle", kind)
        self.add(Label.BICYCLE, kind, motion, make, (0.9, 0.3, 1.1), name="bicycle")

    def _rider(self, rng: np.random.Generator, place: tuple[float, float], heading: float) -> None:
        span = self._free_walk(place, heading)
        if span < 4.0:
            return
        motion = Motion(place, heading, float(rng.uniform(2.5, 5)), span, float(rng.uniform(0, span)), turns_back=True)
        self._bicycle(rng, motion)
        kind = int(rng.integers(1 << 30))
        make = partial(_seeded, models.person, "person", kind, True)
        number = len(self.world.things) + 1
        self.world.things.append(Thing(number, Label.PERSON, kind, motion, make, (0.3, 0.3), 2.2))

    def add_novel(self, per_hectare: float) -> None:
        """Strange objects of a dozen kinds, several of each, anywhere but on traffic lanes."""
        rng = self.world.rng("novel")
        kinds = rng.integers(TRAINING_KINDS.start, TRAINING_KINDS.stop, size=12)
        wanted = int(per_hectare * (2 * self.world.half_m) ** 2 / 1e4)
        for _ in range(wanted):
            kind, scale, instance = int(rng.choice(kinds)), float(rng.uniform(0.8, 1.2)), int(rng.integers(1 << 30))
            make = partial(novel_object, kind, scale, instance)
            radius_m = novel_radius_m(kind, scale, instance)
            for _ in range(6):
                if self.place_novel(rng, kind, make, radius_m):
                    break

    def place_novel(self, rng: np.random.Generator, kind: int, make: Callable[[], Mesh], radius_m: float) -> bool:
        """Tries one place for one strange object that reaches `radius_m` from its middle."""
        place = self._anywhere(rng)
        if not self.ground.take(place, (radius_m, radius_m)):
            return False
        motion = Motion(place, float(rng.uniform(0, 2 * math.pi)))
        self.add(Label.NOVEL, kind, motion, make, (0.7 * radius_m, 0.7 * radius_m, 3.0 * radius_m), name="novel")
        return True

    def _anywhere(self, rng: np.random.Generator) -> tuple[float, float]:
        if rng.random() < 0.5 and self.world.roads:
            road = self.world.roads[int(rng.integers(len(self.world.roads)))]
            return road.place(
                float(rng.uniform(-self.world.half_m, self.world.half_m)), float(rng.uniform(-1, 1)) * road.half_m
            )
        return self._on_open_land(rng)

    def add_debris(self, per_hectare: float) -> None:
        """Rubble piles, most of them on roads without traffic."""
        rng = self.world.rng("debris")
        wanted = int(per_hectare * (2 * self.world.half_m) ** 2 / 1e4)
        for _ in range(wanted):
            radius = float(rng.uniform(0.75, 3.0))
            for _ in range(8):
                if self.place_debris(rng, self._anywhere(rng), radius):
                    break

    def place_debris(
        self, rng: np.random.Generator, place: tuple[float, float], radius_m: float, falls_s: float = 0.0
    ) -> bool:
        """Lets one rubble pile fall on a place if it is free, with room to tell it from the next pile."""
        if not self.ground.take(place, (1.3 * radius_m, 1.3 * radius_m)):
            return False
        kind = int(rng.integers(1 << 30))
        motion = Motion(place, float(rng.uniform(0, 2 * math.pi)))
        make = partial(_seeded, pile, "debris-pile", kind, radius_m)
        self.add(
            Label.DEBRIS,
            kind,
            motion,
            make,
            (0.8 * radius_m, 0.8 * radius_m, 1.2 * radius_m),
            appears_s=falls_s,
            name="debris",
        )
        self.world.stains.append(Stain(place, radius_m * float(rng.uniform(1.3, 1.9))))
        return True
