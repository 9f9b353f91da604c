"""The real programs of a run: one cloud and one edge for each craft, started, ended and started again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from edge.keys import CLOUD_NAME, EDGE_NAME, new_keys, trust_server
from edge.link import LinkSettings
from edge.scheduler import SchedulerSettings
from sim.legs import Leg, leg_source, put_leg_aside
from sim.processes import LOOPBACK, Child, command_of, run_program, wait_ready
from sim.run_folder import CraftFolder, RunFolder
from sim.scenario import CraftSettings, Scenario, TeacherChoice

_SLOW_LINK_MS = 250.0
_RETRY_MOST_S = 2.0


@dataclass(frozen=True)
class Launcher:
    """How programs are started.

    Attributes:
        child: starts one: name, command, log.
        command: of one of our programs with its arguments.
        run: runs one to its end.
        wait: returns once a program's HTTP port says that it is ready.
    """

    child: Callable[[str, Sequence[str], Path], Child] = Child
    command: Callable[..., list[str]] = command_of
    run: Callable[..., None] = run_program
    wait: Callable[[Child, int], None] = wait_ready


def make_keys(folder: RunFolder, launcher: Launcher) -> None:
    """Fresh identities for all sides; each knows the other's public key and nothing more.

    Raises:
        ProcessError: the cloud does not enrol a craft.
    """
    new_keys(folder.cloud_keys, CLOUD_NAME)
    for craft in folder.craft:
        new_keys(craft.keys, EDGE_NAME)
        trust_server(folder.cloud_keys / f"{CLOUD_NAME}.pub", craft.keys)
        public_key = str(craft.keys / f"{EDGE_NAME}.pub")
        arguments = ("enroll", public_key, "--name", craft.name, "--data", str(folder.cloud_data))
        log = "enroll" if len(folder.craft) == 1 else f"enroll-{craft.name}"
        launcher.run("skyloop-cloud", *arguments, log=folder.log(log))


class Program:
    """A program that may be ended and started again; leaving the context ends it for good."""

    def __init__(self, name: str, log: Path, launcher: Launcher) -> None:
        """Nothing is started yet.

        Args:
            name: for messages.
            log: of its first start; later ones get a number.
            launcher: starts it.
        """
        self.name, self.is_wanted = name, False
        self._log, self._launcher = log, launcher
        self._child: Child | None = None
        self._starts = 0

    def __enter__(self) -> Self:
        """This program."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it if it still runs."""
        if self._child is not None:
            self._child.stop()

    @property
    def is_done(self) -> bool:
        """Whether it came to its own end, well."""
        return self.is_wanted and self._child is not None and self._child.returncode == 0

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs, or before it was started."""
        return None if self._child is None else self._child.returncode

    def ensure_running(self) -> None:
        """Nothing while it runs, or is not wanted to.

        Raises:
            ProcessError: it ended by itself.
        """
        if self.is_wanted and self._child is not None:
            self._child.ensure_running()

    def end(self, *, hard: bool = False) -> None:
        """Have it end: in good order, or as if the power had gone."""
        self.is_wanted = False
        if self._child is not None:
            (self._child.kill if hard else self._child.end)()

    def launch(self, command: Sequence[str]) -> Child:
        """Start it, again where it ran before.

        Raises:
            ProcessError: it cannot be started.
        """
        if self._child is not None:
            self._child.stop()
        self._starts += 1
        log = self._log if self._starts == 1 else self._log.with_suffix(f".{self._starts}.log")
        self._child = self._launcher.child(self.name, command, log)
        self.is_wanted = True
        return self._child


class CloudProgram(Program):
    """The cloud on its ports and data."""

    def __init__(
        self,
        folder: RunFolder,
        teacher: TeacherChoice,
        students: Iterable[Path | None],
        ports: tuple[int, int],
        launcher: Launcher,
    ) -> None:
        """Prepare.

        Args:
            folder: of the run.
            teacher: who answers first, and when.
            students: bundles of the craft; None is the bundled one.
            ports: of the wire and of HTTP.
            launcher: starts it.
        """
        super().__init__("the cloud", folder.log("cloud"), launcher)
        self._ports = ports
        self._command = launcher.command("skyloop-cloud", *_cloud_arguments(folder, teacher, students, ports))

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self.launch(self._command)

    def start_and_wait(self) -> None:
        """Return once it is ready.

        Raises:
            ProcessError: it ended, or was not ready in time.
        """
        self._launcher.wait(self.launch(self._command), self._ports[1])


def _cloud_arguments(
    folder: RunFolder, teacher: TeacherChoice, students: Iterable[Path | None], ports: tuple[int, int]
) -> list[str]:
    wire_port, http_port = ports
    words = ["serve", "--bind", f"tcp://{LOOPBACK}:{wire_port}", "--http", f"{LOOPBACK}:{http_port}"]
    words += ["--data", str(folder.cloud_data), "--keys", str(folder.cloud_keys), "--teacher", teacher.name]
    for student in sorted({str(student) for student in students if student}):
        words += ["--student", student]
    if teacher.delay_s:
        folder.cloud_config.write_text(f"# The teacher looks at a case so late.\nmax_wait_s = {teacher.delay_s}\n")
        words += ["--config", str(folder.cloud_config)]
    return words


class EdgeProgram(Program):
    """The edge of one craft, flying its rendered frames.

    Attributes:
        legs: one for each start.
    """

    def __init__(
        self,
        folder: CraftFolder,
        scenario: Scenario,
        endpoint: str,
        log: Path,
        launcher: Launcher,
        *,
        speed: float = 1.0,
    ) -> None:
        """Prepare, and write the edge's settings.

        Args:
            folder: of the craft.
            scenario: tells its budget and student.
            endpoint: where it connects: its link.
            log: of the program.
            launcher: starts it.
            speed: seconds of flight in one second of its clock.
        """
        is_alone = len(scenario.craft) == 1
        super().__init__("the edge" if is_alone else f"the edge of {folder.name}", log, launcher)
        self.folder = folder
        self.legs: list[Leg] = []
        craft = next(craft for craft in scenario.craft if craft.name == folder.name)
        self._endpoint, self._craft, self._fps, self._speed = endpoint, craft, scenario.fps, speed
        folder.config.write_text(edge_config(scenario, speed))

    @property
    def has_begun(self) -> bool:
        """Whether it has opened its output: its student is loaded and the first frame follows within moments."""
        return (self.folder.edge / "detections.jsonl").exists()

    def start(self, at_s: float = 0.0) -> None:
        """Start it with the frame of a second of flight."""
        first = math.ceil(at_s * self._fps)
        if self.legs:
            self.end()
            assert self._child is not None
            self._child.stop()
            put_leg_aside(self.folder.edge, len(self.legs))
        source = leg_source(self.folder.flight, len(self.legs) + 1, first, self._speed)
        self.legs.append(Leg(first, source))
        self.launch(self._launcher.command("skyloop-edge", *self._arguments(source, self._craft)))

    def _arguments(self, source: Path, craft: CraftSettings) -> list[str]:
        folder = self.folder
        words = ["run", "--source", str(source), "--cloud", self._endpoint, "--keys", str(folder.keys)]
        words += ["--out", str(folder.edge), "--config", str(folder.config)]
        return [*words, "--bundle", str(craft.student)] if craft.student else words


def edge_config(scenario: Scenario, speed: float = 1.0) -> str:
    """The edge's settings file for a scenario whose flight passes `speed` times as fast as its clock."""
    lines = ["# Frames come at their recorded times, as from a camera.", "paced = true"]
    if len(scenario.craft) > 1:
        lines += ["# All craft share the cores of one machine.", "threads = 1"]
    budget, latency_s = scenario.budget, scenario.link.latency_ms / 1000
    lines += ["", "[agent.scheduler]"]
    lines += [f"budget_bytes_per_s = {budget.bytes_per_s}", f"burst_bytes = {budget.burst_bytes}"]
    if speed != 1.0:
        usual = SchedulerSettings()
        lines += [f"min_interval_s = {usual.min_interval_s / speed}", f"cooldown_s = {usual.cooldown_s / speed}"]
    lines += [
        "",
        "[link]",
        "# A contact window is short: not much of it is lost between two attempts.",
        f"retry_most_s = {_RETRY_MOST_S / speed}",
    ]
    if speed != 1.0:
        lines.append(f"retry_first_s = {LinkSettings().retry_first_s / speed}")
    if scenario.link.latency_ms > _SLOW_LINK_MS:
        lines += [f"connect_timeout_s = {5 + 8 * latency_s}", f"liveness_s = {5 + 8 * latency_s}"]
    return "\n".join(lines) + "\n"
