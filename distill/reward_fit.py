"""Fitting the offload reward: what the teacher's answer put right on images that the student was not trained on.

With labels, right is what the truth says. Without any, it is what the teacher says of the image as captured: then the
fit learns where the two disagree, as axonmesh's calibration does for its one threshold.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cloud.case_images import viewable
from distill.dataset import DataSet
from distill.errors import DistillError
from distill.evaluate import REPORT_FLOOR, ImageDetections, ImageTruth, truths_of
from distill.files import write_whole
from distill.fusion import fuse
from distill.matches import outcomes
from edge.reward import (
    F1,
    FULL_PERCENTILE,
    HARDNESS_NAME,
    Claims,
    RewardModel,
    claim_features,
    claims_of,
    feature_names,
)
from edge.student import NO_MAPS, Perception, Student, as_picture
from protocols.arrays import FloatArray
from protocols.imagery import decode_image, encode_image

LABELS = ("Person", "Car", "Bicycle")
SENT_AS: Final = "image/webp"
SENT_QUALITY = 20
"""How a frame is sent that is asked about. Of WebP 10, 20, 30, 50 and 60 the second recovers most of the gap at every
budget from 5 to 50 % on HIT-UAV dev (at 20 %: 0.75, 0.82, 0.69, 0.66, 0.65); JPEG takes twice the bytes."""

RIDGE = 100.0
"""Pull of the weights towards 0, in claims; 3 to 300 rank dev's images equally well (cross-validated by flight)."""


@dataclass(frozen=True)
class Seen:
    """What both models say about one image.

    Attributes:
        perception: the student's, without maps.
        claims: of the student.
        edge, cloud: detections; the cloud's of the image as it was sent, from the teacher's own floor.
        reference: the teacher's of the image as captured: the truth of a fit without labels.
        group: the flight; images of one are never on both sides of a cross-validation.
        payload: the image as it is sent.
    """

    perception: Perception
    claims: Claims
    edge: ImageDetections
    cloud: ImageDetections
    reference: ImageDetections
    group: str
    payload: bytes = b""


def look_at_all(student: Student, teacher: Student, data: DataSet, on_image: Callable[[int], None]) -> list[Seen]:
    """Both models on every image of a set."""
    looked = []
    for index, item in enumerate(data):
        image = data.image(index)
        perception = replace(student.perceive(image), raw=NO_MAPS)
        payload = encode_image(as_picture(image), SENT_AS, SENT_QUALITY)
        looked.append(
            Seen(
                perception,
                claims_of(student, perception),
                known_detections(student, perception, REPORT_FLOOR),
                known_detections(teacher, teacher.perceive(viewable(decode_image(payload, SENT_AS)))),
                known_detections(teacher, teacher.perceive(image), REPORT_FLOOR),
                item.path.stem.rsplit("_", 1)[0],
                payload,
            )
        )
        on_image(index)
    return looked


def known_detections(student: Student, seen: Perception, floor: float | None = None) -> ImageDetections:
    """Known-class detections of a perception; by default from the bundle's own floor."""
    known = student.known(seen, floor)
    labels = [student.manifest.labels[index] for index in known.classes]
    return ImageDetections(seen.boxes_xyxy[known.rows], labels, known.scores)


def agreed_truth(reference: ImageDetections, floor: float) -> ImageTruth:
    """The teacher's sure detections as truth; those it half believes are ignore regions."""
    rows = np.flatnonzero(reference.scores >= floor / 2)
    labels = [reference.labels[row] for row in rows.tolist()]
    return ImageTruth(reference.boxes_xyxy[rows], labels, (reference.scores[rows] < floor).tolist())


def worth_of(truths: Sequence[ImageTruth]) -> dict[str, float]:
    """Per label what one box counts: mAP gives every label the same weight, however many boxes it has. Mean 1."""
    counts = Counter(
        label
        for truth in truths
        for label, ignored in zip(truth.labels, truth.ignore, strict=True)
        if label in LABELS and not ignored
    )
    total = sum(counts.values())
    return {label: total / (len(counts) * count) for label, count in counts.items()}


def gains_of(seen: Seen, truth: ImageTruth, worth: dict[str, float], floor: float) -> FloatArray:
    """(M + 1,) what the cloud's answer put right at each claim, and in the last row where there is no claim near.

    What is new goes to the nearest claim, one of the same label before any other.
    """
    gains = np.zeros(len(seen.claims.rows) + 1, np.float32)
    both = fuse(seen.edge, seen.cloud)
    places = _centres(seen.perception.boxes_xyxy[seen.claims.rows])
    for found, sign in ((seen.edge, -1.0), (both, 1.0)):
        values = _values(found, outcomes(truth, found, LABELS), worth, floor)
        rows = np.flatnonzero(values)
        np.add.at(gains, _nearest(_centres(found.boxes_xyxy[rows]), places), sign * values[rows])
    return gains


def _values(found: ImageDetections, outcome: NDArray[np.int64], worth: dict[str, float], floor: float) -> FloatArray:
    weights = np.array([worth.get(label, 0.0) for label in found.labels])
    value = np.where(outcome > 0, 2 - F1, np.where(outcome < 0, -F1, 0.0))
    return np.asarray(weights * value * (found.scores >= floor), dtype=np.float32)


def _centres(boxes_xyxy: FloatArray) -> FloatArray:
    return np.asarray((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, dtype=np.float32)


def _nearest(points: FloatArray, places: FloatArray) -> NDArray[np.int64]:
    if not len(places):
        return np.zeros(len(points), np.int64)  # the frame's own row is the only one
    distance = np.linalg.norm(points[:, None] - places[None], axis=2)
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)


