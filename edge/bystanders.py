"""What else was to be seen while a target surely was elsewhere: whoever was seen beside it cannot be it.

A thing of the same kind next to a target that is gone looks like it to template and filter alike; that it stood there
before tells it apart. The thought is that of Mayer et al., "Learning Target Candidate Association to Keep Track of What
Not to Track" (ICCV 2021, arXiv:2103.16556); here places on the ground alone are associated, each with the nearest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.camera_motion import move_boxes
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_iou

_MOST = 64
"""Of each target; those unseen for longest are forgotten."""
_LEAST_SEEN = 3
"""Sure frames in which a thing was seen beside the target: in one or two it may have been a part of the target."""
_SAME_PLACE = 1.0
"""Between two looks a thing moves no farther, in units of its size."""
_APART_IOU = 0.1
"""A candidate that overlaps the target more, or whose middle lies within it, may be a part of it."""


class Bystanders:
    """Boxes of other things, carried along by the camera's motion while they are out of sight."""

    def __init__(self) -> None:
        """Knows nobody yet."""
        self._boxes = np.zeros((0, 4), np.float32)
        self._seen = np.zeros(0, np.int64)

    def carry(self, motion: FloatArray) -> None:
        """Step on to the next frame, by the (2, 3) similarity of the ground that stands still."""
        if len(self._boxes):
            self._boxes = move_boxes(self._boxes, motion)

    def apart_from(self, target_xyxy: FloatArray) -> Bystanders:
        """Those of them that are no part of a target, (4,) pixels of the newest frame."""
        others, is_apart = Bystanders(), _are_apart(self._boxes, target_xyxy)
        others._boxes, others._seen = self._boxes[is_apart], self._seen[is_apart]
        return others

    def see(self, boxes_xyxy: Boxes, target_xyxy: FloatArray, *, is_sure: bool) -> NDArray[np.bool_]:
        """Take in what the student sees in a frame.

        Args:
            boxes_xyxy: (N, 4) pixels, all its candidates.
            target_xyxy: (4,) where the target is, or was lost on the ground.
            is_sure: whether it surely is there; only then bystanders are made.

        Returns:
            (N,) whether each is a known bystander: nearer to where that was than to where the target was.
        """
        places = _centres(np.concatenate([self._boxes, target_xyxy[None]]))
        apart = np.linalg.norm(_centres(boxes_xyxy)[:, None] - places, axis=2)
        nearest, least = apart.argmin(axis=1), apart.min(axis=1)
        sizes = np.sqrt(np.prod(self._boxes[:, 2:] - self._boxes[:, :2], axis=1))
        is_old = least <= _SAME_PLACE * np.append(sizes, -1.0)[nearest]
        rows = np.flatnonzero(is_old)
        rows = rows[np.argsort(-least[rows], kind="stable")]  # of several the nearest is written last, and stays
        self._boxes[nearest[rows]] = boxes_xyxy[rows]
        is_here = np.isin(np.arange(len(self._boxes)), nearest[rows])
        self._seen += is_here & is_sure
        is_known = np.append(self._seen >= _LEAST_SEEN, False)[nearest] & is_old
        new = boxes_xyxy[~is_old & _are_apart(boxes_xyxy, target_xyxy)] if is_sure else boxes_xyxy[:0]
        order = np.argsort(is_here, kind="stable")
        self._boxes = np.concatenate([self._boxes[order], new])[-_MOST:]
        self._seen = np.concatenate([self._seen[order], np.ones(len(new), np.int64)])[-_MOST:]
        return np.asarray(is_known, dtype=np.bool_)


def _are_apart(boxes_xyxy: Boxes, target_xyxy: FloatArray) -> NDArray[np.bool_]:
    middles = _centres(boxes_xyxy)
    is_within = ((middles >= target_xyxy[:2]) & (middles <= target_xyxy[2:])).all(axis=1)
    return np.asarray(~is_within & (box_iou(boxes_xyxy, target_xyxy[None])[:, 0] < _APART_IOU), dtype=np.bool_)


def _centres(boxes_xyxy: Boxes) -> FloatArray:
    return np.asarray((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, dtype=np.float32)
