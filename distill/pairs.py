"""Pairs of views of the same things, to learn finding one again: a chip's surroundings, and a wider view to search.

The second view is another image of the same things where the data tell them apart (renders), else the same image moved,
turned, scaled, relit, blurred and noisy. Some real things are cut out and put elsewhere in it, as things that drive do.
Things are whatever is labelled, random boxes with something in them, and pasted shapes; never a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np

from distill.dataset import DataSet, LabelledImage
from distill.shapes import KINDS, paste_shape
from edge.student import as_bgr
from protocols.arrays import Boxes, FloatArray, ImageArray
from protocols.boxes import box_inside, box_iou

SCALES = (0.6, 1.6)
"""How much larger or smaller a thing may come back."""

_FILL = 114
_MIN_SIDE_PX = 5.0
_MAX_SIDE_PX = 90.0
_MIN_SHOWN, _GONE = 0.6, 0.1
"""Shares of a box inside a view: from the one it is there, up to the other it is not, between them nobody asks."""

_MIN_DEVIATION = 7.0
"""Gray levels: a random box with less in it looks like any other place."""

_INPAINT_PX = 3.0


CHIP_PX, VIEW_PX = 160, 192
"""Sides of the two images, multiples of the network's; a chip of the cloud is at most as large as the first."""

THINGS = 4
"""Exemplars of a pair."""


@dataclass(frozen=True)
class Pair:
    """Two views, and where the same things are in both.

    Attributes:
        chip: (A, A, 3) uint8 BGR, what exemplars are cut from.
        view: (B, B, 3) uint8 BGR, what is searched.
        chip_xyxy: (K, 4) float32 boxes in the chip; empty boxes fill the rows of things that there are not.
        view_xyxy: (K, 4) the same things in the view.
        state: (K,) int64: 1 is there, 0 is not there, -1 nobody asks (cut by the border, or no thing at all).
    """

    chip: ImageArray
    view: ImageArray
    chip_xyxy: Boxes
    view_xyxy: Boxes
    state: np.ndarray[Any, np.dtype[np.int64]]


class OtherViews:
    """Which images of a data set show things of which others do."""

    def __init__(self, data: DataSet) -> None:
        where: dict[str, list[int]] = {}
        for index, item in enumerate(data):
            for thing in item.things:
                where.setdefault(thing, []).append(index)
        self._others = [sorted({i for thing in item.things for i in where[thing]} - {n}) for n, item in enumerate(data)]

    def other(self, index: int, rng: np.random.Generator) -> int | None:
        """Another image with some of the same things; None where there is none."""
        others = self._others[index]
        return others[int(rng.integers(len(others)))] if others else None


def make_pair(data: DataSet, views: OtherViews, index: int, rng: np.random.Generator) -> Pair:
    """One pair that begins with an image of a data set.

    Args:
        data: where images come from.
        views: of that data set.
        index: of the first image.
        rng: source of all randomness.
    """
    other = views.other(index, rng) if rng.random() < 0.7 else None
    image = as_bgr(data.image(index))
    if other is None:
        first = _things_of(data.items[index], image, rng)
        second_image, second = _moved(image, first, rng) if rng.random() < 0.5 else (image, first)
    else:
        first, second = _shared(data.items[index], data.items[other], rng)
        second_image = as_bgr(data.image(other))
    return _viewed((image, first), (second_image, second), rng)


def _things_of(item: LabelledImage, image: ImageArray, rng: np.random.Generator) -> Boxes:
    """Up to four boxes that lie near one another: labelled ones, and at least one random one."""
    sides = item.boxes_xyxy[:, 2:] - item.boxes_xyxy[:, :2]
    usable = ~item.ignore & (sides >= _MIN_SIDE_PX).all(axis=1) & (sides <= _MAX_SIDE_PX).all(axis=1)
    boxes = item.boxes_xyxy[usable]
    height, width = image.shape[:2]
    if len(boxes):
        labels = np.array(item.labels, dtype=object)[usable]
        rare = np.flatnonzero(labels == rng.choice(np.unique(labels.astype(str))))
        middle = _middles(boxes)[rng.choice(rare)]
        near = np.argsort(np.abs(_middles(boxes) - middle).max(axis=1), kind="stable")
        boxes = boxes[near[: THINGS - 1]]
    else:
        middle = rng.uniform((0, 0), (width, height))
    tries = (_random_box(image, middle, rng) for _ in range(3 * THINGS))
    drawn = list(islice((box for box in tries if box is not None), THINGS - len(boxes)))
    return np.concatenate([boxes, np.array(drawn, np.float32).reshape(-1, 4)])


