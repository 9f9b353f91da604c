"""From a frame of the past to the present: what is known of a target there, followed through the frames since.

Each new frame of the video pays for a few of those, so that the loop keeps its rate; see `TargetTracker.correct`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.camera_motion import move_boxes
from edge.recent_frames import RecentFrame, RecentFrames
from protocols.arrays import FloatArray


class CatchUp:
    """One follower on its way from a frame of the past to the newest one."""

    def __init__(self, frames: RecentFrames, index: int, step: Callable[[RecentFrame], None]) -> None:
        """Begin.

        Args:
            frames: the ring, which goes on growing.
            index: of the frame that the follower has seen last.
            step: shows it the next one.
        """
        self._frames, self._index, self._step = frames, index, step

    @property
    def behind(self) -> int:
        """Frames it has still to see."""
        return len(self._frames.after(self._index))

    def run(self, most: int) -> int:
        """See at most so many frames, oldest first; returns how many were seen.

        Where the ring has let go of some in between, what is left is seen: the follower looks a little farther.
        """
        seen = self._frames.after(self._index)[: max(most, 0)]
        for frame in seen:
            self._step(frame)
            self._index = frame.index
        return len(seen)

    def carried(self, box_xyxy: FloatArray) -> FloatArray:
        """(4,) where a box of the frame seen last would be in the newest one, had it stayed on the ground."""
        boxes = np.asarray(box_xyxy, dtype=np.float32)[None]
        for frame in self._frames.after(self._index):
            boxes = move_boxes(boxes, frame.motion)
        return np.asarray(boxes[0], dtype=np.float32)
