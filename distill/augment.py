"""Training crops: a window of an image, turned and relit, with pasted random objects, and the maps to learn."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from distill.dataset import DataSet, LabelledImage
from distill.network import STRIDE_PX
from distill.shapes import KINDS, paste_shape
from edge.raster import Picture, RasterImage
from protocols.arrays import Boxes, FloatArray, ImageArray

PASTED_KIND_BASE = 1_000_000
"""Pasted kinds are numbered from here, so that they never meet a rendered kind's number."""

LABEL_KIND_BASE, LABEL_KINDS = 10_000_000, 1_000_000
"""Labels outside the class list (ships to a model of cars) are kinds of their own, numbered by their name."""

REFUTED, DOUBT = 1, 2
"""The numbers of `distill.labelled.Mark`."""

_MARK_NUMBERS = {"": 0, "refuted": REFUTED, "doubt": DOUBT}

_FILTER_PX = 4

_MIN_VISIBLE = 0.4
"""A box cut by the crop to less than this share teaches nothing and counts as ignored."""


@dataclass(frozen=True)
class Objects:
    """What stands in one crop, and what is known of the rest of it.

    Attributes:
        boxes_xyxy: (N, 4) float32 pixels.
        classes: (N,) index in the class list, -1 for none.
        kinds: (N,) number of the kind.
        ignore: (N,) whether it neither teaches nor counts.
        marks: (N,) of `REFUTED` and `DOUBT`, 0 for most; only ignored boxes have one.
        judged: (C,) whether whatever is not boxed is known to be none of a class; None where that is so of all.
    """

    boxes_xyxy: Boxes
    classes: np.ndarray[Any, np.dtype[np.int64]]
    kinds: np.ndarray[Any, np.dtype[np.int64]]
    ignore: np.ndarray[Any, np.dtype[np.bool_]]
    marks: np.ndarray[Any, np.dtype[np.int64]] | None = None
    judged: np.ndarray[Any, np.dtype[np.bool_]] | None = None


@dataclass(frozen=True)
class Crop:
    """One training sample: (S, S, bands) uint8 pixels and its objects."""

    image: ImageArray
    objects: Objects


def objects_of(item: LabelledImage, labels: tuple[str, ...]) -> Objects:
    """An item's truth in terms of the class list; a label outside it has class -1 and a kind of its own."""
    classes = np.array([labels.index(name) if name in labels else -1 for name in item.labels], np.int64)
    named = np.array([LABEL_KIND_BASE + zlib.crc32(name.encode()) % LABEL_KINDS for name in item.labels], np.int64)
    kinds = np.where(item.kinds >= 0, item.kinds + 1000, np.where(classes >= 0, classes, named))
    marks = np.array([_MARK_NUMBERS[mark] for mark in item.marks], np.int64) if any(item.marks) else None
    judged = None if item.judged is None else np.array([label in item.judged for label in labels], bool)
    return Objects(item.boxes_xyxy, classes, kinds, item.ignore, marks, judged)


def random_crop(
    data: DataSet,
    index: int,
    labels: tuple[str, ...],
    size_px: int,
    batch_kinds: tuple[int, ...],
    rng: np.random.Generator,
) -> Crop:
    """A random window of an image, moved, scaled, turned, relit, with pasted objects.

    Args:
        data: where the image comes from.
        index: which of its images.
        labels: class list.
        size_px: side S of the square crop.
        batch_kinds: kinds of random objects this batch may paste (few, so that they meet again within the batch).
        rng: source of all randomness.
    """
    picture = data.picture(index)
    bands = len(data.reading.bands)
    crop, objects = _window(picture, objects_of(data.items[index], labels), size_px, rng, bands)
    gray = _is_gray(crop if isinstance(picture, RasterImage) else picture)
    crop, objects = _turn(crop, objects, _symmetry(rng))
    if batch_kinds and rng.random() < 0.6:
        objects = _paste(crop, objects, batch_kinds, gray=gray, rng=rng)
    return Crop(_relight(crop, gray=gray, rng=rng), objects)


def _is_gray(image: ImageArray) -> bool:
    return image.ndim == 2 or (image.shape[2] == 3 and bool((image[..., 0] == image[..., 2]).all()))


def _around(picture: Picture, centre: NDArray[np.float64], half: float) -> tuple[ImageArray, tuple[int, int]]:
    """Pixels that hold the square of this half side, and where they begin in the picture (x, y).

    Of a raster too large to hold that is the square itself and some pixels more for the filter.
    """
    if not isinstance(picture, RasterImage):
        return picture, (0, 0)
    height, width = picture.shape[:2]
    left, top = (int(max(v - half - _FILTER_PX, 0)) for v in centre)
    right, bottom = (int(min(v + half + _FILTER_PX, side)) for v, side in zip(centre, (width, height), strict=True))
    return picture[top:bottom, left:right], (left, top)


