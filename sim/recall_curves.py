"""Recall of every label of a flight, over its time and around the label's first prompt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sim.record import FlightRecord
from sim.score import FrameTally, boxes_of, recall, recall_over_time, sum_up, tally

_BINS = 60
"""A curve has at most about so many points; a bin is never shorter than a second."""


@dataclass(frozen=True)
class LabelRecall:
    """How a craft fared with one label; frames that were sent and ignored truth do not count.

    Attributes:
        label: of truth and detections.
        instances: visible ones, summed over frames.
        recall: share of them that were found at IoU 0.5 or more.
        before: recall before the label's first prompt was in force; None without a prompt or an instance.
        after: recall from then on.
        first_prompt_s: when it came into force, seconds of flight.
        false_alarms_per_frame: boxes of the label that show no instance; of a taught label from its first prompt on.
        bin_s: length of a bin of the curve.
        over_time: (middle of the bin in seconds, recall), bins without an instance left out.
    """

    label: str
    instances: int
    recall: float
    before: float | None
    after: float | None
    first_prompt_s: float | None
    false_alarms_per_frame: float | None
    bin_s: float
    over_time: tuple[tuple[float, float], ...]

    @property
    def is_prompted(self) -> bool:
        """Whether a prompt of the label came into force."""
        return self.first_prompt_s is not None

    def as_json(self) -> dict[str, Any]:
        """For `run.json`, numbers rounded."""
        points = [[round(at_s, 2), round(value, 4)] for at_s, value in self.over_time]
        rounded = {key: round(v, 4) if isinstance(v, float) else v for key, v in asdict(self).items()}
        return {**rounded, "over_time": points}


@dataclass(frozen=True)
class Stray:
    """A label that a craft reported, though no frame that counts shows it.

    Attributes:
        label: of detections.
        boxes: that were reported, ignored truth aside.
        false_alarms_per_frame: such boxes; of a taught label from its first prompt on.
        is_in_truth: whether the truth holds the label after all: hidden, tiny, or in frames that were sent.
    """

    label: str
    boxes: int
    false_alarms_per_frame: float
    is_in_truth: bool


def strays(record: FlightRecord, scored: Collection[str]) -> list[Stray]:
    """Every label that was reported and has no recall, the most frequent first.

    Args:
        record: of the flight.
        scored: labels that have one.
    """
    held = {name for frame in record.frames for name in record.truth.items[frame.index].labels}
    found = []
    for label in {d.label for frame in record.frames if not frame.is_sent for d in frame.detections} - set(scored):
        first = record.first_prompted(label)
        tallies = _tallies(record, label, None if first is None else first.time_s)
        boxes, rate = sum(t.false_alarms for t in tallies), _false_alarms_per_frame(tallies)
        if boxes and rate is not None:
            found.append(Stray(label, boxes, rate, label in held))
    return sorted(found, key=lambda item: (-item.boxes, item.label))


def label_recalls(record: FlightRecord) -> list[LabelRecall]:
    """Every label of the truth that the craft reported or had a prompt for: those that a prompt taught first."""
    found = [item for label in _labels(record) if (item := _label_recall(record, label)) is not None]
    return sorted(found, key=lambda item: (not item.is_prompted, -item.instances, item.label))


def learned_labels(record: FlightRecord) -> list[str]:
    """Labels that a prompt in force taught, in the order in which they came."""
    order: dict[str, None] = {}
    for bank in record.banks:
        order.update(dict.fromkeys(bank.labels))
    return [label for label in order if record.first_prompted(label) is not None]


def _labels(record: FlightRecord) -> set[str]:
    reported = {detection.label for frame in record.frames for detection in frame.detections}
    prompted = {label for bank in record.banks for label in bank.labels}
    flown = (record.truth.items[frame.index] for frame in record.frames)
    shown = {name for item in flown for name, ignored in zip(item.labels, item.ignore, strict=True) if not ignored}
    return shown & (reported | prompted)


def _label_recall(record: FlightRecord, label: str) -> LabelRecall | None:
    """None where every frame that shows the label was sent."""
    first = record.first_prompted(label)
    tallies = _tallies(record, label, None if first is None else first.time_s)
    overall = recall(tallies)
    if overall is None:
        return None
    score = sum_up(tallies)
    bin_s = max(1.0, record.frames[-1].time_s / _BINS)
    return LabelRecall(
        label=label,
        instances=sum(t.truths for t in tallies),
        recall=overall,
        before=None if first is None else score.recall_before,
        after=None if first is None else score.recall_after,
        first_prompt_s=None if first is None else first.time_s,
        false_alarms_per_frame=_false_alarms_per_frame(tallies),
        bin_s=bin_s,
        over_time=tuple(recall_over_time(tallies, bin_s)),
    )


def _false_alarms_per_frame(tallies: Sequence[FrameTally]) -> float | None:
    """From the first prompt on where frames follow one; None where every frame was sent."""
    after = [t for t in tallies if t.is_after]
    counted = after or tallies
    return sum(t.false_alarms for t in counted) / len(counted) if counted else None


def _tallies(record: FlightRecord, label: str, prompt_s: float | None) -> Sequence[FrameTally]:
    """The label on every frame that was not sent; whatever put a box of that label there counts."""
    tallies = []
    for frame in record.frames:
        if frame.is_sent:
            continue
        found = boxes_of([d for d in frame.detections if d.label == label])
        counts = tally(found, record.truth.items[frame.index], label)
        is_after = prompt_s is not None and frame.time_s >= prompt_s
        tallies.append(FrameTally(frame.index, frame.time_s, is_after, *counts))
    return tallies
