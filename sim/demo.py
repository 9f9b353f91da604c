"""The main job from end to end: two real processes, one flight, one loop, one report."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.teachers import Teacher, open_teacher
from distill.dataset import read_data_set
from edge.bundle import bundled_student, load_bundle
from edge.keys import CLOUD_NAME, EDGE_NAME, new_keys, trust_server
from edge.student import Student
from sim.dataset import render_sequence
from sim.display import Display
from sim.errors import LoopOpenError, OutputError, ScenarioError
from sim.evaluation import Evaluation, evaluate_flight
from sim.figures import bytes_figure, loop_figure, recall_figure, stills
from sim.processes import LOOPBACK, Child, command_of, free_ports, run_program, wait_ready
from sim.record import FlightRecord, read_frames, read_summary
from sim.report import Picture, build_report, loop_problem, render_html, versions_of, write_report
from sim.scene_plan import disaster_scene
from sim.scenes import Scene
from sim.watch import FlightWatch
from sim.world.layout import Label

FPS = 15
UNFAMILIAR = Label.DEBRIS.value
"""What the disaster scene shows and no training image of the student does."""

CRAFT_NAME = "demo-craft"
_MARKER = ".skyloop-demo"
_OWN_FOLDERS = ("flight", "keys", "cloud", "edge", "logs", "figures")
_OWN_FILES = ("report.json", "report.html", "video.mp4", "edge.toml")
_SLOWEST, _LANDING_S = 5.0, 60.0
"""A busy machine may take this many times the flight's length, and this long on top, before we call the edge stuck."""

_EDGE_CONFIG = "# Frames come at their recorded times, as from a camera.\npaced = true\n"


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
    def frames(self) -> int:
        """Frames of the flight."""
        return round(self.seconds * FPS)

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
    watch = _fly(options, display)
    record = _record(options.out, watch)
    evaluation = _evaluate(record, student, teacher, display)
    figures = _draw(record, evaluation)
    versions = versions_of(record.summary, teacher.name)
    report = build_report(record, evaluation, seed=options.seed, wall_s=time.monotonic() - start_s, versions=versions)
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
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / _MARKER).is_file() and any(out.iterdir()):
            raise OutputError(f"{out}: holds files that are not a demo's; choose an empty folder with --out")
        for name in _OWN_FOLDERS:
            if (out / name).exists():
                shutil.rmtree(out / name)
        for name in _OWN_FILES:
            (out / name).unlink(missing_ok=True)
        (out / _MARKER).write_text("This folder belongs to skyloop-sim demo, which replaces what is in it.\n")
    except OSError as exc:
        raise OutputError(f"{exc.filename or out}: cannot be used ({exc.strerror}); choose another --out") from exc


def open_scene(options: DemoOptions) -> Scene:
    """The disaster scene of a demo.

    Raises:
        ScenarioError: its way is shorter than the flight.
    """
    scene = disaster_scene(options.seed, options.seconds)
    if options.seconds > scene.flight.duration_s:
        longest_s = int(scene.flight.duration_s)
        raise ScenarioError(
            f"--seconds {options.seconds:g}: the way of seed {options.seed} takes {longest_s} s; "
            f"give at most {longest_s}"
        )
    return scene


def _render(options: DemoOptions, display: Display) -> None:
    with display.stage("rendering the flight", options.frames) as advance:
        scene = open_scene(options)
        try:
            render_sequence(
                scene, options.out / "flight", options.seconds, FPS, on_frame=lambda done: advance(done, "")
            )
            (options.out / "flight" / "fps.txt").write_text(f"{FPS}\n")
        except OSError as exc:
            raise OutputError(f"{options.out / 'flight'}: cannot be written ({exc}); free some space") from exc


def _fly(options: DemoOptions, display: Display) -> FlightWatch:
    """Both processes from start to end; they are gone when this returns or raises."""
    out = options.out
    with display.stage("making keys"):
        _make_keys(out)
    wire_port, http_port = free_ports(2)
    endpoint = f"tcp://{LOOPBACK}:{wire_port}"
    with Child("the cloud", _cloud_command(options, endpoint, http_port), out / "logs" / "cloud.log") as cloud:
        with display.stage("starting the cloud"):
            wait_ready(cloud, http_port)
        (out / "edge.toml").write_text(_EDGE_CONFIG)
        watch = FlightWatch(out / "edge", http_port)
        with (
            display.stage("flying", options.frames) as advance,
            Child("the edge", _edge_command(options, endpoint), out / "logs" / "edge.log") as edge,
        ):

            def look() -> None:
                cloud.ensure_running()
                watch.poll()
                advance(watch.frames, f"frame {watch.frames}, {watch.cases} cases, {watch.prompts} prompts")

            edge.wait(_SLOWEST * options.seconds + _LANDING_S, look)
            look()
    return watch


def _make_keys(out: Path) -> None:
    """Fresh identities for both sides; each side knows the other's public key and nothing more."""
    keys = out / "keys"
    new_keys(keys / "cloud", CLOUD_NAME)
    new_keys(keys / "edge", EDGE_NAME)
    trust_server(keys / "cloud" / f"{CLOUD_NAME}.pub", keys / "edge")
    public_key = str(keys / "edge" / f"{EDGE_NAME}.pub")
    arguments = ("enroll", public_key, "--name", CRAFT_NAME, "--data", str(out / "cloud"))
    run_program("skyloop-cloud", *arguments, log=out / "logs" / "enroll.log")


def _cloud_command(options: DemoOptions, endpoint: str, http_port: int) -> list[str]:
    arguments = ["serve", "--bind", endpoint, "--http", f"{LOOPBACK}:{http_port}", "--data", str(options.out / "cloud")]
    arguments += ["--keys", str(options.out / "keys" / "cloud"), "--teacher", options.teacher]
    arguments += ["--student", str(options.bundle)] if options.bundle else []
    return command_of("skyloop-cloud", *arguments)


def _edge_command(options: DemoOptions, endpoint: str) -> list[str]:
    out = options.out
    arguments = ["run", "--source", str(out / "flight"), "--cloud", endpoint, "--keys", str(out / "keys" / "edge")]
    arguments += ["--out", str(out / "edge"), "--config", str(out / "edge.toml")]
    arguments += ["--bundle", str(options.bundle)] if options.bundle else []
    return command_of("skyloop-edge", *arguments)


def _record(out: Path, watch: FlightWatch) -> FlightRecord:
    return FlightRecord(
        frames=read_frames(out / "edge" / "detections.jsonl"),
        truth=read_data_set(out / "flight", "all"),
        summary=read_summary(out / "edge" / "summary.json"),
        banks=watch.banks,
        traffic=watch.traffic(),
    )


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