def _window(
    picture: Picture, objects: Objects, size_px: int, rng: np.random.Generator, bands: int = 3
) -> tuple[ImageArray, Objects]:
    scale = float(np.exp(rng.uniform(np.log(0.8), np.log(1.3))))
    height, width = picture.shape[:2]
    centre = np.asarray(rng.uniform((0, 0), (width, height)))
    usable = np.flatnonzero(~objects.ignore)
    if usable.size and rng.random() < 0.6:
        # By class first, so that rare classes stand in the middle as often as common ones.
        same_class = usable[objects.classes[usable] == rng.choice(np.unique(objects.classes[usable]))]
        box = objects.boxes_xyxy[rng.choice(same_class)]
        centre = (box[:2] + box[2:]) / 2 + rng.uniform(-0.35, 0.35, 2) * size_px / scale
    half = size_px / 2 / scale
    if 2 * half <= min(height, width):
        centre = centre.clip((half, half), (width - half, height - half))
    shift = size_px / 2 - centre * scale
    # OpenCV counts from the middle of the first pixel, boxes from its edge: half a pixel, before and after scaling.
    half_px = (scale - 1) / 2
    image, corner = _around(picture, centre, half)
    start = shift + half_px + scale * np.array(corner)
    matrix = np.array([[scale, 0, start[0]], [0, scale, start[1]]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    crop = cv2.warpAffine(image, matrix, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    # Mirrored pixels hold objects without truth: blank them instead of teaching that they are background.
    left, top = (int(v) for v in np.floor(shift.clip(0, size_px)))
    right = int(min(size_px, np.ceil(width * scale + shift[0])))
    bottom = int(min(size_px, np.ceil(height * scale + shift[1])))
    fill = crop.mean() if crop.ndim == 2 or crop.shape[2] == 3 else crop.mean(axis=(0, 1))
    crop[:top], crop[max(bottom, 0) :], crop[:, :left], crop[:, max(right, 0) :] = fill, fill, fill, fill
    crop = crop if crop.ndim == 3 else np.repeat(crop[..., None], bands, axis=2)
    boxes = objects.boxes_xyxy * scale + np.tile(shift, 2).astype(np.float32)
    return np.ascontiguousarray(crop), _clipped(objects, boxes.astype(np.float32), size_px)


def _clipped(objects: Objects, boxes: Boxes, size_px: int) -> Objects:
    inside = boxes.clip(0, size_px)
    area = np.prod((boxes[:, 2:] - boxes[:, :2]).clip(1e-3), axis=1)
    share = np.prod(inside[:, 2:] - inside[:, :2], axis=1) / area
    kept = share > 0.02
    ignore = objects.ignore | (share < _MIN_VISIBLE)
    marks = None if objects.marks is None else objects.marks[kept]
    return Objects(inside[kept], objects.classes[kept], objects.kinds[kept], ignore[kept], marks, objects.judged)


def _symmetry(rng: np.random.Generator) -> int:
    """Mirrored left to right half of the time; turned in other ways only sometimes, since oblique views have an up."""
    return int(rng.integers(8)) if rng.random() < 0.3 else int(rng.integers(2))


def _turn(crop: ImageArray, objects: Objects, choice: int) -> tuple[ImageArray, Objects]:
    """One of the eight symmetries of the square; bit 0 mirrors x, bit 1 mirrors y, bit 2 swaps the axes."""
    boxes, size = objects.boxes_xyxy.copy(), crop.shape[0]
    if choice & 1:
        crop, boxes = crop[:, ::-1], boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [size, 0, size, 0]
    if choice & 2:
        crop, boxes = crop[::-1], boxes[:, [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, size, 0, size]
    if choice & 4:
        crop, boxes = crop.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return np.ascontiguousarray(crop), replace(objects, boxes_xyxy=boxes.astype(np.float32))


def _paste(
    crop: ImageArray, objects: Objects, kinds: tuple[int, ...], *, gray: bool, rng: np.random.Generator
) -> Objects:
    boxes, classes = list(objects.boxes_xyxy), list(objects.classes)
    numbers, ignore = list(objects.kinds), list(objects.ignore)
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.choice(kinds)) % KINDS
        box = paste_shape(crop, kind, float(np.exp(rng.uniform(np.log(10), np.log(90)))), gray=gray, rng=rng)
        if not box.any():
            continue
        for i, other in enumerate(boxes):  # what the paste hides can no longer be asked for
            overlap = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
            hidden = overlap.clip(0).prod() / max(float(np.prod(other[2:] - other[:2])), 1.0)
            ignore[i] = bool(ignore[i] or hidden > 1 - _MIN_VISIBLE)
        boxes.append(box)
        classes.append(np.int64(-1))
        numbers.append(np.int64(PASTED_KIND_BASE + kind))
        ignore.append(np.False_)
    pasted = len(boxes) - len(objects.ignore)
    return Objects(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array(numbers, np.int64),
        np.array(ignore, bool),
        None if objects.marks is None else np.pad(objects.marks, (0, pasted)),
        objects.judged,
    )


def _relight(crop: ImageArray, *, gray: bool, rng: np.random.Generator) -> ImageArray:
    gain, bias, gamma = rng.uniform(0.8, 1.2), rng.uniform(-20, 20), rng.uniform(0.85, 1.18)
    table = ((np.arange(256) / 255.0) ** gamma * 255.0 - 127.5) * gain + 127.5 + bias
    lit: Any = cv2.LUT(crop, table.clip(0, 255).astype(np.uint8)).reshape(crop.shape)
    if rng.random() < 0.15:
        lit = cv2.GaussianBlur(lit, (0, 0), float(rng.uniform(0.4, 1.0))).reshape(crop.shape)
    if not gray and crop.shape[2] == 3 and rng.random() < 0.2:
        lit = cv2.cvtColor(cv2.cvtColor(lit, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < 0.3:
        noise = rng.standard_normal((*crop.shape[:2], 1), np.float32) * float(rng.uniform(1, 6))
        lit = (lit + noise).clip(0, 255)
    return np.asarray(lit, dtype=np.uint8)


@dataclass(frozen=True)
class Targets:
    """Maps to learn for one crop, all on the stride-4 grid of h x w cells.

    Attributes:
        heat: (C + 1, h, w) float32 Gaussians around object centres; the last channel is objectness.
        box_ltrb: (4, h, w) float32 natural log of the distances in cells, where `weight` > 0.
        weight: (h, w) float32 weight of the box loss.
        care: (C + 1, h, w) float32, 0 where nothing is known of a class or, in the last channel, of objects.
        cells: (M, 3) int64 rows y, x, kind of cells that lie well inside an object.
    """

    heat: FloatArray
    box_ltrb: FloatArray
    weight: FloatArray
    care: FloatArray
    cells: np.ndarray[Any, np.dtype[np.int64]]


def make_targets(objects: Objects, classes: int, size_px: int, rng: np.random.Generator) -> Targets:
    """The maps for one crop's objects (Gaussians as in CenterNet, arXiv:1904.07850, sec. 3, elliptical here)."""
    side = size_px // STRIDE_PX
    heat = np.zeros((classes + 1, side, side), np.float32)
    ltrb = np.zeros((4, side, side), np.float32)
    weight, care = np.zeros((side, side), np.float32), np.ones_like(heat)
    unjudged = np.zeros(0, np.int64) if objects.judged is None else np.flatnonzero(~objects.judged)
    care[unjudged] = 0
    grid = np.arange(side, dtype=np.float32) + 0.5
    cells = []
    boxes = objects.boxes_xyxy / STRIDE_PX
    for i in np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)):
        x1, y1, x2, y2 = (float(v) for v in boxes[i])
        inside = care[:, int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
        if objects.ignore[i]:
            _forget(inside, 0 if objects.marks is None else int(objects.marks[i]), int(objects.classes[i]))
            continue
        inside[unjudged] = 1  # it is called something, and so nothing else
        cx, cy, sx, sy = (
            (x1 + x2) / 2,
            (y1 + y2) / 2,
            max(0.14 * (x2 - x1), 0.45),
            max(0.14 * (y2 - y1), 0.45),
        )
        # The cell that holds the centre is the peak, exactly 1, whatever the sub-cell offset.
        px, py = min(int(cx), side - 1), min(int(cy), side - 1)
        bell = (
            np.exp(-0.5 * ((grid - px - 0.5) / sx) ** 2)[None] * np.exp(-0.5 * ((grid - py - 0.5) / sy) ** 2)[:, None]
        )
        bell = bell.astype(np.float32)
        np.maximum(heat[-1], bell, out=heat[-1])
        if objects.classes[i] >= 0:
            np.maximum(heat[objects.classes[i]], bell, out=heat[objects.classes[i]])
        near = bell > 0.5
        distances = np.stack(
            np.broadcast_arrays(grid[None] - x1, grid[:, None] - y1, x2 - grid[None], y2 - grid[:, None])
        )
        ltrb[:, near] = np.log(distances[:, near].clip(0.2))
        weight[near] = bell[near]
        ys, xs = np.nonzero(near)
        pick = rng.integers(0, len(ys), 2)
        cells += [(py, px, objects.kinds[i]), (ys[pick[0]], xs[pick[0]], objects.kinds[i])]
    return Targets(heat, ltrb, weight, care, np.array(cells, np.int64).reshape(-1, 3))


def _forget(care: FloatArray, mark: int, number: int) -> None:
    """Ask nothing inside an ignored box, (C + 1, h, w), but what its mark tells."""
    if mark == DOUBT:
        care[-1] = 0
    elif mark != REFUTED:
        care[:] = 0
    elif number >= 0:
        care[number] = 1
    else:
        care[:-1] = 1
