"""Where every capture of a craft is taken and in which light, and who sees the craft, worked out beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.arrays import FloatArray
from sim.craft.contact import contact_windows, require_window
from sim.craft.earth import DAY_S, Epoch, GroundTrack
from sim.craft.orbit import Orbit, orbit_from_tle
from sim.craft.sun import sun_elevation_deg
from sim.mission.passes import Pass, View, drone_passes, share_antennas
from sim.mission.settings import CraftSettings, DroneSettings, MissionSettings


@dataclass(frozen=True)
class Ephemeris:
    """One craft at each of its N capture times.

    Attributes:
        track: the points below it; the height of a drone is above the ground.
        can_see: whether there is light enough for its camera.
        is_sunlit: whether its panels see the sun.
    """

    track: GroundTrack
    can_see: list[bool]
    is_sunlit: list[bool]


@dataclass(frozen=True)
class Timetable:
    """Everything about a mission that is known before it starts.

    Attributes:
        ephemerides: by craft.
        passes: by craft, in order of time.
        missed: views for which there was no antenna.
    """

    ephemerides: dict[str, Ephemeris]
    passes: dict[str, list[Pass]]
    missed: list[View]


def capture_times_s(interval_s: float, duration_s: float) -> FloatArray:
    """(N,) times of the captures: every interval from 0, before the end."""
    return np.arange(0.0, duration_s, interval_s, dtype=np.float64)


def plan(settings: MissionSettings, duration_s: float) -> Timetable:
    """The timetable of a mission.

    Raises:
        ScenarioError: a TLE is malformed, of another time or of a decayed craft, or no station ever sees a craft.
    """
    orbits = {
        craft.name: orbit_from_tle(craft.name, craft.tle, settings.start, settings.max_tle_age_days)
        for craft in settings.craft
        if craft.tle is not None
    }
    ephemerides = {craft.name: _ephemeris(settings, craft, orbits, duration_s) for craft in settings.craft}
    views = [view for orbit in orbits.values() for view in _views(settings, orbit, duration_s)]
    passes, missed = share_antennas(
        views,
        {station.name: station.antennas for station in settings.stations},
        {station.name: station.link for station in settings.stations},
    )
    drones = {craft.name: drone_passes(craft.drone, duration_s) for craft in settings.craft if craft.drone is not None}
    return Timetable(ephemerides, {**passes, **drones}, missed)


def _views(settings: MissionSettings, orbit: Orbit, duration_s: float) -> list[View]:
    stations = [station.station for station in settings.stations]
    views = [
        View(orbit.name, station.name, window)
        for station in stations
        for window in contact_windows(orbit, station, 0.0, duration_s)
    ]
    if not views:  # in a run of an hour that is no mistake; in a day it is
        require_window(orbit, stations, max(duration_s, DAY_S))
    return views


def _ephemeris(
    settings: MissionSettings, craft: CraftSettings, orbits: dict[str, Orbit], duration_s: float
) -> Ephemeris:
    camera = settings.profiles[craft.profile].camera
    times_s = capture_times_s(camera.capture_every_s, duration_s)
    if craft.drone is not None:
        epoch, track = Epoch.at(settings.start), _circling(craft.drone, len(times_s))
        sun_deg = sun_elevation_deg(epoch, track, times_s)
        is_sunlit = sun_deg > 0
    else:
        orbit = orbits[craft.name]
        epoch, track = orbit.epoch, orbit.ground_track(times_s)
        sun_deg = sun_elevation_deg(epoch, track, times_s)
        is_sunlit = orbit.in_sunlight(times_s)
    can_see = np.ones(len(times_s), dtype=bool) if not camera.needs_light else sun_deg >= camera.min_sun_deg
    return Ephemeris(track, can_see.tolist(), is_sunlit.tolist())


def _circling(drone: DroneSettings, count: int) -> GroundTrack:
    def same(value: float) -> FloatArray:
        return np.full(count, value)

    return GroundTrack(same(drone.lat_deg), same(drone.lon_deg), same(drone.height_m))
