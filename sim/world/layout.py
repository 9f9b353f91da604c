"""The seeded town as data: roads, blocks, light, and the things that stand or move there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.world.mesh import Mesh
from sim.world.motion import Motion, Route
from sim.world.seeds import rng_for
from sim.world.settings import WeatherSettings

LANE_M = 3.3
PARKING_M = 2.3
SIDEWALK_M = 2.2


class Look(str, Enum):
    """What the sensor sees: visible light, heat, six bands, or radar echoes."""

    RGB = "rgb"
    THERMAL = "thermal"
    MULTISPECTRAL = "multispectral"
    SAR = "sar"


class Label(str, Enum):
    """What ground truth is called."""

    PERSON = "Person"
    CAR = "Car"
    BICYCLE = "Bicycle"
    OTHER_VEHICLE = "OtherVehicle"
    DEBRIS = "Debris"
    NOVEL = "Novel"
    SHIP = "Ship"
    AIRCRAFT = "Aircraft"
    MACHINE = "Machine"
    CONTAINER = "Container"
    TANK = "StorageTank"
    TENT = "Tent"
    BALE = "HayBale"
    LOGS = "LogPile"
    FALLEN_TREE = "FallenTree"
    BOULDER = "Boulder"
    UMBRELLA = "Umbrella"
    ANIMAL = "Animal"
    PYLON = "Pylon"
    TURBINE = "WindTurbine"


class BlockUse(str, Enum):
    """What the land between roads is used for."""

    HOUSES = "houses"
    FLATS = "flats"
    PARKING = "parking"
    PARK = "park"
    PLAZA = "plaza"
    FIELD = "field"
    CROP = "crop"
    MEADOW = "meadow"
    WOOD = "wood"
    YARD = "yard"
    APRON = "apron"
    BEACH = "beach"


class Soil(IntEnum):
    """What the surface of the ground is; the values are those of the material picture."""

    GRASS = 0
    DRY_GRASS = 1
    SOIL = 2
    ASPHALT = 3
    CONCRETE = 4
    SIDEWALK = 5
    WHITE = 6
    YELLOW = 7
    LOT = 8
    KERB = 9
    WATER = 10
    SHALLOWS = 11
    SAND = 12
    CROP = 13
    WHEAT = 14
    STUBBLE = 15
    FOREST_FLOOR = 16
    GRAVEL = 17
    RUNWAY = 18


class LandCover(IntEnum):
    """What a pixel shows; the values are those of the truth's land-cover picture."""

    GRASS = 1
    CROP = 2
    BARE = 3
    PAVED = 4
    WATER = 5
    TREE = 6
    BUILDING = 7
    OBJECT = 8


@dataclass(frozen=True)
class Patch:
    """Ground of one kind: water, sand, a runway.

    Attributes:
        outline_m: (N, 2) east and north.
        soil: what it is.
        is_above_roads: painted over roads, too.
    """

    outline_m: NDArray[np.float64]
    soil: Soil
    is_above_roads: bool = False


@dataclass(frozen=True)
class Thing:
    """Something that stands on the ground or moves over it.

    Attributes:
        object_id: unique in its world, >= 1.
        label: None for what is not ground truth (buildings, trees).
        kind: tells alike objects from others; the generator's kind for Novel.
        motion: where it is.
        make: builds its mesh.
        half_m: half extents along and across its heading, for what hides what.
        height_m: upper bound of its height.
        appears_s: time from which it is there.
        name: the model it is made from.
        cover: what its pixels are in the land-cover truth.
    """

    object_id: int
    label: Label | None
    kind: int
    motion: Motion | Route
    make: Callable[[], Mesh]
    half_m: tuple[float, float]
    height_m: float
    appears_s: float = 0.0
    name: str = ""
    cover: LandCover = LandCover.OBJECT

    @property
    def is_static(self) -> bool:
        """True when it never moves."""
        return self.motion.speed_mps == 0.0


