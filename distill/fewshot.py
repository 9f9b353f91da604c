"""Few shots: prompts made of some boxes by the cloud's own code, flown over a data set by the craft's own matching.

Each shot is one box in one image, as a person would draw it. Other boxes of its label in that image teach nothing:
nobody pointed at them.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cloud.case_images import CaseImage
from cloud.config import PromptSettings
from cloud.errors import PromptRefused
from cloud.evidence import background_of, look
from cloud.merging import merge_prompts
from cloud.prompting import Finding, build_prompt, false_rows
from distill.dataset import DataSet, LabelledImage
from distill.errors import DataSetError
from distill.evaluate import REPORT_FLOOR, ImageDetections, coco_scores, truths_of
from edge.prompting import PromptMatcher
from edge.student import NO_MAPS, Known, Perception, Student
from protocols.arrays import Boxes, FloatArray
from protocols.values import Prompt, PromptBank, Vectors


@dataclass(frozen=True)
class Seen:
    """One image as the student sees it, without its maps."""

    seen: Perception
    known: Known


@dataclass(frozen=True)
class Shot:
    """One box shown: its image, and the row of the box in it."""

    image: int
    row: int


def draw_shots(data: DataSet, label: str, count: int, seed: int) -> list[Shot]:
    """Boxes of one label, each in an image of its own.

    Raises:
        DataSetError: fewer images than that show it.
    """
    rng = np.random.default_rng((seed, 41))
    rows = {i: [r for r in range(len(item.labels)) if item.labels[r] == label and not item.ignore[r]]
            for i, item in enumerate(data)}  # fmt: skip
    showing = [i for i, found in rows.items() if found]
    if len(showing) < count:
        raise DataSetError(f"{data.name}: {len(showing)} images show {label}, {count} shots wanted; ask for fewer")
    chosen = rng.choice(showing, count, replace=False).tolist()
    return [Shot(i, int(rng.choice(rows[i]))) for i in chosen]


def prompts_after(
    student: Student,
    data: DataSet,
    shots: Sequence[Shot],
    counts: Container[int],
    settings: PromptSettings | None = None,
) -> tuple[dict[int, Prompt], int]:
    """Prompts as the cloud's prompt desk makes and merges them, shot by shot.

    Args:
        student: the craft's.
        data: what the shots are of.
        shots: of one label, in the order shown.
        counts: after how many shots the prompt is asked for.
        settings: how prompts are made; by default as the cloud makes them.

    Returns:
        The prompts by number of shots (none while every shot so far was refused), and how many shots were refused.
    """
    settings = settings or PromptSettings()
    background: deque[FloatArray] = deque(maxlen=settings.background_cases)
    prompt: Prompt | None = None
    found, refused = {}, 0
    for number, shot in enumerate(shots, 1):
        item = data.items[shot.image]
        evidence = look(student, CaseImage(data.image(shot.image)), None)
        finding, named = _finding(item, shot.row)
        known = tuple(background)
        try:
            new = build_prompt(student, evidence, finding, known, (f"shot-{number}", 0.0), settings)
        except PromptRefused:
            refused += 1
        else:
            near = evidence.seen.embeddings[false_rows(evidence, finding)]
            prompt = new if prompt is None else merge_prompts(prompt, new, (*known, near), settings)
        background.append(background_of(evidence, named))
        if prompt is not None and number in counts:
            found[number] = prompt
    return found, refused


def fly(student: Student, data: DataSet, on_image: Callable[[int], None] | None = None) -> Iterator[Seen]:
    """Every image of a set as a student sees it."""
    for index in range(len(data)):
        seen = replace(student.perceive(data.image(index)), raw=NO_MAPS)
        yield Seen(seen, student.known(seen))
        if on_image:
            on_image(index)


def answers(prompt: Prompt, view: Seen) -> ImageDetections:
    """What a prompt finds in one image, from the score on from which all detectors are measured here.

    A flight tells no match below `FAINT_LIKENESS`; a precision-recall curve goes on.
    """
    matcher = PromptMatcher(PromptBank(epoch="bench", revision=1, prompts=(prompt,)), prompt.space_id)
    match = matcher.match(view.seen, 0.0, None, view.known, REPORT_FLOOR)
    return ImageDetections(view.seen.boxes_xyxy[match.rows], [prompt.label] * len(match.rows), match.scores)


def without_negatives(prompt: Prompt) -> Prompt:
    """The same prompt, its positives and threshold alone."""
    none = np.zeros((0, prompt.positives.to_array().shape[1]), np.float32)
    return prompt.model_copy(update={"negatives": Vectors.from_array(none)})


def prompt_ap50(prompt: Prompt | None, data: DataSet, flight: Sequence[Seen], scored: Sequence[str]) -> float:
    """AP50 of what a prompt finds on a flight over a set; 0 for no prompt: all its shots were refused.

    Args:
        prompt: or None.
        data: the set.
        flight: what the student sees on it.
        scored: the prompt's label first, then those that are false alarms when called by it; all others are ignored.
    """
    return label_ap50(data, [answers(prompt, view) for view in flight], scored) if prompt else 0.0


def label_ap50(data: DataSet, found: Sequence[ImageDetections], scored: Sequence[str]) -> float:
    """AP50 of the first of some labels; the others are false alarms when called by it."""
    return float(coco_scores(truths_of(data), found, tuple(scored))["ap50"][scored[0]] or 0.0)


def _finding(item: LabelledImage, row: int) -> tuple[Finding, Boxes]:
    """One box as a person's finding, and all boxes of its kind: nobody pointed at the others, so they teach nothing."""
    label = item.labels[row]
    of_kind = np.array([name == label for name in item.labels])
    others = of_kind.copy()
    others[row] = False
    boxes = item.boxes_xyxy
    return Finding(label, boxes[row : row + 1], boxes[others], "person", 1.0, "craft", uuid.uuid4().hex), boxes[of_kind]
