"""Few shots on real heat: a student that never saw a bicycle is shown some, and has to find the others.

Each shot is one box in one training image, as a person would draw it; the cloud's own code makes a prompt of it and
merges it with the last. The prompt then flies over every image of a split through the craft's own matching, and its
answers are scored like any detector's: AP50 of the label, where a person or car called by it is a false alarm.
"""

from __future__ import annotations

import statistics
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from cloud.case_images import CaseImage
from cloud.config import PromptSettings
from cloud.errors import PromptRefused
from cloud.evidence import Evidence, background_rows, look
from cloud.merging import merge_prompts
from cloud.prompting import Finding, build_prompt, false_rows
from distill.dataset import DataSet, LabelledImage, read_data_set
from distill.evaluate import REPORT_FLOOR, ImageDetections, coco_scores, truths_of
from edge.bundle import load_bundle
from edge.prompting import PROMPT_NMS_IOU, PromptMatcher
from edge.runtime import RawOutputs
from edge.student import Known, Perception, Student
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import nms
from protocols.values import Prompt, PromptBank, Vectors
from sim.display import Advance, Display
from sim.errors import SimError

SCORED = ("Person", "Car", "Bicycle")
_NO_MAPS = RawOutputs(*(np.zeros((0, 0, 0), np.float32),) * 4)


@dataclass(frozen=True)
class FewShotBench:
    """What is measured.

    Attributes:
        data: the HIT-UAV folder.
        student: bundle of a student that never saw the label.
        reference: bundle of the same student, trained on everything.
        splits: `dev`, `val` or both.
        label: of the thing to find.
        shots: how many boxes are shown, rising.
        seeds: draws of as many boxes.
    """

    data: Path
    student: Path
    reference: Path
    splits: tuple[str, ...] = ("dev", "val")
    label: str = "Bicycle"
    shots: tuple[int, ...] = (1, 2, 5, 10)
    seeds: int = 10


@dataclass(frozen=True)
class Seen:
    """One image as the student sees it; its maps, 5 MB, are let go."""

    seen: Perception
    known: Known


@dataclass(frozen=True)
class Shot:
    """One box shown: its image, and the row of the box in it."""

    image: int
    row: int


def kept_bundle(name: str) -> Path:
    """Folder of a bundle that is kept for this benchmark: `leaveout` or `reference`."""
    return Path(str(files("sim"))) / "bundles" / name


def bench_fewshot(options: FewShotBench, display: Display) -> dict[str, Any]:
    """Show boxes, build prompts, score.

    Returns:
        For each split `reference_ap50`, `none_ap50` (whatever is an object and nothing known, called by the label),
        `prototypes_ap50` by number of shots (the same prompts without their negatives), `shots` with mean, least and
        most over the seeds; and how many shots of all were `refused`.

    Raises:
        DataSetError: the folder is no HIT-UAV folder.
        ModelError: a bundle is missing or damaged.
        SimError: the student knows the label, or too few images show it.
    """
    student = Student.open(load_bundle(options.student))
    if options.label in student.manifest.labels:
        raise SimError(f"{options.student}: knows {options.label} already; give a student that has never seen it")
    with display.stage("building prompts", options.seeds) as advance:
        drawn, refused = _all_prompts(student, options, advance)
    result: dict[str, Any] = {}
    for split in options.splits:
        data = read_data_set(options.data, split)
        result[split] = _split_scores(student, data, drawn, options, display)
    return result | {"refused": refused, "seeds": options.seeds}


def _all_prompts(student: Student, options: FewShotBench, advance: Advance) -> tuple[list[dict[int, Prompt]], int]:
    """For each seed the prompt after each number of shots, and how many shots gave no prompt."""
    train = read_data_set(options.data, "train")
    drawn, refused = [], 0
    for seed in range(options.seeds):
        prompts, failed = _prompts(student, train, draw_shots(train, options.label, max(options.shots), seed), options)
        drawn.append(prompts)
        refused += failed
        advance(seed + 1, "")
    return drawn, refused


def draw_shots(train: DataSet, label: str, count: int, seed: int) -> list[Shot]:
    """Boxes of one label, each in an image of its own.

    Raises:
        SimError: fewer images than that show it.
    """
    rng = np.random.default_rng((seed, 41))
    rows = {i: [r for r in range(len(item.labels)) if item.labels[r] == label and not item.ignore[r]]
            for i, item in enumerate(train)}  # fmt: skip
    showing = [i for i, found in rows.items() if found]
    if len(showing) < count:
        raise SimError(f"{train.name}: {len(showing)} images show {label}, {count} shots wanted; ask for fewer")
    chosen = rng.choice(showing, count, replace=False).tolist()
    return [Shot(i, int(rng.choice(rows[i]))) for i in chosen]


