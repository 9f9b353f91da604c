"""What every teacher can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cloud.errors import TeacherError
from protocols.arrays import Boxes, FloatArray, ImageArray


@dataclass(frozen=True)
class TeacherAnswer:
    """What a teacher says about one image.

    Attributes:
        boxes_xyxy: (N, 4) float32 pixels of the given image, best first.
        labels: N class names.
        scores: (N,) float32 in [0, 1].

    Raises:
        TeacherError: boxes, labels and scores are not of one length, or a number in them is not finite.
    """

    boxes_xyxy: Boxes
    labels: tuple[str, ...]
    scores: FloatArray

    def __post_init__(self) -> None:
        """Refuse what would fail far away from the teacher that said it."""
        count = len(self.labels)
        shapes = (self.boxes_xyxy.shape, self.scores.shape)
        if shapes != ((count, 4), (count,)):
            raise TeacherError(
                f"an answer has {count} labels, boxes {shapes[0]} and scores {shapes[1]}; "
                f"({count}, 4) and ({count},) wanted: one row for each label"
            )
        if not (np.isfinite(self.boxes_xyxy).all() and np.isfinite(self.scores).all()):
            raise TeacherError("an answer holds a box or a score that is not finite; leave such finds out")


class Teacher(Protocol):
    """A large model that says what is where."""

    name: str
    """For `Interpretation.interpreter` and the log."""

    space: str
    """Names the space of `dense_features`."""

    labels: tuple[str, ...]
    """Every class it can name."""

    def interpret(self, frames: Sequence[ImageArray]) -> list[TeacherAnswer]:
        """One answer for each (H, W) or (H, W, 3) BGR uint8 image; sizes may differ.

        Raises:
            TeacherError: it fails on this batch.
        """
        ...

    def dense_features(self, frames: Sequence[ImageArray]) -> FloatArray:
        """(N, D, h, w) float32 feature maps of images that are all of one size.

        Raises:
            TeacherError: it fails, or the sizes differ.
        """
        ...
