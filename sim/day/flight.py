"""A satellite's day flown: its computer is up for each overpass and for the passes, and off between.

Three starts of the one edge program on one output folder: first over the place, out of contact, and off again; then for
two passes, its camera off; then over the place again. What it knows and what it has not yet sent outlives each of them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.store import CaseStore
from distill.dataset import LabelledImage, read_data_set
from sim.crew import CloudProgram, Launcher, Program, make_keys
from sim.day.plan import DayPlan, GroundPass
from sim.day.settings import EdgeSettings, PersonSettings, SatelliteDay
from sim.display import Advance, Display
from sim.errors import ProcessError
from sim.hurry import hurried_link
from sim.legs import put_leg_aside
from sim.link import LinkProxy
from sim.link_schedule import Stretch
from sim.operator import Given, Operator
from sim.processes import LOOPBACK, free_ports
from sim.run_folder import CraftFolder, RunFolder
from sim.scenario import OperatorSettings
from sim.watch import CloudWatch, FlightWatch
from sim.world.seeds import rng_for

CONTACT_CONFIG = "contact.toml"

_POLL_S = 0.05
_SAMPLE_S = 0.2
_PATIENCE_S = 600.0
"""Of a program that looks at a few scenes, which takes seconds: a busy machine may take a hundred times as long."""

_ROUNDS_S = 60.0
"""The person's longest wait for the teacher to be done with what came in the pass."""

_TTL_S = 86_400.0
"""Of a case: it is worth as much in the next pass, and in the one after that."""

_BURST_BYTES = 4_000_000
"""Of imagery at once, as the bundled mission's satellites have it."""


@dataclass(frozen=True)
class PassRecord:
    """What happened in one pass.

    Attributes:
        plan: the pass.
        samples: (second of the pass, bytes to the cloud, bytes to the edge) since its begin, in order.
        news: (second of the pass, what) for every case that the cloud came to keep and every bank that the craft took.
    """

    plan: GroundPass
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    news: list[tuple[float, str]] = field(default_factory=list)

    @property
    def edge_to_cloud_bytes(self) -> int:
        """Carried in the pass."""
        return self.samples[-1][1] if self.samples else 0

    @property
    def cloud_to_edge_bytes(self) -> int:
        """Carried in the pass."""
        return self.samples[-1][2] if self.samples else 0


@dataclass(frozen=True)
class DayRecord:
    """What happened in a day.

    Attributes:
        passes: both.
        spooled: ids of the cases that lay in the spool when the computer went off after the first overpass.
        bytes_out_of_contact: that crossed the link before the first pass.
        kept: ids of the cases that the cloud kept after the passes.
        given: the person's answers.
        labels: that the craft had prompts for when it came over the place again.
    """

    passes: tuple[PassRecord, PassRecord]
    spooled: tuple[str, ...]
    bytes_out_of_contact: int
    kept: tuple[str, ...]
    given: tuple[Given, ...]
    labels: tuple[str, ...]

    def prompted_in(self, label: str) -> int | None:
        """The pass, 1 or 2, in which the first prompt of a label came on board; None where none did."""
        found = (n for n, done in enumerate(self.passes, 1) if any(label in prompted_labels(w) for _, w in done.news))
        return next(found, None)


def fly_day(
    folder: RunFolder, day: SatelliteDay, plan: DayPlan, seed: int, display: Display, launcher: Launcher | None = None
) -> DayRecord:
    """Fly a day whose scenes are rendered; every program is gone when this returns or raises.

    Args:
        folder: of the run.
        day: what is flown.
        plan: when.
        seed: of the person's decisions.
        display: shows how far it is.
        launcher: starts programs.

    Raises:
        ProcessError: a program ended before its time, or did not end.
    """
    launcher = launcher or Launcher()
    with display.stage("making keys"):
        make_keys(folder, launcher)
    with ExitStack() as stack:
        flight = _DayFlight(folder, day, plan, launcher, stack)
        with display.stage("starting the cloud"):
            flight.cloud.start_and_wait()
        with display.stage(f"first overpass of {day.place.name}, out of contact", day.scene.count) as advance:
            flight.image(1, advance)
        spooled, quiet_bytes = flight.spooled(), flight.link.edge_to_cloud_bytes
        flight.wake()
        first = _pass(flight, 0, display)
        with display.stage("a person answers between the passes"):
            given = _answers(folder, day.person, seed, flight)
        second = _pass(flight, 1, display)
        flight.sleep()
        with display.stage(f"second overpass of {day.place.name}, out of contact", day.scene.count) as advance:
            flight.image(2, advance)
    kept = _kept(folder.cloud_data)
    return DayRecord((first, second), spooled, quiet_bytes, kept, given, flight.labels)


CASE, PROMPT = "case kept", "prompts for "
"""What is told of a pass; the labels follow the second."""