@dataclass(frozen=True)
class Road:
    """A straight road across the whole town.

    Attributes:
        is_east_west: runs along east, else along north.
        offset_m: its middle line's north (or east).
        lanes: per direction.
        has_parking: strips for parked cars on both sides.
        has_traffic: which directions carry moving vehicles (forward is towards east or north).
    """

    is_east_west: bool
    offset_m: float
    lanes: int
    has_parking: bool
    has_traffic: tuple[bool, bool]

    @property
    def half_m(self) -> float:
        """Half the width of the carriageway."""
        return self.lanes * LANE_M + (PARKING_M if self.has_parking else 0.0)

    def lane_offset_m(self, lane: int, is_forward: bool) -> float:
        """Offset of a lane's middle from the road's (to the left of east, or to the left of north)."""
        side = -1.0 if is_forward else 1.0
        return side * (lane + 0.5) * LANE_M

    def place(self, along_m: float, left_m: float) -> tuple[float, float]:
        """East and north of a point `along_m` the road and `left_m` of its middle line."""
        if self.is_east_west:
            return along_m, self.offset_m + left_m
        return self.offset_m - left_m, along_m

    @property
    def heading_rad(self) -> float:
        """Direction of its forward lanes."""
        return 0.0 if self.is_east_west else math.pi / 2


@dataclass(frozen=True)
class Block:
    """Land between four roads: (west, south, east, north) in metres, and its use."""

    bounds_m: tuple[float, float, float, float]
    use: BlockUse


@dataclass(frozen=True)
class Stain:
    """A soft round spot of dust or soot on the ground."""

    centre_m: tuple[float, float]
    radius_m: float


@dataclass(frozen=True)
class Sun:
    """Light of the scene.

    Attributes:
        azimuth_deg: where the sun stands, clockwise from north.
        elevation_deg: above the horizon.
        ambient: share of light that reaches shadows, 0 to 1.
        tint: blue, green, red gains of the light.
        night: 0 by day, 1 once the ground has cooled and lamps are all the light there is.
    """

    azimuth_deg: float
    elevation_deg: float
    ambient: float
    tint: tuple[float, float, float]
    night: float = 0.0


@dataclass(frozen=True)
class Change:
    """Weather that comes, and stays.

    Attributes:
        what: `haze` or `rain`, as in `WeatherSettings`.
        at_s: when it begins.
        over_s: how long it takes to reach its strength.
        share: its strength, 0 to 1.
    """

    what: Literal["haze", "rain"]
    at_s: float
    over_s: float
    share: float

    def share_at(self, time_s: float) -> float:
        """How much of it there is at a time."""
        return self.share * float(np.clip((time_s - self.at_s) / max(self.over_s, 1e-3), 0.0, 1.0))


@dataclass
class World:
    """A town with everything in it.

    Attributes:
        seed_key: purpose and seed it was drawn from.
        half_m: the town reaches from -half_m to half_m in east and north.
        roads: all roads.
        blocks: all blocks.
        sun: light.
        season_bgr: colour of leaves and grass.
        things: everything with a body.
        stains: dust on the ground.
        patches: water, sand and runways, painted in this order.
        weather: what stands between camera and ground.
        changes: what the weather does during a flight.
        is_snowy: open land is white.
        is_rural: roads have grass verges instead of sidewalks and crosswalks.
    """

    seed_key: tuple[str, int]
    half_m: float
    roads: list[Road]
    blocks: list[Block]
    sun: Sun
    season_bgr: tuple[float, float, float]
    things: list[Thing] = field(default_factory=list)
    stains: list[Stain] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    weather: WeatherSettings = field(default_factory=WeatherSettings)
    changes: list[Change] = field(default_factory=list)
    is_snowy: bool = False
    is_rural: bool = False

    def rng(self, purpose: str) -> np.random.Generator:
        """The world's own stream for one purpose."""
        return rng_for(f"{self.seed_key[0]}/{purpose}", self.seed_key[1])


def parking_bays(block: Block) -> list[tuple[tuple[float, float], float]]:
    """Places and headings of a parking block's bays: double rows with aisles between."""
    west, south, east, north = block.bounds_m
    bays = []
    for row_n in np.arange(south + 4.0, north - 3.5, 16.5):
        for shift in (0.0, 5.2):
            if row_n + shift < north - 3.0:
                for at_e in np.arange(west + 3.0, east - 2.5, 2.7):
                    bays.append(((float(at_e), float(row_n + shift)), math.pi / 2))
    return bays
