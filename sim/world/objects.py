"""Things that stand about: containers, tanks, tents, bales, cranes, pylons, boulders, fallen trees, pools and so on."""

from __future__ import annotations

import numpy as np

from sim.arrays import FloatArray
from sim.world.machines import STEEL, slab, turned
from sim.world.materials import Material
from sim.world.mesh import Mesh, MeshBuilder, Paint, PrismStyle, at_height, ellipse, rectangle
from sim.world.models import CLOTHES, colour_of, paint_of
from sim.world.ships import BOXES


def container(rng: np.random.Generator) -> Mesh:
    """One to three shipping containers, 6.1 or 12.2 m by 2.4 m, stacked."""
    builder = MeshBuilder()
    half_x = 6.1 if rng.random() < 0.5 else 3.05
    for storey in range(int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))):
        box = paint_of(colour_of(rng, BOXES, 14.0), float(rng.uniform(0.2, 0.6)), Material.METAL)
        low = 2.6 * storey
        slab(builder, (-half_x, half_x), (-1.22, 1.22), (low, low + 2.6), box)
        for x in np.arange(-half_x + 0.5, half_x - 0.4, 1.1):
            outline = rectangle((x, x + 0.12), (-1.2, 1.2))
            builder.face(at_height(outline, low + 2.61), box.scaled(0.86), solid=False)
    return builder.build()


def storage_tank(rng: np.random.Generator) -> Mesh:
    """A round storage tank, 8 to 20 m wide, with a shallow cone or a floating roof."""
    builder = MeshBuilder()
    radius, height = float(rng.uniform(4, 10)), float(rng.uniform(6, 12))
    skin = paint_of(colour_of(rng, ((225, 226, 226), (190, 195, 198), (150, 165, 150)), 6.0), 0.35, Material.METAL)
    wall = ellipse((radius, radius), 24)
    if rng.random() < 0.5:
        builder.prism(wall, (0.0, height), skin.scaled(0.8), PrismStyle(walls=skin))
        roof = ellipse((0.93 * radius, 0.93 * radius), 24)
        builder.face(at_height(roof, height - 0.2), skin.scaled(float(rng.uniform(0.45, 0.7))), solid=False)
    else:
        builder.prism(wall, (0.0, height), skin, PrismStyle(walls=skin.scaled(0.9)))
        builder.prism(wall, (height, height + 0.18 * radius), skin.scaled(1.04), PrismStyle(shrink=0.1))
    return builder.build()


def tent(rng: np.random.Generator) -> Mesh:
    """A tent: a ridge tent of 3 to 6 m, or a dome."""
    builder = MeshBuilder()
    cloth = paint_of(colour_of(rng, (*CLOTHES, (60, 110, 70), (90, 170, 210)), 15.0), 0.45, Material.CLOTH)
    half_x = float(rng.uniform(1.3, 3.0))
    half_y, ridge = 0.75 * half_x, 0.8 * half_x
    if rng.random() < 0.4:
        builder.prism(ellipse((half_x, half_y * 1.2), 10), (0.0, 0.6 * ridge), cloth, PrismStyle(shrink=0.75))
        builder.prism(ellipse((half_x, half_y * 1.2), 10) * 0.75, (0.6 * ridge, ridge), cloth, PrismStyle(shrink=0.3))
        return builder.build()
    for side in (-1.0, 1.0):
        slope = np.array(
            [[-half_x, side * half_y, 0], [half_x, side * half_y, 0], [half_x, 0, ridge], [-half_x, 0, ridge]]
        )
        builder.face(slope if side < 0 else slope[::-1], cloth.scaled(1.0 - 0.06 * (side > 0)))
    for side in (-1.0, 1.0):
        gable = np.array([[side * half_x, -half_y, 0], [side * half_x, half_y, 0], [side * half_x, 0, ridge]])
        builder.face(gable if side > 0 else gable[::-1], cloth.scaled(0.7))
    return builder.build()


