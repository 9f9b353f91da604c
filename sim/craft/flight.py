"""A smooth flight along waypoints, with the small unrest of a real gimbal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.arrays import FloatArray
from sim.craft.camera import CameraPose

STEP_M = 1.0


@dataclass(frozen=True)
class FlightStyle:
    """How a craft flies its path.

    Attributes:
        speed_mps: ground speed in metres per second.
        altitude_m: (low, high) between which the altitude slowly swings.
        pitch_deg: (low, high) between which the camera's pitch slowly swings.
        yaw_offset_deg: camera heading relative to the direction of flight.
        jitter_deg: amplitude of the attitude's unrest.
        corner_m: length over which corners of the path are rounded.
        swing_m: path length of one swing of altitude (pitch swings a little slower).
    """

    speed_mps: float = 8.0
    altitude_m: tuple[float, float] = (50.0, 70.0)
    pitch_deg: tuple[float, float] = (-80.0, -65.0)
    yaw_offset_deg: float = 0.0
    jitter_deg: float = 0.8
    corner_m: float = 24.0
    swing_m: float = 180.0


def _smooth_path(waypoints_m: FloatArray, corner_m: float) -> FloatArray:
    """(N, 2) points about one metre apart along the waypoints, corners rounded."""
    legs = np.diff(waypoints_m, axis=0)
    lengths = np.hypot(legs[:, 0], legs[:, 1])
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    samples = np.arange(0.0, along[-1] + STEP_M, STEP_M)
    path = np.stack([np.interp(samples, along, waypoints_m[:, k]) for k in range(2)], axis=1)
    return np.stack([_smooth(path[:, k], corner_m) for k in range(2)], axis=1)


def _smooth(values: FloatArray, length_m: float) -> FloatArray:
    """Values along the path, averaged over a window; both ends keep their value and slope."""
    half = max(int(length_m / STEP_M / 2), 1)
    kernel = np.hanning(2 * half + 3)[1:-1]
    kernel /= kernel.sum()
    head = values[0] + (values[0] - values[1]) * np.arange(half, 0, -1)
    tail = values[-1] + (values[-1] - values[-2]) * np.arange(1, half + 1)
    return np.convolve(np.concatenate([head, values, tail]), kernel, mode="valid")


class Flight:
    """The pose of a craft at any time of its flight; a pure function of time once built."""

    def __init__(self, waypoints_m: FloatArray, style: FlightStyle, rng: np.random.Generator) -> None:
        """Plans the path.

        Args:
            waypoints_m: (N, 2) east and north in metres, N >= 2.
            style: how it is flown.
            rng: draws the phases of swing and unrest.
        """
        if waypoints_m.shape[0] < 2:
            raise ValueError(f"a flight needs at least 2 waypoints, got {waypoints_m.shape[0]}")
        self.style = style
        self._path = _smooth_path(waypoints_m, style.corner_m)
        legs = np.diff(self._path, axis=0)
        self._along = np.concatenate([[0.0], np.cumsum(np.hypot(legs[:, 0], legs[:, 1]))])
        headings = np.unwrap(np.arctan2(legs[:, 0], legs[:, 1]))
        # The camera turns more gently than the path does.
        self._headings = _smooth(np.concatenate([headings, headings[-1:]]), 1.5 * style.corner_m)
        self._phases = rng.uniform(0.0, 2 * math.pi, size=10)

    @property
    def length_m(self) -> float:
        """Length of the path in metres."""
        return float(self._along[-1])

    @property
    def duration_s(self) -> float:
        """Seconds until the end of the path."""
        return self.length_m / self.style.speed_mps

    def _unrest(self, time_s: float, axis: int) -> float:
        slow, fast = self._phases[axis], self._phases[axis + 4]
        return 0.7 * math.sin(1.1 * time_s + slow) + 0.3 * math.sin(3.7 * time_s + fast)

    def pose_at(self, time_s: float) -> CameraPose:
        """The camera's pose; before the start and after the end the craft hovers at the path's ends."""
        style = self.style
        at_m = min(max(time_s * style.speed_mps, 0.0), self.length_m)
        heading = math.degrees(float(np.interp(at_m, self._along, self._headings)))
        swing = 2 * math.pi * at_m / style.swing_m
        high = 0.5 + 0.5 * math.sin(swing + self._phases[8])
        tilt = 0.5 + 0.5 * math.sin(0.83 * swing + self._phases[9])
        low_m, high_m = style.altitude_m
        low_deg, high_deg = style.pitch_deg
        jitter = style.jitter_deg
        return CameraPose(
            east_m=float(np.interp(at_m, self._along, self._path[:, 0])),
            north_m=float(np.interp(at_m, self._along, self._path[:, 1])),
            up_m=low_m + (high_m - low_m) * high + 0.5 * self._unrest(time_s, 3),
            yaw_deg=heading + style.yaw_offset_deg + jitter * self._unrest(time_s, 0),
            pitch_deg=max(-90.0, low_deg + (high_deg - low_deg) * tilt + jitter * self._unrest(time_s, 1)),
            roll_deg=jitter * self._unrest(time_s, 2),
        )
