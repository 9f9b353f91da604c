"""One image as the twin sees it, and what its embeddings say about boxes in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cloud.case_images import CaseImage
from edge.chips import pool_boxes
from edge.student import Known, Perception, Student, unit_rows
from protocols.arrays import Boxes, FloatArray, ImageArray
from protocols.boxes import box_iou, clip_boxes

TRUE_IOU = 0.4
"""A candidate that overlaps a box by this much shows the thing in it."""

LOOSE_IOU = 0.2
"""Overlap from which a candidate is no longer background; also enough for the best one centred in a box."""

CROP_MARGIN_PX = 48
"""About half a receptive field: what a cell sees of its surroundings must be in the crop too."""

_MAX_VIEWED_BOXES = 2
_MAX_VIEWED_SIDE_PX = 160


@dataclass(frozen=True)
class Evidence:
    """What the twin saw in a case.

    Attributes:
        image: the pixels, at frame scale where that fits.
        seen: the twin's candidates, boxes in pixels of `image`.
        known: candidates that known classes explain.
        gsd_m: metres per frame pixel, where known.
    """

    image: CaseImage
    seen: Perception
    known: Known
    gsd_m: float | None


def look(twin: Student, image: CaseImage, gsd_m: float | None) -> Evidence:
    """The twin's view of a case's image, at frame scale where that fits."""
    image = image.at_frame_scale()
    seen = twin.perceive(image.image)
    return Evidence(image, seen, twin.known(seen), gsd_m)


def true_rows(seen: Perception, boxes_xyxy: Boxes) -> NDArray[np.int64]:
    """(N,) for each candidate the index of the box whose content it shows, or -1."""
    owner = np.full(len(seen.boxes_xyxy), -1, np.int64)
    if not len(boxes_xyxy) or not len(owner):
        return owner
    overlap = box_iou(seen.boxes_xyxy, boxes_xyxy)
    best = overlap.argmax(axis=1)
    owner[overlap.max(axis=1) >= TRUE_IOU] = best[overlap.max(axis=1) >= TRUE_IOU]
    centred = np.where(_centres_in(seen.boxes_xyxy, boxes_xyxy), overlap, 0.0)
    for box in range(len(boxes_xyxy)):
        row = int(centred[:, box].argmax())
        if not (owner == box).any() and centred[row, box] >= LOOSE_IOU:
            owner[row] = box
    return owner


def background_rows(seen: Perception, boxes_xyxy: Boxes) -> NDArray[np.int64]:
    """Indices of the candidates that have nothing to do with any of the boxes."""
    if not len(boxes_xyxy):
        return np.arange(len(seen.boxes_xyxy))
    apart = (box_iou(seen.boxes_xyxy, boxes_xyxy) < LOOSE_IOU).all(axis=1)
    return np.flatnonzero(apart & ~_centres_in(seen.boxes_xyxy, boxes_xyxy).any(axis=1))


def background_of(evidence: Evidence, named_xyxy: Boxes) -> FloatArray:
    """(K, D) embeddings of the objects in an image that have nothing to do with any of the boxes."""
    far = background_rows(evidence.seen, named_xyxy)
    return evidence.seen.embeddings[far[evidence.seen.is_object[far]]]


def pool_things(evidence: Evidence, boxes_xyxy: Boxes, masks: NDArray[np.bool_] | None, stride_px: int) -> FloatArray:
    """(B, D) unit vectors: the mean embedding of the cells in each thing's mask, or in the core of its box.

    Args:
        evidence: what the twin sees.
        boxes_xyxy: (B, 4) pixels of its image.
        masks: (B, h, w) on a raster of any size that covers the image; the core stands in for one that holds no cell's
            centre. None is the core for all.
        stride_px: pixels a cell.
    """
    pooled = pool_boxes(evidence.seen, boxes_xyxy, stride_px)
    if masks is None:
        return pooled
    embedding = evidence.seen.raw.embedding
    height, width = evidence.image.image.shape[:2]
    y, x = ((np.arange(cells) + 0.5) * stride_px for cells in embedding.shape[1:])
    rows = (y[y < height] * masks.shape[1] / height).astype(int)
    columns = (x[x < width] * masks.shape[2] / width).astype(int)
    for index, mask in enumerate(masks):
        inside = mask[np.ix_(rows, columns)]
        if inside.any():
            cells = unit_rows(embedding[:, : len(rows), : len(columns)][:, inside].T)
            pooled[index] = unit_rows(cells.mean(axis=0)[None])[0]
    return pooled


def vary(twin: Student, image: ImageArray, boxes_xyxy: Boxes) -> FloatArray:
    """(V, D) unit vectors of the same things seen otherwise: mirrored, turned and smaller.

    They say how far the embedding of one thing moves when the camera does, before a second frame has come.
    """
    vectors: list[FloatArray] = []
    for box in boxes_xyxy[:_MAX_VIEWED_BOXES]:
        x1, y1, x2, y2 = crop_span(box, image.shape[1], image.shape[0], twin.manifest.multiple_px)
        inner = box - np.asarray([x1, y1, x1, y1], np.float32)
        if max(x2 - x1, y2 - y1) <= _MAX_VIEWED_SIDE_PX + 2 * CROP_MARGIN_PX:
            vectors += _varied(twin, np.ascontiguousarray(image[y1:y2, x1:x2]), inner)
    return np.stack(vectors) if vectors else np.zeros((0, twin.manifest.embedding_dim), np.float32)


def crop_span(box_xyxy: FloatArray, width: int, height: int, align_px: int) -> tuple[int, int, int, int]:
    """Corners of a crop around a box with margin, its origin on the network's grid, inside the image."""
    x1, y1 = (max(int(v - CROP_MARGIN_PX) // align_px * align_px, 0) for v in box_xyxy[:2])
    x2, y2 = (min(int(v) + CROP_MARGIN_PX, side) for v, side in zip(box_xyxy[2:], (width, height), strict=True))
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _varied(twin: Student, crop: ImageArray, box: FloatArray) -> list[FloatArray]:
    width = crop.shape[1]
    x1, y1, x2, y2 = (float(v) for v in box)
    smaller = cv2.resize(crop, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    views: list[tuple[ImageArray, list[float]]] = [
        (crop[:, ::-1], [width - x2, y1, width - x1, y2]),
        (np.rot90(crop), [y1, width - x2, y2, width - x1]),
        (np.asarray(smaller, dtype=np.uint8), [0.8 * v for v in (x1, y1, x2, y2)]),
    ]
    return [_embed(twin, np.ascontiguousarray(view), np.asarray([where], np.float32)) for view, where in views]


def _embed(twin: Student, image: ImageArray, box_xyxy: Boxes) -> FloatArray:
    """The embedding a prompt would meet there: of the candidate that shows the box, else pooled."""
    seen = twin.perceive(image)
    rows = np.flatnonzero(true_rows(seen, box_xyxy) == 0)
    if rows.size:
        best = rows[box_iou(seen.boxes_xyxy[rows], box_xyxy)[:, 0].argmax()]
        return np.asarray(seen.embeddings[best], dtype=np.float32)
    box_xyxy = clip_boxes(box_xyxy, image.shape[1], image.shape[0])
    return np.asarray(pool_boxes(seen, box_xyxy, twin.manifest.stride_px)[0], dtype=np.float32)


def _centres_in(candidates_xyxy: Boxes, boxes_xyxy: Boxes) -> NDArray[np.bool_]:
    """(N, B) whether a candidate's centre lies in a box."""
    centres = ((candidates_xyxy[:, :2] + candidates_xyxy[:, 2:]) / 2)[:, None]
    within = (centres >= boxes_xyxy[None, :, :2]) & (centres < boxes_xyxy[None, :, 2:])
    return np.asarray(within.all(axis=2), dtype=np.bool_)
