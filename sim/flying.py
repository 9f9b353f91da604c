"""A flight of all craft: the real programs, their links, their faults and the operator, on one clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from distill.dataset import DataSet, LabelledImage, read_data_set
from sim.crew import CloudProgram, EdgeProgram, Launcher, make_keys
from sim.display import Display
from sim.errors import ProcessError
from sim.hurry import hurried
from sim.legs import flown_frames, joined_summary
from sim.link import LinkProxy
from sim.link_schedule import in_spans
from sim.operator import Given, Operator
from sim.processes import LOOPBACK, free_ports
from sim.record import FlightRecord
from sim.run_folder import CraftFolder, RunFolder
from sim.scenario import Scenario
from sim.timetable import Step, link_spans, steps_of
from sim.watch import CloudWatch, FlightWatch
from sim.world.seeds import rng_for

_SLOWEST, _LANDING_S = 5.0, 60.0
"""A busy machine may take this many times the flight's length, and this long on top, before we call the edge stuck."""

_POLL_S = 0.05


@dataclass(frozen=True)
class CraftFlight:
    """One craft in the air.

    Attributes:
        folder: its files.
        edge: its program.
        link: between it and the cloud.
        watch: looks at what it leaves.
        fps: frames in a second of flight.
        speed: seconds of flight in one second.
    """

    folder: CraftFolder
    edge: EdgeProgram
    link: LinkProxy
    watch: FlightWatch
    fps: float
    speed: float = 1.0

    def record(self) -> FlightRecord:
        """Everything known about the flight once it is over, in seconds of flight.

        Raises:
            RecordError: the edge left nothing that can be read.
        """
        return FlightRecord(
            frames=flown_frames(self.folder.edge, self.edge.legs, self.fps, self.speed),
            truth=read_data_set(self.folder.flight, "all"),
            summary=joined_summary(self.folder.edge, self.edge.legs, self.speed),
            banks=self.watch.banks,
            traffic=[replace(seen, time_s=seen.time_s * self.speed) for seen in self.link.traffic()],
        )


@dataclass
class Mission:
    """All that is in the air.

    Attributes:
        scenario: what is flown.
        told: the same as the programs are told it: see `hurried`.
        cloud: the one cloud.
        cloud_watch: counts the cases that it keeps.
        craft: all craft, in the scenario's order.
        given: the operator's answers.
        begin_s: monotonic second 0; None until all craft have begun.
        operator_begin_s: monotonic second from which the operator counts.
        speed: seconds of flight in one second.
    """

    scenario: Scenario
    told: Scenario
    cloud: CloudProgram
    cloud_watch: CloudWatch
    craft: tuple[CraftFlight, ...]
    given: list[Given] = field(default_factory=list)
    begin_s: float | None = None
    operator_begin_s: float = 0.0
    speed: float = 1.0

    def flight_s(self, given: Given) -> float:
        """Second of flight at which an answer was given."""
        return 0.0 if self.begin_s is None else self.speed * (given.at_s + self.operator_begin_s - self.begin_s)

    @property
    def now_s(self) -> float:
        """Seconds of flight; 0 before all craft have begun."""
        return 0.0 if self.begin_s is None else self.speed * (time.monotonic() - self.begin_s)

    @property
    def frames(self) -> int:
        """Frames flown so far, all craft together."""
        return sum(craft.watch.frames for craft in self.craft)

    def words(self) -> str:
        """Where the mission is, in a few words."""
        prompts = sum(craft.watch.prompts for craft in self.craft)
        down = [craft.folder.name for craft in self.craft if not craft.link.is_up]
        return f"frame {self.frames}, {self.cloud_watch.cases} cases, {prompts} prompts" + (
            f", down: {', '.join(down)}" if down else ""
        )


class Onlooker(Protocol):
    """Who watches a mission while it is flown."""

    def watching(self, mission: Mission) -> AbstractContextManager[object]:
        """Open while the craft are up."""

    def look(self) -> None:
        """Called about 20 times a second meanwhile, in the main thread."""


def fly(  # noqa: PLR0913 - what is flown, and by what means
    folder: RunFolder,
    scenario: Scenario,
    seed: int,
    display: Display,
    *,
    speed: float = 1.0,
    launcher: Launcher | None = None,
    onlooker: Onlooker | None = None,
) -> Mission:
    """Fly a scenario whose frames are rendered; every program is gone when this returns or raises.

    Args:
        folder: of the run.
        scenario: what is flown.
        seed: of jitter and of the operator's decisions.
        display: shows how far it is.
        speed: seconds of flight in one second.
        launcher: starts programs.
        onlooker: who wants to watch.

    Raises:
        ProcessError: a program ended before its time, or did not end.
    """
    launcher = launcher or Launcher()
    with display.stage("making keys"):
        make_keys(folder, launcher)
    with ExitStack() as stack:
        mission = _ready(folder, scenario, seed, speed, launcher, stack)
        with display.stage("starting the cloud"):
            mission.cloud.start_and_wait()
        operator = _operator(mission, folder, seed)
        if operator is not None:
            mission.given = operator.given
        with display.stage("flying", scenario.frames * len(mission.craft)) as advance:
            stack.enter_context(onlooker.watching(mission) if onlooker else nullcontext())
            stack.enter_context(operator or nullcontext())
            mission.operator_begin_s = time.monotonic()

            def look() -> None:
                mission.cloud_watch.poll()
                for craft in mission.craft:
                    craft.watch.poll()
                advance(mission.frames, mission.words())
                if onlooker is not None:
                    onlooker.look()

            _until_landed(mission, look)
    return mission


