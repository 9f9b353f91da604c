"""Scenarios: one TOML file says what flies where, what happens, and what links and people do.

Reading order: `schema.py` (the file as a whole), `craft.py` and `flights.py` (what flies), `events.py` (what happens in
the world), `conditions.py` (link, budget, teacher, operator, faults), `checks.py` (what does not go together),
`loader.py` (files and bundled names) and `problems.py` (how a bad file is told).
"""

from __future__ import annotations

from sim.scenario.conditions import Budget, Fault, LinkProfile, OperatorSettings, TeacherChoice
from sim.scenario.craft import CameraSettings, CraftSettings
from sim.scenario.events import Event
from sim.scenario.flights import Flight
from sim.scenario.loader import bundled_names, find_scenario, load_scenario, template_text
from sim.scenario.schema import Scenario

__all__ = [
    "Budget",
    "CameraSettings",
    "CraftSettings",
    "Event",
    "Fault",
    "Flight",
    "LinkProfile",
    "OperatorSettings",
    "Scenario",
    "TeacherChoice",
    "bundled_names",
    "find_scenario",
    "load_scenario",
    "template_text",
]