def hay_bale(rng: np.random.Generator) -> Mesh:
    """A round bale on its side, wrapped or bare, 1.4 m across."""
    builder = MeshBuilder()
    is_wrapped = rng.random() < 0.3
    straw = paint_of((230.0, 230.0, 225.0), 0.35, Material.PLASTIC) if is_wrapped else paint_of(
        colour_of(rng, ((95, 175, 200), (110, 165, 185)), 10.0), 0.45, Material.DRY_GRASS)  # fmt: skip
    half, radius = 0.65, 0.7
    angles = np.linspace(0.0, 2 * np.pi, 11)[:-1]
    ring = np.column_stack([radius * np.cos(angles), radius + radius * np.sin(angles)])
    for i in range(10):
        (y0, z0), (y1, z1) = ring[i], ring[(i + 1) % 10]
        builder.face(np.array([[half, y0, z0], [half, y1, z1], [-half, y1, z1], [-half, y0, z0]]), straw)
    for side in (-1.0, 1.0):
        end = np.column_stack([np.full(10, side * half), ring])
        builder.face(end if side > 0 else end[::-1], straw.scaled(0.85))
    return builder.build()


def log_pile(rng: np.random.Generator) -> Mesh:
    """A stack of logs, 4 to 7 m long."""
    builder = MeshBuilder()
    half_x, rows = float(rng.uniform(2.0, 3.5)), int(rng.integers(3, 6))
    for storey in range(rows):
        for k in range(rows - storey):
            bark = paint_of(colour_of(rng, ((70, 95, 120), (60, 80, 100), (90, 120, 150)), 12.0), 0.35, Material.WOOD)
            y, z = (k - (rows - storey) / 2 + 0.5) * 0.5, 0.42 * storey
            ends = rng.uniform(-0.25, 0.25, 2)
            outline = rectangle((-half_x + float(ends[0]), half_x + float(ends[1])), (y - 0.24, y + 0.24))
            builder.prism(outline, (z, z + 0.44), bark, PrismStyle(walls=bark.scaled(1.3), shrink=0.96))
    return builder.build(is_dented=True)


def boulder(rng: np.random.Generator) -> Mesh:
    """A single rounded rock, 1 to 3.5 m across."""
    builder = MeshBuilder()
    radius = float(rng.uniform(0.5, 1.75))
    stone = paint_of(colour_of(rng, ((125, 130, 135), (100, 110, 120), (140, 150, 165)), 10.0), 0.45, Material.CONCRETE)
    rough = ellipse((radius, radius * float(rng.uniform(0.7, 1.0))), 9) * rng.uniform(0.82, 1.12, (9, 1))
    builder.prism(rough, (0.0, 0.45 * radius), stone, PrismStyle(walls=stone.scaled(0.8), shrink=0.85))
    builder.prism(rough * 0.85, (0.45 * radius, 0.85 * radius), stone.scaled(1.08), PrismStyle(shrink=0.45))
    return builder.build()


def fallen_tree(rng: np.random.Generator) -> Mesh:
    """A tree that lies: its trunk, torn roots at one end, broken branches at the other; 6 to 12 m."""
    builder = MeshBuilder()
    half_x = float(rng.uniform(3.0, 6.0))
    bark = paint_of(colour_of(rng, ((60, 80, 105), (75, 95, 115)), 10.0), 0.35, Material.WOOD)
    slab(builder, (-half_x, 0.7 * half_x), (-0.3, 0.3), (0.1, 0.65), bark)
    builder.prism(ellipse((0.5, 1.1), 9) * rng.uniform(0.7, 1.2, (9, 1)) + [-half_x, 0.0], (0.0, 1.4), bark.scaled(0.7))
    leaf = paint_of(colour_of(rng, ((50, 95, 75), (60, 100, 120)), 12.0), 0.28, Material.LEAF)
    for _ in range(9):
        at = np.array([float(rng.uniform(0.2, 1.0)) * half_x, 0.0])
        branch = turned(rectangle((0.0, float(rng.uniform(0.8, 2.4))), (-0.07, 0.07)), float(rng.uniform(-1.3, 1.3)))
        builder.prism(branch + at, (0.3, 0.45), bark.scaled(0.9))
        tuft = ellipse((0.6, 0.45), 7) * rng.uniform(0.6, 1.3, (7, 1)) + at + branch[1]
        builder.prism(tuft, (0.3, float(rng.uniform(0.5, 1.2))), leaf.scaled(float(rng.uniform(0.8, 1.1))))
    return builder.build(is_dented=True)


