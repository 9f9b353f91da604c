"""The everyday models: vehicles, people, bicycles, buildings and trees. Each is a function of one random stream."""

from __future__ import annotations

import numpy as np

from sim.arrays import FloatArray
from sim.world.materials import Material
from sim.world.mesh import Mesh, MeshBuilder, Paint, PrismStyle, at_height, ellipse, rectangle

CAR_COLOURS = (
    (235, 235, 232), (230, 230, 230), (205, 205, 205), (190, 192, 195), (150, 150, 150), (120, 122, 125),
    (60, 60, 62), (45, 45, 45), (28, 28, 30), (24, 24, 24), (45, 40, 150),
    (150, 80, 30), (90, 50, 20), (60, 90, 60), (170, 190, 200), (40, 110, 190), (30, 30, 95),
)  # fmt: skip
CLOTHES = (
    (40, 40, 45), (160, 60, 40), (50, 50, 170), (220, 220, 220), (60, 110, 60), (40, 160, 220),
    (150, 150, 150), (120, 60, 110), (90, 130, 190), (30, 30, 90),
)  # fmt: skip
SKIN = ((120, 150, 195), (90, 120, 170), (60, 85, 125), (40, 60, 90))
GLASS = (58.0, 48.0, 40.0)


def colour_of(rng: np.random.Generator, choices: tuple[tuple[int, int, int], ...], spread: float) -> tuple[float, ...]:
    """Blue, green, red: one of the choices, a little off."""
    base = np.array(choices[int(rng.integers(len(choices)))], dtype=np.float64)
    return tuple(float(c) for c in np.clip(base + rng.normal(0.0, spread, 3), 5, 250))


def paint_of(bgr: tuple[float, ...], heat: float, material: Material = Material.PAINT) -> Paint:
    """A paint of any three numbers and any heat, clipped to what there is."""
    return Paint((bgr[0], bgr[1], bgr[2]), float(np.clip(heat, 0.0, 1.0)), material)


def _rounded(half_x: float, half_y: float, cut: float) -> FloatArray:
    """(8, 2) a rectangle with its corners cut."""
    return np.array(
        [
            [half_x - cut, -half_y], [half_x, -half_y + cut], [half_x, half_y - cut], [half_x - cut, half_y],
            [-half_x + cut, half_y], [-half_x, half_y - cut], [-half_x, -half_y + cut], [-half_x + cut, -half_y],
        ]
    )  # fmt: skip


def _quad(builder: MeshBuilder, x_m: tuple[float, float], y_m: tuple[float, float], z_m: float, paint: Paint) -> None:
    builder.face(at_height(rectangle(x_m, y_m), z_m), paint, solid=False)


def _wheels(builder: MeshBuilder, axles_m: tuple[float, ...], half_y: float, heat: float) -> None:
    """The outer sides of the wheels; nothing else of them shows from above. Call it after the body."""
    tyre = Paint((25.0, 24.0, 24.0), min(heat, 1.0), Material.RUBBER)
    for x in axles_m:
        for side in (-1.0, 1.0):
            low, high, y = x - 0.32 * side, x + 0.32 * side, side * (half_y + 0.01)
            corners = [[high, y, 0.0], [low, y, 0.0], [low, y, 0.6], [high, y, 0.6]]
            builder.face(np.array(corners), tyre, solid=False)


def _vehicle_heat(rng: np.random.Generator, is_moving: bool) -> tuple[float, float, float]:
    """(body, glass, hood) heat: engines glow when running, parked metal mirrors the cold sky."""
    if is_moving:
        return float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.4, 0.75)), float(rng.uniform(0.75, 1.0))
    state = rng.random()
    if state < 0.6:
        body = 0.04 + 0.16 * rng.random()
        return body, body + 0.12 + 0.2 * rng.random(), body + 0.06 * rng.random()
    if state < 0.8:
        return 0.2 + 0.25 * rng.random(), 0.4 + 0.2 * rng.random(), 0.8 + 0.2 * rng.random()
    body = 0.6 + 0.3 * rng.random()
    return body, body - 0.2, body + 0.1


