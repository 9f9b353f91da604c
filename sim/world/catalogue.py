"""Every kind of object that worlds are furnished with, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sim.world import aircraft, machines, models, objects, ships
from sim.world.buildings import BuildingSize, building
from sim.world.debris import pile
from sim.world.layout import Label, LandCover
from sim.world.mesh import Mesh
from sim.world.seeds import rng_for

Model = Callable[..., Mesh]


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        name: unique; how scenarios name it.
        label: what ground truth calls it; None for what is scenery.
        model: draws one instance from a generator; where `shows_motion`, `is_moving` comes as a keyword.
        half_m: half length and half width that it needs.
        height_m: upper bound of its height.
        cover: what its pixels are in the land-cover truth.
        shows_motion: it looks otherwise when it moves, as ships do by their wakes.
    """

    name: str
    label: Label | None
    model: Model
    half_m: tuple[float, float]
    height_m: float
    cover: LandCover = LandCover.OBJECT
    shows_motion: bool = False

    def make(self, number: int, *, is_moving: bool = False) -> Mesh:
        """The instance of a number; the same number gives the same mesh."""
        rng = rng_for(f"kind/{self.name}", number)
        return self.model(rng, is_moving=is_moving) if self.shows_motion else self.model(rng)


LEAF_BGR = (52.0, 105.0, 78.0)
_HOUSE = BuildingSize(6.0, 4.5, 4.5, is_pitched=True)
_FLATS = BuildingSize(13.0, 7.0, 12.5, is_pitched=False)


def _kinds() -> tuple[Kind, ...]:
    car, other, boat = Label.CAR, Label.OTHER_VEHICLE, Label.SHIP
    return (
        Kind("person", Label.PERSON, models.person, (0.35, 0.35), 1.9),
        Kind("bicycle", Label.BICYCLE, models.bicycle, (0.9, 0.3), 1.1),
        Kind("motorcycle", Label.BICYCLE, machines.motorcycle, (1.1, 0.4), 1.1),
        Kind("car", car, partial(models.car, is_moving=False), (2.4, 0.95), 1.7),
        Kind("moving car", car, partial(models.car, is_moving=True), (2.4, 0.95), 1.7),
        Kind("pickup", car, machines.pickup, (2.6, 1.0), 1.8),
        Kind("van", other, models.van, (3.1, 1.0), 2.6),
        Kind("truck", other, models.truck, (4.6, 1.25), 3.3),
        Kind("tank truck", other, machines.tank_truck, (4.6, 1.25), 2.9),
        Kind("bus", other, models.bus, (6.0, 1.3), 3.5),
        Kind("tractor", other, machines.tractor, (2.3, 1.4), 2.7),
        Kind("trailer", other, machines.trailer, (3.8, 1.2), 2.5),
        Kind("excavator", Label.MACHINE, machines.excavator, (4.5, 4.5), 2.9),
        Kind("forklift", Label.MACHINE, machines.forklift, (1.9, 0.7), 2.3),
        Kind("gantry crane", Label.MACHINE, objects.gantry_crane, (30.0, 8.0), 31.0),
        Kind("cargo ship", boat, ships.cargo_ship, (45.0, 7.6), 16.0, shows_motion=True),
        Kind("tanker", boat, ships.tanker, (50.0, 8.6), 14.0, shows_motion=True),
        Kind("ferry", boat, ships.ferry, (25.0, 6.0), 12.0, shows_motion=True),
        Kind("barge", boat, ships.barge, (30.0, 5.1), 7.0, shows_motion=True),
        Kind("tug", boat, ships.tug, (10.0, 3.5), 7.0, shows_motion=True),
        Kind("sailing boat", boat, ships.sailing_boat, (6.0, 2.5), 13.0, shows_motion=True),
        Kind("motor boat", boat, ships.motor_boat, (4.8, 1.6), 1.5, shows_motion=True),
        Kind("airliner", Label.AIRCRAFT, aircraft.airliner, (19.5, 18.5), 11.6),
        Kind("light plane", Label.AIRCRAFT, aircraft.light_plane, (4.6, 5.5), 2.8),
        Kind("helicopter", Label.AIRCRAFT, aircraft.helicopter, (6.5, 5.4), 3.5),
        Kind("container", Label.CONTAINER, objects.container, (6.1, 1.3), 7.9),
        Kind("storage tank", Label.TANK, objects.storage_tank, (10.0, 10.0), 14.0),
        Kind("tent", Label.TENT, objects.tent, (3.0, 2.8), 2.5),
        Kind("hay bale", Label.BALE, objects.hay_bale, (0.7, 0.75), 1.5),
        Kind("log pile", Label.LOGS, objects.log_pile, (3.8, 1.3), 2.4),
        Kind("fallen tree", Label.FALLEN_TREE, objects.fallen_tree, (6.3, 2.6), 1.5),
        Kind("boulder", Label.BOULDER, objects.boulder, (1.9, 1.9), 1.6),
        Kind("umbrella", Label.UMBRELLA, objects.umbrella, (1.3, 1.3), 2.5),
        Kind("cow", Label.ANIMAL, objects.cow, (1.4, 0.4), 1.5),
        Kind("sheep", Label.ANIMAL, objects.sheep, (0.8, 0.3), 0.9),
        Kind("horse", Label.ANIMAL, objects.horse, (1.4, 0.35), 1.7),
        Kind("pylon", Label.PYLON, objects.pylon, (3.0, 6.2), 32.0),
        Kind("wind turbine", Label.TURBINE, objects.wind_turbine, (3.0, 10.2), 42.0),
        Kind("debris", Label.DEBRIS, partial(pile, radius_m=2.0), (1.7, 1.7), 2.4),
        Kind("solar field", None, objects.solar_field, (10.0, 1.5), 2.1),
        Kind("pool", None, objects.pool, (5.7, 3.2), 0.2, LandCover.WATER),
        Kind("greenhouse", None, objects.greenhouse, (18.0, 6.0), 4.1, LandCover.BUILDING),
        Kind("hangar", None, aircraft.hangar, (15.0, 12.0), 10.1, LandCover.BUILDING),
        Kind("house", None, partial(building, size=_HOUSE), (6.5, 5.0), 9.5, LandCover.BUILDING),
        Kind("flats", None, partial(building, size=_FLATS), (13.5, 7.5), 14.5, LandCover.BUILDING),
        Kind("tree", None, partial(models.tree, radius_m=2.6, season=LEAF_BGR), (2.6, 2.6), 6.3, LandCover.TREE),
        Kind("conifer", None, partial(objects.conifer, radius_m=1.9, leaf_bgr=LEAF_BGR), (1.9, 1.9), 8.0,
             LandCover.TREE),
        Kind("bush", None, partial(objects.bush, radius_m=1.0, leaf_bgr=LEAF_BGR), (1.0, 1.0), 1.2, LandCover.TREE),
    )  # fmt: skip


KINDS: dict[str, Kind] = {kind.name: kind for kind in _kinds()}
"""Every kind by name; strange things (`novel.py`) come on top."""

APPEARING = (*sorted(KINDS), "novel")
"""What a scenario's `appear` event takes."""
