"""Figures of merit of a flight with one unfamiliar label: recall, false alarms and average precision.

Only boxes that a prompt put there count for the unfamiliar label, and frames that the cloud has seen do not count at
all: what is scored is what the craft does by itself.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from distill.dataset import DataSet, LabelledImage
from distill.evaluate import ImageDetections, ImageTruth, coco_scores
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_inside, box_iou
from protocols.values import Detection
from sim.record import FlightRecord, FlownFrame

MATCH_IOU = 0.5
"""Overlap from which a detection finds a truth box, as in AP50."""

IGNORED_SHARE = 0.5
"""Share of a detection inside an ignored truth box from which it is neither right nor wrong, as COCO treats crowds."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class FrameTally:
    """How the unfamiliar label fared on one frame that was not sent.

    Attributes:
        index: of the frame.
        time_s: since the first frame.
        is_after: whether a prompt of the label was in force.
        truths: visible instances.
        recalled: of them, those found.
        false_alarms: prompted detections that show no instance.
    """

    index: int
    time_s: float
    is_after: bool
    truths: int
    recalled: int
    false_alarms: int


@dataclass(frozen=True)
class UnfamiliarScore:
    """The tallies of a flight summed up; a rate over nothing is None."""

    instances_before: int
    instances_after: int
    recall_before: float | None
    recall_after: float | None
    false_alarms_per_frame: float | None


@dataclass(frozen=True)
class Precision:
    """AP50 of the unfamiliar label, and its mean over the known labels; None where the truth holds none."""

    unfamiliar: float | None
    known: float | None


def with_prompted(frames: Sequence[FlownFrame], label: str) -> Iterator[tuple[FlownFrame, list[Detection]]]:
    """Each frame with its detections of a label that come from a prompt, or from a track that a prompt began."""
    tracks: set[int] = set()
    for frame in frames:
        chosen = []
        for detection in frame.detections:
            if detection.label != label:
                continue
            if detection.provenance.startswith("prompt:"):
                chosen.append(detection)
                if detection.track_id is not None:
                    tracks.add(detection.track_id)
            elif detection.track_id in tracks:
                chosen.append(detection)
        yield frame, chosen


def tally_flight(record: FlightRecord, label: str) -> list[FrameTally]:
    """The unfamiliar label on every frame that was not sent, in order."""
    revision = record.first_revision(label)
    tallies = []
    for frame, prompted in with_prompted(record.frames, label):
        if frame.is_sent:
            continue
        is_after = revision is not None and frame.bank_revision >= revision
        counts = tally(boxes_of(prompted), record.truth.items[frame.index], label)
        tallies.append(FrameTally(frame.index, frame.time_s, is_after, *counts))
    return tallies


def tally(found_xyxy: Boxes, truth: LabelledImage, label: str) -> tuple[int, int, int]:
    """(instances, of them recalled, false alarms) on one image.

    Args:
        found_xyxy: (N, 4) boxes, best first: each claims the free truth box it overlaps most.
        truth: the image's truth; ignored boxes of the label are neither right nor wrong.
        label: which truth boxes count.
    """
    is_label = np.array([name == label for name in truth.labels], bool)
    wanted = truth.boxes_xyxy[is_label & ~truth.ignore]
    overlap = box_iou(found_xyxy, wanted)
    claimed = [_claim(row, overlap) for row in range(len(found_xyxy))]
    stray = found_xyxy[np.array([column is None for column in claimed], bool)]
    regions = truth.boxes_xyxy[is_label & truth.ignore]
    ignored = box_inside(stray, regions).max(axis=1, initial=0.0) >= IGNORED_SHARE
    return len(wanted), sum(column is not None for column in claimed), int((~ignored).sum())


def _claim(row: int, overlap: FloatArray) -> int | None:
    """The free column that a row overlaps most, which is then taken; None below the matching overlap."""
    if not overlap.shape[1] or overlap[row].max() < MATCH_IOU:
        return None
    column = int(overlap[row].argmax())
    overlap[:, column] = -1.0
    return column


def boxes_of(detections: Sequence[Detection]) -> Boxes:
    """(N, 4) boxes of some detections, best first."""
    ordered = sorted(detections, key=lambda d: -d.score)
    return np.array([d.box_xyxy for d in ordered], np.float32).reshape(-1, 4)


def sum_up(tallies: Sequence[FrameTally]) -> UnfamiliarScore:
    """Recall before and after the first prompt, and false alarms after it."""
    before = [t for t in tallies if not t.is_after]
    after = [t for t in tallies if t.is_after]
    return UnfamiliarScore(
        instances_before=sum(t.truths for t in before),
        instances_after=sum(t.truths for t in after),
        recall_before=recall(before),
        recall_after=recall(after),
        false_alarms_per_frame=sum(t.false_alarms for t in after) / len(after) if after else None,
    )


def recall(tallies: Sequence[FrameTally]) -> float | None:
    """Share of the instances that were found; None when there was none."""
    truths = sum(t.truths for t in tallies)
    return sum(t.recalled for t in tallies) / truths if truths else None


def recall_over_time(tallies: Sequence[FrameTally], bin_s: float = 1.0) -> list[tuple[float, float]]:
    """(middle of the bin in seconds, recall) of every bin that shows an instance."""
    bins: dict[int, list[FrameTally]] = {}
    for item in tallies:
        bins.setdefault(int(item.time_s // bin_s), []).append(item)
    points = [((number + 0.5) * bin_s, recall(group)) for number, group in sorted(bins.items())]
    return [(time_s, value) for time_s, value in points if value is not None]


def pick_evenly(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` items, spread evenly over the sequence, order kept."""
    if len(items) <= limit:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(limit - 1, 1))] for i in range(limit)]


def reported(frames: Sequence[FlownFrame], chosen: Sequence[int], label: str) -> list[ImageDetections]:
    """What the craft reported on some frames, as `coco_scores` takes it.

    Args:
        frames: the whole flight, in order.
        chosen: frame indices wanted, in the order wanted.
        label: of this label only prompted boxes count; of every other label, all.
    """
    wanted, found = set(chosen), {}
    for frame, prompted in with_prompted(frames, label):
        if frame.index in wanted:
            found[frame.index] = as_image([d for d in frame.detections if d.label != label] + prompted)
    return [found[index] for index in chosen]


def as_image(detections: Sequence[Detection]) -> ImageDetections:
    """Detections as `coco_scores` takes them."""
    boxes = np.array([d.box_xyxy for d in detections], np.float32).reshape(-1, 4)
    scores = np.array([d.score for d in detections], np.float32)
    return ImageDetections(boxes, [d.label for d in detections], scores)


def average_precision(
    truth: DataSet, chosen: Sequence[int], found: Sequence[ImageDetections], known: Sequence[str], label: str
) -> Precision:
    """AP50 on some frames, the unfamiliar label and the known ones scored together.

    Args:
        truth: of the whole flight.
        chosen: frame indices.
        found: detections on these frames, same order.
        known: known labels; those without any truth box are left out of the mean.
        label: the unfamiliar one.
    """
    items = [truth.items[index] for index in chosen]
    truths = [ImageTruth(item.boxes_xyxy, item.labels, item.ignore.tolist()) for item in items]
    per_label = coco_scores(truths, found, (*known, label))["ap50"]
    present = [per_label[name] for name in known if per_label[name] is not None]
    return Precision(unfamiliar=per_label[label], known=statistics.fmean(present) if present else None)