def gantry_crane(rng: np.random.Generator) -> Mesh:
    """A quay crane: a portal on four legs with a boom of 40 m over the water (towards x)."""
    builder = MeshBuilder()
    paint = paint_of(colour_of(rng, ((40, 60, 190), (170, 110, 40), (40, 190, 230)), 12.0), 0.3, Material.METAL)
    for x in (-8.0, 8.0):
        for y in (-7.0, 7.0):
            slab(builder, (x - 0.7, x + 0.7), (y - 0.7, y + 0.7), (0.0, 26.0), paint)
        slab(builder, (x - 0.6, x + 0.6), (-7.0, 7.0), (24.0, 26.0), paint)
    for y in (-2.2, 2.2):
        slab(builder, (-16.0, 30.0), (y - 0.6, y + 0.6), (26.0, 28.0), paint.scaled(1.05))
    for x in np.arange(-14.0, 29.0, 5.0):
        slab(builder, (x - 0.25, x + 0.25), (-2.2, 2.2), (26.8, 27.4), paint.scaled(0.8))
    slab(builder, (-13.0, -7.0), (-2.5, 2.5), (28.0, 31.0), paint.scaled(0.9))
    return builder.build(is_dented=True)


def pylon(rng: np.random.Generator) -> Mesh:
    """A power pylon, 25 to 32 m high, three pairs of arms."""
    builder = MeshBuilder()
    height = float(rng.uniform(25, 32))
    for x in (-2.6, 2.6):
        for y in (-2.6, 2.6):
            foot = rectangle((x - 0.18, x + 0.18), (y - 0.18, y + 0.18))
            builder.prism(foot, (0.0, 0.8 * height), STEEL, PrismStyle(shift_m=(-0.85 * x, -0.85 * y)))
    for share, reach in ((0.62, 6.0), (0.76, 5.0), (0.9, 3.6)):
        z = share * height
        slab(builder, (-0.25, 0.25), (-reach, reach), (z, z + 0.35), STEEL)
        for y in (-reach, reach):
            slab(builder, (-0.2, 0.2), (y - 0.2, y + 0.2), (z - 1.3, z), STEEL.scaled(0.6))
    slab(builder, (-0.45, 0.45), (-0.45, 0.45), (0.6 * height, height), STEEL.scaled(0.92))
    return builder.build(is_dented=True)


def wind_turbine(rng: np.random.Generator) -> Mesh:
    """A small wind turbine: mast of 30 m, rotor of 20 m, standing still with its blades feathered."""
    builder = MeshBuilder()
    white = paint_of((236.0, 237.0, 236.0), 0.3, Material.PLASTIC)
    builder.prism(ellipse((1.1, 1.1), 10), (0.0, 30.0), white, PrismStyle(shrink=0.55))
    slab(builder, (-1.8, 1.8), (-0.8, 0.8), (30.0, 31.6), white)
    turn = float(rng.uniform(0, 2.09))
    for blade in range(3):
        angle = turn + blade * 2 * np.pi / 3
        along = np.array([0.0, np.cos(angle), np.sin(angle)])
        across = 0.5 * np.array([0.0, -np.sin(angle), np.cos(angle)]) + np.array([0.87, 0.0, 0.0])
        hub = np.array([2.0, 0.0, 30.8])
        corners = [
            hub + 0.6 * across,
            hub - 0.6 * across,
            hub + 10 * along - 0.15 * across,
            hub + 10 * along + 0.15 * across,
        ]
        builder.face(np.array(corners), white.scaled(0.95), two_sided=True)
    return builder.build(is_dented=True)