def told_prompts(labels: Sequence[str]) -> str:
    """A bank of prompts that came on board, in words."""
    return PROMPT + ", ".join(sorted(set(labels)))


def prompted_labels(words: str) -> list[str]:
    """The labels of a bank that came on board; none where the words tell of something else."""
    return words.removeprefix(PROMPT).split(", ") if words.startswith(PROMPT) else []


def _pass(flight: _DayFlight, number: int, display: Display) -> PassRecord:
    plan = flight.plan.passes[number]
    words = f"pass {number + 1} over {plan.station}, {plan.duration_s:.0f} s in {plan.duration_s / flight.speed:.0f}"
    with display.stage(words, round(plan.duration_s)) as advance:
        return flight.fly_pass(plan, advance)


class _DayFlight:
    """The programs of a day and the link between them."""

    def __init__(
        self, folder: RunFolder, day: SatelliteDay, plan: DayPlan, launcher: Launcher, stack: ExitStack
    ) -> None:
        self.plan, self.speed = plan, day.speed
        self.craft: CraftFolder = folder.craft[0]
        self._day, self._launcher = day, launcher
        wire_port, http_port = free_ports(2)
        program = CloudProgram(folder, day.teacher, [day.edge.student], (wire_port, http_port), launcher)
        self.cloud = stack.enter_context(program)
        down = Stretch(0.0, "cut", plan.passes[0].stretches[0].profile)
        self.link = stack.enter_context(LinkProxy([down], (LOOPBACK, wire_port), rng_for("day-link", 0)))
        self.link.begin()
        self._edge = stack.enter_context(Program("the edge", folder.log("edge"), launcher))
        self._cloud_watch = stack.enter_context(CloudWatch(folder.cloud_data))
        self._watch = FlightWatch(self.craft.edge)
        self._legs = 0
        self.craft.config.write_text(edge_config(day.edge, day.speed))
        self._contact_config.write_text(edge_config(day.edge, day.speed, is_contact=True))

    @property
    def _contact_config(self) -> Path:
        return self.craft.config.with_name(CONTACT_CONFIG)

    @property
    def labels(self) -> tuple[str, ...]:
        """That the craft holds prompts for."""
        return tuple(sorted(set(self._watch.banks[-1].labels))) if self._watch.banks else ()

    def image(self, overpass: int, advance: Advance) -> None:
        """Look at the scenes of an overpass, and be off."""
        # A pattern, not the folder: the scenes are taken as they come, not at their seconds of the day.
        self._launch(str(self.craft.flight / f"overpass-{overpass}" / "*.tif"), self.craft.config)
        before = self._watch.frames
        self._wait(lambda: self._edge.is_done, lambda: advance(self._watch.frames - before, ""))

    def wake(self) -> None:
        """Turn the computer on for the passes: its next picture is due in a day."""
        folder = waiting_scenes(self.craft.flight, self.plan)
        self._launch(str(folder), self._contact_config)
        self._wait(lambda: (self.craft.edge / "detections.jsonl").exists())

    def sleep(self) -> None:
        """Turn the computer off."""
        self._edge.end()
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._is_off and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)

    def fly_pass(self, plan: GroundPass, advance: Advance) -> PassRecord:
        """Have the link for one pass, and note what happens."""
        record = PassRecord(plan)
        begin_s = time.monotonic()
        before = (self.link.edge_to_cloud_bytes, self.link.cloud_to_edge_bytes)

        def look() -> float:
            at_s = min(self.speed * (time.monotonic() - begin_s), plan.duration_s)
            self._note_news(record, at_s)
            carried = (self.link.edge_to_cloud_bytes - before[0], self.link.cloud_to_edge_bytes - before[1])
            record.samples.append((at_s, *carried))
            self._ensure_running()
            advance(round(at_s), f"{carried[0] / 1000:.0f} kB to the cloud, {carried[1] / 1000:.0f} kB to the edge")
            return at_s

        for _, until_s, stretch in plan.spans():
            self.link.become("up", hurried_link(stretch.profile, self.speed))
            while look() < until_s:
                time.sleep(min(_SAMPLE_S, max((until_s - record.samples[-1][0]) / self.speed, 0.01)))
        self.link.become("cut")
        look()
        return record

    def spooled(self) -> tuple[str, ...]:
        """Ids of the cases in the spool, while the craft's computer is off."""
        folder = self.craft.edge / "state" / "spool"
        return tuple(sorted(path.stem for path in folder.glob("*.case")))

    def _note_news(self, record: PassRecord, at_s: float) -> None:
        cases, banks = self._cloud_watch.cases, len(self._watch.banks)
        self._cloud_watch.poll()
        self._watch.poll()
        record.news.extend((at_s, CASE) for _ in range(self._cloud_watch.cases - cases))
        record.news.extend((at_s, told_prompts(bank.labels)) for bank in self._watch.banks[banks:] if bank.labels)

    def _launch(self, source: str, config: Path) -> None:
        if self._legs:
            put_leg_aside(self.craft.edge, self._legs)
            self._watch.next_leg()
        self._legs += 1
        words = ["run", "--source", source, "--cloud", f"tcp://{LOOPBACK}:{self.link.port}"]
        words += ["--keys", str(self.craft.keys), "--out", str(self.craft.edge), "--config", str(config)]
        student = self._day.edge.student
        words += ["--bundle", str(student)] if student else []
        self._edge.launch(self._launcher.command("skyloop-edge", *words))

    def _wait(self, is_over: Callable[[], bool], look: Callable[[], None] = lambda: None) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not is_over():
            self._ensure_running()
            self._watch.poll()
            look()
            if time.monotonic() > deadline_s:
                raise ProcessError(f"the edge was not done within {_PATIENCE_S:.0f} s; see its log")
            time.sleep(_POLL_S)
        self._watch.poll()

    @property
    def _is_off(self) -> bool:
        return self._edge.returncode is not None

    def _ensure_running(self) -> None:
        self.cloud.ensure_running()
        if not self._edge.is_done:
            self._edge.ensure_running()


