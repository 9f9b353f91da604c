"""Detections judged once, image by image, so that scores of any choice of images cost next to nothing.

A frontier asks for hundreds of mixtures of two models' answers and a bootstrap of each. Whether a detection is right
does not depend on other images: it is judged once, and AP50 and F1 are sums over what was judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.evaluate import ImageDetections, ImageTruth
from protocols.arrays import FloatArray
from protocols.boxes import box_inside, box_iou

TRUE_IOU = 0.5
"""Overlap from which a detection is right, as in AP50."""

_IGNORED_SHARE = 0.5
"""COCO matches a detection with a crowd region by the share of its own area inside, at the same threshold."""

_RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads the precision-recall curve."""


@dataclass(frozen=True)
class Judged:
    """One image's detections of the scored labels, best first within a label.

    Attributes:
        scores: (M,) float32.
        labels: (M,) index of the scored label.
        right: (M,) bool; detections on ignore regions are left out.
        wanted: (L,) how many boxes of each label there are to find.
    """

    scores: FloatArray
    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    wanted: NDArray[np.int64]


def outcomes(truth: ImageTruth, found: ImageDetections, labels: Sequence[str]) -> NDArray[np.int64]:
    """(M,) what each detection is: 1 right, -1 wrong, 0 on an ignore region or of a label that is not scored.

    Detections take truth in the order of their scores, each the free box of its label that it overlaps most.
    """
    result = np.zeros(len(found.labels), np.int64)
    names, ours = np.asarray(truth.labels, np.str_), np.asarray(found.labels, np.str_)
    ignored = np.asarray(truth.ignore, np.bool_) | ~np.isin(names, labels)
    for label in labels:
        rows = np.flatnonzero(ours == label)
        rows = rows[np.argsort(-found.scores[rows], kind="stable")]
        if not len(rows):
            continue
        overlap = box_iou(found.boxes_xyxy[rows], truth.boxes_xyxy[~ignored & (names == label)])
        inside = box_inside(found.boxes_xyxy[rows], truth.boxes_xyxy[ignored]).max(axis=1, initial=0.0)
        result[rows] = _taken(overlap, inside >= _IGNORED_SHARE)
    return result


def _taken(overlap: FloatArray, is_ignored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(M,) 1, 0 or -1 for each row of an (M, N) overlap, rows best first."""
    free = np.ones(overlap.shape[1], np.bool_)
    result = np.where(is_ignored, 0, -1)
    for row, values in enumerate(np.asarray(overlap)):
        left = np.where(free, values, 0.0)
        if left.size and left.max() >= TRUE_IOU:
            free[left.argmax()] = False
            result[row] = 1
    return result


def judge(truth: ImageTruth, found: ImageDetections, labels: Sequence[str]) -> Judged:
    """One image's detections, judged."""
    result = outcomes(truth, found, labels)
    numbers = {label: index for index, label in enumerate(labels)}
    rows = np.flatnonzero(result)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    wanted = np.zeros(len(labels), np.int64)
    for label, ignored in zip(truth.labels, truth.ignore, strict=True):
        if label in numbers and not ignored:
            wanted[numbers[label]] += 1
    index = np.array([numbers[found.labels[row]] for row in rows.tolist()], np.int64)
    return Judged(np.asarray(found.scores[rows], np.float32), index, result[rows] > 0, wanted)


def f1_of(judged: Judged, floor: float) -> float:
    """F1 of one image's detections at a score; 1 where there is nothing to find and nothing was found."""
    said = judged.scores >= floor
    right = int((judged.right & said).sum())
    total = int(said.sum()) + int(judged.wanted.sum())
    return 2 * right / total if total else 1.0


def map50_of(images: Sequence[Judged]) -> float:
    """COCO's mAP50 over some images, one of which may stand there several times; as `coco_scores` gives it."""
    wanted = np.sum([image.wanted for image in images], axis=0)
    scores = np.concatenate([image.scores for image in images])
    labels = np.concatenate([image.labels for image in images])
    right = np.concatenate([image.right for image in images])
    order = np.argsort(-scores, kind="stable")
    labels, right = labels[order], right[order]
    found = [_ap50(right[labels == label], int(count)) for label, count in enumerate(wanted) if count]
    return float(np.mean(found)) if found else 0.0


def _ap50(right: NDArray[np.bool_], wanted: int) -> float:
    """Mean interpolated precision of detections in order of their scores."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / wanted, _RECALLS, side="left")
    return float(np.where(at < len(envelope), np.append(envelope, 0.0)[np.minimum(at, len(envelope))], 0.0).mean())
