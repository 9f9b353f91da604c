"""`report.json` and `report.html`: what a demo flight came to, against what it has to reach."""

from __future__ import annotations

import base64
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import OutputError
from sim.evaluation import Evaluation
from sim.pages import page_of
from sim.record import FlightRecord

MAX_RECALL_BEFORE = 0.10
MIN_RECALL_AFTER = 0.60
MIN_INSTANCES = 50
MAX_FALSE_ALARMS_PER_FRAME = 0.2
MIN_AP50_WITH_PROMPTS = 0.40
MAX_KNOWN_LOSS = 0.01
MAX_LOOP_P50_MS = 1000.0
MAX_WALL_S = 90.0


@dataclass(frozen=True)
class Requirement:
    """One thing the demo has to reach.

    Attributes:
        name: in words.
        value: what was measured, as text.
        limit: what is asked, as text.
        is_met: the verdict.
    """

    name: str
    value: str
    limit: str
    is_met: bool


@dataclass(frozen=True)
class Picture:
    """An image of the report.

    Attributes:
        name: file name under `figures/`.
        caption: one or two sentences.
        content: PNG or JPEG bytes, told by the name's suffix.
    """

    name: str
    caption: str
    content: bytes

    @property
    def data_uri(self) -> str:
        """The image as a `data:` address, so that the page is one file."""
        kind = "png" if self.name.endswith(".png") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"


def build_report(
    record: FlightRecord,
    evaluation: Evaluation,
    *,
    cases_sent: int,
    seed: int,
    wall_s: float,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The content of `report.json`.

    Args:
        record: the flight.
        evaluation: its scores.
        cases_sent: that the cloud keeps.
        seed: of the scene.
        wall_s: seconds from the first picture rendered to the last score.
        versions: of everything that took part.
    """
    summary = record.summary
    link = summary.get("link") or {}
    score = evaluation.score
    return {
        "frames": summary["frames"],
        "fps": summary["fps"],
        "cases_sent": cases_sent,
        "bytes": {"edge_to_cloud": link.get("bytes_sent", 0), "cloud_to_edge": link.get("bytes_received", 0)},
        "prompts_applied": record.prompts_applied,
        "loop_ms": {"p50": summary["loop_ms"]["p50"], "p99": summary["loop_ms"]["p99"]},
        "unfamiliar": {
            "label": evaluation.label,
            "instances_before": score.instances_before,
            "instances_after": score.instances_after,
            "recall_before": _rounded(score.recall_before),
            "recall_after": _rounded(score.recall_after),
            "false_alarms_per_frame": _rounded(score.false_alarms_per_frame),
            "ap50_edge_only": _rounded(evaluation.edge_only.unfamiliar),
            "ap50_with_prompts": _rounded(evaluation.with_prompts.unfamiliar),
            "ap50_cloud": _rounded(evaluation.cloud.unfamiliar),
        },
        "known": {
            "ap50_edge_only": _rounded(evaluation.edge_only.known),
            "ap50_with_prompts": _rounded(evaluation.with_prompts.known),
        },
        "wall_s": round(wall_s, 1),
        "versions": dict(versions),
        "seed": seed,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def loop_problem(report: Mapping[str, Any]) -> str | None:
    """Why the loop did not close, in one line; None when it did."""
    unfamiliar = report["unfamiliar"]
    label, before, after = unfamiliar["label"], unfamiliar["recall_before"], unfamiliar["recall_after"]
    if not report["prompts_applied"]:
        return f"no prompt reached the craft ({report['cases_sent']} cases were sent)"
    if after is None:
        return f"no prompt for {label} was in force while one was in view"
    if after < MIN_RECALL_AFTER:
        return f"recall of {label} after the first prompt is {after:.2f}, at least {MIN_RECALL_AFTER:.2f} is needed"
    if before is not None and before > MAX_RECALL_BEFORE:
        return f"recall of {label} before the first prompt is {before:.2f}, at most {MAX_RECALL_BEFORE:.2f} is allowed"
    return None


def requirements(report: Mapping[str, Any]) -> list[Requirement]:
    """What the demo has to reach, and whether it did."""
    unfamiliar, known = report["unfamiliar"], report["known"]
    label = unfamiliar["label"]
    loss = None if None in known.values() else known["ap50_edge_only"] - known["ap50_with_prompts"]
    return [
        _at_most(f"Recall of {label} before the first prompt", unfamiliar["recall_before"], MAX_RECALL_BEFORE),
        _at_least(f"Recall of {label} after the first prompt", unfamiliar["recall_after"], MIN_RECALL_AFTER),
        _at_least(f"Visible instances of {label} before it", unfamiliar["instances_before"], MIN_INSTANCES, "{:,.0f}"),
        _at_least(f"Visible instances of {label} after it", unfamiliar["instances_after"], MIN_INSTANCES, "{:,.0f}"),
        _at_most("False alarms per frame", unfamiliar["false_alarms_per_frame"], MAX_FALSE_ALARMS_PER_FRAME),
        _at_least(f"AP50 of {label} with prompts", unfamiliar["ap50_with_prompts"], MIN_AP50_WITH_PROMPTS),
        _at_most("Known-class AP50 lost by prompts", loss, MAX_KNOWN_LOSS, "{:.3f}"),
        _at_most("Loop time, median (ms)", report["loop_ms"]["p50"], MAX_LOOP_P50_MS, "{:.0f}"),
        _at_most("Wall time of the demo (s)", report["wall_s"], MAX_WALL_S, "{:.0f}"),
    ]


def _at_most(name: str, value: float | None, limit: float, form: str = "{:.2f}") -> Requirement:
    shown = "not measured" if value is None else form.format(value)
    return Requirement(name, shown, "≤ " + form.format(limit), value is not None and value <= limit)


def _at_least(name: str, value: float | None, limit: float, form: str = "{:.2f}") -> Requirement:
    shown = "not measured" if value is None else form.format(value)
    return Requirement(name, shown, "≥ " + form.format(limit), value is not None and value >= limit)


def versions_of(summary: Mapping[str, Any], teacher: str) -> dict[str, str]:
    """Versions of everything that took part.

    Args:
        summary: the edge's.
        teacher: name of the cloud's teacher.
    """
    bundle = summary["bundle"]
    student = f"{bundle['name']}/{bundle['variant']} (space {bundle['space_id'][:12]})"
    machine = f"{platform.system()} {platform.machine()}"
    return {
        **summary["versions"],
        "python": platform.python_version(),
        "machine": machine,
        "student": student,
        "teacher": teacher,
    }


def render_html(
    report: Mapping[str, Any],
    evaluation: Evaluation,
    figures: Sequence[Picture],
    stills: Sequence[Picture],
    command: str,
) -> str:
    """The report as one self-contained page.

    Args:
        report: the content of `report.json`.
        evaluation: for how the numbers came about.
        figures: diagrams.
        stills: annotated frames.
        command: repeats the run.
    """
    return page_of(
        "report.html",
        report=report,
        evaluation=evaluation,
        problem=loop_problem(report),
        requirements=requirements(report),
        figures=figures,
        stills=stills,
        command=command,
    )


def write_report(folder: Path, report: Mapping[str, Any], page: str, pictures: Sequence[Picture]) -> None:
    """Write `report.json`, `report.html` and `figures/`.

    Raises:
        OutputError: the disk is full or the folder is gone.
    """
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            (folder / "figures" / picture.name).write_bytes(picture.content)
        (folder / "report.html").write_text(page, encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except OSError as exc:
        raise OutputError(f"{folder}: the report cannot be written ({exc.strerror}); free some space") from exc
