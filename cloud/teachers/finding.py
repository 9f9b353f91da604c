"""Finding a thing again by dense features alone: for every teacher that has them and nothing better.

The thing is the mean feature in the core of its box; a place is a peak of the cosine with it, taken as the mean over
the core of a box of its size there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from cloud.errors import TeacherError
from cloud.teachers.teacher import Exemplar, Places
from edge.chips import CORE, core_cells, frame_view
from edge.student import highest_peaks, unit_rows
from protocols.arrays import Boxes, FloatArray, ImageArray
from protocols.boxes import boxes_area, clip_boxes, nms
from protocols.errors import ImageryError
from protocols.values import Chip

MAX_PLACES = 50
PLACE_NMS_IOU = 0.4
"""Two things of one kind may stand side by side, two answers for one of them overlap more."""

MAX_PEAKS = 300
_LEAST_SIGMA_CELLS = 0.3
_MAX_SIDE_PX = 2048

DenseFeatures = Callable[[Sequence[ImageArray]], FloatArray]


def exemplar_of(chip: Chip) -> Exemplar:
    """A prompt's chip as an exemplar: decoded, and at the scale of the frames it was cut from.

    Raises:
        TeacherError: it does not decode, is far too large at that scale, or its box leaves it.
    """
    try:
        image, box = frame_view(chip, _MAX_SIDE_PX)
    except ImageryError as exc:
        raise TeacherError(f"a chip is no exemplar: {exc}") from exc
    return Exemplar(image, box)


def find_by_features(
    dense_features: DenseFeatures, chips: Sequence[Exemplar], frames: Sequence[ImageArray]
) -> list[Places]:
    """What `Teacher.find` asks for, by the cosine of dense features.

    Args:
        dense_features: of a teacher; a map covers its image from edge to edge.
        chips: at least one.
        frames: to search.

    Raises:
        TeacherError: there is no chip, or the teacher has no features.
    """
    check_chips(chips)
    vectors = unit_rows(np.stack([_pooled(dense_features([chip.image])[0], chip) for chip in chips]))
    sides = np.stack([chip.box_xyxy[2:] - chip.box_xyxy[:2] for chip in chips])
    return [_likely(dense_features([frame])[0], frame.shape[:2], vectors, sides) for frame in frames]


def check_chips(chips: Sequence[Exemplar]) -> None:
    """Refuse to look for nothing.

    Raises:
        TeacherError: there is no chip.
    """
    if not chips:
        raise TeacherError("nothing to look for: give at least one chip")


def best_places(boxes_xyxy: Boxes, scores: FloatArray, frame_size: tuple[int, int]) -> Places:
    """The best of some boxes with scores, cut to a frame of (height, width), none twice."""
    boxes = clip_boxes(boxes_xyxy, frame_size[1], frame_size[0])
    visible = boxes_area(boxes) >= 1
    boxes, scores = boxes[visible], scores[visible]
    kept = nms(boxes, scores, PLACE_NMS_IOU)[:MAX_PLACES]
    return Places(boxes[kept], np.clip(scores[kept], 0, 1).astype(np.float32))


def _pooled(features: FloatArray, chip: Exemplar) -> FloatArray:
    grid = _unit_grid(features)
    cells = np.divide(grid.shape[:2], chip.image.shape[:2])[::-1]
    box = np.asarray(chip.box_xyxy * np.tile(cells, 2), dtype=np.float32)
    return np.asarray(core_cells(grid, box, 1).mean(axis=0), dtype=np.float32)


def _unit_grid(features: FloatArray) -> FloatArray:
    depth, height, width = features.shape
    return unit_rows(features.reshape(depth, -1).T).reshape(height, width, depth)


def _likely(features: FloatArray, frame_size: tuple[int, int], vectors: FloatArray, sides: FloatArray) -> Places:
    grid = _unit_grid(features)
    cell = np.divide(frame_size, grid.shape[:2])[::-1]
    cosines = np.stack([_over_core(grid @ vector, side / cell) for vector, side in zip(vectors, sides, strict=True)])
    best, which = cosines.max(axis=0), cosines.argmax(axis=0)
    rows, columns = highest_peaks(best, 0.0, MAX_PEAKS)
    middles = (np.stack([columns, rows], axis=1) + 0.5) * cell
    halves = sides[which[rows, columns]] / 2
    boxes = np.concatenate([middles - halves, middles + halves], axis=1).astype(np.float32)
    return best_places(boxes, best[rows, columns], frame_size)


def _over_core(cosines: FloatArray, cells: FloatArray) -> FloatArray:
    """The mean of an (h, w) map around each cell, weighted by a bell of a box's core; what is outside counts 0."""
    x, y = (max(float(side) * CORE / 2, _LEAST_SIGMA_CELLS) for side in cells)
    return np.asarray(cv2.GaussianBlur(cosines, (0, 0), x, sigmaY=y, borderType=cv2.BORDER_CONSTANT), dtype=np.float32)
