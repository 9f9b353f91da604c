"""When what happens in a satellite's day: overpasses of the place, and the passes over stations between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from sim.craft.contact import ContactWindow, Station, contact_windows
from sim.craft.earth import GroundTrack
from sim.craft.orbit import Orbit
from sim.craft.sun import sun_elevation_deg
from sim.day.settings import PlaceSettings, SatelliteDay
from sim.errors import ScenarioError
from sim.leo_pass import pass_schedule
from sim.link_profiles import satellite_of
from sim.link_schedule import Stretch
from sim.mission_cli import MISSIONS

_STEP_S = 30.0
_SETS_S = 1e-3
"""By so much a pass's end may round away from the schedule's."""


@dataclass(frozen=True)
class GroundPass:
    """One pass over a station.

    Attributes:
        station: its name.
        start_s, end_s: seconds since the mission's start.
        max_elevation_deg: of the satellite.
        stretches: how the link is, from second 0 of the pass on; each lasts until the next one or the pass's end.
    """

    station: str
    start_s: float
    end_s: float
    max_elevation_deg: float
    stretches: tuple[Stretch, ...]

    @property
    def duration_s(self) -> float:
        """From rise to set."""
        return self.end_s - self.start_s

    def spans(self) -> list[tuple[float, float, Stretch]]:
        """(from, until, how the link is) in seconds of the pass."""
        starts = [stretch.from_s for stretch in self.stretches]
        return list(zip(starts, [*starts[1:], self.duration_s], self.stretches, strict=True))

    def edge_to_cloud_bytes(self) -> float:
        """What the link can carry to the cloud in the whole pass."""
        return sum((until - start) * stretch.profile.edge_to_cloud_bps / 8 for start, until, stretch in self.spans())

    def cloud_to_edge_bytes(self) -> float:
        """What the link can carry to the edge in the whole pass."""
        return sum((until - start) * stretch.profile.cloud_to_edge_bps / 8 for start, until, stretch in self.spans())


@dataclass(frozen=True)
class DayPlan:
    """A satellite's day.

    Attributes:
        orbit: of the satellite; its epoch is the mission's start, second 0.
        overpasses: the two in which the place is imaged, out of contact.
        passes: the two after the first overpass: one to ask in, one to be told in.
        left_out: how many more passes there are before the second overpass, which are not flown.
    """

    orbit: Orbit
    overpasses: tuple[ContactWindow, ContactWindow]
    passes: tuple[GroundPass, GroundPass]
    left_out: int

    def utc(self, at_s: float) -> datetime:
        """The moment of a second."""
        return self.orbit.epoch.start + timedelta(seconds=at_s)

    def imaged_s(self, number: int) -> float:
        """When an overpass, 0 or 1, takes its pictures: in its middle."""
        window = self.overpasses[number]
        return (window.start_s + window.end_s) / 2


def plan_day(day: SatelliteDay) -> DayPlan:
    """The first two overpasses, by daylight and out of contact, between which two stations' passes lie.

    Raises:
        ScenarioError: the mission cannot be read, or there is no such day in it; names what is missing.
    """
    orbit, stations = satellite_of(mission_file(day.mission), day.craft)
    span_s = 3600 * day.hours
    contacts = sorted(
        ((window, station) for station in stations for window in contact_windows(orbit, station, 0.0, span_s)),
        key=lambda item: item[0].start_s,
    )
    overpasses = _overpasses(orbit, day.place, span_s, [window for window, _ in contacts])
    for first in overpasses:
        # The link of a pass that is under way at second 0, or still is at the end, would not be a whole one.
        later = [(w, s) for w, s in contacts if w.start_s > first.end_s and w.end_s < span_s]
        ask = later[0] if later else None
        told = next(((w, s) for w, s in later if ask and w.start_s > ask[0].end_s), None)
        second = next((o for o in overpasses if told and o.start_s > told[0].end_s), None)
        if ask and told and second:
            more = sum(told[0].end_s < w.start_s < second.start_s for w, _ in later)
            return DayPlan(orbit, (first, second), (_ground_pass(orbit, *ask), _ground_pass(orbit, *told)), more)
    raise ScenarioError(_missing(orbit, day, overpasses, [window for window, _ in contacts]))


def mission_file(name: str) -> Path:
    """The file of a mission that is named in a day's file: a bundled one, else a path."""
    bundled = MISSIONS / f"{name}.toml"
    return bundled if "/" not in name and bundled.is_file() else Path(name)


def _overpasses(
    orbit: Orbit, place: PlaceSettings, span_s: float, contacts: Sequence[ContactWindow]
) -> list[ContactWindow]:
    """Windows in which the place can be imaged while no station hears the satellite."""
    windows = contact_windows(orbit, _above(place), 0.0, span_s)
    middles_s = np.array([(window.start_s + window.end_s) / 2 for window in windows])
    here = GroundTrack(*(np.full(len(windows), value) for value in (place.lat_deg, place.lon_deg, 0.0)))
    is_lit = sun_elevation_deg(orbit.epoch, here, middles_s) >= place.min_sun_deg
    return [
        window
        for window, lit in zip(windows, is_lit.tolist(), strict=True)
        if lit and not any(c.start_s < window.end_s and c.end_s > window.start_s for c in contacts)
    ]


def _above(place: PlaceSettings) -> Station:
    """The place as something that looks up at satellites."""
    return Station(place.name, place.lat_deg, place.lon_deg, 0.0, place.min_elevation_deg)


def _ground_pass(orbit: Orbit, window: ContactWindow, station: Station) -> GroundPass:
    schedule = pass_schedule(orbit, [station], (window.start_s, window.duration_s))
    ups = tuple(s for s in schedule if s.state == "up" and s.from_s < window.duration_s - _SETS_S)
    return GroundPass(station.name, window.start_s, window.end_s, window.max_elevation_deg, ups)


def _missing(
    orbit: Orbit, day: SatelliteDay, overpasses: Sequence[ContactWindow], contacts: Sequence[ContactWindow]
) -> str:
    """Why there is no such day, in one line."""
    place, hours = day.place, f"{day.hours:g} h"
    if not contacts:
        return f"{orbit.name}: no station hears it in {hours}; add a station below its track, or raise hours"
    if len(overpasses) >= 2:
        return (
            f"{orbit.name}: passes {place.name} {len(overpasses)} times in {hours}, and no two stations' passes lie "
            "between two of them; add a station, raise hours or take another craft"
        )
    times_s = np.arange(0.0, 3600 * day.hours, _STEP_S)
    highest = float(_above(place).elevation_deg(orbit.positions_m(times_s)).max())
    found = "once" if overpasses else "never"
    return (
        f"{orbit.name}: {found} stands {place.min_elevation_deg:g} deg above {place.name} in {hours} by daylight and "
        f"out of contact, twice is wanted; it is {highest:.0f} deg high at most; lower place.min_elevation_deg or "
        "place.min_sun_deg, raise hours or take another craft"
    )