def _prompts(
    student: Student, train: DataSet, shots: Sequence[Shot], options: FewShotBench
) -> tuple[dict[int, Prompt], int]:
    """The prompt after each number of shots, as the prompt desk makes and merges them, and how many were refused."""
    settings = PromptSettings()
    background: deque[FloatArray] = deque(maxlen=settings.background_cases)
    prompt: Prompt | None = None
    found, refused = {}, 0
    for number, shot in enumerate(shots, 1):
        item = train.items[shot.image]
        evidence = look(student, CaseImage(train.image(shot.image)), None)
        finding, named = _finding(item, shot.row, options.label)
        known = np.concatenate([np.zeros((0, student.manifest.embedding_dim), np.float32), *background])
        try:
            new = build_prompt(student, evidence, finding, known, (f"shot-{number}", 0.0), settings)
        except PromptRefused:
            refused += 1
        else:
            near = evidence.seen.embeddings[false_rows(evidence, finding)]
            prompt = new if prompt is None else merge_prompts(prompt, new, np.concatenate([known, near]), settings)
        background.append(_background(evidence, named))
        if prompt is not None and number in options.shots:
            found[number] = prompt
    return found, refused


def _finding(item: LabelledImage, row: int, label: str) -> tuple[Finding, Boxes]:
    """One box as a person's finding, and all boxes of its kind: nobody pointed at the others, so they teach nothing."""
    of_kind = np.array([name == label for name in item.labels])
    others = of_kind.copy()
    others[row] = False
    boxes = item.boxes_xyxy
    return Finding(label, boxes[row : row + 1], boxes[others], "person", 1.0, "craft", uuid.uuid4().hex), boxes[of_kind]


def _background(evidence: Evidence, named_xyxy: Boxes) -> FloatArray:
    far = background_rows(evidence.seen, named_xyxy)
    return evidence.seen.embeddings[far[evidence.seen.is_object[far]]]


def _split_scores(
    student: Student, data: DataSet, drawn: Sequence[dict[int, Prompt]], options: FewShotBench, display: Display
) -> dict[str, Any]:
    with display.stage(f"{data.name}: the student", len(data)) as advance:
        flight = list(_flight(student, data, advance))
    with display.stage(f"{data.name}: the reference", len(data)) as advance:
        reference = Student.open(load_bundle(options.reference))
        known = [_known(reference, view, options.label) for view in _flight(reference, data, advance)]
    shots: dict[str, dict[str, float]] = {}
    prototypes: dict[str, float] = {}
    with display.stage(f"{data.name}: prompts", len(options.shots)) as advance:
        for done, count in enumerate(options.shots, 1):
            prompts = [found.get(count) for found in drawn]
            shots[str(count)] = _summary([_prompt_ap50(prompt, data, flight, options) for prompt in prompts])
            bare = [_bare(prompt) if prompt else None for prompt in prompts]
            prototypes[str(count)] = _summary([_prompt_ap50(prompt, data, flight, options) for prompt in bare])["mean"]
            advance(done, f"{count} shots")
    return {
        "reference_ap50": round(_ap50(data, known, options), 3),
        "none_ap50": round(_ap50(data, [_objects(view, options.label) for view in flight], options), 3),
        "prototypes_ap50": prototypes,
        "shots": shots,
    }


def _flight(student: Student, data: DataSet, advance: Advance) -> Iterator[Seen]:
    for index in range(len(data)):
        seen = replace(student.perceive(data.image(index)), raw=_NO_MAPS)
        yield Seen(seen, student.known(seen))
        advance(index + 1, "")


def _answers(prompt: Prompt, view: Seen) -> ImageDetections:
    """What a prompt finds in one image, faint matches too: a precision-recall curve begins below any threshold."""
    matcher = PromptMatcher(PromptBank(epoch="bench", revision=1, prompts=(prompt,)), prompt.space_id)
    match = matcher.match(view.seen, 0.0, None, view.known.rows)
    return ImageDetections(view.seen.boxes_xyxy[match.rows], [prompt.label] * len(match.rows), match.scores)


def _bare(prompt: Prompt) -> Prompt:
    """The same prompt without negatives."""
    none = np.zeros((0, prompt.positives.to_array().shape[1]), np.float32)
    return prompt.model_copy(update={"negatives": Vectors.from_array(none)})


def _objects(view: Seen, label: str) -> ImageDetections:
    """Every object that no known class explains, called by the label."""
    free = np.setdiff1d(np.flatnonzero(view.seen.is_object), view.known.rows)
    kept = free[nms(view.seen.boxes_xyxy[free], view.seen.objectness[free], PROMPT_NMS_IOU)]
    return ImageDetections(view.seen.boxes_xyxy[kept], [label] * len(kept), view.seen.objectness[kept])


def _known(student: Student, view: Seen, label: str) -> ImageDetections:
    known = student.known(view.seen, REPORT_FLOOR)
    own = known.classes == student.manifest.labels.index(label)
    return ImageDetections(view.seen.boxes_xyxy[known.rows[own]], [label] * int(own.sum()), known.scores[own])


def _prompt_ap50(prompt: Prompt | None, data: DataSet, flight: Sequence[Seen], options: FewShotBench) -> float:
    """AP50 of one draw; 0 where all its shots were refused."""
    return _ap50(data, [_answers(prompt, view) for view in flight], options) if prompt else 0.0


def _ap50(data: DataSet, found: Sequence[ImageDetections], options: FewShotBench) -> float:
    return float(coco_scores(truths_of(data), found, tuple({*SCORED, options.label}))["ap50"][options.label] or 0.0)


def _summary(values: Sequence[float]) -> dict[str, float]:
    mean, low, high = statistics.fmean(values), min(values), max(values)
    return {"mean": round(mean, 3), "min": round(low, 3), "max": round(high, 3)}