def car(rng: np.random.Generator, is_moving: bool) -> Mesh:
    """A passenger car, 3.7 to 4.9 m long: hatchback, saloon or estate."""
    builder = MeshBuilder()
    body_heat, glass_heat, hood_heat = _vehicle_heat(rng, is_moving)
    bgr = colour_of(rng, CAR_COLOURS, 8.0)
    body, glass = paint_of(bgr, body_heat), paint_of(GLASS, glass_heat, Material.GLASS)
    half_x, half_y, height = rng.uniform(1.85, 2.45), rng.uniform(0.85, 0.95), rng.uniform(1.4, 1.7)
    waist = 0.62 * height
    builder.prism(_rounded(half_x, half_y, 0.25), (0.22, waist), body, PrismStyle(shrink=0.96))
    _quad(builder, (0.45 * half_x, 0.94 * half_x), (-0.75 * half_y, 0.75 * half_y), waist + 0.01,
          paint_of(tuple(c * 0.96 for c in bgr), hood_heat, Material.ENGINE))  # fmt: skip
    lamp = paint_of((225.0, 235.0, 235.0), body_heat + 0.1)
    tail = paint_of((40.0, 30.0, 170.0), body_heat + 0.1)
    for side in (-1.0, 1.0):
        y = (min(side * 0.5 * half_y, side * 0.85 * half_y), max(side * 0.5 * half_y, side * 0.85 * half_y))
        _quad(builder, (0.86 * half_x, 0.95 * half_x), y, waist + 0.02, lamp)
        _quad(builder, (-0.95 * half_x, -0.9 * half_x), y, waist + 0.02, tail)
    _wheels(builder, (0.62 * half_x, -0.62 * half_x), half_y, body_heat + (0.3 if is_moving else 0.0))
    rear = float(rng.choice([-0.92, -0.8, -0.62])) * half_x
    front = rng.uniform(0.36, 0.46) * half_x
    cabin = rectangle((rear, front), (-0.9 * half_y, 0.9 * half_y))
    builder.prism(cabin, (waist, height), body, PrismStyle(walls=glass, shrink=0.74, shift_m=(-0.05 * half_x, 0.0)))
    if rng.random() < 0.2:
        middle = (rear + front) / 2 - 0.05 * half_x
        _quad(builder, (middle - 0.45, middle + 0.25), (-0.4, 0.4), height + 0.01, glass)
    return builder.build()


def bus(rng: np.random.Generator, heats: tuple[float, float, float] | None = None) -> Mesh:
    """A bus, 9 to 12 m long; `heats` of body, glass and hood, by default those of a parked one."""
    heats = heats or _vehicle_heat(rng, False)
    builder = MeshBuilder()
    bgr = colour_of(rng, ((60, 170, 230), (230, 230, 230), (60, 60, 190), (110, 150, 60), (190, 110, 50)), 12.0)
    body, glass = paint_of(bgr, heats[0]), paint_of(GLASS, heats[1], Material.GLASS)
    half_x, half_y, height = rng.uniform(4.6, 6.0), 1.27, rng.uniform(2.9, 3.2)
    builder.prism(_rounded(half_x, half_y, 0.2), (0.3, 1.2), body)
    builder.prism(_rounded(half_x, half_y, 0.2), (1.2, height - 0.4), glass, PrismStyle(walls=glass))
    _wheels(builder, (0.6 * half_x, -0.6 * half_x), half_y, heats[0] + 0.2)
    roof = paint_of(tuple(min(255.0, 0.6 * c + 95) for c in bgr), heats[0])
    builder.prism(_rounded(half_x, half_y, 0.2), (height - 0.4, height), roof, PrismStyle(walls=body, shrink=0.98))
    for x in np.linspace(-0.6, 0.6, int(rng.integers(2, 5))) * half_x:
        unit = rectangle((x - 0.6, x + 0.6), (-0.6, 0.6))
        builder.prism(unit, (height, height + 0.25), roof.scaled(0.82, 0.08))
    return builder.build()


def truck(rng: np.random.Generator, heats: tuple[float, float, float] | None = None) -> Mesh:
    """A truck, 6 to 9.2 m long, box or flat bed; `heats` of body, glass and hood, by default a parked one's."""
    heats = heats or _vehicle_heat(rng, False)
    builder = MeshBuilder()
    cab_bgr = colour_of(rng, CAR_COLOURS, 10.0)
    cab, glass = paint_of(cab_bgr, heats[2] * 0.85), paint_of(GLASS, heats[1], Material.GLASS)
    half_x, half_y = rng.uniform(3.0, 4.6), rng.uniform(1.1, 1.25)
    builder.prism(rectangle((-half_x, half_x), (-0.9 * half_y, 0.9 * half_y)), (0.5, 0.95), paint_of((45, 45, 45), 0.4))
    front = half_x - 1.9
    builder.prism(rectangle((front + 0.1, half_x), (-half_y, half_y)), (0.6, 1.5), cab)
    _wheels(builder, (0.72 * half_x, -0.4 * half_x, -0.7 * half_x), half_y, heats[0] + 0.2)
    upper = PrismStyle(walls=glass, shrink=0.86, shift_m=(-0.1, 0.0))
    builder.prism(rectangle((front + 0.1, half_x), (-half_y, half_y)), (1.5, 2.4), cab, upper)
    cargo_bgr = colour_of(rng, ((225, 225, 225), (190, 195, 200), (120, 80, 40), (60, 110, 70), (50, 60, 150)), 10.0)
    cargo = paint_of(cargo_bgr, heats[0])
    is_flatbed = rng.random() < 0.3
    top = 1.35 if is_flatbed else rng.uniform(2.6, 3.3)
    builder.prism(rectangle((-half_x, front - 0.1), (-half_y, half_y)), (0.95, top), cargo)
    for x in np.arange(-half_x + 0.6, front - 0.4, 1.2):
        _quad(builder, (x, x + 0.07), (-half_y, half_y), top + 0.01, cargo.scaled(0.86))
    return builder.build()


