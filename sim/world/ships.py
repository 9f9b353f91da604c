"""Ships and boats, with the wake they draw when they move."""

from __future__ import annotations

import numpy as np

from sim.arrays import FloatArray
from sim.world.machines import slab, turned
from sim.world.materials import Material
from sim.world.mesh import Mesh, MeshBuilder, Paint, PrismStyle, at_height, ellipse, rectangle
from sim.world.models import GLASS, colour_of, paint_of

HULLS = ((50, 45, 130), (90, 60, 35), (45, 45, 45), (60, 90, 50), (35, 40, 95), (150, 150, 150))
DECKS = ((90, 110, 60), (70, 80, 140), (130, 135, 140), (165, 170, 175), (120, 150, 170))
BOXES = ((40, 60, 170), (150, 90, 40), (60, 120, 60), (200, 200, 200), (30, 130, 220), (110, 110, 115), (60, 50, 120))
WHITE = Paint((232.0, 232.0, 230.0), 0.35, Material.METAL)
FOAM = Paint((225.0, 226.0, 220.0), 0.2, Material.WATER)


def hull_outline(half_x: float, half_y: float, bow: float = 0.3) -> FloatArray:
    """(9, 2) a deck seen from above, its bow towards x; `bow` is the share of the length that narrows."""
    taper = half_x * (1.0 - 2.0 * bow)
    return np.array(
        [
            [half_x, 0.0], [half_x - 0.25 * (half_x - taper), 0.55 * half_y], [taper, half_y], [-0.9 * half_x, half_y],
            [-half_x, 0.8 * half_y], [-half_x, -0.8 * half_y], [-0.9 * half_x, -half_y], [taper, -half_y],
            [half_x - 0.25 * (half_x - taper), -0.55 * half_y],
        ]
    )  # fmt: skip


def _wake(builder: MeshBuilder, half_x: float, half_y: float, is_moving: bool) -> None:
    """Foam along the hull, the churned strip behind, and the two arms of the bow wave; call it first."""
    if not is_moving:
        return
    long = 4.0 * half_x
    strip = np.array(
        [[-half_x, -half_y], [-half_x, half_y], [-half_x - long, 1.6 * half_y], [-half_x - long, -1.6 * half_y]]
    )
    builder.face(at_height(strip[::-1], 0.02), FOAM.scaled(0.62), solid=False)
    churn = np.array([[-half_x, -0.5 * half_y], [-half_x, 0.5 * half_y], [-half_x - 0.4 * long, 0.0]])
    builder.face(at_height(churn[::-1], 0.03), FOAM, solid=False)
    for side in (-1.0, 1.0):
        # Kelvin's angle: the arms of a wake open at 19.47 degrees (Thomson, 1887).
        far = half_x - 0.9 * long
        arm = np.array(
            [[half_x, 0.0], [far, side * 0.354 * 0.9 * long], [far - 0.6 * half_y, side * 0.354 * 0.9 * long]]
        )
        builder.face(at_height(arm if side > 0 else arm[::-1], 0.02), FOAM.scaled(0.85), solid=False)


def _hull(builder: MeshBuilder, rng: np.random.Generator, size_m: tuple[float, float, float]) -> Paint:
    half_x, half_y, board = size_m
    side = paint_of(colour_of(rng, HULLS, 10.0), 0.32, Material.METAL)
    deck = paint_of(colour_of(rng, DECKS, 10.0), 0.42, Material.METAL)
    builder.prism(hull_outline(half_x, half_y), (0.0, board), deck, PrismStyle(walls=side, shrink=1.02))
    return deck


