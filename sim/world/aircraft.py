"""Aircraft on the ground: airliner, light aeroplane, helicopter, and a hangar to put them in."""

from __future__ import annotations

import numpy as np

from sim.arrays import FloatArray
from sim.world.machines import STEEL, slab, turned
from sim.world.materials import Material
from sim.world.mesh import Mesh, MeshBuilder, Paint, PrismStyle, ellipse, rectangle
from sim.world.models import GLASS, colour_of, paint_of

LIVERIES = ((238, 238, 236), (228, 230, 232), (215, 205, 190), (120, 90, 60))
TAILS = ((60, 60, 200), (150, 80, 30), (40, 150, 230), (70, 130, 60), (120, 60, 120))


def _wing(
    root_x: float, tip_x: float, chord_m: tuple[float, float], span_m: tuple[float, float], side: float
) -> FloatArray:
    """(4, 2) a swept wing: x of its leading edge at root and tip, chords there, and distances from the axis."""
    near, far = side * span_m[0], side * span_m[1]
    corners = np.array([[root_x, near], [tip_x, far], [tip_x - chord_m[1], far], [root_x - chord_m[0], near]])
    return corners if side > 0 else corners[::-1]


def airliner(rng: np.random.Generator) -> Mesh:
    """A twin jet of 32 to 40 m with swept wings."""
    builder = MeshBuilder()
    size = float(rng.uniform(0.85, 1.05))
    skin = paint_of(colour_of(rng, LIVERIES, 5.0), 0.22, Material.METAL)
    tail = paint_of(colour_of(rng, TAILS, 15.0), 0.25, Material.METAL)
    for side in (-1.0, 1.0):
        builder.prism(_wing(4.5, -4.0, (7.0, 1.8), (1.2, 17.5), side) * size, (2.4, 2.9), skin.scaled(0.86))
        builder.prism(_wing(-15.0, -17.6, (3.4, 1.3), (0.8, 6.5), side) * size, (4.2, 4.5), skin.scaled(0.86))
        pod = rectangle((0.5, 4.5), (side * 6.0 - 1.0, side * 6.0 + 1.0)) * size
        builder.prism(pod, (1.2, 2.9), Paint((150.0, 150.0, 155.0), 0.55, Material.ENGINE), PrismStyle(shrink=0.85))
    nose, stern = ellipse((4.0, 1.95), 12), ellipse((6.0, 1.95), 12)
    body = np.concatenate([nose[:4] + [14.5, 0.0], stern[3:10] - [13.0, 0.0], nose[9:] + [14.5, 0.0]])  # noqa: RUF005
    builder.prism(body * size, (2.0, 3.6), skin, PrismStyle(walls=skin.scaled(0.8)))
    builder.prism(body * size * np.array([0.98, 0.6]), (3.6, 5.6), skin, PrismStyle(shrink=0.92))
    slab(builder, (16.4 * size, 17.2 * size), (-0.9, 0.9), (4.0, 5.0), paint_of(GLASS, 0.3, Material.GLASS))
    builder.prism(
        rectangle((-18.5, -14.5), (-0.25, 0.25)) * size, (5.0, 11.0), tail, PrismStyle(shrink=0.6, shift_m=(-1.0, 0.0))
    )
    return builder.build(is_dented=True)