def _random_box(image: ImageArray, middle: FloatArray, rng: np.random.Generator) -> FloatArray | None:
    """A box near a place; None where it would leave the image or hold nothing."""
    side, aspect = np.exp(rng.uniform(np.log(10), np.log(70))), np.exp(rng.uniform(-0.6, 0.6))
    half = np.array([side * aspect, side / aspect]) / 2
    centre = middle + rng.uniform(-60, 60, 2)
    x1, y1, x2, y2 = np.concatenate([centre - half, centre + half])
    if x1 < 0 or y1 < 0 or x2 > image.shape[1] or y2 > image.shape[0]:
        return None
    inside = image[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
    return np.array([x1, y1, x2, y2], np.float32) if inside.std(axis=(0, 1)).max() > _MIN_DEVIATION else None


def _shared(first: LabelledImage, second: LabelledImage, rng: np.random.Generator) -> tuple[Boxes, Boxes]:
    """Boxes of things of the first image, those that the second shows as well first; elsewhere is far outside it."""
    there = {thing: row for row, thing in enumerate(second.things) if not second.ignore[row]}
    rows = [row for row in rng.permutation(len(first.things)) if _is_usable(first, row)]
    rows.sort(key=lambda row: first.things[row] not in there)
    if rows:
        middles = _middles(first.boxes_xyxy)
        rows[1:] = sorted(rows[1:], key=lambda row: float(np.abs(middles[row] - middles[rows[0]]).max()))
    rows = rows[:THINGS]
    far = np.full(4, -1e4, np.float32)
    hidden = {thing for row, thing in enumerate(second.things) if second.ignore[row]}
    rows = [row for row in rows if first.things[row] not in hidden]
    other = [second.boxes_xyxy[there[t]] if (t := first.things[row]) in there else far for row in rows]
    return first.boxes_xyxy[rows].reshape(-1, 4), np.array(other, np.float32).reshape(-1, 4)


def _is_usable(item: LabelledImage, row: int) -> bool:
    sides = item.boxes_xyxy[row, 2:] - item.boxes_xyxy[row, :2]
    return not item.ignore[row] and bool((sides >= _MIN_SIDE_PX).all() and (sides <= 2 * _MAX_SIDE_PX).all())


def _moved(image: ImageArray, boxes: Boxes, rng: np.random.Generator) -> tuple[ImageArray, Boxes]:
    """The image after up to two of its things went elsewhere, and where everything is then."""
    image, boxes = image.copy(), boxes.copy()
    for row in rng.permutation(len(boxes))[:2]:
        target = boxes[row] + np.tile(rng.uniform(-80, 80, 2), 2).astype(np.float32)
        others = np.delete(boxes, row, axis=0)
        clear = not box_iou(target[None], others).any() and not box_iou(boxes[row : row + 1], others).any()
        if clear and _move(image, boxes[row], target):
            boxes[row] = np.round(target - boxes[row]) + boxes[row]
    return image, boxes


def _move(image: ImageArray, box: FloatArray, target: FloatArray) -> bool:
    """Cut a thing out of an image, mend the hole and put it elsewhere, in place; False where it would not fit."""
    margin = 2
    low, high = np.floor(box[:2]).astype(int) - margin, np.ceil(box[2:]).astype(int) + margin
    shift = np.round(target[:2] - box[:2]).astype(int)
    limit = np.array(image.shape[1::-1])
    around = 8  # what the hole is mended from
    if (np.minimum(low, low + shift) < around).any() or (np.maximum(high, high + shift) > limit - around).any():
        return False
    patch = image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    hole = image[low[1] - around : high[1] + around, low[0] - around : high[0] + around]
    mask = np.zeros(hole.shape[:2], np.uint8)
    mask[around:-around, around:-around] = 255
    hole[:] = cv2.inpaint(np.ascontiguousarray(hole), mask, _INPAINT_PX, cv2.INPAINT_TELEA)
    cover = np.zeros(patch.shape[:2], np.float32)
    middle = (patch.shape[1] // 2, patch.shape[0] // 2)
    cv2.ellipse(cover, middle, (max(middle[0] - 1, 1), max(middle[1] - 1, 1)), 0, 0, 360, 1.0, -1)
    share = cv2.GaussianBlur(cover, (0, 0), 1.0)[..., None]
    x, y = low + shift
    under = image[y : y + patch.shape[0], x : x + patch.shape[1]]
    under[:] = (share * patch + (1 - share) * under).astype(np.uint8)
    return True


def _viewed(first: tuple[ImageArray, Boxes], second: tuple[ImageArray, Boxes], rng: np.random.Generator) -> Pair:
    """Both views cut out, with pasted shapes, light and noise of their own."""
    (image, boxes), (second_image, second_boxes) = first, second
    scale = float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
    chip_matrix = _window(_anchor(image, boxes, 0.15 * CHIP_PX / scale, rng), image, (scale, 0.0), CHIP_PX)
    relative = float(np.exp(rng.uniform(*np.log(SCALES))))
    turn_deg = float(rng.uniform(0, 360) if rng.random() < 0.15 else rng.normal(0, 12))
    is_there = second_boxes[:, 0] > -1e3
    anchor = _anchor(second_image, second_boxes[is_there], 0.4 * VIEW_PX / (scale * relative), rng)
    view_matrix = _window(anchor, second_image, (scale * relative, turn_deg), VIEW_PX)
    chip, view = warp(image, chip_matrix, CHIP_PX), warp(second_image, view_matrix, VIEW_PX)
    chip_boxes, view_boxes = move_boxes(boxes, chip_matrix), move_boxes(second_boxes, view_matrix)
    gray = bool((image[..., 0] == image[..., 2]).all())
    if rng.random() < 0.4:
        chip_boxes, view_boxes = _pasted(chip, view, (chip_boxes, view_boxes), gray=gray, rng=rng)
    state = _states(chip_boxes, view_boxes)
    kept = np.argsort(-state, kind="stable")[:THINGS]
    lack = THINGS - len(kept)
    return Pair(
        degrade(chip, gray=gray, rng=rng),
        degrade(view, gray=gray, rng=rng),
        np.pad(chip_boxes[kept], ((0, lack), (0, 0))).astype(np.float32),
        np.pad(view_boxes[kept], ((0, lack), (0, 0))).clip(0, VIEW_PX).astype(np.float32),
        np.pad(state[kept], (0, lack), constant_values=-1),
    )


def _anchor(image: ImageArray, boxes: Boxes, reach_px: float, rng: np.random.Generator) -> FloatArray:
    """(2,) a place near the first of some boxes, anywhere without one."""
    height, width = image.shape[:2]
    middle = _middles(boxes)[0] if len(boxes) else rng.uniform((0, 0), (width, height))
    return np.asarray(middle + rng.uniform(-reach_px, reach_px, 2), dtype=np.float32)


def _window(anchor: FloatArray, image: ImageArray, pose: tuple[float, float], size_px: int) -> FloatArray:
    """The 2x3 matrix from an image's pixels to a window's about a place; the pose is scale and turn in degrees."""
    scale, turn_deg = pose
    sides = np.array(image.shape[1::-1])
    half = np.minimum(size_px / 2 / scale, sides / 2)
    middle = np.asarray(np.clip(anchor, half, sides - half), dtype=np.float32)
    return camera(middle, scale, turn_deg, (size_px, size_px))


def camera(middle: FloatArray, scale: float, turn_deg: float, size: tuple[int, int]) -> FloatArray:
    """The 2x3 matrix from an image's pixels to those of a (width, height) view that shows a place in its middle."""
    cosine, sine = scale * np.cos(np.deg2rad(turn_deg)), scale * np.sin(np.deg2rad(turn_deg))
    linear = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.divide(size, 2) - linear @ middle
    return np.concatenate([linear, shift[:, None]], axis=1).astype(np.float32)


def warp(image: ImageArray, matrix: FloatArray, size_px: int | tuple[int, int]) -> ImageArray:
    """An image seen through a 2x3 matrix between pixel edges; gray where there is nothing.

    Args:
        image: (H, W, 3) uint8.
        matrix: from the image's pixels to the result's.
        size_px: of the result, one side or (width, height).
    """
    scale = float(np.sqrt(np.linalg.det(matrix[:, :2])))
    if scale < 0.9:  # what a smaller picture cannot hold must go first, or it flickers
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / scale), dtype=np.uint8)
    # OpenCV counts from the middle of the first pixel, boxes from its edge.
    centred = matrix.astype(np.float64).copy()
    centred[:, 2] += centred[:, :2] @ (0.5, 0.5) - 0.5
    size = (size_px, size_px) if isinstance(size_px, int) else size_px
    fill = (_FILL, _FILL, _FILL)
    warped = cv2.warpAffine(image, centred, size, flags=cv2.INTER_LINEAR, borderValue=fill)
    return np.asarray(warped, dtype=np.uint8)


