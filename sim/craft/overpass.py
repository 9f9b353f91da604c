"""A satellite that passes over and keeps its camera on one place, as agile imaging satellites do.

The world is flat and small; where the satellite stands in its sky comes from the round Earth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from sim.arrays import FloatArray
from sim.craft.camera import CameraPose
from sim.craft.earth import DAY_S, MEAN_RADIUS_M, local_up, place_m
from sim.craft.orbit import Orbit
from sim.errors import ScenarioError

EARTH_MU = 3.986004418e14
"""Gravitational parameter, m^3/s^2 (IERS Conventions 2010, table 1.1)."""

LOWEST_DEG = 20.0
"""Below this elevation a picture shows walls, not ground."""

SEARCH_DAYS, SEARCH_STEP_S = 3.0, 10.0
"""Where a pass that would do is looked for: in three days the track of a low orbit comes near every place below it."""

SWEEP_M = 0.35
"""The aim moves over this share of the world's half width, so that more than one frame's ground is seen."""


@dataclass(frozen=True)
class Sky:
    """Where a satellite stands over the world's middle.

    Attributes:
        place_m: (3,) east, north, up at a time in seconds.
        duration_s: of the pass.
    """

    place_m: Callable[[float], FloatArray]
    duration_s: float


def circular_sky(altitude_km: float, off_nadir_deg: float, duration_s: float) -> Sky:
    """A circular orbit from south to north whose track runs beside the world.

    Args:
        altitude_km: above a spherical Earth.
        off_nadir_deg: angle at the satellite between straight down and the world at the closest moment; positive
            looks east.
        duration_s: of the pass; the closest moment is its middle.

    Raises:
        ScenarioError: the satellite stands too low at the ends of so long a pass.
    """
    orbit_m = MEAN_RADIUS_M + 1000.0 * altitude_km
    rate = math.sqrt(EARTH_MU / orbit_m**3)
    # The law of sines in the triangle Earth's centre, satellite, world gives the angle at the Earth's centre.
    beside = math.asin(min(orbit_m / MEAN_RADIUS_M * math.sin(math.radians(abs(off_nadir_deg))), 1.0))
    beside = math.copysign(beside - math.radians(abs(off_nadir_deg)), off_nadir_deg)
    lowest = math.radians(LOWEST_DEG)
    farthest = math.acos(MEAN_RADIUS_M / orbit_m * math.cos(lowest)) - lowest
    longest_s = 2 * math.acos(min(math.cos(farthest) / math.cos(beside), 1.0)) / rate
    if duration_s > longest_s:
        raise ScenarioError(
            f"seconds = {duration_s:g}: a satellite at {altitude_km:g} km stands above {LOWEST_DEG:g} deg for "
            f"less; give at most {int(longest_s)}, or fly higher"
        )

    def place(time_s: float) -> FloatArray:
        along = rate * (time_s - duration_s / 2)
        east = -orbit_m * math.sin(beside) * math.cos(along)
        north = orbit_m * math.sin(along)
        up = orbit_m * math.cos(beside) * math.cos(along) - MEAN_RADIUS_M
        return np.array([east, north, up])

    return Sky(place, duration_s)


def sky_of_orbit(orbit: Orbit, lat_deg: float, lon_deg: float, duration_s: float) -> Sky:
    """The sky over a place as a real orbit crosses it.

    Raises:
        ScenarioError: the satellite does not stand high enough during all of the pass.
    """
    here = place_m(lat_deg, lon_deg, 0.0)
    up = local_up(np.array([lat_deg]), np.array([lon_deg]))[0]
    east = np.array([-math.sin(math.radians(lon_deg)), math.cos(math.radians(lon_deg)), 0.0])
    axes = np.stack([east, np.cross(up, east), up])

    def place(time_s: float) -> FloatArray:
        return np.asarray(axes @ (orbit.positions_m(np.array([time_s]))[0] - here), dtype=np.float64)

    def elevations_deg(times_s: FloatArray) -> FloatArray:
        seen = axes @ (orbit.positions_m(times_s) - here).T
        return np.asarray(np.degrees(np.arcsin(seen[2] / np.linalg.norm(seen, axis=0))), dtype=np.float64)

    times_s = np.linspace(0.0, duration_s, 1 + math.ceil(duration_s))
    _check_high_enough(orbit, times_s, elevations_deg)
    return Sky(place, duration_s)


def _check_high_enough(orbit: Orbit, times_s: FloatArray, elevations_deg: Callable[[FloatArray], FloatArray]) -> None:
    """Refuse a pass that is not high in the sky from beginning to end; (N,) times."""
    elevations = elevations_deg(times_s)
    high = times_s[elevations >= LOWEST_DEG]
    if not len(high):
        raise ScenarioError(
            f"{orbit.name}: stands at most {elevations.max():.1f} deg high in {times_s[-1]:g} s, a picture wants "
            f"{LOWEST_DEG:g}; {_next_pass(orbit, times_s[-1], elevations_deg)}"
        )
    if len(high) < len(times_s):
        begin_s, end_s = math.ceil(high[0]), int(high[-1])
        later = f"start_utc {begin_s} s later and " if begin_s else ""
        raise ScenarioError(
            f"seconds = {times_s[-1]:g}: {orbit.name} stands above {LOWEST_DEG:g} deg only from {begin_s} to {end_s} "
            f"s; set {later}seconds to at most {end_s - begin_s}"
        )


def _next_pass(orbit: Orbit, duration_s: float, elevations_deg: Callable[[FloatArray], FloatArray]) -> str:
    """The cure: a start from which the craft stands high enough for so long, or the longest time it ever does."""
    times_s = np.arange(0.0, SEARCH_DAYS * DAY_S, SEARCH_STEP_S)
    is_high = elevations_deg(times_s) >= LOWEST_DEG
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_high.astype(np.int8), [0]])))
    spans = [(times_s[first], times_s[last - 1]) for first, last in edges.reshape(-1, 2).tolist()]
    if not spans:
        return f"in {SEARCH_DAYS:g} days from then it stands no higher; take another craft's TLE"
    begin_s, end_s = next((s for s in spans if s[1] - s[0] >= duration_s), max(spans, key=lambda s: s[1] - s[0]))
    shorter = "" if end_s - begin_s >= duration_s else f" and seconds to at most {end_s - begin_s:g}"
    begin = orbit.epoch.start + timedelta(seconds=float(begin_s))
    return f"set start_utc = {begin:%Y-%m-%dT%H:%M:%SZ}, when it passes,{shorter}".rstrip(",")


class Overpass:
    """The pose of the satellite's camera: it sweeps slowly over the world's middle while the satellite flies past.

    The image's upper edge points along the track all the time, as that of a satellite that tilts but does not turn.
    Where the aim passes below the satellite, yaw therefore jumps by half a turn and roll with it: the image stays.
    """

    def __init__(self, sky: Sky, half_m: float, jitter_deg: float, rng: np.random.Generator) -> None:
        """Plans the sweep.

        Args:
            sky: where the satellite stands.
            half_m: half width of the world.
            jitter_deg: amplitude of the attitude's unrest.
            rng: draws the unrest.
        """
        self.sky, self._half_m, self._jitter_deg = sky, half_m, jitter_deg
        self._track = sky.place_m(sky.duration_s) - sky.place_m(0.0)
        self._phases = rng.uniform(0.0, 2 * math.pi, size=3)

    @property
    def duration_s(self) -> float:
        """Seconds until the end of the pass."""
        return self.sky.duration_s

    def pose_at(self, time_s: float) -> CameraPose:
        """The camera's pose."""
        place = self.sky.place_m(time_s)
        share = 2.0 * time_s / self.sky.duration_s - 1.0
        aim = np.array([SWEEP_M * self._half_m * share, 0.1 * self._half_m * math.sin(3.0 * share), 0.0])
        yaw, pitch, roll = _attitude_deg(aim - place, self._track)
        shake = [self._jitter_deg * math.sin(0.9 * time_s + phase) for phase in self._phases]
        east, north, up = place.tolist()
        roll = math.remainder(roll + shake[2], 360.0)
        return CameraPose(east, north, up, yaw + shake[0], max(pitch + shake[1], -90.0), roll)


def _attitude_deg(ahead: FloatArray, upwards: FloatArray) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a camera that looks along `ahead`, its image's upper edge towards `upwards`; (3,) each."""
    east, north, up = ahead.tolist()
    yaw, pitch = math.atan2(east, north), math.atan2(up, math.hypot(east, north))
    level = CameraPose(0.0, 0.0, 1.0, math.degrees(yaw), math.degrees(pitch)).rotation @ upwards
    return math.degrees(yaw), math.degrees(pitch), math.degrees(math.atan2(-level[0], -level[1]))
