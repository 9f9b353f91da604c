"""Whether lost targets are called lost, and found again: rendered targets that leave the picture and return."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge.bundle import bundled_student, load_bundle
from edge.camera_motion import CameraMotion
from edge.followed_target import Target, TargetSettings
from edge.opencv_trackers import open_short_term
from edge.student import Student
from edge.targets import TargetTracker
from protocols.boxes import box_iou
from sim.disappearances import DEPARTURES, Disappearance, usable
from sim.display import Display
from sim.errors import OptionError
from sim.tracking_data import read_sequences

IN_TIME = 15
"""Frames within which a target is to be called lost, and found again."""
_FOUND_IOU = 0.3
_WRONG_IOU = 0.1
"""Below, a box claims another place than the target's; between the two it is merely loose."""


@dataclass(frozen=True)
class PresenceBench:
    """What is measured.

    Attributes:
        data: folder of rendered sequences.
        most: disappearances, taken evenly over the folder; each target leaves in both ways.
        tracker: the short-term one, as for `edge.opencv_trackers.open_short_term`.
        bundle: the student's; None takes the one in the package.
        settings: how targets are followed.
    """

    data: Path
    most: int = 100
    tracker: str = "correlation"
    bundle: Path | None = None
    settings: TargetSettings = field(default_factory=TargetSettings)


class Told(NamedTuple):
    """What was said of a target in one frame, and what is true.

    Attributes:
        target: what was said.
        is_there: whether the target is to be seen.
        overlap: of the box with the true one, 0 where the target is not there.
    """

    target: Target
    is_there: bool
    overlap: float


def bench_presence(options: PresenceBench, display: Display) -> dict[str, Any]:
    """Shares of targets called lost, found again, and of frames in which something else was taken for them.

    Args:
        options: what to measure.
        display: shows how far it is.

    Returns:
        `disappearances`, and by way of leaving and over all: `lost` and `found`, shares within `IN_TIME` frames;
        `false_tracked`, share of all frames called tracked or re-found while the target is not there or elsewhere;
        `false_lost`, share of the frames with the target, before it leaves, that were called lost.

    Raises:
        OptionError: no sequence will do.
        RecordError: a sequence is not whole.
    """
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in DEPARTURES}
    for case, told in runs(options, display):
        rows[case.departure].append(judged(told))
    everything = [row for kind in rows.values() for row in kind]
    means = {name: _mean(kind) for name, kind in {**rows, "all": everything}.items() if kind}
    return {"disappearances": len(everything), **means}


def runs(options: PresenceBench, display: Display) -> Iterator[tuple[Disappearance, list[Told]]]:
    """Every disappearance with what was told in each of its frames but the first.

    Raises:
        OptionError: no sequence will do.
    """
    student = Student.open(load_bundle(options.bundle or bundled_student()), threads=1)
    cases = _cases(options)
    with display.stage("disappearances", len(cases)) as advance:
        for number, case in enumerate(cases):
            yield case, _told(case, student, options)
            advance(number + 1, case.video.name)


def _cases(options: PresenceBench) -> list[Disappearance]:
    videos = [video for video in read_sequences(options.data) if usable(video)]
    if not videos:
        raise OptionError(
            f"--data {options.data}: no target stays whole in pictures of 640x512 or more; render some with "
            "`skyloop-sim render disaster --as tracking`"
        )
    cases = [Disappearance(video, departure) for video in videos for departure in DEPARTURES]
    taken = np.linspace(0, len(cases) - 1, min(options.most, len(cases))).round().astype(int)
    return [cases[i] for i in taken]


def _told(case: Disappearance, student: Student, options: PresenceBench) -> list[Told]:
    tracker = TargetTracker(open_short_term(options.tracker), options.settings, student.manifest.stride_px)
    motion, told = CameraMotion(), []
    for number, moment in enumerate(case.moments()):
        seen = student.perceive(moment.image)
        matrix = motion.update(moment.image).matrix
        if number == 0:
            tracker.start(moment.image, moment.box_xyxy, seen=seen)
            continue
        (target,) = tracker.update(moment.image, matrix, seen)
        overlap = float(box_iou(target.box_xyxy[None], moment.box_xyxy[None])[0, 0]) if moment.is_there else 0.0
        told.append(Told(target, moment.is_there, overlap))
    return told


def judged(told: Sequence[Told]) -> dict[str, float]:
    """The measures of one disappearance, each 0 to 1.

    Args:
        told: of every frame; the target is there first, then not, then again.
    """
    there = [t.is_there for t in told]
    gone = there.index(False)
    back = gone + there[gone:].index(True)
    last = min(back + IN_TIME, len(told))
    claimed = [t.target.state in ("tracked", "re_found") for t in told]
    wrong = [c and t.overlap < _WRONG_IOU for c, t in zip(claimed, told, strict=True)]
    return {
        "lost": float(any(t.target.state == "lost" for t in told[gone : gone + IN_TIME])),
        "found": float(any(claimed[i] and told[i].overlap >= _FOUND_IOU for i in range(back, last))),
        "false_tracked": sum(wrong) / len(told),
        "false_lost": sum(t.target.state == "lost" for t in told[:gone]) / max(gone, 1),
    }


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.fmean(row[key] for row in rows), 4) for key in rows[0]}