def move_boxes(boxes_xyxy: Boxes, matrix: FloatArray) -> Boxes:
    """Boxes seen through a 2x3 matrix: each is the box of the turned ellipse that filled it."""
    middles = _middles(boxes_xyxy) @ matrix[:, :2].T + matrix[:, 2]
    halves = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 2
    moved = np.sqrt((halves**2) @ (matrix[:, :2] ** 2).T)
    return np.concatenate([middles - moved, middles + moved], axis=1).astype(np.float32)


def _pasted(
    chip: ImageArray, view: ImageArray, boxes: tuple[Boxes, Boxes], *, gray: bool, rng: np.random.Generator
) -> tuple[Boxes, Boxes]:
    """One kind pasted into both, and others into either; what they hide is nowhere."""
    kinds = rng.integers(0, KINDS, 3)
    side = float(np.exp(rng.uniform(np.log(12), np.log(60))))
    there = float(side * np.exp(rng.uniform(*np.log(SCALES))))
    pasted_view = [
        paste_shape(view, int(k), s, gray=gray, rng=rng) for k, s in zip(kinds[::-1], (side, side, there), strict=True)
    ]
    pasted_chip = [paste_shape(chip, int(k), side, gray=gray, rng=rng) for k in kinds[1::-1]]
    chip_boxes = _unless_hidden(boxes[0], np.array(pasted_chip))
    view_boxes = _unless_hidden(boxes[1], np.array(pasted_view))
    return (
        np.concatenate([pasted_chip[-1][None], chip_boxes]).astype(np.float32),
        np.concatenate([pasted_view[-1][None], view_boxes]).astype(np.float32),
    )


