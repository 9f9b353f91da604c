"""The main job from end to end: two real processes, one flight, one loop, one report."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.teachers import Teacher, open_teacher
from edge.bundle import bundled_student, load_bundle
from edge.student import Student
from sim.crew import Launcher
from sim.display import Display
from sim.errors import LoopOpenError
from sim.evaluation import Evaluation, evaluate_flight
from sim.figures import bytes_figure, loop_figure, recall_figure, stills
from sim.flying import Mission, fly
from sim.record import FlightRecord
from sim.report import Picture, build_report, loop_problem, render_html, versions_of, write_report
from sim.run_folder import RunFolder, make_ready
from sim.runner import render_flights
from sim.scenario import Scenario, find_scenario
from sim.scene_plan import QUAKE_SHARE, scenes_of
from sim.world.layout import Label

UNFAMILIAR = Label.DEBRIS.value
"""What the disaster scene shows and no training image of the student does."""

CRAFT_NAME = "demo-craft"


@dataclass(frozen=True)
class DemoOptions:
    """What the demo flies.

    Attributes:
        out: output folder; an earlier demo there is replaced.
        seconds: length of the flight.
        seed: of the scene.
        bundle: the craft's student; None is the bundled one.
        teacher: `bundled`, or a bundle's folder.
    """

    out: Path
    seconds: float
    seed: int
    bundle: Path | None = None
    teacher: str = "bundled"

    @property
    def command(self) -> str:
        """The command line that repeats the run."""
        words = ["skyloop-sim", "demo", "--out", str(self.out), "--seconds", f"{self.seconds:g}"]
        words += ["--seed", str(self.seed)]
        words += ["--bundle", str(self.bundle)] if self.bundle else []
        words += ["--teacher", self.teacher] if self.teacher != "bundled" else []
        return shlex.join(words)


def run_demo(options: DemoOptions, display: Display) -> dict[str, Any]:
    """Fly the demo and write `report.json`, `report.html`, `video.mp4`, `figures/` and `logs/`.

    Returns:
        The content of `report.json`.

    Raises:
        LoopOpenError: the report is written, but the loop did not close.
        SkyloopError: something could not go on.
    """
    start_s = time.monotonic()
    # Opened first, so that a missing or damaged bundle is told before the first picture is rendered.
    student = Student.open(load_bundle(options.bundle or bundled_student()))
    teacher = open_teacher(options.teacher)
    prepare_folder(options.out)
    _render(options, display)
    mission = _fly(options, display)
    record = mission.craft[0].record()
    evaluation = _evaluate(record, student, teacher, display)
    figures = _draw(record, evaluation)
    versions = versions_of(record.summary, teacher.name)
    report = build_report(
        record,
        evaluation,
        cases_sent=mission.cloud_watch.cases,
        seed=options.seed,
        wall_s=time.monotonic() - start_s,
        versions=versions,
    )
    page = render_html(report, evaluation, *figures, options.command)
    write_report(options.out, report, page, [*figures[0], *figures[1]])
    (options.out / "edge" / "video.mp4").replace(options.out / "video.mp4")
    if problem := loop_problem(report):
        raise LoopOpenError(f"the loop did not close: {problem}; see {options.out / 'report.html'} and its logs")
    return report


def prepare_folder(out: Path) -> None:
    """An empty folder for a demo; what an earlier demo left there is removed.

    Raises:
        OutputError: the folder holds something else, or cannot be used.
    """
    make_ready(out, "demo", "skyloop-sim demo")


def demo_scenario(options: DemoOptions) -> Scenario:
    """The bundled disaster, as long as asked for, with the bundles asked for."""
    disaster = find_scenario("disaster")
    return disaster.changed(
        seconds=options.seconds,
        event=[{"kind": "earthquake", "at_s": QUAKE_SHARE * options.seconds}],
        craft=[disaster.craft[0].model_copy(update={"student": options.bundle}).model_dump()],
        teacher={"name": options.teacher},
    )


def _folder(options: DemoOptions) -> RunFolder:
    return RunFolder.of(options.out, [CRAFT_NAME])


def _render(options: DemoOptions, display: Display) -> None:
    scenario = demo_scenario(options)
    render_flights(_folder(options), scenario, scenes_of(scenario, options.seed), options.seed, display)


def _fly(options: DemoOptions, display: Display, launcher: Launcher | None = None) -> Mission:
    """Both processes from start to end; they are gone when this returns or raises."""
    return fly(_folder(options), demo_scenario(options), options.seed, display, launcher=launcher)


def _evaluate(record: FlightRecord, student: Student, teacher: Teacher, display: Display) -> Evaluation:
    with display.stage("scoring") as advance:
        return evaluate_flight(record, UNFAMILIAR, student, teacher, lambda done: advance(done, f"{done} images"))


def _draw(record: FlightRecord, evaluation: Evaluation) -> tuple[list[Picture], list[Picture]]:
    tallies = list(evaluation.tallies)
    figures = [
        recall_figure(record, tallies, UNFAMILIAR),
        bytes_figure(record, UNFAMILIAR),
        loop_figure(record),
    ]
    return figures, stills(record, tallies, UNFAMILIAR)
