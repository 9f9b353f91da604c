"""A satellite's day from end to end: planned, rendered, flown, judged and told."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cloud.teachers import open_teacher
from edge.bundle import bundled_student, load_bundle
from protocols.errors import SkyloopError
from sim.arrays import FloatArray
from sim.day.checks import checks_of
from sim.day.figures import map_figure, pass_figure, still_pictures
from sim.day.flight import DayRecord, PassRecord, fly_day
from sim.day.plan import DayPlan, plan_day
from sim.day.scenes import TRUTH, count_pieces, map_place, render_day
from sim.day.score import UNFAMILIAR, DayScore, read_map, score_day
from sim.day.settings import SatelliteDay
from sim.display import Display
from sim.errors import LoopOpenError, OutputError, ScenarioError
from sim.pages import page_of
from sim.report import Picture, Requirement
from sim.run_folder import CraftFolder, RunFolder, make_ready


@dataclass(frozen=True)
class DayOptions:
    """What is run.

    Attributes:
        day: what is flown.
        seed: same day and seed, same scenes.
        out: output folder; an earlier run there is replaced.
        origin: the day's name or path as it was given, for the command that repeats the run.
        speed: of the passes where the command line said one; None is the file's.
    """

    day: SatelliteDay
    seed: int
    out: Path
    origin: str
    speed: float | None = None

    @property
    def flown(self) -> SatelliteDay:
        """The day as it is flown."""
        return self.day if self.speed is None else self.day.model_copy(update={"speed": self.speed})

    @property
    def command(self) -> str:
        """The command line that repeats the run."""
        words = ["skyloop-sim", "run", self.origin, "--seed", str(self.seed), "--out", str(self.out)]
        return shlex.join(words + ([] if self.speed is None else ["--speed", f"{self.speed:g}"]))


def run_day(options: DayOptions, display: Display) -> dict[str, Any]:
    """Run a day and write `run.json`, `report.html`, and what edge and cloud leave behind.

    Returns:
        The content of `run.json`; `require_checks` says whether it is good.

    Raises:
        SkyloopError: something could not go on.
    """
    start_s = time.monotonic()
    day = options.flown
    plan = plan_day(day)
    if words := plan.orbit.stale_words():
        display.note(f"warning: {words}")
    map_place(day.place)
    _check_bundles(options)
    make_ready(options.out, "run", "skyloop-sim run")
    folder = RunFolder.of(options.out, [plan.orbit.name])
    craft = folder.craft[0]
    _render(craft, options, plan, display)
    record = fly_day(folder, day, plan, options.seed, display)
    score = _score(craft, day)
    checks = checks_of(record, score, day.wanted)
    report = _report(options, plan, record, score, checks)
    report["wall_s"] = round(time.monotonic() - start_s, 1)
    with display.stage("drawing the report"):
        figures = [pass_figure(record), map_figure(craft.flight, craft.edge, day, score)]
        _write(options.out, report, checks, figures, still_pictures(craft.flight, craft.edge, record))
    return report


def require_checks(report: dict[str, Any], out: Path) -> None:
    """Nothing where all checks of a day passed.

    Raises:
        LoopOpenError: names those that failed.
    """
    failed = [check for check in report["checks"] if not check["is_met"]]
    if failed:
        told = "; ".join(f"{item['name']}: {item['value']}, wanted {item['limit']}" for item in failed)
        raise LoopOpenError(
            f"{len(failed)} of {len(report['checks'])} checks failed: {told}; see {out / 'report.html'}"
        )


def _check_bundles(options: DayOptions) -> None:
    """Open what is named once, so that what is missing is told before the first picture is rendered."""
    key = "teacher.name"
    try:
        open_teacher(options.day.teacher.name)
        key = "edge.student"
        load_bundle(options.day.edge.student or bundled_student())
    except SkyloopError as exc:
        raise ScenarioError(f"{options.origin}: {key}: {exc}") from exc


def _render(craft: CraftFolder, options: DayOptions, plan: DayPlan, display: Display) -> None:
    day = options.day
    words = f"rendering {2 * day.scene.count} scenes of {day.scene.side_px} x {day.scene.side_px} pixels"
    with display.stage(words, count_pieces(day)) as advance:
        try:
            render_day(craft.flight, day, plan, options.seed, lambda done: advance(done, ""))
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise OutputError(f"{craft.flight}: cannot be written ({reason}); free some space") from exc


def _score(craft: CraftFolder, day: SatelliteDay) -> DayScore:
    before, after = (read_map(craft.flight / f"overpass-{number}" / TRUTH) for number in (1, 2))
    return score_day(read_map(craft.edge / "detections.geojson"), after, before, day.scene.gsd_m)


def _report(
    options: DayOptions, plan: DayPlan, record: DayRecord, score: DayScore, checks: Sequence[Requirement]
) -> dict[str, Any]:
    day = options.flown
    offsets = np.array(score.offsets_px or [np.nan])
    return {
        "scenario": day.name,
        "kind": day.kind,
        "seed": options.seed,
        "command": options.command,
        "speed": day.speed,
        "craft": plan.orbit.name,
        "start": plan.orbit.epoch.start.isoformat(),
        "overpasses": [_overpass(plan, number, day) for number in (0, 1)],
        "passes": [_pass(plan, done) for done in record.passes],
        "passes_left_out": plan.left_out,
        "cases": {"spooled": len(record.spooled), "kept": len(record.kept)},
        "person": [asdict(given) for given in record.given],
        "labels_learned": list(record.labels),
        "unfamiliar": {
            "label": UNFAMILIAR,
            "truths": score.truths,
            "recalled": score.recalled,
            "recall": _rounded(score.recall),
            "false_alarms": score.false_alarms,
            "offset_px": {"p50": _rounded(score.offset_px), "p95": _rounded(_p95(offsets))},
        },
        "crs": score.crs,
        "checks": [asdict(check) for check in checks],
        "versions": {name: version(name) for name in ("skyloop", "onnxruntime", "numpy", "opencv-python", "rasterio")},
        "settings": day.model_dump(mode="json"),
    }


def _p95(values: FloatArray) -> float | None:
    return None if np.isnan(values).any() else float(np.percentile(values, 95))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _overpass(plan: DayPlan, number: int, day: SatelliteDay) -> dict[str, Any]:
    window, at_s = plan.overpasses[number], plan.imaged_s(number)
    return {
        "at_s": round(at_s, 1),
        "utc": f"{plan.utc(at_s):%Y-%m-%d %H:%M:%S}",
        "max_elevation_deg": round(window.max_elevation_deg, 1),
        "scenes": day.scene.count,
    }


def _pass(plan: DayPlan, done: PassRecord) -> dict[str, Any]:
    return {
        "station": done.plan.station,
        "at_s": round(done.plan.start_s, 1),
        "utc": f"{plan.utc(done.plan.start_s):%Y-%m-%d %H:%M:%S}",
        "seconds": round(done.plan.duration_s, 1),
        "max_elevation_deg": round(done.plan.max_elevation_deg, 1),
        "edge_to_cloud_bytes": done.edge_to_cloud_bytes,
        "cloud_to_edge_bytes": done.cloud_to_edge_bytes,
        "edge_to_cloud_able_bytes": round(done.plan.edge_to_cloud_bytes()),
        "cloud_to_edge_able_bytes": round(done.plan.cloud_to_edge_bytes()),
        "news": [[round(at_s, 1), what] for at_s, what in done.news],
        "traffic": [[round(at_s, 1), up, down] for at_s, up, down in done.samples],
    }


def _write(
    out: Path,
    report: dict[str, Any],
    checks: Sequence[Requirement],
    figures: Sequence[Picture],
    stills: Sequence[Picture],
) -> None:
    page = page_of("day.html", report=report, checks=checks, figures=figures, stills=stills)
    try:
        (out / "figures").mkdir(exist_ok=True)
        for picture in (*figures, *stills):
            (out / "figures" / picture.name).write_bytes(picture.content)
        (out / "report.html").write_text(page, encoding="utf-8")
        (out / "run.json").write_text(json.dumps(report, indent=1) + "\n")
    except OSError as exc:
        raise OutputError(f"{out}: the report cannot be written ({exc.strerror}); free some space") from exc
