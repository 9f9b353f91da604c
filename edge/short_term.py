"""Following one target from each frame to the next: what any short-term tracker can do, and the thinnest use of one.

A short-term tracker knows what its target looks like and finds it near a place. It never says that a target is lost,
and it does not know how targets and cameras move: who asks it tells it where to look, and whether what it found is to
be learnt. So one layer above serves them all: `correlation.py` (ours) and `opencv_trackers.py` (whatever has OpenCV's
interface).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.camera_motion import move_boxes
from edge.errors import TargetError
from protocols.arrays import FloatArray, ImageArray

SMALLEST_PX = 4.0
"""Least side of a target: below there is nothing to tell it from noise."""

_VELOCITY_GAIN = 0.3
"""Share of the newest displacement in the velocity: a few frames of memory. On renders 0 does as well."""
_FASTEST = 0.5
"""Displacement of its own in a frame, in units of the target's size, above which a jump is taken for a mistake."""


@dataclass(frozen=True)
class Sighting:
    """Where a short-term tracker believes its target is.

    Attributes:
        box_xyxy: (4,) float32 pixels, on pixel edges.
        score: how much that place looks like the target, about 1 where it looks as learnt; each tracker has its own.
        sharpness: how far the best place stands out among the others looked at (peak to sidelobe ratio: Bolme et al.,
            CVPR 2010, section 3.5); nan where the tracker does not tell.
        odds: log odds, by this look alone, that this is the target at all; nan where the tracker cannot judge itself.
    """

    box_xyxy: FloatArray
    score: float
    sharpness: float = float("nan")
    odds: float = float("nan")


class ShortTermTracker(Protocol):
    """Knows one target."""

    def start(self, image: ImageArray, box_xyxy: FloatArray) -> None:
        """Forget everything, and learn the target from one box.

        Args:
            image: (H, W) or (H, W, 3) uint8, as are all that follow.
            box_xyxy: (4,) pixels.

        Raises:
            TargetError: the box is outside the image, too small, or not of numbers.
        """

    def look(self, image: ImageArray, around_xyxy: FloatArray) -> Sighting:
        """Find the target near where it is expected.

        Args:
            image: the next frame.
            around_xyxy: (4,) pixels: the box that is expected in this frame.
        """

    def learn(self, image: ImageArray, sighting: Sighting) -> None:
        """Take what was seen in the last look as what the target looks like now."""

    def restarted(self, image: ImageArray, box_xyxy: FloatArray) -> ShortTermTracker:
        """Another one, begun at a box that somebody vouches for, which still knows part of what this one has learnt.

        What is shown may be half hidden, or look as it never will again.

        Args:
            image: a frame that shows the target, maybe an earlier one.
            box_xyxy: (4,) pixels of it.

        Raises:
            TargetError: see `start`.
        """

    def copied(self) -> ShortTermTracker | None:
        """Another one that knows the same and learns apart from this one; None where that cannot be had."""


def checked_target(image: ImageArray, box_xyxy: FloatArray) -> FloatArray:
    """The part of a box that is in the image, as (4,) float32.

    Raises:
        TargetError: nothing of it is, it is too small, or it is not of four numbers.
    """
    box = np.asarray(box_xyxy, dtype=np.float32)
    words = ",".join(f"{value:g}" for value in box.ravel())
    if box.shape != (4,) or not np.isfinite(box).all():
        raise TargetError(f"target with edges {words}: not four numbers; give its left, top, right and bottom edge")
    height, width = image.shape[:2]
    inside = np.clip(box, 0, np.array([width, height, width, height], np.float32))
    if min(box[2:] - box[:2]) < SMALLEST_PX:
        raise TargetError(
            f"target with edges {words}: a side is under {SMALLEST_PX:g} px; choose a larger one, or come nearer"
        )
    if min(inside[2:] - inside[:2]) < SMALLEST_PX:
        raise TargetError(f"target with edges {words}: is outside the frame of {width}x{height}; choose one within")
    return inside


class Follower:
    """One target on its own: expected where camera and its own motion take it, and learnt in every frame."""

    def __init__(self, tracker: ShortTermTracker) -> None:
        """Follow with a tracker of its own."""
        self.tracker = tracker
        self._box = np.zeros(4, np.float32)
        self._velocity = np.zeros(2, np.float32)

    def start(self, image: ImageArray, box_xyxy: FloatArray) -> None:
        """Begin at a box, (4,) pixels.

        Raises:
            TargetError: see `ShortTermTracker.start`.
        """
        self.tracker.start(image, box_xyxy)
        self._box, self._velocity = np.asarray(box_xyxy, dtype=np.float32), np.zeros(2, np.float32)

    def go_on(self, box_xyxy: FloatArray) -> None:
        """Follow from a box, (4,) pixels, with what the tracker knows already."""
        self._box, self._velocity = np.asarray(box_xyxy, dtype=np.float32), np.zeros(2, np.float32)

    def update(self, image: ImageArray, motion: FloatArray) -> Sighting:
        """Where the target is in the next frame.

        Args:
            image: that frame.
            motion: (2, 3) similarity by which still ground moved since the last frame.
        """
        still = move_boxes(self._box[None], motion)[0]
        drift = motion[:, :2] @ self._velocity
        sighting = self.tracker.look(image, still + np.tile(drift, 2))
        self.tracker.learn(image, sighting)
        moved = (sighting.box_xyxy[:2] + sighting.box_xyxy[2:] - still[:2] - still[2:]) / 2
        limit = _FASTEST * np.sqrt(np.prod(still[2:] - still[:2]))
        moved *= min(1.0, limit / max(float(np.hypot(*moved)), 1e-6))
        self._velocity = np.asarray(drift + _VELOCITY_GAIN * (moved - drift), dtype=np.float32)
        self._box = sighting.box_xyxy
        return sighting