def _ready(
    folder: RunFolder, scenario: Scenario, seed: int, speed: float, launcher: Launcher, stack: ExitStack
) -> Mission:
    """Everything but the start: the stack takes it all down again."""
    wire_port, http_port = free_ports(2)
    told = hurried(scenario, speed)
    students = [craft.student for craft in scenario.craft]
    cloud = stack.enter_context(CloudProgram(folder, told.teacher, students, (wire_port, http_port), launcher))
    flights = []
    for number, craft in enumerate(folder.craft):
        jitter = rng_for("link-jitter", seed, number)
        spans = [(start / speed, end / speed) for start, end in link_spans(scenario, craft.name)]
        link = stack.enter_context(LinkProxy(in_spans(told.link, spans), (LOOPBACK, wire_port), jitter))
        log = folder.log("edge" if len(folder.craft) == 1 else f"edge-{craft.name}")
        program = EdgeProgram(craft, told, f"tcp://{LOOPBACK}:{link.port}", log, launcher, speed=speed)
        edge = stack.enter_context(program)
        flights.append(CraftFlight(craft, edge, link, FlightWatch(craft.edge), scenario.fps, speed))
    cloud_watch = stack.enter_context(CloudWatch(folder.cloud_data))
    return Mission(scenario, told, cloud, cloud_watch, tuple(flights), speed=speed)


def _until_landed(mission: Mission, look: Callable[[], None]) -> None:
    """Start the craft, do what the timetable says, and return once all have come to their end."""
    patience_s = _SLOWEST * mission.scenario.seconds / min(mission.speed, _SLOWEST) + _LANDING_S
    deadline_s = time.monotonic() + patience_s
    waiting = steps_of(mission.scenario)
    for craft in mission.craft:
        craft.edge.start()
    while not all(craft.edge.is_done for craft in mission.craft):
        _begin_once(mission)
        while waiting and mission.begin_s is not None and waiting[0].at_s <= mission.now_s:
            _do(waiting.pop(0), mission)
        mission.cloud.ensure_running()
        for craft in mission.craft:
            if not craft.edge.is_done:
                craft.edge.ensure_running()
        if time.monotonic() > deadline_s:
            raise ProcessError(f"the flight did not end within {patience_s:.0f} s; see the logs of its edges")
        look()
        time.sleep(_POLL_S)
    look()


def _begin_once(mission: Mission) -> None:
    """Let all clocks run from the moment when every craft has begun."""
    if mission.begin_s is None and all(craft.edge.has_begun for craft in mission.craft):
        mission.begin_s = time.monotonic()
        for craft in mission.craft:
            craft.link.begin()


def _do(step: Step, mission: Mission) -> None:
    """One step of the timetable."""
    if step.craft is None:
        if step.deed == "start-cloud":
            mission.cloud.start()
        else:
            mission.cloud.end(hard=step.deed == "kill-cloud")
        return
    craft = next(craft for craft in mission.craft if craft.folder.name == step.craft)
    if step.deed == "start-edge":
        craft.edge.start(step.at_s)
        craft.watch.next_leg()
    elif not craft.edge.is_done:
        craft.edge.end()


def _operator(mission: Mission, folder: RunFolder, seed: int) -> Operator | None:
    """The scenario's person, who knows the truth of every frame."""
    settings = mission.told.operator
    if settings is None:
        return None
    truths = {craft.folder.name: read_data_set(craft.folder.flight, "all") for craft in mission.craft}

    def truth(name: str, case: Mapping[str, Any]) -> LabelledImage | None:
        craft = next((craft for craft in mission.craft if craft.folder.name == name), None)
        return None if craft is None else truth_of(craft.edge, truths[name], case)

    labels = sorted({label for data in truths.values() for item in data for label in item.labels})
    return Operator(settings, seed, folder.cloud_data, truth, tuple(labels))


def truth_of(edge: EdgeProgram, truth: DataSet, case: Mapping[str, Any]) -> LabelledImage | None:
    """The truth of the frame that a case shows; None where the craft flew no such frame.

    Args:
        edge: the craft's program: its source's name tells which leg the case is of.
        truth: of the whole flight.
        case: one record of `skyloop-cloud cases --json`.
    """
    for leg in edge.legs:
        if str(leg.source)[:200] == case["source_id"]:
            index = leg.first + int(case["frame_index"])
            return truth.items[index] if index < len(truth) else None
    return None