def van(rng: np.random.Generator, heats: tuple[float, float, float] | None = None) -> Mesh:
    """A van, 5 to 6.2 m long; `heats` of body, glass and hood, by default those of a parked one."""
    heats = heats or _vehicle_heat(rng, False)
    builder = MeshBuilder()
    bgr = colour_of(rng, ((235, 235, 235), (225, 225, 225), (60, 60, 60), (150, 90, 50), (40, 180, 230)), 8.0)
    body, glass = paint_of(bgr, heats[0]), paint_of(GLASS, heats[1], Material.GLASS)
    half_x, half_y, height = rng.uniform(2.5, 3.1), 1.0, rng.uniform(2.1, 2.6)
    builder.prism(_rounded(half_x, half_y, 0.2), (0.3, 1.15), body)
    _wheels(builder, (0.62 * half_x, -0.62 * half_x), half_y, heats[0] + 0.2)
    hood = paint_of(tuple(c * 0.97 for c in bgr), heats[2])
    _quad(builder, (0.7 * half_x, 0.97 * half_x), (-0.8, 0.8), 1.16, hood)
    box = np.array([[-half_x, -half_y], [0.7 * half_x, -half_y], [0.7 * half_x, half_y], [-half_x, half_y]])
    builder.prism(box, (1.15, height), body, PrismStyle(shrink=0.92, shift_m=(-0.15, 0.0)))
    low, high = 0.7 * half_x, 0.55 * half_x
    shield = [[low, -0.85, 1.2], [low, 0.85, 1.2], [high, 0.78, height - 0.15], [high, -0.78, height - 0.15]]
    builder.face(np.array(shield), glass, solid=False)
    return builder.build()


def other_vehicle(rng: np.random.Generator, is_moving: bool) -> Mesh:
    """A van, truck or bus; only vans park."""
    heats = _vehicle_heat(rng, is_moving)
    if not is_moving:
        return van(rng, heats)
    return (van, truck, bus)[int(rng.choice(3, p=[0.4, 0.35, 0.25]))](rng, heats)


def person(rng: np.random.Generator, is_seated: bool = False) -> Mesh:
    """A person about 1.7 m tall, standing, in mid-step, or seated as on a saddle."""
    builder = MeshBuilder()
    size = rng.uniform(0.9, 1.08)
    warm = rng.uniform(0.68, 1.0)
    shirt = paint_of(colour_of(rng, CLOTHES, 15.0), warm * 0.95, Material.CLOTH)
    trousers = paint_of(colour_of(rng, CLOTHES[:1] + CLOTHES[6:7] + CLOTHES[1:2], 12.0), warm * 0.85, Material.CLOTH)
    skin = paint_of(colour_of(rng, SKIN, 8.0), warm + 0.08, Material.SKIN)
    hair = paint_of(
        colour_of(rng, ((25, 28, 30), (40, 60, 85), (70, 120, 165), (150, 150, 150)), 8.0), warm, Material.FUR
    )
    stride = 0.0 if is_seated else float(rng.choice([0.0, rng.uniform(0.1, 0.32)]))
    base = 0.45 if is_seated else 0.0
    for side in (-1.0, 1.0):
        foot = rectangle((-0.08 + side * stride, 0.1 + side * stride), (side * 0.12 - 0.08, side * 0.12 + 0.08))
        leg = PrismStyle(shift_m=(-side * stride, 0.0))
        builder.prism(foot * size, (base, base + 0.8 * size), trousers, leg)
    chest = ellipse((0.15 * size, 0.23 * size), 8)
    builder.prism(chest, (base + 0.75 * size, base + 1.42 * size), shirt, PrismStyle(shrink=1.1))
    for side in (-1.0, 1.0):
        reach = float(rng.uniform(-0.2, 0.3)) if not is_seated else 0.35
        hand = rectangle((reach - 0.05, reach + 0.06), (side * 0.3 - 0.05, side * 0.3 + 0.05)) * size
        arm = PrismStyle(shift_m=(-reach * size, -side * 0.05))
        builder.prism(hand, (base + 0.78 * size, base + 1.4 * size), shirt.scaled(0.9), arm)
    head = ellipse((0.11 * size, 0.1 * size), 8)
    builder.prism(head, (base + 1.45 * size, base + 1.62 * size), skin, PrismStyle(shrink=1.1))
    builder.prism(head * 1.1, (base + 1.62 * size, base + 1.75 * size), hair, PrismStyle(shrink=0.55))
    return builder.build()


