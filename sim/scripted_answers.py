"""What a scripted person says about a case: a pure function of the truth and of seeded decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from distill.dataset import LabelledImage
from protocols.arrays import Boxes
from protocols.boxes import box_inside
from sim.scenario.conditions import OperatorSettings
from sim.world.seeds import rng_for

INSIDE = 0.8
"""Share of a thing that the picture must show before the person draws a box around it; `review` asks for no less."""


@dataclass(frozen=True)
class Decision:
    """How one answer is given.

    Attributes:
        is_error: whether its label is wrong.
        choice: which of the wrong labels, 0 to 1 along their sorted list.
    """

    is_error: bool
    choice: float


@dataclass(frozen=True)
class Answer:
    """What a case shows.

    Attributes:
        label: of all boxes.
        boxes_xywh: x, y, width, height in full-frame pixels.
    """

    label: str
    boxes_xywh: tuple[tuple[float, float, float, float], ...]


def decisions(settings: OperatorSettings, seed: int) -> Iterator[Decision]:
    """One decision for each answer, in the order they are given; the same seed gives the same ones."""
    rng = rng_for("scripted-person", seed)
    while True:
        luck, choice = rng.random(2).tolist()
        yield Decision(is_error=luck < settings.error_rate, choice=choice)


def true_answer(
    truth: LabelledImage, regions_xyxy: Sequence[Sequence[float]], labels: Sequence[str], on_edge: Sequence[str] = ()
) -> Answer | None:
    """What a person who knows some labels sees in a picture; None where there is nothing to name.

    A case holds one label: the first known one that the craft does not report itself, else the first known one.

    Args:
        truth: of the whole frame.
        regions_xyxy: the parts of it that were sent.
        labels: what the person knows, the most interesting first.
        on_edge: labels that the craft reported on this frame.
    """
    regions: Boxes = np.asarray(regions_xyxy, np.float32)
    is_seen = (box_inside(truth.boxes_xyxy, regions).max(axis=1) >= INSIDE) & ~truth.ignore
    names = np.asarray(truth.labels, dtype=object)
    for label in sorted(labels, key=lambda name: name in on_edge):  # stable: the order of interest is kept
        boxes = truth.boxes_xyxy[is_seen & (names == label)]
        if len(boxes):
            return Answer(label, tuple(_xywh(box.tolist()) for box in boxes))
    return None


def as_decided(answer: Answer, decision: Decision, others: Sequence[str]) -> Answer:
    """The answer as given: with a wrong label where that was decided.

    Args:
        answer: the true one.
        decision: what was drawn.
        others: labels that a mistake may name.
    """
    wrong = sorted(set(others) - {answer.label}) or ["Unknown"]
    if not decision.is_error:
        return answer
    return Answer(wrong[int(decision.choice * len(wrong))], answer.boxes_xywh)


def _xywh(box: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return round(x1, 1), round(y1, 1), round(x2 - x1, 1), round(y2 - y1, 1)
