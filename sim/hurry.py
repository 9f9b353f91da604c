"""Flights in less time than they take: what counts in seconds is made shorter for the programs, all by one factor.

A second of flight stays a second of flight in files and reports; only the programs' clocks see less of it. What they
need to think does not shrink with it, so that a loop that took 0.5 s takes 2 s of a flight at four times its speed.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import numpy as np

from edge.bundle import bundled_student, load_bundle
from edge.student import Student
from sim.errors import ScenarioError
from sim.scenario import Scenario
from sim.scenario.conditions import LinkProfile

FASTEST = 50.0
"""Half a minute of flight is over in less than a second then: programs take longer to start."""

_MOST_BPS = 1e9
_LOOKS = 8
"""So many frames are timed: the median of eight does not mind the slow first one."""

_FASTEST_WITH_OPERATOR = 4.0
"""The scripted person looks at the cases every two seconds, with programs that take a second to start."""

_LONGEST_WAIT_S = 10.0
"""The most that the cloud takes as its `max_wait_s`."""

_EDGE_SHARE = 0.4
"""Of the cores: teacher, link, writing and the runner itself need the rest."""


def check_speed(scenario: Scenario, speed: float) -> None:
    """Refuse a speed that a scenario's people or programs cannot follow.

    Args:
        scenario: in seconds of flight.
        speed: seconds of flight in one second.

    Raises:
        ScenarioError: names the speed, the limit and the cure.
    """
    if scenario.operator is not None and speed > _FASTEST_WITH_OPERATOR:
        raise ScenarioError(
            f"--speed {speed:g}: {scenario.name} has an operator, who can follow {_FASTEST_WITH_OPERATOR:g} at most; "
            "fly slower, or leave out [operator]"
        )
    delay_s = scenario.teacher.delay_s
    if delay_s / speed > _LONGEST_WAIT_S:
        raise ScenarioError(
            f"--speed {speed:g}: teacher.delay_s = {delay_s:g} would be {delay_s / speed:g} s of the cloud's clock, "
            f"which waits {_LONGEST_WAIT_S:g} s at most; shorten it, or fly at {delay_s / _LONGEST_WAIT_S:g} or faster"
        )


def hurried(scenario: Scenario, speed: float) -> Scenario:
    """What a scenario's programs are told: link, budget, teacher and operator as seen by a clock that runs slower.

    Args:
        scenario: in seconds of flight.
        speed: seconds of flight in one second.
    """
    if speed == 1.0:
        return scenario
    operator = scenario.operator
    return scenario.model_copy(
        update={
            "link": hurried_link(scenario.link, speed),
            "budget": scenario.budget.model_copy(update={"bytes_per_s": scenario.budget.bytes_per_s * speed}),
            "teacher": scenario.teacher.model_copy(update={"delay_s": scenario.teacher.delay_s / speed}),
            "operator": operator and operator.model_copy(update={"delay_s": operator.delay_s / speed}),
        }
    )


def hurried_link(link: LinkProfile, speed: float) -> LinkProfile:
    """The link as seen by a clock that runs slower: as many bits for each second of flight, and as much less delay.

    Windows are left alone, the proxy is told of spans.
    """
    rates = {name: min(getattr(link, name) * speed, _MOST_BPS) for name in ("edge_to_cloud_bps", "cloud_to_edge_bps")}
    return link.model_copy(update={**rates, "latency_ms": link.latency_ms / speed, "jitter_ms": link.jitter_ms / speed})


class Pace(NamedTuple):
    """How fast a scenario is flown.

    Attributes:
        speed: seconds of flight in one second.
        why: what allows no more.
    """

    speed: float
    why: str


def fastest_speed(scenario: Scenario) -> Pace:
    """How fast this machine can be expected to fly a scenario: from 1 to `FASTEST`, with an operator to 4.

    Raises:
        SkyloopError: a craft's bundle does not load.
    """
    busy_s, students = 0.0, {}
    for craft in scenario.craft:
        folder = craft.student or bundled_student()
        if folder not in students:
            students[folder] = Student.open(load_bundle(folder), threads=1)
        student = students[folder]
        image = np.zeros((craft.camera.height, craft.camera.width, 3), np.uint8)
        times_s = []
        for _ in range(_LOOKS):
            begin_s = time.perf_counter()
            student.perceive(image)
            times_s.append(time.perf_counter() - begin_s)
        busy_s += float(np.median(times_s)) * scenario.fps
    cores = len(os.sched_getaffinity(0))
    able = _EDGE_SHARE * cores / busy_s
    told = f"a second of flight takes the students {busy_s:.2g} s, and {_EDGE_SHARE:.0%} of {cores} cores are theirs"
    if able < 1.0:
        return Pace(1.0, f"{told}: too slow for more, and slow for this")
    if scenario.operator is not None and able > _FASTEST_WITH_OPERATOR:
        return Pace(_FASTEST_WITH_OPERATOR, "the operator can follow no more")
    return Pace(FASTEST, "no flight goes faster") if able > FASTEST else Pace(round(able, 1), told)