def waiting_scenes(flight: Path, plan: DayPlan) -> Path:
    """The second overpass's scenes as a camera's that will not see them before a day has passed.

    Args:
        flight: holds `overpass-2`.
        plan: tells how long it is from the first pass to the second overpass.
    """
    folder, scenes = flight / "waiting", sorted((flight / "overpass-2").glob("*.tif"))
    folder.mkdir()
    lines = []
    for number, scene in enumerate(scenes):
        os.link(scene, folder / scene.name)
        due_s = plan.imaged_s(1) - plan.passes[0].start_s + number
        lines.append(json.dumps({"file": scene.name, "index": number, "time_s": due_s}) + "\n")
    (folder / "frames.jsonl").write_text("".join(lines))
    return folder


def edge_config(edge: EdgeSettings, speed: float, *, is_contact: bool = False) -> str:
    """The settings file of the agent.

    Args:
        edge: of the day's file.
        speed: seconds of a pass in one second of its clock.
        is_contact: it is up for passes: its pictures are to come at their times.
    """
    return "\n".join([
        "# Scenes are looked at as they come; while there is contact, none is due.",
        f"paced = {'true' if is_contact else 'false'}",
        f"tile_px = {edge.tile_px}",
        "video = false",
        "",
        "[agent.scheduler]",
        "# No scene is like the last one: what cannot be named in it is asked about at once.",
        "patience_frames = 1",
        f"region_side_px = {edge.region_side_px}",
        f"burst_bytes = {_BURST_BYTES}",
        f"ttl_s = {_TTL_S}",
        "",
        "[link]",
        "# A pass is short: not much of it is lost between two attempts.",
        f"retry_first_s = {0.2 / speed}",
        f"retry_most_s = {2.0 / speed}",
        "",
    ])  # fmt: skip


def _answers(folder: RunFolder, person: PersonSettings | None, seed: int, flight: _DayFlight) -> tuple[Given, ...]:
    """What the person says to all that the teacher is unsure of, in as many rounds as it takes."""
    if person is None:
        return ()
    scenes = read_data_set(flight.craft.flight / "overpass-1", "all")

    def truth(craft: str, case: Mapping[str, Any]) -> LabelledImage | None:
        index = int(case["frame_index"])
        return scenes.items[index] if craft == flight.craft.name and index < len(scenes) else None

    labels = tuple(sorted({label for item in scenes for label in item.labels}))
    settings = OperatorSettings(delay_s=0.0, error_rate=person.error_rate, labels=person.labels)
    operator = Operator(settings, seed, folder.cloud_data, truth, labels)
    begin_s = time.monotonic()
    while time.monotonic() - begin_s < _ROUNDS_S:
        is_over = not _waiting(folder.cloud_data)  # looked at before the round, which may not have seen the last one
        operator.look(time.monotonic() - begin_s)
        if is_over:
            break
    return tuple(operator.given)


def _waiting(data: Path) -> int:
    """Cases that the teacher has not looked at yet."""
    store = CaseStore(data)
    try:
        return sum(case.state == "stored" for case in store.list_cases(unsure_only=False, limit=1000))
    finally:
        store.close()


def _kept(data: Path) -> tuple[str, ...]:
    """Ids of all cases that the cloud keeps, once for each time it does."""
    store = CaseStore(data)
    try:
        return tuple(sorted(stored.case.case_id for stored in store.list_cases(unsure_only=False, limit=1000)))
    finally:
        store.close()
