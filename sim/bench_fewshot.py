"""Few shots on real heat: a student that never saw a bicycle is shown some, and has to find the others.

Each shot is one box in one training image, as a person would draw it; the cloud's own code makes a prompt of it and
merges it with the last. The prompt then flies over every image of a split through the craft's own matching, and its
answers are scored like any detector's: AP50 of the label, where a person or car called by it is a false alarm.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cloud.config import PromptSettings
from distill.dataset import DataSet, read_data_set
from distill.evaluate import REPORT_FLOOR, ImageDetections
from distill.fewshot import Seen, draw_shots, fly, label_ap50, prompt_ap50, prompts_after, without_negatives
from edge.bundle import load_bundle
from edge.prompting import PROMPT_NMS_IOU
from edge.student import Student
from protocols.boxes import nms
from protocols.values import Prompt
from sim.display import Advance, Display
from sim.errors import SimError

Drawn: TypeAlias = dict[int, Prompt]
"""The prompts of one draw of boxes by number of shots, those that were not refused."""


@dataclass(frozen=True)
class FewShotBench:
    """What is measured.

    Attributes:
        data: the HIT-UAV folder.
        student: bundle of a student that never saw the label.
        reference: bundle of the same student, trained on everything, where there is one.
        splits: `dev`, `val` or both.
        label: of the thing to find.
        rivals: labels that are false alarms when called by it; others are ignore regions.
        shots: how many boxes are shown, rising.
        seeds: draws of as many boxes.
    """

    data: Path
    student: Path
    reference: Path | None = None
    splits: tuple[str, ...] = ("dev", "val")
    label: str = "Bicycle"
    rivals: tuple[str, ...] = ("Person", "Car")
    shots: tuple[int, ...] = (1, 2, 5, 10)
    seeds: int = 10

    @property
    def scored(self) -> tuple[str, ...]:
        """The label, and what must not be called by it."""
        return (self.label, *self.rivals)


def kept_bundle(name: str) -> Path:
    """Folder of a bundle that is kept for this benchmark: `leaveout` or `reference`."""
    return Path(str(files("sim"))) / "bundles" / name


def bench_fewshot(options: FewShotBench, display: Display) -> dict[str, Any]:
    """Show boxes, build prompts, score.

    Returns:
        For each split `reference_ap50` (None without a reference), `none_ap50` (whatever is an object and nothing
        known, called by the label), `prototypes_ap50` by number of shots (prompts of prototypes without negatives),
        `shots` with mean, least and most over the seeds; and how many shots of all were `refused`.

    Raises:
        DataSetError: the folder is no HIT-UAV folder.
        ModelError: a bundle is missing or damaged.
        SimError: the student knows the label, or too few images show it.
    """
    student = Student.open(load_bundle(options.student))
    if options.label in student.manifest.labels:
        raise SimError(f"{options.student}: knows {options.label} already; give a student that has never seen it")
    train = read_data_set(options.data, "train")
    with display.stage("building prompts", options.seeds) as advance:
        drawn, refused = _all_prompts(student, train, options, PromptSettings(), advance)
    with display.stage("building prototypes", options.seeds) as advance:
        bare, _ = _all_prompts(student, train, options, PromptSettings(form="prototypes"), advance)
    bare = [{count: without_negatives(prompt) for count, prompt in found.items()} for found in bare]
    result: dict[str, Any] = {}
    for split in options.splits:
        data = read_data_set(options.data, split)
        result[split] = _split_scores(student, data, (drawn, bare), options, display)
    return result | {"refused": refused, "seeds": options.seeds}


def _all_prompts(
    student: Student, train: DataSet, options: FewShotBench, settings: PromptSettings, advance: Advance
) -> tuple[list[Drawn], int]:
    """For each seed the prompt after each number of shots, and how many shots gave no prompt."""
    drawn, refused = [], 0
    for seed in range(options.seeds):
        shots = draw_shots(train, options.label, max(options.shots), seed)
        prompts, failed = prompts_after(student, train, shots, options.shots, settings)
        drawn.append(prompts)
        refused += failed
        advance(seed + 1, "")
    return drawn, refused


def _split_scores(
    student: Student,
    data: DataSet,
    prompts: tuple[Sequence[Drawn], Sequence[Drawn]],
    options: FewShotBench,
    display: Display,
) -> dict[str, Any]:
    with display.stage(f"{data.name}: the student", len(data)) as advance:
        flight = list(fly(student, data, lambda index: advance(index + 1, "")))
    shots: dict[str, dict[str, float]] = {}
    prototypes: dict[str, float] = {}
    with display.stage(f"{data.name}: prompts", len(options.shots)) as advance:
        for done, count in enumerate(options.shots, 1):
            made, bare = (
                _summary([prompt_ap50(found.get(count), data, flight, options.scored) for found in drawn])
                for drawn in prompts
            )
            shots[str(count)], prototypes[str(count)] = made, bare["mean"]
            advance(done, f"{count} shots")
    objects = [_objects(view, options.label) for view in flight]
    return {
        "reference_ap50": None if options.reference is None else _reference_ap50(data, options, display),
        "none_ap50": round(label_ap50(data, objects, options.scored), 3),
        "prototypes_ap50": prototypes,
        "shots": shots,
    }


def _reference_ap50(data: DataSet, options: FewShotBench, display: Display) -> float:
    assert options.reference is not None
    reference = Student.open(load_bundle(options.reference))
    with display.stage(f"{data.name}: the reference", len(data)) as advance:
        flown = fly(reference, data, lambda index: advance(index + 1, ""))
        known = [_known(reference, view, options.label) for view in flown]
    return round(label_ap50(data, known, options.scored), 3)


def _objects(view: Seen, label: str) -> ImageDetections:
    """Every object that no known class explains, called by the label."""
    free = np.setdiff1d(np.flatnonzero(view.seen.is_object), view.known.rows)
    kept = free[nms(view.seen.boxes_xyxy[free], view.seen.objectness[free], PROMPT_NMS_IOU)]
    return ImageDetections(view.seen.boxes_xyxy[kept], [label] * len(kept), view.seen.objectness[kept])


def _known(student: Student, view: Seen, label: str) -> ImageDetections:
    known = student.known(view.seen, REPORT_FLOOR)
    own = known.classes == student.manifest.labels.index(label)
    return ImageDetections(view.seen.boxes_xyxy[known.rows[own]], [label] * int(own.sum()), known.scores[own])


def _summary(values: Sequence[float]) -> dict[str, float]:
    mean, low, high = statistics.fmean(values), min(values), max(values)
    return {"mean": round(mean, 3), "min": round(low, 3), "max": round(high, 3)}