def light_plane(rng: np.random.Generator) -> Mesh:
    """A single-engined high-wing aeroplane of 8 m."""
    builder = MeshBuilder()
    skin = paint_of(colour_of(rng, LIVERIES, 8.0), 0.25, Material.METAL)
    trim = paint_of(colour_of(rng, TAILS, 20.0), 0.28, Material.METAL)
    body = np.array(
        [[3.3, 0.35], [2.2, 0.6], [-0.5, 0.6], [-4.4, 0.15], [-4.4, -0.15], [-0.5, -0.6], [2.2, -0.6], [3.3, -0.35]]
    )
    builder.prism(body, (0.7, 1.9), skin)
    slab(builder, (-0.2, 1.3), (-0.55, 0.55), (1.9, 2.2), paint_of(GLASS, 0.35, Material.GLASS))
    slab(builder, (-0.2, 1.4), (-5.4, 5.4), (2.2, 2.4), skin.scaled(1.03))
    for side in (-1.0, 1.0):
        slab(builder, (-0.2, 1.4), (min(side * 5.4, side * 4.6), max(side * 5.4, side * 4.6)), (2.4, 2.42), trim)
    slab(builder, (-4.6, -3.7), (-1.7, 1.7), (1.4, 1.5), skin)
    slab(builder, (-4.6, -3.6), (-0.08, 0.08), (1.5, 2.7), trim)
    builder.prism(turned(rectangle((-0.06, 0.06), (-0.95, 0.95)), 0.0) + np.array([3.4, 0.0]), (0.5, 2.2), STEEL)
    return builder.build(is_dented=True)


def helicopter(rng: np.random.Generator) -> Mesh:
    """A helicopter of 11 m, its rotor still."""
    builder = MeshBuilder()
    skin = paint_of(
        colour_of(rng, ((60, 60, 190), (40, 150, 230), (235, 235, 235), (70, 90, 60), (130, 70, 30)), 12.0),
        0.3,
        Material.METAL,
    )
    builder.prism(ellipse((2.6, 1.1), 12) + np.array([0.8, 0.0]), (0.6, 2.4), skin, PrismStyle(shrink=0.85))
    builder.prism(ellipse((1.0, 0.9), 8) + np.array([2.3, 0.0]), (1.4, 2.3), paint_of(GLASS, 0.35, Material.GLASS))
    slab(builder, (-6.2, -1.2), (-0.28, 0.28), (1.7, 2.2), skin.scaled(0.95))
    slab(builder, (-6.5, -5.8), (-0.06, 0.06), (1.7, 3.4), skin)
    slab(builder, (-5.6, -5.1), (-1.3, 1.3), (1.9, 2.0), skin)
    for side in (-1.0, 1.0):
        slab(builder, (-1.0, 2.8), (side * 1.1 - 0.07, side * 1.1 + 0.07), (0.1, 0.2), STEEL)
    engine = Paint((90.0, 90.0, 92.0), 0.6, Material.ENGINE)
    slab(builder, (-1.0, 1.0), (-0.6, 0.6), (2.4, 3.0), engine)
    turn = float(rng.uniform(0, 1.57))
    for blade in range(4):
        builder.prism(
            turned(rectangle((0.2, 5.4), (-0.14, 0.14)), turn + blade * np.pi / 2),
            (3.2, 3.27),
            Paint((55.0, 55.0, 55.0), 0.3),
        )
    return builder.build(is_dented=True)


def hangar(rng: np.random.Generator) -> Mesh:
    """A hangar with a curved metal roof, 30 m by 24 m."""
    builder = MeshBuilder()
    wall = paint_of(colour_of(rng, ((170, 175, 175), (140, 150, 150), (150, 120, 90)), 10.0), 0.4, Material.METAL)
    roof = paint_of(colour_of(rng, ((185, 188, 190), (150, 155, 158), (120, 130, 110)), 8.0), 0.35, Material.METAL)
    half_x, half_y = 15.0, 12.0
    slab(builder, (-half_x, half_x), (-half_y, half_y), (0.0, 6.0), roof, PrismStyle(walls=wall))
    angles = np.linspace(0.0, np.pi, 9)
    y, z = -half_y * np.cos(angles), 6.0 + 4.0 * np.sin(angles)
    for low, high in zip(range(8), range(1, 9), strict=True):
        strip = [
            [-half_x, y[low], z[low]],
            [half_x, y[low], z[low]],
            [half_x, y[high], z[high]],
            [-half_x, y[high], z[high]],
        ]
        builder.face(np.array(strip), roof.scaled(0.92 + 0.03 * (low % 2)))
    return builder.build()
