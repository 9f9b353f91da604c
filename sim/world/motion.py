"""Movement on straight lines and along routes: of one thing, and of all things at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sim.arrays import FloatArray


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


@dataclass(frozen=True)
class Route:
    """Movement through given places at given times; before and after, the thing stands.

    Attributes:
        points_m: (east, north) of each place, two or more.
        times_s: when it is there, rising; the same place twice is a stop.
    """

    points_m: tuple[tuple[float, float], ...]
    times_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.points_m) < 2 or len(self.points_m) != len(self.times_s):
            raise ValueError(f"a route has two or more places, each with a time; got {len(self.points_m)}")
        if any(b <= a for a, b in pairwise(self.times_s)):
            raise ValueError(f"times_s must rise, got {self.times_s}")

    @property
    def speed_mps(self) -> float:
        """The highest speed on the way."""
        legs = zip(pairwise(self.points_m), pairwise(self.times_s), strict=True)
        return max(math.dist(a, b) / (end_s - start_s) for (a, b), (start_s, end_s) in legs)

    def at(self, time_s: float) -> tuple[float, float, float]:
        """East, north in metres and heading in radians; turns take about a second."""
        east, north = self._place(time_s)
        behind, ahead = self._place(time_s - 0.5), self._place(time_s + 0.5)
        if math.dist(behind, ahead) < 1e-3:
            behind, ahead = self._leg(time_s)
        return east, north, math.atan2(ahead[1] - behind[1], ahead[0] - behind[0])

    def _place(self, time_s: float) -> tuple[float, float]:
        east, north = zip(*self.points_m, strict=True)
        return float(np.interp(time_s, self.times_s, east)), float(np.interp(time_s, self.times_s, north))

    def _leg(self, time_s: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """The last leg that led anywhere: a halted vehicle keeps its heading."""
        legs = [(a, b) for a, b in pairwise(self.points_m) if a != b]
        begun = [leg for leg, start_s in zip(pairwise(self.points_m), self.times_s, strict=False) if start_s <= time_s]
        return next((leg for leg in reversed(begun) if leg[0] != leg[1]), legs[0])


class MotionTable:
    """Where many things are, computed together: a frame needs hundreds."""

    def __init__(self, motions: Sequence[Motion | Route]) -> None:
        self._routes = {row: m for row, m in enumerate(motions) if isinstance(m, Route)}
        lines = [Motion((0.0, 0.0), 0.0) if isinstance(m, Route) else m for m in motions]
        self._start: FloatArray = np.array([m.start_m for m in lines], dtype=np.float64).reshape(-1, 2)
        rows = [(m.heading_rad, m.speed_mps, m.span_m, m.phase_m) for m in lines]
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        self._heading, self._speed, self._span, self._phase = table.T
        self._turns_back = np.array([m.turns_back for m in lines], dtype=bool)
        self._direction = np.stack([np.cos(self._heading), np.sin(self._heading)], axis=1)
        self._phase = np.where(self._speed == 0.0, 0.0, self._phase)

    def at(self, time_s: float) -> FloatArray:
        """(N, 3) east, north in metres and heading in radians."""
        along = self._phase + self._speed * time_s
        along %= np.where(self._turns_back, 2 * self._span, self._span)
        is_back = self._turns_back & (along > self._span)
        along = np.where(is_back, 2 * self._span - along, along)
        heading = self._heading + math.pi * is_back
        places = np.column_stack([self._start + along[:, None] * self._direction, heading])
        for row, route in self._routes.items():
            places[row] = route.at(time_s)
        return places
