"""Ground stations, and the contact windows in which they see a craft."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.arrays import FloatArray
from sim.craft.earth import local_up, place_m
from sim.craft.orbit import Orbit
from sim.errors import ScenarioError

_STEP_S = 30.0
_ROUNDS = 30
"""Halvings of a step: 30 s shrink to less than a microsecond."""


@dataclass(frozen=True)
class Station:
    """A ground station.

    Attributes:
        name: for messages.
        lat_deg, lon_deg, height_m: WGS84.
        min_elevation_deg: lowest elevation at which the link holds.
    """

    name: str
    lat_deg: float
    lon_deg: float
    height_m: float = 0.0
    min_elevation_deg: float = 10.0

    def elevation_deg(self, positions_m: FloatArray) -> FloatArray:
        """(N,) degrees above the station's horizon of (N, 3) ECEF positions; no refraction, no terrain."""
        ahead = positions_m - place_m(self.lat_deg, self.lon_deg, self.height_m)
        up = local_up(np.array([self.lat_deg]), np.array([self.lon_deg]))[0]
        return np.asarray(np.degrees(np.arcsin((ahead @ up) / np.linalg.norm(ahead, axis=1))), dtype=np.float64)


@dataclass(frozen=True)
class ContactWindow:
    """A stretch of time in which a station sees a craft.

    Attributes:
        start_s, end_s: seconds since the simulation's start; cut at both ends of the searched span.
        max_elevation_deg: highest elevation within.
    """

    start_s: float
    end_s: float
    max_elevation_deg: float

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return self.end_s - self.start_s


def contact_windows(orbit: Orbit, station: Station, start_s: float, duration_s: float) -> list[ContactWindow]:
    """Every window of a craft over a station, in order of time.

    The elevation is sampled every 30 s; each highest point is refined, so that the shortest pass is found too, and
    each crossing of the least elevation is found by bisection.

    Args:
        orbit: of the craft.
        station: that looks for it.
        start_s: of the searched span, seconds since the simulation's start.
        duration_s: of the searched span.

    Raises:
        ScenarioError: the craft decays within the span.
    """

    def above_deg(times_s: FloatArray) -> FloatArray:
        return station.elevation_deg(orbit.positions_m(times_s)) - station.min_elevation_deg

    end_s = start_s + duration_s
    grid = np.append(np.arange(start_s, end_s, _STEP_S), end_s)
    times = np.union1d(grid, _peaks(above_deg, grid))
    above = above_deg(times)
    edges = np.flatnonzero((above[:-1] > 0) != (above[1:] > 0))
    crossings = _crossings(above_deg, times[edges], times[edges + 1])
    borders = [start_s] * bool(above[0] > 0) + list(crossings) + [end_s] * bool(above[-1] > 0)
    return [
        ContactWindow(float(rise), float(fall), _highest(times, above, rise, fall) + station.min_elevation_deg)
        for rise, fall in zip(borders[::2], borders[1::2], strict=True)
    ]


def _highest(times: FloatArray, above: FloatArray, rise_s: float, fall_s: float) -> float:
    inside = (times >= rise_s) & (times <= fall_s)
    return float(above[inside].max(initial=0.0))


def _peaks(function: Callable[[FloatArray], FloatArray], grid: FloatArray) -> FloatArray:
    """Times of the local maxima, by ternary search between the neighbours of each highest sample."""
    values = function(grid)
    tops = 1 + np.flatnonzero((values[1:-1] >= values[:-2]) & (values[1:-1] >= values[2:]))
    low, high = grid[tops - 1], grid[tops + 1]
    for _ in range(_ROUNDS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        is_left = function(left) > function(right) if len(tops) else np.zeros(0, dtype=bool)
        low, high = np.where(is_left, low, left), np.where(is_left, right, high)
    return np.asarray((low + high) / 2, dtype=np.float64)


def _crossings(function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray) -> FloatArray:
    """Times at which the function changes its sign, by bisection, one between each low and high."""
    if not len(low):
        return low
    was_up = function(low) > 0
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        is_same = (function(middle) > 0) == was_up
        low, high = np.where(is_same, middle, low), np.where(is_same, high, middle)
    return np.asarray((low + high) / 2, dtype=np.float64)


def require_window(orbit: Orbit, stations: Sequence[Station], duration_s: float) -> None:
    """Make sure that at least one station sees the craft between the start and `duration_s`.

    Raises:
        ScenarioError: none does; the message names the highest elevation over any of them.
    """
    if any(contact_windows(orbit, station, 0.0, duration_s) for station in stations):
        return
    names = ", ".join(station.name for station in stations) or "no station at all"
    times = np.arange(0.0, duration_s, _STEP_S)
    places = orbit.positions_m(times)
    best = max((float(station.elevation_deg(places).max()) for station in stations), default=-90.0)
    raise ScenarioError(
        f"{orbit.name}: no contact window over {names} in {duration_s / 3600:g} h; the highest elevation is "
        f"{best:.1f} deg; add a station below its track, lower min_elevation_deg, or simulate for longer"
    )