def umbrella(rng: np.random.Generator) -> Mesh:
    """A sunshade of 2.5 m, striped or plain."""
    builder = MeshBuilder()
    first = paint_of(colour_of(rng, CLOTHES, 15.0), 0.5, Material.CLOTH)
    second = paint_of((235.0, 235.0, 232.0), 0.5, Material.CLOTH) if rng.random() < 0.6 else first
    slab(builder, (-0.05, 0.05), (-0.05, 0.05), (0.0, 2.2), STEEL)
    rim = ellipse((1.25, 1.25), 8)
    for i in range(8):
        a, b = rim[i], rim[(i + 1) % 8]
        wedge = np.array([[a[0], a[1], 2.0], [b[0], b[1], 2.0], [0.0, 0.0, 2.5]])
        builder.face(wedge, first if i % 2 else second)
    return builder.build()


def pool(rng: np.random.Generator) -> Mesh:
    """A garden pool with its paved rim, 6 to 10 m."""
    builder = MeshBuilder()
    half_x = float(rng.uniform(3.0, 5.0))
    rim = paint_of((190.0, 200.0, 205.0), 0.55, Material.CONCRETE)
    slab(builder, (-half_x - 0.6, half_x + 0.6), (-0.5 * half_x - 0.6, 0.5 * half_x + 0.6), (0.0, 0.08), rim)
    water = paint_of(colour_of(rng, ((210, 185, 70), (190, 150, 60)), 12.0), 0.2, Material.WATER)
    builder.face(at_height(rectangle((-half_x, half_x), (-0.5 * half_x, 0.5 * half_x)), 0.09), water, solid=False)
    return builder.build()


def greenhouse(rng: np.random.Generator) -> Mesh:
    """A glasshouse or foil tunnel, 20 to 36 m long."""
    builder = MeshBuilder()
    half_x, half_y = float(rng.uniform(10, 18)), float(rng.uniform(3.5, 6))
    pale = paint_of(colour_of(rng, ((205, 210, 205), (190, 200, 190)), 8.0), 0.5, Material.PLASTIC)
    slab(builder, (-half_x, half_x), (-half_y, half_y), (0.0, 2.4), pale, PrismStyle(walls=pale.scaled(0.9)))
    for side in (-1.0, 1.0):
        slope = np.array(
            [[-half_x, side * half_y, 2.4], [half_x, side * half_y, 2.4], [half_x, 0, 4.0], [-half_x, 0, 4.0]]
        )
        builder.face(slope if side < 0 else slope[::-1], pale)
    for x in np.arange(-half_x + 1.0, half_x, 2.0):
        for side in (-1.0, 1.0):
            bar = np.array(
                [[x, side * half_y, 2.42], [x + 0.15, side * half_y, 2.42], [x + 0.15, 0, 4.02], [x, 0, 4.02]]
            )
            builder.face(bar if side < 0 else bar[::-1], pale.scaled(0.75), solid=False)
    return builder.build()


def solar_field(rng: np.random.Generator) -> Mesh:
    """A row of solar panels on the ground, 12 to 20 m long, tilted."""
    builder = MeshBuilder()
    half_x = float(rng.uniform(6, 10))
    glass = Paint((72.0, 46.0, 34.0), 0.7, Material.GLASS)
    low, high = np.array([-1.4, 0.6]), np.array([1.4, 2.0])
    top = np.array(
        [[-half_x, low[0], low[1]], [half_x, low[0], low[1]], [half_x, high[0], high[1]], [-half_x, high[0], high[1]]]
    )
    builder.face(top, glass)
    builder.face(top[::-1] - np.array([0.0, 0.0, 0.1]), STEEL.scaled(0.5))
    for x in np.arange(-half_x + 1.0, half_x, 1.1):
        line = np.array(
            [[x, low[0], low[1]], [x + 0.06, low[0], low[1]], [x + 0.06, high[0], high[1]], [x, high[0], high[1]]]
        )
        builder.face(line + np.array([0.0, 0.0, 0.02]), STEEL, solid=False)
    return builder.build()


