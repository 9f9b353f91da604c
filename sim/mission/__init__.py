"""A fleet for hours or days on a virtual clock, without imagery.

Reading order: `settings.py` (what a mission file says), `run.py` (from the first second to the last),
`ephemeris.py` and `passes.py` (what is known beforehand), `scene.py` (what is drawn from the seed), `craft.py`,
`spool.py`, `radio.py` and `cloud.py` (what they do), `agenda.py` (the clock), then `events.py`, `summary.py` and
`figure.py` (how it is told). The kinds of events stand in `README.md`.
"""

from __future__ import annotations

from sim.mission.events import Event, event_digest, write_events
from sim.mission.figure import draw_mission
from sim.mission.run import MissionResult, run_mission
from sim.mission.settings import MissionSettings, load_mission
from sim.mission.summary import summarize

__all__ = [
    "Event",
    "MissionResult",
    "MissionSettings",
    "draw_mission",
    "event_digest",
    "load_mission",
    "run_mission",
    "summarize",
    "write_events",
]