def _bridge(builder: MeshBuilder, at_x: float, half_y: float, z_m: tuple[float, float]) -> None:
    glass = paint_of(GLASS, 0.4, Material.GLASS)
    low, high = z_m
    slab(builder, (at_x - 2.2, at_x + 2.2), (-0.8 * half_y, 0.8 * half_y), (low, 0.7 * high + 0.3 * low), WHITE)
    slab(
        builder,
        (at_x - 1.6, at_x + 2.0),
        (-half_y, half_y),
        (0.7 * high + 0.3 * low, high),
        WHITE,
        PrismStyle(walls=glass),
    )
    funnel = Paint((60.0, 70.0, 150.0), 0.85, Material.ENGINE)
    slab(builder, (at_x - 2.9, at_x - 1.9), (-0.5, 0.5), (high - 1.0, high + 1.2), funnel)


def cargo_ship(rng: np.random.Generator, is_moving: bool = False) -> Mesh:
    """A container ship, 60 to 90 m long, stacked with boxes."""
    builder = MeshBuilder()
    half_x, half_y = float(rng.uniform(30, 45)), float(rng.uniform(5.5, 7.5))
    _wake(builder, half_x, half_y, is_moving)
    _hull(builder, rng, (half_x, half_y, 4.5))
    _bridge(builder, -0.84 * half_x, half_y, (4.5, 13.0))
    for x in np.arange(-0.68 * half_x, 0.5 * half_x, 6.6):
        for y in np.arange(-half_y + 0.7, half_y - 1.8, 2.5):
            if rng.random() < 0.85:
                box = paint_of(colour_of(rng, BOXES, 12.0), float(rng.uniform(0.25, 0.55)), Material.METAL)
                slab(builder, (x, x + 6.1), (y, y + 2.4), (4.5, 4.5 + 2.6 * float(rng.integers(1, 4))), box)
    return builder.build()


def tanker(rng: np.random.Generator, is_moving: bool = False) -> Mesh:
    """A tanker, 60 to 100 m long, pipes along its deck."""
    builder = MeshBuilder()
    half_x, half_y = float(rng.uniform(30, 50)), float(rng.uniform(6, 8.5))
    _wake(builder, half_x, half_y, is_moving)
    deck = _hull(builder, rng, (half_x, half_y, 3.5))
    _bridge(builder, -0.85 * half_x, half_y, (3.5, 12.0))
    slab(builder, (-0.65 * half_x, 0.6 * half_x), (-0.5, 0.5), (3.6, 4.2), deck.scaled(1.25))
    for x in np.linspace(-0.55, 0.5, 5) * half_x:
        slab(builder, (x - 0.4, x + 0.4), (-0.85 * half_y, 0.85 * half_y), (3.5, 4.0), deck.scaled(0.8))
    return builder.build()


def ferry(rng: np.random.Generator, is_moving: bool = False) -> Mesh:
    """A white ferry, 30 to 50 m long, decks stacked like a cake."""
    builder = MeshBuilder()
    half_x, half_y = float(rng.uniform(15, 25)), float(rng.uniform(4, 6))
    _wake(builder, half_x, half_y, is_moving)
    _hull(builder, rng, (half_x, half_y, 2.5))
    glass = paint_of(GLASS, 0.4, Material.GLASS)
    for storey, share in enumerate((0.82, 0.72, 0.5)):
        low = 2.5 + 2.4 * storey
        outline = rectangle((-share * half_x, 0.85 * share * half_x), (-0.85 * half_y, 0.85 * half_y))
        builder.prism(outline, (low, low + 2.4), WHITE.scaled(1.0 - 0.05 * storey), PrismStyle(walls=glass))
    slab(
        builder,
        (-0.3 * half_x, -0.18 * half_x),
        (-0.8, 0.8),
        (9.7, 11.5),
        Paint((40.0, 60.0, 190.0), 0.8, Material.ENGINE),
    )
    return builder.build()


def tug(rng: np.random.Generator, is_moving: bool = False) -> Mesh:
    """A tug or pilot boat, 14 to 20 m long."""
    builder = MeshBuilder()
    half_x, half_y = float(rng.uniform(7, 10)), float(rng.uniform(2.6, 3.4))
    _wake(builder, half_x, half_y, is_moving)
    _hull(builder, rng, (half_x, half_y, 1.6))
    _bridge(builder, 0.1 * half_x, 0.6 * half_y, (1.6, 5.5))
    return builder.build()


