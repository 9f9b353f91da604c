"""When what happens in a run: links and faults, told from the scenario alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sim.scenario import Scenario
from sim.scenario.checks import cuts_of
from sim.scenario.conditions import CloudKill, CloudRestart, EdgeRestart
from sim.scenario.intervals import Span, up_spans

Deed = Literal["end-cloud", "kill-cloud", "start-cloud", "end-edge", "start-edge"]


@dataclass(frozen=True)
class Step:
    """One thing that the runner does to a program.

    Attributes:
        at_s: seconds of flight.
        deed: what it does.
        craft: to whose program; None for the cloud's.
    """

    at_s: float
    deed: Deed
    craft: str | None = None


def steps_of(scenario: Scenario) -> list[Step]:
    """What faults do to programs, in order."""
    steps: list[Step] = []
    for fault in scenario.fault:
        end_s = fault.at_s + fault.for_s
        if isinstance(fault, CloudRestart | CloudKill):
            deed: Deed = "end-cloud" if isinstance(fault, CloudRestart) else "kill-cloud"
            steps += [Step(fault.at_s, deed), Step(end_s, "start-cloud")]
        elif isinstance(fault, EdgeRestart):
            names = [craft.name for craft in scenario.craft if fault.craft in (None, craft.name)]
            steps += [Step(fault.at_s, "end-edge", name) for name in names]
            steps += [Step(end_s, "start-edge", name) for name in names]
    return sorted(steps, key=lambda step: step.at_s)


def link_spans(scenario: Scenario, craft: str) -> list[Span]:
    """When a craft's link is up; one that is up at the end of the flight stays so while the craft lands."""
    spans = up_spans(scenario.seconds, scenario.link.windows, cuts_of(scenario, craft))
    return [(start, math.inf if end >= scenario.seconds else end) for start, end in spans]
