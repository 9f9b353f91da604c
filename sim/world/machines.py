"""Working machines and two-wheelers: tractor, trailer, pickup, excavator, forklift, motorcycle, tanker truck."""

from __future__ import annotations

import numpy as np

from sim.arrays import FloatArray
from sim.world.materials import Material
from sim.world.mesh import Mesh, MeshBuilder, Paint, PrismStyle, ellipse, rectangle
from sim.world.models import CAR_COLOURS, CLOTHES, GLASS, colour_of, paint_of

MACHINE_COLOURS = ((20, 160, 235), (20, 120, 240), (40, 200, 240), (60, 140, 40), (40, 40, 190), (150, 150, 155))
STEEL = Paint((118.0, 115.0, 112.0), 0.3, Material.METAL)
TYRE = Paint((28.0, 27.0, 27.0), 0.35, Material.RUBBER)


def slab(
    builder: MeshBuilder,
    x_m: tuple[float, float],
    y_m: tuple[float, float],
    z_m: tuple[float, float],
    paint: Paint,
    style: PrismStyle | None = None,
) -> None:
    """Adds an upright box between two bounds on each axis."""
    builder.prism(rectangle(x_m, y_m), z_m, paint, style)


def turned(outline: FloatArray, angle_rad: float) -> FloatArray:
    """(N, 2) an outline turned counter-clockwise about the origin."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.asarray(outline @ np.array([[cos, sin], [-sin, cos]]), dtype=np.float64)


def _cab(builder: MeshBuilder, x_m: tuple[float, float], half_y: float, z_m: tuple[float, float], paint: Paint) -> None:
    glass = paint_of(GLASS, 0.45, Material.GLASS)
    slab(builder, x_m, (-half_y, half_y), (z_m[0], z_m[1] - 0.15), paint, PrismStyle(walls=glass))
    slab(builder, x_m, (-half_y, half_y), (z_m[1] - 0.15, z_m[1]), paint)


def _machine_paint(rng: np.random.Generator) -> Paint:
    return paint_of(colour_of(rng, MACHINE_COLOURS, 12.0), float(rng.uniform(0.15, 0.45)), Material.METAL)


def tractor(rng: np.random.Generator) -> Mesh:
    """A farm tractor, about 4.5 m long: small wheels before, large behind."""
    builder = MeshBuilder()
    body = _machine_paint(rng)
    for x, radius, wide, half_y in ((1.5, 0.55, 0.2, 0.8), (-1.1, 0.9, 0.3, 0.85)):
        for side in (-1.0, 1.0):
            slab(builder, (x - radius, x + radius), sorted_pair(side * half_y, side * (half_y + 2 * wide)),
                 (0.0, 1.75 * radius), TYRE, PrismStyle(shrink=0.85))  # fmt: skip
    hood = Paint(body.bgr, min(body.heat + 0.35, 1.0), Material.ENGINE)
    slab(builder, (0.2, 2.1), (-0.45, 0.45), (0.7, 1.5), hood, PrismStyle(shrink=0.94))
    slab(builder, (-1.9, 0.2), (-0.6, 0.6), (0.7, 1.3), body)
    _cab(builder, (-1.5, 0.15), 0.7, (1.3, 2.7), body)
    return builder.build()


def sorted_pair(a: float, b: float) -> tuple[float, float]:
    """The two numbers, smaller first."""
    return (a, b) if a < b else (b, a)


def trailer(rng: np.random.Generator) -> Mesh:
    """A farm trailer, empty or heaped with grain, hay or earth."""
    builder = MeshBuilder()
    body, half_x = _machine_paint(rng), float(rng.uniform(2.0, 3.2))
    slab(builder, (half_x, half_x + 1.2), (-0.08, 0.08), (0.5, 0.65), STEEL)
    for x in (-0.5 * half_x, 0.5 * half_x):
        for side in (-1.0, 1.0):
            slab(builder, (x - 0.45, x + 0.45), sorted_pair(side * 0.85, side * 1.15), (0.0, 0.85), TYRE)
    slab(builder, (-half_x, half_x), (-1.15, 1.15), (0.7, 1.6), body)
    load = ((70, 170, 205), (70, 110, 150), (90, 130, 140))[int(rng.integers(3))]
    heap = paint_of(colour_of(rng, (load,), 10.0), 0.5, Material.SOIL)
    builder.prism(rectangle((-half_x + 0.15, half_x - 0.15), (-1.0, 1.0)), (1.6, 1.6 + float(rng.uniform(0.05, 0.8))),
                  heap, PrismStyle(shrink=0.6))  # fmt: skip
    return builder.build()


def pickup(rng: np.random.Generator) -> Mesh:
    """A pickup truck, 5.2 m long, its bed open."""
    builder = MeshBuilder()
    body = paint_of(colour_of(rng, CAR_COLOURS, 8.0), float(rng.uniform(0.08, 0.5)), Material.METAL)
    slab(builder, (-2.6, 2.6), (-0.95, 0.95), (0.35, 1.0), body, PrismStyle(shrink=0.97))
    bed = paint_of((60.0, 60.0, 62.0), 0.4)
    builder.face(np.column_stack([rectangle((-2.4, -0.5), (-0.8, 0.8)), np.full(4, 1.01)]), bed, solid=False)
    if rng.random() < 0.5:
        cargo = paint_of(colour_of(rng, CLOTHES, 15.0), 0.45, Material.WOOD)
        slab(builder, (-2.2, -0.9), (-0.6, 0.6), (1.01, 1.01 + float(rng.uniform(0.2, 0.6))), cargo)
    _cab(builder, (-0.4, 1.2), 0.85, (1.0, 1.75), body)
    for x in (1.6, -1.6):
        for side in (-1.0, 1.0):
            slab(builder, (x - 0.38, x + 0.38), sorted_pair(side * 0.9, side * 0.99), (0.0, 0.76), TYRE)
    return builder.build()


def excavator(rng: np.random.Generator) -> Mesh:
    """A tracked excavator, its arm stretched out or folded."""
    builder = MeshBuilder()
    body, turn = _machine_paint(rng), float(rng.uniform(0, 6.28))
    for side in (-1.0, 1.0):
        slab(builder, (-1.9, 1.9), sorted_pair(side * 0.75, side * 1.35), (0.0, 0.85), TYRE, PrismStyle(shrink=0.95))
    house = turned(rectangle((-2.0, 1.0), (-1.3, 1.3)), turn)
    builder.prism(house, (0.9, 2.0), body)
    engine = Paint(body.bgr, min(body.heat + 0.4, 1.0), Material.ENGINE)
    builder.prism(turned(rectangle((-1.9, -0.9), (-1.2, 1.2)), turn), (2.0, 2.3), engine)
    glass = paint_of(GLASS, 0.5, Material.GLASS)
    builder.prism(turned(rectangle((-0.2, 1.1), (0.3, 1.25)), turn), (2.0, 2.9), body, PrismStyle(walls=glass))
    reach = float(rng.uniform(2.5, 5.0))
    builder.prism(turned(rectangle((0.8, 0.8 + reach), (-0.75, -0.3)), turn), (2.2, 2.7), body)
    builder.prism(turned(rectangle((0.5 + reach, 1.6 + reach), (-1.0, -0.05)), turn), (0.3, 1.3), STEEL)
    return builder.build(is_dented=True)


def forklift(rng: np.random.Generator) -> Mesh:
    """A forklift, 2.5 m long with its fork."""
    builder = MeshBuilder()
    body = _machine_paint(rng)
    slab(builder, (-1.2, 0.6), (-0.6, 0.6), (0.15, 1.1), body)
    slab(builder, (0.65, 0.8), (-0.5, 0.5), (0.1, 2.3), STEEL)
    for y in (-0.3, 0.3):
        slab(builder, (0.8, 1.9), (y - 0.07, y + 0.07), (0.1, 0.2), STEEL)
    slab(builder, (-0.9, 0.4), (-0.5, 0.5), (1.95, 2.1), body.scaled(0.8))
    return builder.build(is_dented=True)


def motorcycle(rng: np.random.Generator) -> Mesh:
    """A motorcycle, 2.1 m long, parked on its stand."""
    builder = MeshBuilder()
    tank = paint_of(colour_of(rng, CAR_COLOURS + CLOTHES, 15.0), float(rng.uniform(0.1, 0.6)), Material.METAL)
    for x in (-0.72, 0.72):
        slab(builder, (x - 0.33, x + 0.33), (-0.08, 0.08), (0.0, 0.64), TYRE, PrismStyle(shrink=0.8))
    builder.prism(rectangle((-0.4, 0.35), (-0.22, 0.22)), (0.3, 0.7), Paint((60.0, 60.0, 60.0), 0.7, Material.ENGINE))
    builder.prism(ellipse((0.32, 0.17), 8) + np.array([0.2, 0.0]), (0.7, 0.98), tank)
    slab(builder, (-0.75, 0.0), (-0.15, 0.15), (0.7, 0.85), TYRE.scaled(1.3))
    slab(builder, (0.5, 0.58), (-0.38, 0.38), (0.95, 1.05), STEEL)
    return builder.build()


def tank_truck(rng: np.random.Generator) -> Mesh:
    """A road tanker, 9 m long: cab before, a long round tank behind."""
    builder = MeshBuilder()
    cab = paint_of(colour_of(rng, CAR_COLOURS, 10.0), float(rng.uniform(0.3, 0.8)), Material.METAL)
    slab(builder, (-4.5, 4.3), (-1.0, 1.0), (0.5, 0.95), TYRE)
    _cab(builder, (2.7, 4.4), 1.2, (0.6, 2.7), cab)
    skin = paint_of(colour_of(rng, ((215, 215, 215), (235, 235, 235), (60, 60, 190), (170, 175, 180)), 8.0), 0.3,
                    Material.METAL)  # fmt: skip
    slab(builder, (-4.5, 2.4), (-1.15, 1.15), (1.0, 1.9), skin)
    builder.prism(rectangle((-4.5, 2.4), (-1.15, 1.15)), (1.9, 2.7), skin.scaled(1.05), PrismStyle(shrink=0.7))
    for x in np.linspace(-3.6, 1.4, 4):
        builder.prism(ellipse((0.3, 0.3), 8) + np.array([x, 0.0]), (2.7, 2.85), skin.scaled(0.75))
    return builder.build()
