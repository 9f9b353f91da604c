"""Houses with pitched roofs and flat-roofed blocks, with windows and roof clutter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.arrays import FloatArray
from sim.world.materials import Material
from sim.world.mesh import Mesh, MeshBuilder, Paint, PrismStyle, at_height, ellipse, rectangle

WALLS = (
    (190, 205, 215), (165, 180, 195), (140, 165, 190), (110, 130, 165),
    (200, 200, 200), (90, 105, 150), (175, 190, 190),
)  # fmt: skip
TILES = ((60, 75, 135), (50, 60, 110), (75, 75, 80), (60, 62, 66), (85, 110, 160), (90, 85, 80))
FLAT_ROOFS = ((150, 150, 150), (120, 122, 125), (175, 178, 180), (95, 98, 100), (130, 140, 150), (100, 110, 130))


@dataclass(frozen=True)
class BuildingSize:
    """Half extents along local x and y, wall height, and whether the roof is pitched; metres."""

    half_x_m: float
    half_y_m: float
    wall_m: float
    is_pitched: bool


def _pick(
    rng: np.random.Generator, choices: tuple[tuple[int, int, int], ...], heat: float, material: Material
) -> Paint:
    base = np.array(choices[int(rng.integers(len(choices)))]) + rng.normal(0.0, 8.0, 3)
    return Paint((float(base[0]), float(base[1]), float(base[2])), heat, material)


def _windows(builder: MeshBuilder, size: BuildingSize, glass: Paint, gap_m: float) -> None:
    """One strip of windows per wall and storey, cut into panes."""
    corners = rectangle((-size.half_x_m, size.half_x_m), (-size.half_y_m, size.half_y_m))
    for wall in range(4):
        a, b = corners[wall], corners[(wall + 1) % 4]
        length = float(np.linalg.norm(b - a))
        panes = max(int(length / gap_m), 1)
        for storey in np.arange(1.0, size.wall_m - 1.4, 3.0):
            for pane in range(panes):
                middle = (pane + 0.5) / panes
                half = 0.55 / length
                p, q = a + (b - a) * (middle - half), a + (b - a) * (middle + half)
                low, high = storey, storey + 1.3
                points = [[p[0], p[1], low], [q[0], q[1], low], [q[0], q[1], high], [p[0], p[1], high]]
                builder.face(np.array(points), glass, solid=False)


def _pitched_roof(builder: MeshBuilder, size: BuildingSize, tiles: Paint, rng: np.random.Generator) -> None:
    """A gable roof with its ridge along local x, and rows of tiles as thin lines."""
    x, y, eave = size.half_x_m + 0.4, size.half_y_m + 0.4, size.wall_m
    ridge = eave + size.half_y_m * rng.uniform(0.45, 0.75)
    for side in (-1.0, 1.0):
        slope = np.array([[-x, side * y, eave], [x, side * y, eave], [x, 0.0, ridge], [-x, 0.0, ridge]])
        slope = slope if side < 0 else slope[::-1]
        builder.face(slope, tiles.scaled(1.0, 0.03 * side))
        for row in np.linspace(0.08, 0.92, max(int(y / 0.55), 3)):
            line = _between(slope, side, float(row), 0.1 / y)
            builder.face(line, tiles.scaled(0.88), solid=False)
    for side in (-1.0, 1.0):
        gable = np.array([[side * size.half_x_m, -y, eave], [side * size.half_x_m, y, eave], [side * x, 0.0, ridge]])
        builder.face(gable if side > 0 else gable[::-1], tiles.scaled(0.8))
    if rng.random() < 0.6:
        at = float(rng.uniform(-0.6, 0.6)) * x
        stack = rectangle((at - 0.35, at + 0.35), (0.5, 1.1))
        builder.prism(stack, (eave, ridge + 0.5), Paint((70.0, 80.0, 130.0), tiles.heat + 0.3, Material.CONCRETE))
    if rng.random() < 0.3:
        _solar(builder, size, ridge, rng)


def _between(slope: FloatArray, side: float, row: float, thick: float) -> FloatArray:
    """A thin line along a roof slope, `row` of the way from eave to ridge."""
    eave_a, eave_b, ridge_b, ridge_a = slope if side < 0 else slope[::-1]
    low_a, low_b = eave_a + (ridge_a - eave_a) * row, eave_b + (ridge_b - eave_b) * row
    top = min(row + thick, 1.0)
    high_a, high_b = eave_a + (ridge_a - eave_a) * top, eave_b + (ridge_b - eave_b) * top
    line = np.stack([low_a, low_b, high_b, high_a])
    return line if side < 0 else line[::-1]


def _solar(builder: MeshBuilder, size: BuildingSize, ridge: float, rng: np.random.Generator) -> None:
    y = size.half_y_m + 0.4
    x = size.half_x_m * float(rng.uniform(0.4, 0.8))
    points = []
    for px, part in ((-x, 0.25), (x, 0.25), (x, 0.8), (-x, 0.8)):
        points.append([px, -y * (1 - part), size.wall_m + (ridge - size.wall_m) * part + 0.05])
    builder.face(np.array(points), Paint((75.0, 45.0, 35.0), 0.75, Material.GLASS), solid=False)


def _flat_roof(builder: MeshBuilder, size: BuildingSize, roof: Paint, rng: np.random.Generator) -> None:
    """A parapet, stains, and boxes of machinery."""
    x, y, z = size.half_x_m, size.half_y_m, size.wall_m
    inner = rectangle((-x + 0.5, x - 0.5), (-y + 0.5, y - 0.5))
    builder.face(at_height(inner, z + 0.01), roof.scaled(0.86, 0.05), solid=False)
    for _ in range(int(rng.integers(3, 9))):
        at = np.array([rng.uniform(-0.8, 0.8) * x, rng.uniform(-0.8, 0.8) * y])
        reach = np.minimum(rng.uniform(0.6, 3.0, 2), np.array([x, y]) - 0.6 - np.abs(at))
        if reach.min() > 0.2:
            stain = at + rng.uniform(0.5, 1.0, (8, 1)) * ellipse((1.0, 1.0)) * reach
            builder.area(at_height(stain, z + 0.02), roof.scaled(rng.uniform(0.75, 0.95), 0.03), solid=False)
    for _ in range(int(rng.integers(1, int(2 + x * y / 40)))):
        half = rng.uniform(0.4, 1.6, 2)
        at = np.array([rng.uniform(-0.7, 0.7) * x, rng.uniform(-0.7, 0.7) * y])
        unit = rectangle((at[0] - half[0], at[0] + half[0]), (at[1] - half[1], at[1] + half[1]))
        box = roof.scaled(rng.uniform(0.8, 1.3), float(rng.uniform(-0.1, 0.35)))
        builder.prism(unit, (z, z + rng.uniform(0.5, 1.8)), box)


def building(rng: np.random.Generator, size: BuildingSize) -> Mesh:
    """A house or a block of the given size, standing on the origin."""
    builder = MeshBuilder()
    heat = rng.uniform(0.3, 0.55)
    wall = _pick(rng, WALLS, heat, Material.CONCRETE)
    roof_heat = float(np.clip(heat + rng.normal(0.0, 0.12), 0.12, 0.85))
    roof = _pick(rng, TILES if size.is_pitched else FLAT_ROOFS, roof_heat, Material.TILE)
    outline = rectangle((-size.half_x_m, size.half_x_m), (-size.half_y_m, size.half_y_m))
    builder.prism(outline, (0.0, size.wall_m), roof.scaled(1.1), PrismStyle(walls=wall))
    glass = Paint((70.0, 62.0, 52.0), float(np.clip(heat + rng.choice([-0.15, 0.2]), 0.1, 0.9)), Material.GLASS)
    _windows(builder, size, glass, float(rng.uniform(2.2, 3.4)))
    if size.is_pitched:
        _pitched_roof(builder, size, roof, rng)
    else:
        _flat_roof(builder, size, roof, rng)
    return builder.build()
