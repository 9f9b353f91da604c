"""Small box arithmetic that every package needs, in plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.arrays import Boxes, FloatArray
from protocols.errors import ShapeError


def boxes_area(boxes_xyxy: Boxes) -> FloatArray:
    """Area of each box.

    Args:
        boxes_xyxy: (N, 4) pixels.

    Returns:
        (N,) float32 square pixels; 0 where a box is turned inside out.

    Raises:
        ShapeError: the input is not (N, 4).
    """
    boxes = _checked(boxes_xyxy)
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1), dtype=np.float32)


def box_iou(a_xyxy: Boxes, b_xyxy: Boxes) -> FloatArray:
    """Pairwise intersection over union of two box sets.

    Args:
        a_xyxy: (N, 4) float32 pixels, x1 <= x2 and y1 <= y2.
        b_xyxy: (M, 4), same convention.

    Returns:
        (N, M) float32 in [0, 1]; 0 where the union is empty.

    Raises:
        ShapeError: an input is not (K, 4).
    """
    overlap = _overlap(a_xyxy, b_xyxy)
    return _share(overlap, boxes_area(a_xyxy)[:, None] + boxes_area(b_xyxy)[None, :] - overlap)


def box_inside(a_xyxy: Boxes, b_xyxy: Boxes) -> FloatArray:
    """Share of each box's area that lies inside each other box.

    Args:
        a_xyxy: (N, 4) float32 pixels, x1 <= x2 and y1 <= y2.
        b_xyxy: (M, 4), same convention.

    Returns:
        (N, M) float32 in [0, 1]: of box i's area, what lies in box j; 0 for an empty box.

    Raises:
        ShapeError: an input is not (K, 4).
    """
    return _share(_overlap(a_xyxy, b_xyxy), boxes_area(a_xyxy)[:, None])


def _overlap(a_xyxy: Boxes, b_xyxy: Boxes) -> FloatArray:
    a, b = _checked(a_xyxy), _checked(b_xyxy)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.prod(np.clip(high - low, 0, None), axis=2), dtype=np.float32)


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    share = np.zeros_like(part)
    np.divide(part, whole, out=share, where=whole > 0)
    return np.asarray(np.minimum(share, np.float32(1)), dtype=np.float32)


def nms(boxes_xyxy: Boxes, scores: FloatArray, iou: float, groups: NDArray[np.int64] | None = None) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: the indices to keep, best score first.

    The whole IoU matrix is made once, which beats a row at a time up to some thousand boxes; it takes
    4 * N**2 bytes, so cut a longer list by score first. Equal scores keep their order.

    Args:
        boxes_xyxy: (N, 4) pixels.
        scores: (N,) any float; higher wins.
        iou: boxes that overlap a kept one by more than this are dropped, 0..1.
        groups: (N,) boxes drop only those of their own group; all are one group by default.

    Returns:
        (K,) indices into the inputs.

    Raises:
        ShapeError: boxes are not (N, 4) or scores are not (N,).
    """
    boxes = _checked(boxes_xyxy)
    scores = np.asarray(scores)
    if scores.shape != (len(boxes),):
        raise ShapeError(f"scores have shape {scores.shape}; expected ({len(boxes)},), one per box")
    order = np.argsort(-scores, kind="stable")
    if len(order) < 2:
        return order
    overlaps = box_iou(boxes[order], boxes[order]) > iou
    if groups is not None:
        overlaps &= groups[order][:, None] == groups[order]
    alive = np.ones(len(order), dtype=np.bool_)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~overlaps[i, i + 1 :]
    return order[alive]


def clip_boxes(boxes_xyxy: Boxes, width: int, height: int) -> Boxes:
    """Boxes cut to an image.

    Args:
        boxes_xyxy: (N, 4) pixels.
        width: of the image, pixels.
        height: of the image, pixels.

    Returns:
        (N, 4) float32, a new array; a box wholly outside becomes empty (area 0).

    Raises:
        ShapeError: the input is not (N, 4).
    """
    boxes = _checked(boxes_xyxy)
    return np.clip(boxes, 0, np.asarray([width, height, width, height], dtype=np.float32))


def _checked(boxes_xyxy: Boxes) -> Boxes:
    boxes = np.asarray(boxes_xyxy, dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"boxes have shape {boxes.shape}; expected (N, 4), also when empty")
    return boxes
