"""What every teacher can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloud.errors import TeacherError
from protocols.arrays import Boxes, FloatArray, ImageArray


@dataclass(frozen=True)
class TeacherAnswer:
    """What a teacher says about one image.

    Attributes:
        boxes_xyxy: (N, 4) float32 pixels of the given image, best first.
        labels: N class names.
        scores: (N,) float32 in [0, 1].
        masks: (N, H, W) bool, which pixels of the given image belong to the thing in each box; None where the teacher
            draws none.

    Raises:
        TeacherError: boxes, labels, scores and masks are not of one length, or a number in them is not finite.
    """

    boxes_xyxy: Boxes
    labels: tuple[str, ...]
    scores: FloatArray
    masks: NDArray[np.bool_] | None = None

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
        masks = self.masks
        if masks is not None and (masks.dtype != np.bool_ or masks.ndim != 3 or len(masks) != count):
            raise TeacherError(
                f"an answer has {count} labels and {masks.dtype} masks of {masks.shape}; bool ({count}, H, W) wanted"
            )


@dataclass(frozen=True)
class Exemplar:
    """A thing to look for, with what is around it, in one pixel per pixel of the frames that are searched.

    Attributes:
        image: (H, W) or (H, W, 3) BGR uint8.
        box_xyxy: (4,) float32 pixels of the image: the thing.

    Raises:
        TeacherError: the box is no box inside the image.
    """

    image: ImageArray
    box_xyxy: FloatArray

    def __post_init__(self) -> None:
        """Refuse what no teacher could look for."""
        height, width = self.image.shape[:2]
        if self.box_xyxy.shape != (4,) or not np.isfinite(self.box_xyxy).all():
            raise TeacherError(
                f"an exemplar's box is {self.box_xyxy.tolist()}; four finite numbers x1, y1, x2, y2 wanted"
            )
        x1, y1, x2, y2 = (float(v) for v in self.box_xyxy)
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise TeacherError(
                f"an exemplar's box ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}) is empty or leaves its image of "
                f"{width}x{height} pixels; cut it to the image"
            )


@dataclass(frozen=True)
class Places:
    """Where in one frame a thing may be; of no label.

    Attributes:
        boxes_xyxy: (N, 4) float32 pixels of the frame, best first.
        scores: (N,) float32 in [0, 1], comparable within one teacher only.

    Raises:
        TeacherError: boxes and scores are not of one length, not best first, or a number in them is not finite.
    """

    boxes_xyxy: Boxes
    scores: FloatArray

    def __post_init__(self) -> None:
        """Refuse what would fail far away from the teacher that said it."""
        count = len(self.scores)
        if (self.boxes_xyxy.shape, self.scores.shape) != ((count, 4), (count,)):
            raise TeacherError(
                f"places have boxes {self.boxes_xyxy.shape} and scores {self.scores.shape}; (N, 4) and (N,) wanted"
            )
        if not (np.isfinite(self.boxes_xyxy).all() and np.isfinite(self.scores).all()):
            raise TeacherError("places hold a box or a score that is not finite; leave such places out")
        if (np.diff(self.scores) > 0).any():
            raise TeacherError("places are not sorted; give the best first")


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

    def find(self, chips: Sequence[Exemplar], frames: Sequence[ImageArray]) -> list[Places]:
        """For each frame where a thing may be that is shown by some chips, whatever it is.

        Args:
            chips: one or more exemplars of *one* thing, or of things of one kind.
            frames: (H, W) or (H, W, 3) BGR uint8 images; sizes may differ.

        Raises:
            TeacherError: there is no chip, or it cannot look for exemplars.
        """
        ...