def bicycle(rng: np.random.Generator) -> Mesh:
    """A bicycle or scooter, 1.6 to 1.9 m long."""
    builder = MeshBuilder()
    heat = 0.05 + 0.2 * rng.random()
    frame = paint_of(colour_of(rng, CAR_COLOURS + CLOTHES, 15.0), heat)
    tyre = Paint((28.0, 28.0, 28.0), heat * 0.8, Material.RUBBER)
    is_scooter = rng.random() < 0.4
    half, wide = rng.uniform(0.5, 0.62), 0.06 if is_scooter else 0.03
    for x in (-half, half):
        builder.prism(rectangle((x - 0.33, x + 0.33), (-wide, wide)), (0.05, 0.62), tyre, PrismStyle(shrink=0.8))
    bar = 0.13 if is_scooter else 0.05
    builder.prism(rectangle((-half, half), (-bar, bar)), (0.4, 0.72), frame)
    if is_scooter:
        builder.prism(rectangle((-0.75 * half, 0.1), (-0.17, 0.17)), (0.55, 0.85), tyre.scaled(1.5))
        builder.prism(rectangle((half - 0.2, half + 0.1), (-0.18, 0.18)), (0.5, 1.0), frame)
    builder.prism(ellipse((0.15, 0.09), 6) + np.array([-0.45 * half, 0.0]), (0.75, 0.9), tyre)
    builder.prism(rectangle((half - 0.12, half - 0.05), (-0.3, 0.3)), (0.9, 1.0), frame.scaled(0.7))
    return builder.build()


def tree(rng: np.random.Generator, radius_m: float, season: tuple[float, float, float]) -> Mesh:
    """A tree with a lumpy crown.

    Args:
        rng: draws the lumps.
        radius_m: crown radius.
        season: blue, green, red of a leaf in full light.
    """
    builder = MeshBuilder()
    height = radius_m * rng.uniform(1.7, 2.4)
    heat = rng.uniform(0.16, 0.3)
    trunk = Paint((45.0, 60.0, 80.0), heat + 0.1, Material.WOOD)
    builder.prism(ellipse((0.1 * radius_m, 0.1 * radius_m), 5), (0.0, 0.6 * height), trunk)
    leaf = Paint(season, heat, Material.LEAF)
    wobble = 1.0 + rng.normal(0.0, 0.08, 14)
    crown = ellipse((radius_m * 0.93, radius_m * 0.93), 14) * wobble[:, None]
    builder.area(at_height(crown, 0.55 * height), leaf.scaled(0.5, -0.04))
    lumps = int(rng.integers(26, 38))
    # Sunflower spiral: even cover of the crown, then lifted onto a dome.
    turn = np.arange(lumps) * 2.39996 + rng.uniform(0, 6.28)
    out = np.sqrt((np.arange(lumps) + 0.5) / lumps)[::-1] * radius_m * 0.95
    dome = np.sqrt(np.maximum(1.0 - (out / radius_m) ** 2, 0.02))
    for k in range(lumps):
        size = radius_m * rng.uniform(0.14, 0.27)
        lump = ellipse((size, size * rng.uniform(0.7, 1.0)), 7, float(rng.uniform(0, 6.28)))
        lump = lump * (1.0 + rng.normal(0, 0.15, 7))[:, None]
        at = np.array([np.cos(turn[k]), np.sin(turn[k])]) * out[k] * rng.uniform(0.88, 1.05)
        z = height * (0.5 + 0.42 * float(dome[k]) + rng.uniform(-0.04, 0.04))
        shade = 0.55 + 0.42 * float(dome[k]) + rng.uniform(-0.14, 0.14)
        points = at_height(lump + at, z)
        # Tilted outwards, so that the sunny side of the crown is lighter than the other.
        points[:, 2] -= (lump @ (at / radius_m)) * 0.9
        builder.face(points, leaf.scaled(shade, rng.normal(0, 0.02)), solid=out[k] > 0.6 * radius_m, two_sided=False)
    return builder.build()
