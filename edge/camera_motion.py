"""How still ground moves in the picture from one frame to the next: sparse optical flow, and RANSAC for a similarity.

A similarity is a (2, 3) float32 matrix `[A | t]` on pixel edges, the frame of every box in the project: a point that
was at `p` is at `A @ p + t` now. `A` turns, and scales alike in both directions.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from edge.raster import Picture, RasterImage
from protocols.arrays import Boxes, FloatArray, ImageArray

_SIDE_PX = 320
"""Longer side of the picture looked at: corners at a quarter of 1280 are still corners, at a tenth of the work."""
_CORNERS = 60
"""A similarity has four unknowns; this many corners leave enough of them where half lie on things that move. With
twice as many, and windows of 15 px, pictures warped by a known similarity were off by 0.04 px in the mean, not 0.06."""
_CORNER_QUALITY, _CORNER_DISTANCE_PX = 0.01, 12
"""Shi and Tomasi's share of the strongest corner (CVPR 1994), and a distance that spreads corners over the picture."""
_FLOW_WINDOW_PX, _FLOW_LEVELS = (11, 11), 3
"""Pyramids of Lucas and Kanade: four levels follow what moves by up to a fifth of the picture."""
_FLOW_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 0.03)
_TOLERANCE_PX = 1.0
"""Of RANSAC, in the small picture; flow there is sure to a few tenths."""
_LEAST_CORNERS = 8
_LEAST_AGREEING = 0.3
"""Share of corners that must move alike before the camera is believed to have moved so; water and crowds have few."""
_SCALES = (0.5, 2.0)
"""Between two frames nothing comes nearer by more; what says so is a mistake."""


class Motion(NamedTuple):
    """What the camera did between two frames.

    Attributes:
        matrix: (2, 3) float32 similarity in pixels; the identity where it is not believed.
        is_believed: whether enough of the picture agrees.
    """

    matrix: FloatArray
    is_believed: bool


STILL = Motion(np.eye(2, 3, dtype=np.float32), is_believed=False)


class CameraMotion:
    """Follows corners of the ground from frame to frame."""

    def __init__(self) -> None:
        self._previous: ImageArray | None = None

    def update(self, image: Picture) -> Motion:
        """How the ground moved since the last call; the first says that nothing is known.

        Args:
            image: the next frame; the middle band of several is looked at.
        """
        small = _small_gray(image)
        previous, self._previous = self._previous, small
        if previous is None or previous.shape != small.shape:
            return STILL
        found = _similarity(*_flow(previous, small))
        if found is None:
            return STILL
        found[:, 2] *= max(image.shape[:2]) / max(small.shape)
        return Motion(found, is_believed=True)


def _small_gray(image: Picture) -> ImageArray:
    image = image.overview(_SIDE_PX) if isinstance(image, RasterImage) else image
    shrink = min(1.0, _SIDE_PX / max(image.shape[:2]))
    size = (max(round(image.shape[1] * shrink), 1), max(round(image.shape[0] * shrink), 1))
    if image.ndim == 3 and image.shape[2] > 4:  # more than OpenCV shrinks at once
        image = np.ascontiguousarray(image[..., image.shape[2] // 2])
    small = np.asarray(cv2.resize(image, size), dtype=np.uint8)
    # After shrinking: to pick one band of a whole frame costs more than all the rest here.
    return np.ascontiguousarray(small[..., small.shape[2] // 2]) if small.ndim == 3 else small


def _flow(previous: ImageArray, now: ImageArray) -> tuple[FloatArray, FloatArray]:
    """(N, 2) float32 places of corners in both pictures, on pixel edges; N is 0 where there are none."""
    found = cv2.goodFeaturesToTrack(previous, _CORNERS, _CORNER_QUALITY, _CORNER_DISTANCE_PX)
    corners = np.empty((0, 1, 2), np.float32) if _is_nothing(found) else np.asarray(found, dtype=np.float32)
    if not len(corners):
        return corners[:, 0], corners[:, 0]
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        previous, now, corners, corners.copy(), winSize=_FLOW_WINDOW_PX, maxLevel=_FLOW_LEVELS, criteria=_FLOW_STEPS
    )
    kept = np.asarray(found)[:, 0] > 0
    half = np.float32(0.5)  # OpenCV's pixel 0 has its middle at 0, ours at 0.5
    return corners[kept, 0] + half, np.asarray(there, dtype=np.float32)[kept, 0] + half


def _is_nothing(found: object) -> bool:
    """OpenCV answers None where it finds nothing; its types do not say so."""
    return found is None


def _similarity(before: FloatArray, after: FloatArray) -> FloatArray | None:
    """(2, 3) float32 on which enough corners agree; None where they do not."""
    if len(before) < _LEAST_CORNERS:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(before, after, method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE_PX)
    if matrix is None or np.mean(agree) < _LEAST_AGREEING or np.sum(agree) < _LEAST_CORNERS:
        return None
    scale = float(np.hypot(*matrix[:, 0]))
    return np.asarray(matrix, dtype=np.float32) if _SCALES[0] < scale < _SCALES[1] else None


def move_points(points: FloatArray, matrix: FloatArray) -> FloatArray:
    """Where a similarity takes points: (N, 2) float32 pixels in, the same out."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], dtype=np.float32)


def move_boxes(boxes_xyxy: Boxes, matrix: FloatArray) -> Boxes:
    """Where a similarity takes upright boxes: their centres move, their sides scale, and they stay upright.

    Args:
        boxes_xyxy: (N, 4) pixels.
        matrix: (2, 3) similarity.

    Returns:
        (N, 4) float32 pixels, a new array.
    """
    centres = move_points(np.asarray((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, dtype=np.float32), matrix)
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * (np.hypot(*matrix[:, 0]) / 2)
    return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
