"""What one target looks like to the student: its first template, for ever, and what it must not be mistaken for."""

from __future__ import annotations

import math

import numpy as np

from edge.student import Perception, unit_rows
from protocols.arrays import FloatArray
from protocols.boxes import box_iou

_DISTRACTORS = 8
"""Of each target; the one least like it gives way."""
_SHOWN = 8
"""Looks that were shown, as many as a prompt may have."""
_APART_IOU = 0.1
"""A candidate that overlaps the target less is something else."""
_OTHER_COSINE = 0.5
"""A candidate less like the target than this needs no remembering."""
_SAME_COSINE = 0.95
"""A distractor this much like one that is remembered is no other one."""


class TargetLooks:
    """A frozen first template and a short bank of distractors, all unit vectors of the student's embedding."""

    def __init__(self) -> None:
        """Knows nothing until the student sees the target."""
        self.template: FloatArray | None = None
        self.distractors: FloatArray | None = None
        self.shown: FloatArray | None = None

    def likeness(self, embeddings: FloatArray) -> FloatArray:
        """Cosine with the template, or with a look that was shown, less by as much as a distractor is nearer.

        Args:
            embeddings: (N, D) float32 unit rows.

        Returns:
            (N,) float32 in [-3, 1]; nan while there is no template.
        """
        if self.template is None:
            return np.full(len(embeddings), np.nan, np.float32)
        alike = embeddings @ self.template
        if self.shown is not None:
            alike = np.maximum(alike, (embeddings @ self.shown.T).max(axis=1))
        if self.distractors is None or not len(embeddings):
            return np.asarray(alike, dtype=np.float32)
        rival = (embeddings @ self.distractors.T).max(axis=1)
        return np.asarray(alike - np.maximum(rival - alike, 0), dtype=np.float32)

    def learn(self, seen: Perception, box_xyxy: FloatArray, embedding: FloatArray | None) -> None:
        """Take in a frame in which the target is surely at a box: its template once, and what else is like it.

        Args:
            seen: the student's candidates.
            box_xyxy: (4,) pixels.
            embedding: (D,) float32 of the box; None where the student saw nothing there.
        """
        template = self.template = embedding if self.template is None else self.template
        if template is None or not len(seen.embeddings):
            return
        is_other = box_iou(seen.boxes_xyxy, box_xyxy[None])[:, 0] < _APART_IOU
        others = seen.embeddings[is_other & seen.is_object]
        for other in others[others @ template > _OTHER_COSINE]:
            self._remember(other, template)

    def begin_anew(self, template: FloatArray | None) -> None:
        """Another student sees everything otherwise: begin with what it makes of the first look, or of the next."""
        self.template, self.distractors, self.shown = template, None, None

    def show(self, positives: FloatArray) -> None:
        """Take (N, D) unit rows, looks that somebody vouches for; the newest 8 are kept, the first template always."""
        if self.template is None and len(positives):
            self.template = positives[0]
        known = positives if self.shown is None else np.concatenate([self.shown, positives])
        self.shown = known[-_SHOWN:] if len(known) else None

    def warn(self, negatives: FloatArray) -> None:
        """Take (N, D) unit rows, looks of other things; those least like the target give way."""
        if self.template is not None:
            for other in negatives:
                self._remember(other, self.template)

    def _remember(self, other: FloatArray, template: FloatArray) -> None:
        kept = self.distractors
        if kept is None:
            self.distractors = other[None]
        elif float((kept @ other).max()) < _SAME_COSINE:
            kept = np.concatenate([kept, other[None]])
            self.distractors = kept[np.argsort(-(kept @ template), kind="stable")[:_DISTRACTORS]]


def embedding_at(seen: Perception, box_xyxy: FloatArray, stride_px: int) -> FloatArray | None:
    """(D,) float32 unit vector of what the student saw in the middle of a box.

    Where its maps were let go (tiles) that of the candidate with the middle nearest, if it lies in the box.

    Args:
        seen: one perception.
        box_xyxy: (4,) pixels of its image.
        stride_px: side of a cell of its maps.

    Returns:
        None where the middle is outside the picture, or no candidate is near.
    """
    x, y = (float(v) for v in (box_xyxy[:2] + box_xyxy[2:]) / 2)
    maps = seen.raw.embedding
    if maps.size:
        row, column = math.floor(y / stride_px), math.floor(x / stride_px)
        is_inside = 0 <= row < maps.shape[1] and 0 <= column < maps.shape[2]
        return unit_rows(maps[None, :, row, column])[0] if is_inside else None
    if not len(seen.boxes_xyxy):
        return None
    apart = np.abs((seen.boxes_xyxy[:, :2] + seen.boxes_xyxy[:, 2:]) / 2 - (x, y))
    nearest = int(np.hypot(*apart.T).argmin())
    is_near = (apart[nearest] < (box_xyxy[2:] - box_xyxy[:2]) / 2).all()
    return seen.embeddings[nearest] if is_near else None
