"""What every teacher can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocols.arrays import Boxes, FloatArray, ImageArray


@dataclass(frozen=True)
class TeacherAnswer:
    """What a teacher says about one image.

    Attributes:
        boxes_xyxy: (N, 4) float32 pixels of the given image, best first.
        labels: N class names.
        scores: (N,) float32 in [0, 1].
    """

    boxes_xyxy: Boxes
    labels: tuple[str, ...]
    scores: FloatArray


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