def _limbs(builder: MeshBuilder, half_x: float, half_y: float, leg_m: float, paint: Paint) -> None:
    for x in (-0.75 * half_x, 0.75 * half_x):
        for y in (-0.6 * half_y, 0.6 * half_y):
            slab(builder, (x - 0.07, x + 0.07), (y - 0.07, y + 0.07), (0.0, leg_m), paint)


def _animal(
    rng: np.random.Generator, size_m: tuple[float, float, float], coats: tuple[tuple[int, int, int], ...]
) -> Mesh:
    """A four-legged animal: half length, half width and height of its back."""
    half_x, half_y, back = size_m
    builder = MeshBuilder()
    coat = paint_of(colour_of(rng, coats, 10.0), float(rng.uniform(0.7, 0.95)), Material.FUR)
    _limbs(builder, half_x, half_y, 0.55 * back, coat.scaled(0.7))
    body: FloatArray = ellipse((half_x, half_y), 10)
    builder.prism(body, (0.45 * back, back), coat, PrismStyle(shrink=0.75))
    head = ellipse((0.28 * half_x, 0.5 * half_y), 8) + np.array([1.15 * half_x, 0.0])
    builder.prism(head, (0.6 * back, 1.05 * back), coat.scaled(0.95))
    if rng.random() < 0.5:
        spot = ellipse((0.35 * half_x, 0.5 * half_y), 7) * rng.uniform(0.6, 1.1, (7, 1))
        builder.face(
            at_height(spot + np.array([float(rng.uniform(-0.4, 0.3)) * half_x, 0.0]), back + 0.01),
            coat.scaled(0.4),
            solid=False,
        )
    return builder.build()


def cow(rng: np.random.Generator) -> Mesh:
    """A cow, 2.4 m long."""
    return _animal(rng, (1.05, 0.38, 1.4), ((225, 228, 230), (40, 60, 110), (35, 35, 38), (70, 110, 170)))


def sheep(rng: np.random.Generator) -> Mesh:
    """A sheep, 1.3 m long."""
    return _animal(rng, (0.55, 0.3, 0.8), ((205, 220, 225), (190, 205, 212), (60, 65, 70)))


def horse(rng: np.random.Generator) -> Mesh:
    """A horse, 2.4 m long."""
    return _animal(rng, (1.0, 0.3, 1.6), ((40, 60, 105), (30, 35, 45), (200, 210, 215), (60, 95, 150)))


def conifer(rng: np.random.Generator, radius_m: float, leaf_bgr: tuple[float, float, float]) -> Mesh:
    """A spruce or fir: tiers of branches around a stem.

    Args:
        rng: draws the tiers.
        radius_m: of the lowest tier.
        leaf_bgr: colour of a needle in full light.
    """
    builder = MeshBuilder()
    height = radius_m * float(rng.uniform(3.0, 4.2))
    leaf = Paint(leaf_bgr, float(rng.uniform(0.16, 0.28)), Material.LEAF)
    tiers = int(rng.integers(4, 6))
    for tier in range(tiers):
        share = tier / tiers
        reach = radius_m * (1.0 - share) ** 0.9
        star = ellipse((reach, reach), 10, float(rng.uniform(0, 6.28)))
        star[1::2] *= 0.68
        low = height * (0.12 + 0.85 * share)
        builder.prism(
            star, (low, low + 0.3 * height / tiers * 3), leaf.scaled(0.62 + 0.4 * share), PrismStyle(shrink=0.12)
        )
    return builder.build()


def bush(rng: np.random.Generator, radius_m: float, leaf_bgr: tuple[float, float, float]) -> Mesh:
    """A low round bush; arguments as for `conifer`."""
    builder = MeshBuilder()
    leaf = Paint(leaf_bgr, float(rng.uniform(0.2, 0.32)), Material.LEAF)
    rough = ellipse((radius_m, radius_m * 0.9), 10) * rng.uniform(0.8, 1.1, (10, 1))
    builder.prism(rough, (0.0, 0.6 * radius_m), leaf.scaled(0.7), PrismStyle(shrink=0.8))
    builder.prism(rough * 0.8, (0.6 * radius_m, 1.1 * radius_m), leaf, PrismStyle(shrink=0.4))
    return builder.build()
