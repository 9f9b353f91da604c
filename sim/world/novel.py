"""Objects nobody has seen: thousands of kinds, each a compound of simple solids with painted tops or a collection.

Of a compound, the kind's integer determines shape, colours, textures and heat; instances differ in size, heading and
light only. Of a collection (a stack of crates, a heap of barrels, …) it determines the piece and its paints; each
instance strews them anew, so that a student learns that one name may cover many shapes.
No kind is a heap of irregular pieces of several sorts: that look belongs to debris.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.arrays import FloatArray
from sim.world.mesh import Mesh, MeshBuilder, Paint, PrismStyle, Texture, at_height, ellipse, rectangle
from sim.world.seeds import rng_for

TRAINING_KINDS = range(0, 20_000)
HELD_OUT_KINDS = range(20_000, 30_000)
TEXTURE_PX = 64
COLLECTION_SHARE = 0.4

Pattern = NDArray[np.float64]


def _disc(rng: np.random.Generator) -> FloatArray:
    return ellipse((1.0, float(rng.uniform(0.45, 1.0))), 20)


def _polygon(rng: np.random.Generator) -> FloatArray:
    return ellipse((1.0, float(rng.uniform(0.6, 1.0))), int(rng.integers(3, 8)), float(rng.uniform(0, 6.28)))


def _box(rng: np.random.Generator) -> FloatArray:
    y = float(rng.uniform(0.2, 1.0))
    return rectangle((-1.0, 1.0), (-y, y))


def _star(rng: np.random.Generator) -> FloatArray:
    spikes = int(rng.integers(3, 9))
    outline = ellipse((1.0, 1.0), 2 * spikes)
    outline[1::2] *= rng.uniform(0.35, 0.7)
    return outline


def _blob(rng: np.random.Generator) -> FloatArray:
    angles = np.linspace(0.0, 2 * np.pi, 28, endpoint=False)
    radius = np.ones(28)
    for wave in range(2, 6):
        radius += rng.normal(0.0, 0.35 / wave) * np.cos(wave * angles + rng.uniform(0, 6.28))
    radius = np.clip(radius, 0.3, None) / radius.max()
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _ring(rng: np.random.Generator) -> FloatArray:
    """A ring as one outline with a seam, so that an ordinary polygon fill leaves the hole open."""
    corners = int(rng.choice([5, 6, 8, 16, 16]))
    angles = np.linspace(0.0, 2 * np.pi, corners + 1)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([circle, circle[::-1] * rng.uniform(0.4, 0.75)])


def _cross(rng: np.random.Generator) -> FloatArray:
    t = float(rng.uniform(0.2, 0.45))
    s = float(rng.uniform(0.6, 1.0))
    return np.array(
        [[t, -s], [t, -t], [1, -t], [1, t], [t, t], [t, s], [-t, s], [-t, t], [-1, t], [-1, -t], [-t, -t], [-t, -s]]
    )


def _angle(rng: np.random.Generator) -> FloatArray:
    t = float(rng.uniform(-0.5, 0.3))
    s = float(rng.uniform(0.6, 1.0))
    return np.array([[-1.0, -s], [1.0, -s], [1.0, t * s], [t, t * s], [t, s], [-1.0, s]])


OUTLINES: tuple[Callable[[np.random.Generator], FloatArray], ...] = (
    _disc, _polygon, _box, _star, _blob, _ring, _cross, _angle,
)  # fmt: skip

# Twice the box: most things that come in numbers are boxes.
PIECES = (_polygon, _box, _box, _cross, _angle)


def _grid() -> tuple[Pattern, Pattern]:
    y, x = np.mgrid[-1.0 : 1.0 : TEXTURE_PX * 1j, -1.0 : 1.0 : TEXTURE_PX * 1j]
    return x, y


def _stripes(rng: np.random.Generator, count: int) -> Pattern:
    x, y = _grid()
    turn = rng.uniform(0, 3.14)
    at = (x * np.cos(turn) + y * np.sin(turn)) * rng.uniform(1.2, 3.5)
    stripes: Pattern = np.floor(at + rng.random()) % count
    return stripes


def _checks(rng: np.random.Generator, count: int) -> Pattern:
    x, y = _grid()
    scale = rng.uniform(1.2, 3.0)
    return (np.floor(x * scale) + np.floor(y * scale)) % count


def _rings(rng: np.random.Generator, count: int) -> Pattern:
    x, y = _grid()
    away = np.hypot(x - rng.normal(0, 0.25), y - rng.normal(0, 0.25))
    return np.floor(away * rng.uniform(2.0, 4.5)) % count


def _sectors(rng: np.random.Generator, count: int) -> Pattern:
    x, y = _grid()
    turns = int(rng.integers(1, 4)) * count
    return np.floor((np.arctan2(y, x) / (2 * np.pi) + 0.5) * turns) % count


def _dots(rng: np.random.Generator, count: int) -> Pattern:
    image = np.zeros((TEXTURE_PX, TEXTURE_PX), dtype=np.uint8)
    for _ in range(int(rng.integers(3, 14))):
        centre = rng.integers(4, TEXTURE_PX - 4, 2).tolist()
        cv2.circle(image, centre, int(rng.integers(3, 10)), int(rng.integers(1, max(count, 2))), -1)
    return np.minimum(image, count - 1).astype(np.float64)


def _patches(rng: np.random.Generator, count: int) -> Pattern:
    small = rng.random((int(rng.integers(4, 8)),) * 2).astype(np.float32)
    smooth = cv2.resize(small, (TEXTURE_PX, TEXTURE_PX), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.floor(smooth * count), 0, count - 1).astype(np.float64)


def _plain(rng: np.random.Generator, count: int) -> Pattern:
    return np.full((TEXTURE_PX, TEXTURE_PX), float(rng.integers(count)))


PATTERNS: tuple[Callable[[np.random.Generator, int], Pattern], ...] = (
    _stripes, _checks, _rings, _sectors, _dots, _patches, _plain,
)  # fmt: skip


def _palette(rng: np.random.Generator) -> list[Paint]:
    """Two to four paints; hues are kept apart, and half of the kinds are muted so that colour alone says nothing."""
    count = int(rng.integers(2, 5))
    is_muted = rng.random() < 0.5
    hues = (rng.uniform(0, 180) + np.cumsum(rng.uniform(20, 90, count))) % 180
    heats = rng.uniform(0.0, 1.0, count)
    paints = []
    for hue, heat in zip(hues, heats, strict=True):
        saturation = rng.uniform(0, 70) if is_muted else rng.uniform(90, 255)
        hsv = np.array([[[hue, saturation, rng.uniform(35, 250)]]], dtype=np.uint8)
        blue, green, red = (float(c) for c in cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0])
        paints.append(Paint((blue, green, red), float(heat)))
    return paints


def _top(rng: np.random.Generator, outline: FloatArray, reach: FloatArray, paints: list[Paint]) -> Texture:
    """The painted top of one solid: a pattern cut to its outline."""
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))](rng, len(paints)).astype(np.intp)
    grain = rng.normal(0.0, float(rng.uniform(0.0, 0.09)), (TEXTURE_PX, TEXTURE_PX))
    bgr = np.array([p.bgr for p in paints])[pattern] * (1.0 + grain)[:, :, None]
    heat = np.array([p.heat for p in paints])[pattern] * 235 + 10 + 120 * grain
    alpha = np.zeros((TEXTURE_PX, TEXTURE_PX), dtype=np.uint8)
    unit = (outline / reach + 1.0) / 2.0 * TEXTURE_PX
    cv2.fillPoly(alpha, [np.round(unit * 16 - 8).astype(np.int32)], 255.0, cv2.LINE_AA, 4)
    soft = np.asarray(cv2.GaussianBlur(alpha, (3, 3), 0), dtype=np.uint8)
    return Texture(np.clip(bgr, 0, 255).astype(np.uint8), np.clip(heat, 0, 255).astype(np.uint8), soft)


def _counter_clockwise(outline: FloatArray) -> FloatArray:
    following = np.roll(outline, -1, axis=0)
    area = float(np.sum(outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]))
    return outline if area > 0 else outline[::-1].copy()


def _component(
    builder: MeshBuilder, rng: np.random.Generator, base_m: float, scale_m: float, paints: list[Paint]
) -> float:
    """Adds one solid of about `scale_m` half width standing at `base_m`; returns its top."""
    outline = _counter_clockwise(OUTLINES[int(rng.integers(len(OUTLINES)))](rng))
    turn = rng.uniform(0, 6.28)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    stretch = np.array([1.0, rng.uniform(0.5, 1.0)])
    offset = rng.normal(0.0, 0.45, 2) * (base_m > 0.0) * scale_m
    outline = _counter_clockwise((outline * stretch) @ spin * scale_m)
    middle = (outline.max(axis=0) + outline.min(axis=0)) / 2
    outline = outline - middle
    reach = np.abs(outline).max(axis=0)
    height = float(scale_m * rng.choice([0.08, 0.25, 0.5, 0.9, 1.4], p=[0.2, 0.3, 0.25, 0.15, 0.1]))
    top_m = base_m + max(height, 0.06)
    texture = _top(rng, outline, reach, paints)
    wall = paints[int(rng.integers(len(paints)))]
    placed = outline + offset
    builder.prism(placed, (base_m, top_m), wall, PrismStyle(walls=wall.scaled(0.85), is_convex=False))
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * reach + offset
    builder.picture(at_height(corners, top_m + 0.005), wall, texture)
    return top_m


def _compound(rng: np.random.Generator, half_m: float, paints: list[Paint]) -> Mesh:
    builder = MeshBuilder()
    top = _component(builder, rng, 0.0, half_m, paints)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.15, 0.35, 0.3, 0.2]))):
        rng.shuffle(paints)
        top = _component(builder, rng, top, half_m * float(rng.uniform(0.25, 0.7)), paints)
    return builder.build(is_dented=True)


def _collection(rng: np.random.Generator, half_m: float, paints: list[Paint], strewn: np.random.Generator) -> Mesh:
    """Many pieces of one make, centred within `half_m`; `rng` decides the make, `strewn` how each piece lies."""
    outline = _counter_clockwise(PIECES[int(rng.integers(len(PIECES)))](rng)) * [1.0, rng.uniform(0.35, 1.0)]
    piece_m = half_m * float(rng.uniform(0.14, 0.4))
    thick_m, mound = piece_m * float(rng.uniform(0.2, 1.2)), float(rng.uniform(0.0, 0.5))
    is_aligned, flat = bool(rng.random() < 0.4), np.array([1.0, rng.uniform(0.5, 1.0)])
    crowd = float(rng.uniform(0.5, 1.1))
    count = int(np.clip(crowd * (half_m / piece_m) ** 2, 4, 36))
    builder = MeshBuilder()
    spots = []
    for _ in range(count):
        out, turn = half_m * float(strewn.beta(1.4, 1.3)), strewn.uniform(0, 2 * np.pi)
        lift = mound * (half_m - out) * float(strewn.uniform(0.3, 1.0))
        spots.append((lift, np.array([np.cos(turn), np.sin(turn)]) * out * flat))
    for lift, place in sorted(spots, key=lambda spot: spot[0]):
        turn = float(strewn.normal(0, 0.06)) if is_aligned else float(strewn.uniform(0, 2 * np.pi))
        spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        size = piece_m * float(strewn.uniform(0.8, 1.2))
        paint = paints[int(strewn.integers(len(paints)))].scaled(float(strewn.uniform(0.85, 1.15)))
        style = PrismStyle(walls=paint.scaled(0.75), is_convex=False)
        builder.prism(outline @ spin * size + place, (lift, lift + thick_m), paint, style)
    return builder.build(is_dented=True)


def novel_object(kind: int, scale: float = 1.0, instance: int = 0) -> Mesh:
    """One object of a kind.

    Args:
        kind: >= 0; determines everything but size and, of a collection, how its pieces lie.
        scale: size relative to the kind's own, 0.8 to 1.2 for instances.
        instance: >= 0; draws place, lie, size and paint of a collection's pieces.
    """
    rng = rng_for("novel-kind", kind)
    paints = _palette(rng)
    half_m = float(np.exp(rng.uniform(np.log(0.7), np.log(3.0)))) * scale
    if rng.random() < COLLECTION_SHARE:
        return _collection(rng, half_m, paints, rng_for("novel-instance", kind, instance))
    return _compound(rng, half_m, paints)


def novel_radius_m(kind: int, scale: float = 1.0, instance: int = 0) -> float:
    """Horizontal distance from the middle of an object to its farthest point."""
    return float(np.hypot(*novel_object(kind, scale, instance).points[:, :2].T).max())
