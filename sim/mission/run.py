"""A mission from its first second to its last, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sim.errors import ScenarioError
from sim.mission.agenda import Agenda
from sim.mission.cloud import MissionCloud
from sim.mission.craft import MissionCraft
from sim.mission.ephemeris import Timetable, plan
from sim.mission.events import Event, EventLog
from sim.mission.passes import View
from sim.mission.scene import draw_captures
from sim.mission.settings import MAX_HOURS, MissionSettings

MAX_CAPTURES = 20_000_000
"""Ticks of all cameras together; each takes about 200 bytes while the mission runs."""

_SLICES = 200


@dataclass(frozen=True)
class MissionResult:
    """A flown mission.

    Attributes:
        settings, seed, duration_s: what was flown.
        timetable: windows and ephemerides.
        craft: as they were at the end, with their history.
        events: in order.
        answered, by_person: by the cloud.
    """

    settings: MissionSettings
    seed: int
    duration_s: float
    timetable: Timetable
    craft: Sequence[MissionCraft]
    events: Sequence[Event]
    answered: int
    by_person: int


def run_mission(
    settings: MissionSettings,
    seed: int = 1,
    hours: float | None = None,
    on_progress: Callable[[float], None] = lambda done_h: None,
) -> MissionResult:
    """Fly a mission; the same settings, seed and hours give the same events.

    Args:
        settings: the mission.
        seed: >= 0, of all that is drawn.
        hours: simulated; None is what the settings say.
        on_progress: told the hours that are simulated, now and then.

    Raises:
        ScenarioError: a TLE cannot be used, a craft is never in view, or the seed or length is out of range.
    """
    duration_s = 3600.0 * _checked_hours(settings, seed, hours)
    timetable = plan(settings, duration_s)
    agenda, log = Agenda(), EventLog()
    cloud = MissionCloud(settings.cloud, agenda, log)
    fleet = [_launch(settings, (seed, i), timetable, (agenda, log)) for i in range(len(settings.craft))]
    for craft in fleet:
        cloud.serve(craft)
        _schedule(craft, timetable, (agenda, log))
    for part in range(1, _SLICES + 1):
        agenda.run(duration_s * part / _SLICES)
        on_progress(agenda.now_s / 3600.0)
    for craft in fleet:
        craft.radio.close(duration_s)
        craft.step_power(duration_s, timetable.ephemerides[craft.name].is_sunlit[-1])
        craft.sample(duration_s)
    return MissionResult(settings, seed, duration_s, timetable, fleet, log.events, cloud.answered, cloud.by_person)


def _checked_hours(settings: MissionSettings, seed: int, hours: float | None) -> float:
    length_h = settings.hours if hours is None else hours
    if seed < 0:
        raise ScenarioError(f"seed {seed}: must be 0 or more")
    if not 0 < length_h <= MAX_HOURS:
        raise ScenarioError(f"hours {length_h:g} is not a number above 0 up to {MAX_HOURS:g}; give one")
    intervals = (settings.profiles[craft.profile].camera.capture_every_s for craft in settings.craft)
    captures = sum(length_h * 3600 / interval_s for interval_s in intervals)
    if captures > MAX_CAPTURES:
        raise ScenarioError(
            f"{captures:.3g} captures in {length_h:g} h, the limit is {MAX_CAPTURES:g}; raise "
            "capture_every_s or simulate fewer hours"
        )
    return length_h


def _launch(
    settings: MissionSettings, keys: tuple[int, int], timetable: Timetable, clock: tuple[Agenda, EventLog]
) -> MissionCraft:
    craft = settings.craft[keys[1]]
    profile, ephemeris = settings.profiles[craft.profile], timetable.ephemerides[craft.name]
    captures = draw_captures(len(ephemeris.can_see), keys, settings.scene, profile.camera, settings.cloud)
    return MissionCraft((craft.name, craft.profile), profile, ephemeris, captures, clock)


def _schedule(craft: MissionCraft, timetable: Timetable, clock: tuple[Agenda, EventLog]) -> None:
    """Enter the craft's passes, and the windows it will miss."""
    agenda, log = clock
    for found in timetable.passes.get(craft.name, []):
        agenda.at(found.start_s, partial(craft.radio.open, found))
        agenda.at(found.end_s, craft.radio.close)
    for view in timetable.missed:
        if view.craft == craft.name:
            agenda.at(view.window.start_s, partial(_note_missed, log, view))


def _note_missed(log: EventLog, view: View, now_s: float) -> None:
    log.add(now_s, view.craft, "window_missed", station=view.station)