def barge(rng: np.random.Generator, is_moving: bool = False) -> Mesh:
    """A river barge, 40 to 60 m long, its hold open with sand or coal."""
    builder = MeshBuilder()
    half_x, half_y = float(rng.uniform(20, 30)), float(rng.uniform(4, 5))
    _wake(builder, half_x, half_y, is_moving)
    _hull(builder, rng, (half_x, half_y, 1.5))
    _bridge(builder, -0.85 * half_x, 0.6 * half_y, (1.5, 5.0))
    cargo = paint_of(colour_of(rng, ((120, 165, 190), (45, 45, 48), (90, 110, 130)), 10.0), 0.5, Material.SAND)
    for x in np.linspace(-0.6, 0.55, 4) * half_x:
        builder.prism(
            ellipse((0.15 * half_x, 0.75 * half_y), 10) + np.array([x, 0.0]), (1.5, 2.8), cargo, PrismStyle(shrink=0.3)
        )
    return builder.build()


def sailing_boat(rng: np.random.Generator, is_moving: bool = False) -> Mesh:
    """A sailing boat, 8 to 12 m long; under way its sails are set."""
    builder = MeshBuilder()
    half_x = float(rng.uniform(4, 6))
    half_y = 0.28 * half_x
    hull = paint_of(colour_of(rng, ((235, 235, 235), (120, 60, 30), (200, 205, 210)), 8.0), 0.3, Material.PLASTIC)
    deck = paint_of((150.0, 185.0, 205.0), 0.4, Material.WOOD)
    builder.prism(hull_outline(half_x, half_y, 0.4), (0.0, 1.0), deck, PrismStyle(walls=hull, shrink=1.05))
    slab(builder, (-0.3 * half_x, 0.35 * half_x), (-0.5 * half_y, 0.5 * half_y), (1.0, 1.5), WHITE)
    slab(builder, (0.12 * half_x, 0.15 * half_x), (-0.08, 0.08), (1.5, 2.2 * half_x), WHITE)
    if is_moving:
        sail = paint_of((240.0, 240.0, 236.0), 0.35, Material.CLOTH)
        lean = float(rng.uniform(0.25, 0.6)) * half_x
        for foot, top in ((-0.8, 0.12), (0.85, 0.14)):
            corners = [[foot * half_x, lean, 2.0], [0.12 * half_x, 0.0, 2.0], [top * half_x, 0.0, 2.1 * half_x]]
            builder.face(np.array(corners), sail, two_sided=True)
    return builder.build(is_dented=True)


def motor_boat(rng: np.random.Generator, is_moving: bool = False) -> Mesh:
    """An open motor boat, 5 to 9 m long."""
    builder = MeshBuilder()
    half_x = float(rng.uniform(2.5, 4.5))
    half_y = 0.34 * half_x
    _wake(builder, half_x, half_y, is_moving)
    hull = paint_of(
        colour_of(rng, ((235, 235, 235), (60, 60, 180), (140, 90, 40), (50, 50, 50)), 8.0), 0.3, Material.PLASTIC
    )
    builder.prism(hull_outline(half_x, half_y, 0.35), (0.0, 0.9), hull, PrismStyle(shrink=1.05))
    builder.prism(hull_outline(0.75 * half_x, 0.7 * half_y, 0.3), (0.91, 0.95), hull.scaled(0.6))
    slab(
        builder,
        (0.05 * half_x, 0.15 * half_x),
        (-0.5 * half_y, 0.5 * half_y),
        (0.95, 1.4),
        paint_of(GLASS, 0.4, Material.GLASS),
    )
    engine = Paint((40.0, 40.0, 42.0), 0.8 if is_moving else 0.3, Material.ENGINE)
    builder.prism(turned(rectangle((-0.25, 0.25), (-0.25, 0.25)), 0.0) + np.array([-half_x, 0.0]), (0.6, 1.3), engine)
    return builder.build()
