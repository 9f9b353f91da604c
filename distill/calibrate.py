"""Scores that mean something: per class, a logistic fit on held-out images turns logits into precisions.

A heatmap network ranks well but names its own numbers; a class with few training objects stays at low ones. Platt's
scaling (Platt 1999, "Probabilistic outputs for support vector machines") with two numbers a class repairs that without
touching the ranking within a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.bundle import rewrite_manifest
from distill.dataset import DataSet, LabelledImage
from edge.bundle import Manifest, load_bundle
from edge.student import Perception, Student
from protocols.arrays import FloatArray
from protocols.boxes import box_iou

_FLOOR = 0.02
_TRUE_IOU = 0.5
_PRIOR_WEIGHT = 1.0
"""Strength of the pull towards the identity, in candidates: a class with hardly any keeps its own numbers."""


def calibrate_bundle(folder: Path, sets: Sequence[DataSet]) -> Manifest:
    """Fit a bundle's score calibration on held-out data and write it into its manifest.

    Args:
        folder: the bundle; its chosen variant for this machine is what is calibrated.
        sets: labelled images that the network was not trained on. A class that no set holds keeps its numbers.
    """
    bundle = load_bundle(folder)
    identity = {"score_scale": (), "score_bias": ()}
    student = Student.open(bundle.with_manifest(bundle.manifest.model_copy(update=identity)))
    logits: list[list[float]] = [[] for _ in bundle.manifest.labels]
    truths: list[list[bool]] = [[] for _ in bundle.manifest.labels]
    for data in sets:
        for index, item in enumerate(data):
            seen = student.perceive(data.picture(index))
            for number, label in enumerate(bundle.manifest.labels):
                chosen, right = judged(seen, number, label, item)
                logits[number] += chosen.tolist()
                truths[number] += right.tolist()
    fits = [fit_platt(np.array(x), np.array(y, bool)) for x, y in zip(logits, truths, strict=True)]
    update = {
        "score_scale": tuple(round(scale, 4) for scale, _ in fits),
        "score_bias": tuple(round(bias, 4) for _, bias in fits),
    }
    return rewrite_manifest(folder, bundle.manifest.model_copy(update=update))


def judged(seen: Perception, number: int, label: str, item: LabelledImage) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Logits of a class's candidates and whether each is right; those on ignore regions are left out."""
    scores = seen.class_scores[:, number]
    rows = np.flatnonzero(scores > _FLOOR)
    rows = rows[np.argsort(-scores[rows])]
    wanted = np.array([name == label for name in item.labels], bool) & ~item.ignore
    overlap = box_iou(seen.boxes_xyxy[rows], item.boxes_xyxy[wanted])
    right, free = np.zeros(len(rows), bool), np.ones(int(wanted.sum()), bool)
    for i in range(len(rows)):
        hits = np.where(free, overlap[i], 0.0)
        if hits.size and hits.max() >= _TRUE_IOU:
            right[i] = True
            free[hits.argmax()] = False
    ignored = box_iou(seen.boxes_xyxy[rows], item.boxes_xyxy[item.ignore])
    counted = right | ~(ignored > 0.3).any(axis=1)
    p = scores[rows][counted].clip(1e-6, 1 - 1e-6)
    return np.log(p / (1 - p)), right[counted]


def fit_platt(logits: NDArray[np.float64], truths: NDArray[np.bool_], steps: int = 50) -> tuple[float, float]:
    """Scale and bias that make sigmoid(scale * logit + bias) the most likely, by Newton's method.

    Args:
        logits: (N,) of candidates.
        truths: (N,) which are right.
        steps: Newton steps; it converges in about ten.

    Returns:
        (1, 0) when there is nothing to learn from: no candidates, or none of one kind.
    """
    if not len(logits) or truths.all() or not truths.any():
        return 1.0, 0.0
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    start = np.array([1.0, 0.0])
    weights, best = start.copy(), _platt_cost(design, truths, start, start)
    for _ in range(steps):
        p = 0.5 * (1 + np.tanh(0.5 * design @ weights))
        gradient = design.T @ (p - truths) + _PRIOR_WEIGHT * (weights - start)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + _PRIOR_WEIGHT * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # A full Newton step may overshoot where the curve is flat: halve it until it helps.
        while (cost := _platt_cost(design, truths, weights - step, start)) > best and np.abs(step).max() > 1e-9:
            step /= 2
        weights, best = weights - step, min(cost, best)
    return float(max(weights[0], 0.05)), float(weights[1])


def _platt_cost(
    design: NDArray[np.float64], truths: NDArray[np.bool_], weights: NDArray[np.float64], start: NDArray[np.float64]
) -> float:
    z = design @ weights
    return float(np.logaddexp(0, np.where(truths, -z, z)).sum() + 0.5 * _PRIOR_WEIGHT * ((weights - start) ** 2).sum())