def looks_of(looked: Sequence[Seen], truths: Sequence[ImageTruth]) -> dict[str, tuple[float, ...]]:
    """Per label the mean embedding of the student's detections that are right, unit length."""
    sums: dict[str, FloatArray] = {}
    for seen, truth in zip(looked, truths, strict=True):
        result = outcomes(truth, seen.edge, LABELS)
        # The edge's detections are the named claims, in the same order.
        for row, label in enumerate(seen.edge.labels):
            if result[row] > 0:
                look = seen.perception.embeddings[seen.claims.rows[row]]
                sums[label] = sums.get(label, np.zeros_like(look)) + look
    return {
        label: tuple(round(float(v), 4) for v in total / np.linalg.norm(total)) for label, total in sorted(sums.items())
    }


@dataclass(frozen=True)
class Fit:
    """A fit, and what it would have said of images that it was not fitted on.

    Attributes:
        model: for the bundle.
        held_out: (N,) reward of each image by a fit without its flight.
        gains: (N,) what was really put right there.
    """

    model: RewardModel
    held_out: FloatArray
    gains: FloatArray


def fit_reward(student: Student, looked: Sequence[Seen], truths: Sequence[ImageTruth]) -> Fit:
    """Fit and cross-validate.

    Raises:
        DistillError: the images hold none of the labels, or are of one flight.
    """
    groups = np.array([seen.group for seen in looked])
    worth = worth_of(truths)
    if not worth or len(np.unique(groups)) < 2:
        raise DistillError(f"{len(looked)} images of {len(np.unique(groups))} flight(s) teach no reward; give more")
    floor = student.manifest.score_floor
    gains = [gains_of(seen, truth, worth, floor) for seen, truth in zip(looked, truths, strict=True)]
    held_out = np.zeros(len(looked), np.float32)
    for group in np.unique(groups):
        rest, own = (np.flatnonzero(side).tolist() for side in (groups != group, groups == group))
        looks = looks_of([looked[i] for i in rest], [truths[i] for i in rest])
        weights = _ridge([_features(student, looked[i], looks) for i in rest], [gains[i] for i in rest])
        held_out[own] = [float((_features(student, looked[i], looks) @ weights).sum()) for i in own]
    looks = looks_of(looked, truths)
    weights = _ridge([_features(student, seen, looks) for seen in looked], gains)
    model = RewardModel(
        space_id=student.manifest.space_id,
        variant=student.bundle.variant,
        features=feature_names(student.manifest.labels),
        weights=tuple(round(float(weight), 5) for weight in weights),
        looks=looks,
        full=max(float(np.percentile(held_out, FULL_PERCENTILE)), 1e-3),
        worth={label: round(value, 4) for label, value in sorted(worth.items())},
    )
    return Fit(model, held_out, np.array([gain.sum() for gain in gains], np.float32))


def rewards_of(student: Student, model: RewardModel, looked: Sequence[Seen]) -> FloatArray:
    """(N,) the reward that a fit expects of each image."""
    weights = np.array(model.weights)
    return np.array([float((_features(student, seen, model.looks) @ weights).sum()) for seen in looked], np.float32)


def _features(student: Student, seen: Seen, looks: dict[str, tuple[float, ...]]) -> FloatArray:
    manifest = student.manifest
    return claim_features(seen.perception, seen.claims, manifest.labels, looks, manifest.score_floor)


def _ridge(tables: Sequence[FloatArray], gains: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Weights by the normal equations (Hoerl and Kennard 1970); no intercept: a frame's own row is one."""
    x = np.concatenate(tables).astype(np.float64)
    return np.asarray(np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ np.concatenate(gains)))


def rank_correlation(a: FloatArray, b: FloatArray) -> float:
    """Spearman's, without averaging ties."""
    first, second = (np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def by_fifth(fit: Fit) -> dict[str, list[float]]:
    """Whether it is calibrated: reward and real gain, means over the fifths of the images by reward, lowest first."""
    fifths = np.array_split(np.argsort(fit.held_out, kind="stable"), min(5, len(fit.held_out)))
    columns = {"expected_by_fifth": fit.held_out, "gained_by_fifth": fit.gains}
    return {name: [round(float(v[rows].mean()), 2) for rows in fifths] for name, v in columns.items()}


def calibrate_reward(
    student: Student, teacher: Student, data: DataSet, on_image: Callable[[int], None], *, with_labels: bool = True
) -> Fit:
    """Fit the reward of asking a teacher and keep it beside the student's bundle.

    Args:
        student: the bundle that flies.
        teacher: what answers on the ground.
        data: images that the student was not trained on.
        on_image: progress hook.
        with_labels: take the data's truth; False takes the teacher's word for it.

    Raises:
        DistillError: the images teach nothing, or the disk is full.
    """
    looked = look_at_all(student, teacher, data, on_image)
    truths = (
        truths_of(data)
        if with_labels
        else [agreed_truth(seen.reference, student.manifest.score_floor) for seen in looked]
    )
    fit = fit_reward(student, looked, truths)
    facts: dict[str, str | int | float | list[float]] = {
        "data": data.name,
        "images": len(data),
        "labels": "the data's" if with_labels else "the teacher's",
        "teacher": teacher.manifest.space_id,
        "rank_correlation_held_out": round(rank_correlation(fit.held_out, fit.gains), 3),
        **by_fifth(fit),
    }
    fit = Fit(fit.model.model_copy(update={"fitted": facts}), fit.held_out, fit.gains)
    write_reward(student.bundle.folder, fit.model)
    return fit


def write_reward(folder: Path, model: RewardModel) -> None:
    """Write `hardness.json` beside a bundle.

    Raises:
        DistillError: the disk is full.
    """
    write_whole(folder / HARDNESS_NAME, (json.dumps(model.model_dump(mode="json"), indent=1) + "\n").encode())
