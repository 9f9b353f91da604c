"""How one target moves: a Kalman filter of constant velocity over ground that stands still.

Between two frames the camera moves, too. So what is believed, place, velocity and how sure both are, is carried into
the new picture by the camera's similarity before the filter steps on: in effect it runs in stabilised coordinates, and
no error of the camera's motion piles up over the flight.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.camera_motion import move_boxes
from protocols.arrays import FloatArray

_ACCELERATION = 0.03
"""Standard deviation of the change of velocity in a frame, in units of the target's size. With `_JITTER` the newest
displacement comes to have a share of 0.6 in the place and of 0.3 in the velocity, as in `edge.short_term`."""
_JITTER = 0.06
"""Standard deviation of a sighting's centre, in units of the target's size."""
_FIRST_SPEED = 0.2
"""Standard deviation of the velocity before anything is known of it, in units of the target's size in a frame."""
_FASTEST = 0.5
"""Displacement from the expected place, in units of the size, above which a sighting counts as no farther away."""

_PUSH = np.kron(np.array([[0.25, 0.5], [0.5, 1.0]]), np.eye(2)).astype(np.float32)
"""Covariance of place and velocity after white noise of acceleration, held over one frame (Bar-Shalom et al. 2001,
section 6.3.2)."""


class TargetMotion:
    """Where a target is believed to be, and how surely."""

    def __init__(self, box_xyxy: FloatArray) -> None:
        """Begin at a box, (4,) pixels, with a velocity of which nothing is known."""
        self._filter = cv2.KalmanFilter(4, 2, 0, cv2.CV_32F)
        self._filter.transitionMatrix = np.eye(4, dtype=np.float32) + np.eye(4, k=2, dtype=np.float32)
        self._filter.measurementMatrix = np.eye(2, 4, dtype=np.float32)
        self.restart(box_xyxy)

    def restart(self, box_xyxy: FloatArray) -> None:
        """Forget the past, and begin at a box, (4,) pixels."""
        box = np.asarray(box_xyxy, dtype=np.float32)
        self._sides = box[2:] - box[:2]
        spread = self._size * np.repeat(np.array([_JITTER, _FIRST_SPEED], np.float32), 2)
        self._filter.statePost = np.concatenate([_centre(box), np.zeros(2, np.float32)])[:, None]
        self._filter.errorCovPost = np.diag(spread**2).astype(np.float32)

    @property
    def box_xyxy(self) -> FloatArray:
        """(4,) float32 pixels: the place now believed, with the size last seen."""
        centre = np.asarray(self._filter.statePost, dtype=np.float32)[:2, 0]
        return np.concatenate([centre - self._sides / 2, centre + self._sides / 2])

    def predict(self, motion: FloatArray) -> FloatArray:
        """Step on to the next frame.

        Args:
            motion: (2, 3) similarity by which still ground moved since the last one.

        Returns:
            (4,) float32 pixels of it: where the target is expected.
        """
        turn = np.zeros((4, 4), np.float32)
        turn[:2, :2] = turn[2:, 2:] = motion[:, :2]
        state = turn @ np.asarray(self._filter.statePost, dtype=np.float32)
        state[:2, 0] += motion[:, 2]
        self._sides = self._sides * np.float32(np.hypot(*motion[:, 0]))
        self._filter.statePost = state
        self._filter.errorCovPost = turn @ np.asarray(self._filter.errorCovPost, dtype=np.float32) @ turn.T
        self._filter.processNoiseCov = _PUSH * np.float32((_ACCELERATION * self._size) ** 2)
        self._filter.measurementNoiseCov = np.eye(2, dtype=np.float32) * np.float32((_JITTER * self._size) ** 2)
        self._filter.predict()
        # OpenCV keeps apart what is believed before and after a sighting; without one they are the same.
        self._filter.statePost = self._filter.statePre.copy()
        self._filter.errorCovPost = self._filter.errorCovPre.copy()
        return self.box_xyxy

    def surprise(self, box_xyxy: FloatArray) -> float:
        """How far a sighting lies from where the target is expected: Mahalanobis distance, about 1 where all is well.

        Args:
            box_xyxy: (4,) pixels of the frame that was predicted last.
        """
        apart = _centre(box_xyxy) - _centre(self.box_xyxy)
        covariance = np.asarray(self._filter.errorCovPost, dtype=np.float32)[:2, :2]
        covariance = covariance + np.asarray(self._filter.measurementNoiseCov, dtype=np.float32)
        return float(np.sqrt(max(float(apart @ np.linalg.solve(covariance, apart)), 0.0)))

    def correct(self, box_xyxy: FloatArray) -> None:
        """Believe a sighting, (4,) pixels of the frame that was predicted last."""
        box = np.asarray(box_xyxy, dtype=np.float32)
        expected = _centre(self.box_xyxy)
        apart = _centre(box) - expected
        self._sides = box[2:] - box[:2]
        limit = _FASTEST * self._size
        shortened = apart * np.float32(min(1.0, limit / max(float(np.hypot(*apart)), 1e-6)))
        self._filter.correct((expected + shortened)[:, None].astype(np.float32))
        state = np.asarray(self._filter.statePost, dtype=np.float32)
        # The jump is taken for true, but not for a velocity.
        state[:2, 0] += apart - shortened
        self._filter.statePost = state

    def rest(self, motion: FloatArray) -> FloatArray:
        """Step on with a target that is lost: it stays with the ground, for an old velocity leads ever farther astray.

        Args:
            motion: as for `predict`.

        Returns:
            (4,) float32 pixels: where it was lost, in the new frame.
        """
        self.restart(move_boxes(self.box_xyxy[None], motion)[0])
        return self.box_xyxy

    @property
    def _size(self) -> float:
        return max(float(np.sqrt(np.prod(self._sides))), 1.0)


def _centre(box: FloatArray) -> FloatArray:
    return np.asarray((box[:2] + box[2:]) / 2, dtype=np.float32)
