"""Random compound objects: thousands of kinds that exist nowhere, so that a student learns to see *any* object.

The integer kind decides shape, colours and texture; size, turn and light vary between instances. They are pasted into
real training images (the first step that helped on never-seen bicycles, see the data README's measurements).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from protocols.arrays import FloatArray, ImageArray

KINDS = 4000
_CANVAS_PX = 96


@lru_cache(maxsize=1024)
def draw_shape(kind: int, *, gray: bool, bands: int = 3) -> tuple[ImageArray, FloatArray]:
    """The picture of one kind; in other bands it has other colours, and the same shape only by chance.

    Returns:
        pixels (96, 96, bands) uint8 and alpha (96, 96) float32 in [0, 1]; shared, not to be changed.
    """
    rng = np.random.default_rng((731, kind))
    pixels = np.zeros((_CANVAS_PX, _CANVAS_PX, bands), np.uint8)
    mask = np.zeros((_CANVAS_PX, _CANVAS_PX), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        part = np.zeros_like(mask)
        _draw_part(part, rng)
        pixels[part > 0] = _texture(rng, bands)[part > 0]
        mask |= part
    if gray:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), bands, axis=2)
    alpha = cv2.GaussianBlur(mask, (0, 0), 1.0).astype(np.float32) / 255.0
    return pixels, alpha


def _draw_part(part: ImageArray, rng: np.random.Generator) -> None:
    centre = tuple(int(v) for v in rng.integers(30, _CANVAS_PX - 30, 2))
    choice = rng.integers(0, 4)
    if choice == 0:
        axes = tuple(int(v) for v in rng.integers(6, 30, 2))
        cv2.ellipse(part, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    elif choice == 1:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        radii = rng.uniform(8, 34, angles.size)
        points = np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], 1)
        cv2.fillPoly(part, [points.astype(np.int32)], 255)
    elif choice == 2:
        size = (float(rng.uniform(8, 60)), float(rng.uniform(6, 36)))
        corners = cv2.boxPoints((centre, size, float(rng.uniform(0, 180))))
        cv2.fillPoly(part, [corners.astype(np.int32)], 255)
    else:
        cv2.circle(part, centre, int(rng.integers(10, 28)), 255, int(rng.integers(3, 9)))


def _texture(rng: np.random.Generator, bands: int) -> ImageArray:
    light, dark = rng.integers(0, 256, (2, bands))
    y, x = np.mgrid[:_CANVAS_PX, :_CANVAS_PX]
    phase = (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) * rng.uniform(0.1, 0.9)
    pattern = rng.integers(0, 4)
    if pattern == 0:
        weight = np.ones(x.shape)
    elif pattern == 1:
        weight = np.sin(phase) > 0
    elif pattern == 2:
        weight = (np.sin(x * rng.uniform(0.2, 0.8)) * np.sin(y * rng.uniform(0.2, 0.8))) > 0
    else:
        weight = cv2.resize(rng.random((6, 6)), x.shape, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    mixed: Any = weight[..., None] * light + (1 - weight[..., None]) * dark
    return np.asarray(mixed, dtype=np.uint8)


def paste_shape(image: ImageArray, kind: int, side_px: float, *, gray: bool, rng: np.random.Generator) -> FloatArray:
    """Paste one instance into an image, in place, at a random place.

    Args:
        image: (H, W, bands) uint8, changed.
        kind: which shape.
        side_px: longer side of the object in pixels.
        gray: paste without colour, as a thermal camera would see it.
        rng: source of place, turn and light.

    Returns:
        (4,) float32 box_xyxy of the visible shape; all zero when nothing was visible.
    """
    pixels, alpha = draw_shape(kind, gray=gray, bands=image.shape[2])
    ys, xs = np.nonzero(alpha > 0.5)
    extent = max(float(np.ptp(xs)) if xs.size else 0.0, float(np.ptp(ys)) if ys.size else 0.0, 1.0)
    scale = side_px / extent
    angle_deg = float(rng.uniform(0, 360))
    matrix = np.asarray(cv2.getRotationMatrix2D((_CANVAS_PX / 2, _CANVAS_PX / 2), angle_deg, scale), np.float64)
    out = int(side_px * 1.6) + 8
    matrix[:, 2] += out / 2 - _CANVAS_PX / 2
    moved = cv2.warpAffine(pixels, matrix, (out, out), flags=cv2.INTER_AREA).astype(np.float32)
    patch = moved.reshape(out, out, -1)  # OpenCV drops the axis of a single band
    cover = cv2.warpAffine(alpha, matrix, (out, out)) * float(rng.uniform(0.75, 1.0))
    height, width = image.shape[:2]
    if out >= min(height, width):
        return np.zeros(4, np.float32)
    left, top = int(rng.integers(0, width - out)), int(rng.integers(0, height - out))
    under = image[top : top + out, left : left + out]
    lit = (patch * float(rng.uniform(0.8, 1.2))).clip(0, 255)
    under[:] = (cover[..., None] * lit + (1 - cover[..., None]) * under).astype(np.uint8)
    ys, xs = np.nonzero(cover > 0.4)
    if not xs.size:
        return np.zeros(4, np.float32)
    return np.array([left + xs.min(), top + ys.min(), left + xs.max() + 1, top + ys.max() + 1], np.float32)
