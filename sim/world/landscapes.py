"""Furnishes every landscape: what stands in fields, forests, ports and on airfields, on top of what a town holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from sim.world.catalogue import KINDS
from sim.world.layout import Block, BlockUse, LandCover, Soil, Thing, World
from sim.world.mesh import Mesh
from sim.world.motion import Motion
from sim.world.objects import bush, conifer
from sim.world.plan import planned_world
from sim.world.seeds import rng_for
from sim.world.settings import Landscape, WorldSettings
from sim.world.town import Town

CARGO = ("cargo ship", "tanker", "barge")
SMALL_CRAFT = ("sailing boat", "motor boat", "motor boat", "tug")
TREES_PER_HECTARE = {BlockUse.WOOD: 210.0, BlockUse.MEADOW: 5.0, BlockUse.CROP: 0.6, BlockUse.YARD: 0.0}


def build_world(purpose: str, seed: int, settings: WorldSettings) -> World:
    """A complete world.

    Args:
        purpose: names the family of seeds; families never share a world.
        seed: >= 0.
        settings: what it is asked to be.
    """
    town = open_world(purpose, seed, settings)
    furnish_world(town, settings)
    return town.world


def open_world(purpose: str, seed: int, settings: WorldSettings) -> Town:
    """A planned world in which nothing stands yet; lanes and water are kept free."""
    world = planned_world(purpose, seed, settings)
    town = Town(world)
    town.reserve_traffic()
    for patch in world.patches:
        if patch.soil in (Soil.WATER, Soil.SHALLOWS, Soil.RUNWAY) or patch.is_above_roads:
            town.ground.block_outline(patch.outline_m)
    return town


def furnish_world(town: Town, settings: WorldSettings) -> None:
    """Everything that the settings ask for; what has been placed before keeps its place."""
    rng = town.world.rng("density")
    own = {
        Landscape.VILLAGE: _farms, Landscape.FIELDS: _farms, Landscape.FOREST: _woodland, Landscape.COAST: _seaside,
        Landscape.PORT: _harbour, Landscape.AIRFIELD: _airfield,
    }.get(settings.landscape)  # fmt: skip
    if own is not None:
        own(town, town.world.rng("landscape"))
    for patch in town.world.patches:
        if patch.soil in (Soil.ASPHALT, Soil.CONCRETE):  # nothing grows or parks on taxiways, aprons and quays
            town.ground.block_outline(patch.outline_m)
    town.add_buildings()
    if settings.debris_per_hectare:
        town.add_debris(settings.debris_per_hectare)
    if settings.novel_per_hectare:
        town.add_novel(settings.novel_per_hectare)
    town.add_parking_lots(float(rng.uniform(0.25, 0.85)))
    town.add_kerb_parking(float(rng.uniform(0.15, 0.6)))
    town.add_traffic()
    if settings.bicycles_per_hectare:
        town.add_bicycles(settings.bicycles_per_hectare)
    town.add_people(settings.people_per_hectare)
    if settings.landscape is Landscape.TOWN:
        town.add_trees()
    else:
        _plant(town, town.world.rng("trees"))


def put(town: Town, name: str, number: int, motion: Motion, *, spare_m: float = 0.3, appears_s: float = 0.0) -> bool:
    """Stands one object of a kind where there is room for it.

    Args:
        town: gets it.
        name: of the kind.
        number: which instance.
        motion: where; what moves is not kept apart from others.
        spare_m: free space around it.
        appears_s: when it is there.

    Returns:
        Whether there was room.
    """
    kind = KINDS[name]
    along, across = kind.half_m
    cos, sin = abs(math.cos(motion.heading_rad)), abs(math.sin(motion.heading_rad))
    half = (along * cos + across * sin + spare_m, along * sin + across * cos + spare_m)
    if motion.speed_mps == 0.0 and not town.ground.take(motion.start_m, half):
        return False
    add_thing(town, name, number, motion, appears_s)
    return True


def add_thing(town: Town, name: str, number: int, motion: Motion, appears_s: float = 0.0) -> Thing:
    """Stands one object of a kind wherever it is told to."""
    kind = KINDS[name]
    make: Callable[[], Mesh] = partial(kind.make, number, is_moving=motion.speed_mps > 0.0)
    thing = Thing(len(town.world.things) + 1, kind.label, number, motion, make, kind.half_m, kind.height_m,
                  appears_s=appears_s, name=name, cover=kind.cover)  # fmt: skip
    town.world.things.append(thing)
    return thing


def _blocks(town: Town, *uses: BlockUse) -> list[Block]:
    return [block for block in town.world.blocks if block.use in uses]


def _somewhere(rng: np.random.Generator, block: Block) -> tuple[float, float]:
    west, south, east, north = block.bounds_m
    return float(rng.uniform(west, east)), float(rng.uniform(south, north))


def _scatter(town: Town, rng: np.random.Generator, block: Block, names: tuple[str, ...], count: int) -> None:
    """Tries to stand so many objects anywhere on a block."""
    for _ in range(count):
        name = names[int(rng.integers(len(names)))]
        put(town, name, int(rng.integers(1 << 30)), Motion(_somewhere(rng, block), float(rng.uniform(0, 2 * math.pi))))


def _hectares(block: Block) -> float:
    west, south, east, north = block.bounds_m
    return (east - west) * (north - south) / 1e4


def _farms(town: Town, rng: np.random.Generator) -> None:
    """Herds, bales, machines at work, greenhouses, and a power line across everything."""
    for block in _blocks(town, BlockUse.MEADOW):
        herd = ("cow", "sheep", "horse")[int(rng.integers(3))]
        _scatter(town, rng, block, (herd,), int(rng.integers(6, 22)))
    for block in _blocks(town, BlockUse.CROP):
        if rng.random() < 0.4:
            _scatter(town, rng, block, ("hay bale",), int(rng.integers(8, 30) * min(_hectares(block), 1.5)))
        if rng.random() < 0.5:
            _machine_at_work(town, rng, block)
    for block in _blocks(town, BlockUse.HOUSES, BlockUse.CROP)[::3]:
        _scatter(town, rng, block, ("greenhouse", "solar field", "trailer", "tractor", "log pile", "pool"), 4)
    _power_line(town, rng)
    for _ in range(int(rng.integers(0, 3))):
        at = (float(rng.uniform(-1, 1)) * town.world.half_m * 0.8, float(rng.uniform(-1, 1)) * town.world.half_m * 0.8)
        put(town, "wind turbine", int(rng.integers(1 << 30)), Motion(at, float(rng.uniform(0, 6.28))))


def _machine_at_work(town: Town, rng: np.random.Generator, block: Block) -> None:
    """A tractor that drives to and fro on its field."""
    west, south, east, north = block.bounds_m
    start = (west + 8.0, float(rng.uniform(south + 5, max(north - 5, south + 6))))
    if east - west > 30.0:
        motion = Motion(start, 0.0, float(rng.uniform(1.5, 3.5)), east - west - 16.0, 0.0, turns_back=True)
        put(town, "tractor", int(rng.integers(1 << 30)), motion)


def _power_line(town: Town, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        return
    north = float(rng.uniform(-0.8, 0.8)) * town.world.half_m
    for east in np.arange(-town.world.half_m + 20.0, town.world.half_m - 20.0, 85.0):
        put(town, "pylon", int(rng.integers(1 << 30)), Motion((float(east), north), 0.0))


def _woodland(town: Town, rng: np.random.Generator) -> None:
    """Camp sites, log piles, boulders and trees that fell; deer-sized animals on clearings."""
    for block in _blocks(town, BlockUse.MEADOW, BlockUse.PARKING):
        _scatter(town, rng, block, ("tent", "tent", "car", "pickup", "umbrella"), int(rng.integers(5, 16)))
        _scatter(town, rng, block, ("cow", "horse"), int(rng.integers(0, 8)))
    for block in _blocks(town, BlockUse.WOOD):
        _scatter(town, rng, block, ("log pile", "boulder", "fallen tree", "boulder"), int(9 * _hectares(block)))
        _scatter(town, rng, block, ("tent", "excavator", "trailer"), int(1.2 * _hectares(block)))


def _water_span(town: Town) -> tuple[float, float]:
    """(south, north) between which there is open water, of a world with a shore."""
    shore = max(float(p.outline_m[:-2, 1].min()) for p in town.world.patches if p.soil is Soil.WATER)
    return -town.world.half_m + 6.0, shore


def _boats(town: Town, rng: np.random.Generator, names: tuple[str, ...], count: int) -> None:
    """Boats under way from west to east or back, each on a lane of its own, and some at anchor."""
    south, north = _water_span(town)
    count = max(int(count * (north - south) / 120.0), count)  # wider water, more boats
    for slot in range(count):
        name = names[int(rng.integers(len(names)))]
        lane = south + (north - south) * (slot + 0.5) / count
        heading, number = math.pi * int(rng.integers(2)), int(rng.integers(1 << 30))
        start = (-town.world.half_m if heading == 0.0 else town.world.half_m, lane)
        speed = float(rng.uniform(2, 6)) * float(rng.random() < 0.7)
        phase = float(rng.uniform(0, 2)) * town.world.half_m
        if speed == 0.0:
            at = (float(rng.uniform(-0.9, 0.9)) * town.world.half_m, lane)
            add_thing(town, name, number, Motion(at, float(rng.uniform(0, 6.28))))
        else:
            add_thing(town, name, number, Motion(start, heading, speed, 2 * town.world.half_m, phase))


def _seaside(town: Town, rng: np.random.Generator) -> None:
    """Bathers and umbrellas on the beach, boats off it, a ferry now and then."""
    sand = next(p.outline_m[:-2] for p in town.world.patches if p.soil is Soil.SAND)
    for east, north in sand[(np.abs(sand[:, 0]) < town.world.half_m - 4.0)].tolist():
        for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.3, 0.3, 0.25, 0.15]))):
            name = "umbrella" if rng.random() < 0.4 else "person"
            at = (east + float(rng.uniform(-3, 3)), north - float(rng.uniform(2, 12)))
            add_thing(town, name, int(rng.integers(1 << 30)), Motion(at, float(rng.uniform(0, 6.28))))
    _boats(town, rng, (*SMALL_CRAFT, "ferry"), int(rng.integers(5, 12)))


def _harbour(town: Town, rng: np.random.Generator) -> None:
    """Ships along the quay under cranes, others on their way; stacks, tanks and machines in the yards."""
    quay = next(p for p in town.world.patches if p.soil is Soil.CONCRETE)
    edge = float(quay.outline_m[0, 1]) - 22.0
    berth = -town.world.half_m + 10.0
    while berth < town.world.half_m - 110.0:
        name = CARGO[int(rng.integers(len(CARGO)))]
        half = KINDS[name].half_m
        east = berth + half[0]
        if rng.random() < 0.75:
            moored = Motion((east, edge - half[1] - 1.2), math.pi * int(rng.integers(2)))
            add_thing(town, name, int(rng.integers(1 << 30)), moored)
            add_thing(town, "gantry crane", int(rng.integers(1 << 30)), Motion((east, edge + 11.0), -math.pi / 2))
        berth += 2 * half[0] + float(rng.uniform(8, 30))
    _boats(town, rng, (*CARGO, *SMALL_CRAFT, "ferry"), int(rng.integers(4, 9)))
    for block in _blocks(town, BlockUse.YARD):
        _yard(town, rng, block)


def _yard(town: Town, rng: np.random.Generator, block: Block) -> None:
    """Rows of containers, or a tank farm; forklifts and trucks between."""
    west, south, east, north = block.bounds_m
    if rng.random() < 0.25:
        for at_e in np.arange(west + 13.0, east - 12.0, 26.0):
            for at_n in np.arange(south + 13.0, north - 12.0, 26.0):
                put(town, "storage tank", int(rng.integers(1 << 30)), Motion((float(at_e), float(at_n)), 0.0))
    else:
        for at_n in np.arange(south + 3.0, north - 3.0, 5.4):
            for at_e in np.arange(west + 7.0, east - 6.5, 12.8):
                if rng.random() < 0.6:
                    put(
                        town,
                        "container",
                        int(rng.integers(1 << 30)),
                        Motion((float(at_e), float(at_n)), 0.0),
                        spare_m=0.1,
                    )
    _scatter(town, rng, block, ("forklift", "truck", "tank truck", "forklift", "excavator"), int(6 * _hectares(block)))


def _airfield(town: Town, rng: np.random.Generator) -> None:
    """Aircraft in rows on the apron, hangars behind it, vehicles between, one aeroplane on the taxiway."""
    reach = 0.65 * town.world.half_m
    for at_e in np.arange(-reach, reach, 46.0):
        name = ("airliner", "light plane", "light plane", "helicopter")[int(rng.integers(4))]
        if name == "airliner":
            put(town, name, int(rng.integers(1 << 30)), Motion((float(at_e), 74.0), -math.pi / 2))
        else:
            for shift in (-14.0, 0.0, 14.0):
                at = (float(at_e) + shift, 68.0 + float(rng.uniform(-4, 8)))
                put(town, name, int(rng.integers(1 << 30)), Motion(at, -math.pi / 2 + float(rng.normal(0, 0.2))))
        put(town, "hangar", int(rng.integers(1 << 30)), Motion((float(at_e), 126.0), 0.0))
    apron = Block((-reach, 52.0, reach, 110.0), BlockUse.APRON)
    _scatter(town, rng, apron, ("tank truck", "van", "trailer", "bus", "forklift", "person"), 40)
    taxi = Motion((-town.world.half_m, 44.0), 0.0, 5.0, 2 * town.world.half_m, float(rng.uniform(0, 300)))
    add_thing(town, "light plane", int(rng.integers(1 << 30)), taxi)


def _plant(town: Town, rng: np.random.Generator) -> None:
    """Trees, conifers and bushes as each block has them."""
    share = {BlockUse.PARK: 70.0, BlockUse.HOUSES: 35.0, BlockUse.FLATS: 20.0, BlockUse.FIELD: 8.0, **TREES_PER_HECTARE}
    for block in town.world.blocks:
        conifers = float(rng.uniform(0.1, 0.9)) if block.use is BlockUse.WOOD else 0.15
        for _ in range(int(share.get(block.use, 4.0) * _hectares(block))):
            place, draw = _somewhere(rng, block), rng.random()
            if draw < conifers:
                _plant_one(town, rng, "conifer", place, float(rng.uniform(1.2, 2.6)))
            elif draw < conifers + 0.2:
                _plant_one(town, rng, "bush", place, float(rng.uniform(0.5, 1.4)))
            else:
                town.plant_tree(rng, place, float(rng.uniform(1.4, 3.8)))


def _plant_one(town: Town, rng: np.random.Generator, name: str, place: tuple[float, float], radius_m: float) -> None:
    if not town.ground.take(place, (0.7 * radius_m, 0.7 * radius_m)):
        return
    number = int(rng.integers(1 << 30))
    tone = np.array(town.world.season_bgr) * rng.normal(0.9 if name == "conifer" else 1.0, 0.1)
    leaf = (float(tone[0]), float(tone[1]) * 0.95, float(tone[2]) * (0.85 if name == "conifer" else 1.0))
    model = conifer if name == "conifer" else bush

    def make() -> Mesh:
        return model(rng_for(f"kind/{name}", number), radius_m, leaf)

    height = radius_m * (4.2 if name == "conifer" else 1.2)
    thing = Thing(len(town.world.things) + 1, None, number, Motion(place, 0.0), make, (radius_m, radius_m), height,
                  name=name, cover=LandCover.TREE)  # fmt: skip
    town.world.things.append(thing)
