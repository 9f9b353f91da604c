"""Movement on straight lines: of one thing, and of all things at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """Movement on a straight line, or standing still.

    Attributes:
        start_m: (east, north) at phase 0.
        heading_rad: direction of travel, counter-clockwise from east.
        speed_mps: 0 for what stands still.
        span_m: length of the line.
        phase_m: distance from the start at time 0.
        turns_back: True walks to and fro, False starts over at the end of the line.
    """

    start_m: tuple[float, float]
    heading_rad: float
    speed_mps: float = 0.0
    span_m: float = 1.0
    phase_m: float = 0.0
    turns_back: bool = False

    def __post_init__(self) -> None:
        if self.span_m <= 0.0:
            raise ValueError(f"span_m must be positive, got {self.span_m}")

    def at(self, time_s: float) -> tuple[float, float, float]:
        """East, north in metres and heading in radians."""
        east, north, heading = MotionTable([self]).at(time_s)[0].tolist()
        return east, north, heading


class MotionTable:
    """Where many things are, computed together: a frame needs hundreds."""

    def __init__(self, motions: Sequence[Motion]) -> None:
        self._start: FloatArray = np.array([m.start_m for m in motions], dtype=np.float64).reshape(-1, 2)
        rows = [(m.heading_rad, m.speed_mps, m.span_m, m.phase_m) for m in motions]
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        self._heading, self._speed, self._span, self._phase = table.T
        self._turns_back = np.array([m.turns_back for m in motions], dtype=bool)
        self._direction = np.stack([np.cos(self._heading), np.sin(self._heading)], axis=1)
        self._phase = np.where(self._speed == 0.0, 0.0, self._phase)

    def at(self, time_s: float) -> FloatArray:
        """(N, 3) east, north in metres and heading in radians."""
        along = self._phase + self._speed * time_s
        along %= np.where(self._turns_back, 2 * self._span, self._span)
        is_back = self._turns_back & (along > self._span)
        along = np.where(is_back, 2 * self._span - along, along)
        heading = self._heading + math.pi * is_back
        return np.column_stack([self._start + along[:, None] * self._direction, heading])
