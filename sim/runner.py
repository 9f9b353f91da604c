"""Any scenario from end to end: its frames are rendered, its programs fly, and what came of it is written down."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cloud.teachers import open_teacher
from edge.bundle import bundled_student, load_bundle
from protocols.errors import SkyloopError
from sim.dataset import render_sequence
from sim.display import Advance, Display
from sim.errors import OutputError, ScenarioError
from sim.event_log import write_event_log
from sim.flying import CraftFlight, Mission, Onlooker, fly
from sim.hurry import check_speed, fastest_speed
from sim.record import FlightRecord
from sim.run_folder import RunFolder, make_ready
from sim.run_report import craft_measures, write_run_report
from sim.run_story import CraftStory, stories_of
from sim.scenario import Scenario
from sim.scene_plan import as_placed, scenes_of
from sim.scenes import Scene
from sim.told_pose import spoil_poses
from sim.world.seeds import rng_for


@dataclass(frozen=True)
class RunOptions:
    """What is run.

    Attributes:
        scenario: what is flown.
        seed: same scenario and seed, same frames and same event log.
        out: output folder; an earlier run there is replaced.
        origin: the scenario's name or path as it was given, for the command that repeats the run.
        speed: seconds of flight in one second; None is as fast as this machine can be expected to fly it.
    """

    scenario: Scenario
    seed: int
    out: Path
    origin: str
    speed: float | None = 1.0

    @property
    def command(self) -> str:
        """The command line that repeats the run."""
        words = ["skyloop-sim", "run", self.origin, "--seed", str(self.seed), "--out", str(self.out)]
        if self.speed != 1.0:
            words += ["--speed", "max" if self.speed is None else f"{self.speed:g}"]
        return shlex.join(words)


def run_scenario(options: RunOptions, display: Display, onlooker: Onlooker | None = None) -> dict[str, Any]:
    """Run a scenario and write `run.json`, `report.html`, `events.jsonl`, and what edge and cloud leave behind.

    Returns:
        The content of `run.json`.

    Raises:
        SkyloopError: something could not go on.
    """
    start_s = time.monotonic()
    scenario = options.scenario
    folder = RunFolder.of(options.out, [craft.name for craft in scenario.craft])
    if options.speed is not None:
        check_speed(scenario, options.speed)
    scenes = scenes_of(scenario, options.seed)
    _check_bundles(options)
    speed = _speed(options, display)
    scenario = as_placed(scenario, scenes[0].placed, display.note)
    make_ready(options.out, "run", "skyloop-sim run")
    render_flights(folder, scenario, scenes, options.seed, display)
    digest = write_event_log(folder, scenario, options.seed)
    mission = fly(folder, scenario, options.seed, display, speed=speed, onlooker=onlooker)
    stories = stories_of(mission)
    report = _report(options, mission, stories, digest)
    report["wall_s"] = round(time.monotonic() - start_s, 1)
    try:
        (options.out / "run.json").write_text(json.dumps(report, indent=1) + "\n")
    except OSError as exc:
        raise OutputError(f"{options.out}: run.json cannot be written ({exc.strerror}); free some space") from exc
    with display.stage("drawing the report", len(stories)) as advance:
        write_run_report(options.out, report, stories, advance)
    return report


def render_flights(folder: RunFolder, scenario: Scenario, scenes: Sequence[Scene], seed: int, display: Display) -> None:
    """Render what every craft will see, with poses as it will be told them.

    Raises:
        OutputError: the disk is full or the folder is gone.
    """
    for number, (craft, scene, settings) in enumerate(zip(folder.craft, scenes, scenario.craft, strict=True)):
        of_whom = "" if len(folder.craft) == 1 else f" of {craft.name}"
        rng = rng_for("told-pose", seed, number)
        with display.stage(f"rendering the flight{of_whom}", scenario.frames) as advance:
            try:
                _render_flight(craft.flight, scenario, scene, advance)
                spoil_poses(craft.flight / "frames.jsonl", scene, settings.flight, rng)
            except OSError as exc:
                shutil.rmtree(craft.flight, ignore_errors=True)  # half a flight is of no use, and takes the space
                reason = exc.strerror or str(exc)
                raise OutputError(f"{craft.flight}: cannot be written ({reason}); free some space") from exc


def _render_flight(flight: Path, scenario: Scenario, scene: Scene, advance: Advance) -> None:
    render_sequence(scene, flight, scenario.seconds, scenario.fps, on_frame=lambda done: advance(done, ""))
    (flight / "fps.txt").write_text(f"{scenario.fps:g}\n")


def _check_bundles(options: RunOptions) -> None:
    """Open every bundle once, so that a missing or damaged one is told before the first picture is rendered."""
    key = "teacher.name"
    try:
        open_teacher(options.scenario.teacher.name)
        first = {craft.student: index for index, craft in reversed([*enumerate(options.scenario.craft)])}
        for student, index in first.items():
            key = f"craft[{index}].student"
            load_bundle(student or bundled_student())
    except SkyloopError as exc:
        raise ScenarioError(f"{options.origin}: {key}: {exc}") from exc


def _speed(options: RunOptions, display: Display) -> float:
    if options.speed is not None:
        return options.speed
    speed, why = fastest_speed(options.scenario)
    display.note(f"--speed max is {speed:g} here: {why}")
    return speed


def _report(options: RunOptions, mission: Mission, stories: Sequence[CraftStory], digest: str) -> dict[str, Any]:
    return {
        "scenario": options.scenario.name,
        "seed": options.seed,
        "command": options.command,
        "events_sha256": digest,
        "seconds": options.scenario.seconds,
        "speed": mission.speed,
        "craft": {
            craft.folder.name: {
                **_craft_report(craft, story.record, mission.cloud_watch.cases_of.get(craft.folder.name, 0)),
                **craft_measures(story),
            }
            for craft, story in zip(mission.craft, stories, strict=True)
        },
        "operator": None if options.scenario.operator is None else {"answers": [asdict(a) for a in mission.given]},
        "versions": {name: version(name) for name in ("skyloop", "onnxruntime", "numpy", "opencv-python")},
        "settings": options.scenario.model_dump(mode="json"),
    }


def _craft_report(craft: CraftFlight, record: FlightRecord, cases_sent: int) -> dict[str, Any]:
    summary = record.summary
    return {
        "frames": summary["frames"],
        "fps": summary["fps"],
        "starts": len(craft.edge.legs),
        "cases": summary["cases"],
        "cases_sent": cases_sent,
        "connects": (summary["link"] or {}).get("connects", 0),
        "bytes_on_the_wire": {
            "edge_to_cloud": craft.link.edge_to_cloud_bytes,
            "cloud_to_edge": craft.link.cloud_to_edge_bytes,
        },
        "prompts_applied": record.prompts_applied,
        "labels_learned": sorted({label for bank in record.banks for label in bank.labels}),
        "loop_ms": summary["loop_ms"],
        "banks": [
            {"revision": bank.revision, "labels": list(bank.labels), "case_ids": list(bank.case_ids)}
            for bank in record.banks
        ],
        "traffic": _traffic(record),
    }


def _traffic(record: FlightRecord) -> list[list[float]]:
    """[recorded second, bytes from edge to cloud, bytes from cloud to edge] for each look at the link."""
    times = record.recorded_s([seen.time_s for seen in record.traffic]).tolist()
    rows = zip(times, record.traffic, strict=True)
    return [[round(at_s, 2), seen.edge_to_cloud, seen.cloud_to_edge] for at_s, seen in rows]