def _unless_hidden(boxes: Boxes, above: Boxes) -> Boxes:
    """The boxes; those that pasted ones hide a good part of lie half outside, so that nobody asks for them."""
    hidden = box_inside(boxes, above).max(axis=1, initial=0.0) > 1 - _MIN_SHOWN
    sides = boxes[:, 2:] - boxes[:, :2]
    cut = np.concatenate([-0.7 * sides, 0.3 * sides], axis=1)
    return np.where(hidden[:, None], cut, boxes).astype(np.float32)


def _states(chip_boxes: Boxes, view_boxes: Boxes) -> np.ndarray[Any, np.dtype[np.int64]]:
    sides = np.array([[0, 0, CHIP_PX, CHIP_PX], [0, 0, VIEW_PX, VIEW_PX]])
    in_chip = box_inside(chip_boxes, sides[:1])[:, 0]
    in_view = box_inside(view_boxes, sides[1:])[:, 0]
    large = ((chip_boxes[:, 2:] - chip_boxes[:, :2]) >= _MIN_SIDE_PX).all(axis=1)
    small = ((view_boxes[:, 2:] - view_boxes[:, :2]) < 0.75 * _MIN_SIDE_PX).any(axis=1) & (in_view > _GONE)
    state = np.where(in_view >= _MIN_SHOWN, 1, np.where(in_view <= _GONE, 0, -1))
    return np.where((in_chip < 0.9) | ~large | small, -1, state).astype(np.int64)


def degrade(image: ImageArray, *, gray: bool, rng: np.random.Generator) -> ImageArray:
    """The same picture in another light, sometimes without colour, shaken, out of focus, noisy or badly compressed."""
    gain, bias, gamma = rng.uniform(0.7, 1.3), rng.uniform(-30, 30), np.exp(rng.uniform(-0.3, 0.3))
    table = ((np.arange(256) / 255.0) ** gamma * 255.0 - 127.5) * gain + 127.5 + bias
    lit: Any = cv2.LUT(image, table.clip(0, 255).astype(np.uint8))
    if not gray and rng.random() < 0.15:
        lit = cv2.cvtColor(cv2.cvtColor(lit, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < 0.2:
        lit = cv2.filter2D(lit, -1, _shake(rng))
    elif rng.random() < 0.2:
        lit = cv2.GaussianBlur(lit, (0, 0), float(rng.uniform(0.4, 1.2)))
    if rng.random() < 0.4:
        noise = rng.standard_normal((*image.shape[:2], 1), np.float32) * float(rng.uniform(1, 8))
        lit = (lit + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        lit = cv2.imdecode(cv2.imencode(".jpg", lit, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])[1], 1)
    return np.asarray(lit, dtype=np.uint8)


def _shake(rng: np.random.Generator) -> FloatArray:
    """A kernel that smears along a line of 3 to 6 px."""
    length, angle = rng.uniform(3, 6), rng.uniform(0, np.pi)
    kernel = np.zeros((7, 7), np.float32)
    reach = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    begin, end = (tuple(int(v) for v in np.round(3 + sign * reach)) for sign in (-1, 1))
    cv2.line(kernel, begin, end, 1.0, 1)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _middles(boxes: Boxes) -> FloatArray:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, dtype=np.float32)
