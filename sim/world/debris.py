"""Rubble piles: broken slabs, bricks, beams. The label is `Debris`, and each instance is its own."""

from __future__ import annotations

import math

import numpy as np

from sim.arrays import FloatArray
from sim.world.materials import Material
from sim.world.mesh import Mesh, MeshBuilder, Paint, at_height, hull_outline


def _grey(rng: np.random.Generator, heat: float) -> Paint:
    level = rng.uniform(95, 205)
    tint = rng.normal(0.0, 5.0, 3) + np.array([-5.0, 0.0, 5.0])
    blue, green, red = (float(c) for c in np.clip(level + tint, 30, 235))
    return Paint((blue, green, red), float(np.clip(heat + rng.normal(0.0, 0.07), 0.05, 0.95)), Material.CONCRETE)


def _brick(rng: np.random.Generator, heat: float) -> Paint:
    blue, green, red = (float(c) for c in np.array([62, 78, 140]) * rng.uniform(0.65, 1.25))
    return Paint((blue, green, red), float(np.clip(heat + rng.normal(0.0, 0.05), 0.05, 0.95)), Material.TILE)


def _tilted(outline: FloatArray, thick_m: float, tilt: float, turn: float) -> tuple[FloatArray, FloatArray]:
    """Bottom and top (N, 3) of a slab tilted by `tilt` about a horizontal axis at angle `turn`; radians."""
    flat = at_height(outline, 0.0)
    both = np.concatenate([flat, flat + np.array([0.0, 0.0, thick_m])])
    x, y, cos, sin = math.cos(turn), math.sin(turn), math.cos(tilt), math.sin(tilt)
    # Rodrigues' formula for an axis (x, y, 0).
    rotation = np.array(
        [
            [cos + x * x * (1 - cos), x * y * (1 - cos), y * sin],
            [x * y * (1 - cos), cos + y * y * (1 - cos), -x * sin],
            [-y * sin, x * sin, cos],
        ]
    )
    turned = both @ rotation.T
    return turned[: len(outline)], turned[len(outline) :]


def _slab(rng: np.random.Generator, reach_m: float) -> tuple[FloatArray, FloatArray]:
    outline = hull_outline(rng.normal(0.0, 1.0, (6, 2)))
    outline *= reach_m / np.abs(outline).max()
    return _tilted(outline, float(rng.uniform(0.12, 0.35)), float(rng.normal(0.0, 0.4)), float(rng.uniform(0, 6.28)))


def _bar(rng: np.random.Generator, half: tuple[float, float], thick_m: float) -> tuple[FloatArray, FloatArray]:
    x, y = half
    turn = float(rng.uniform(0, 6.28))
    outline = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return _tilted(outline @ spin, thick_m, float(rng.normal(0.0, 0.25)), float(rng.uniform(0, 6.28)))


def _piece(rng: np.random.Generator, radius_m: float, heat: float) -> tuple[FloatArray, FloatArray, Paint]:
    draw = rng.random()
    if draw < 0.5:
        return *_slab(rng, float(rng.uniform(0.12, 0.42)) * radius_m), _grey(rng, heat)
    if draw < 0.75:
        return *_slab(rng, float(rng.uniform(0.1, 0.3))), _grey(rng, heat)
    if draw < 0.93:
        return *_bar(rng, (float(rng.uniform(0.12, 0.35)), 0.11), 0.14), _brick(rng, heat)
    long = float(rng.uniform(0.3, 0.7)) * radius_m
    return *_bar(rng, (long, float(rng.uniform(0.06, 0.13))), 0.16), _grey(rng, heat).scaled(0.7)


def pile(rng: np.random.Generator, radius_m: float) -> Mesh:
    """A rubble pile about the origin.

    Args:
        rng: draws every piece; no two piles are alike.
        radius_m: half of the pile's width along x; along y it is a little flatter.
    """
    builder = MeshBuilder()
    heat = rng.uniform(0.35, 0.75)
    flat = np.array([1.0, rng.uniform(0.65, 1.0)])
    count = int(np.clip(12 + 10 * radius_m + rng.integers(0, 10), 16, 50))
    pieces = []
    for _ in range(count):
        low, high, paint = _piece(rng, radius_m, heat)
        out = radius_m * 0.8 * float(rng.beta(1.3, 1.6))
        turn = rng.uniform(0, 6.28)
        at = np.array([np.cos(turn), np.sin(turn)]) * out * flat
        mound = 0.45 * radius_m * (1.0 - out / radius_m) * float(rng.uniform(0.2, 1.0))
        lift = mound - min(float(low[:, 2].min()), float(high[:, 2].min())) * 0.7
        shift = np.array([at[0], at[1], lift])
        pieces.append((lift + float(high[:, 2].mean()), low + shift, high + shift, paint))
    for _, low, high, paint in sorted(pieces, key=lambda piece: piece[0]):
        builder.solid(low, high, paint)
    return builder.build(is_dented=True)
