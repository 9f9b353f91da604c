"""Detections scored with COCO's metrics (faster-coco-eval), with ignore regions that are neither right nor wrong.

No torch here: the simulator and the benchmarks score with the same function.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from distill.dataset import DataSet
from edge.student import Student
from protocols.arrays import Boxes, FloatArray

SMALL_SIDE_PX = 16
"""Boxes of less than this side squared are small objects."""

REPORT_FLOOR = 0.02
"""Known-class score from which a detection enters the precision-recall curve."""


@dataclass(frozen=True)
class ImageTruth:
    """Truth of one image: (N, 4) float32 boxes, labels, and which boxes are ignore regions for every class."""

    boxes_xyxy: Boxes
    labels: Sequence[str]
    ignore: Sequence[bool]


@dataclass(frozen=True)
class ImageDetections:
    """Detections in one image: (M, 4) float32 boxes, labels, (M,) scores."""

    boxes_xyxy: Boxes
    labels: Sequence[str]
    scores: FloatArray


def coco_scores(
    truths: Sequence[ImageTruth], found: Sequence[ImageDetections], labels: Sequence[str]
) -> dict[str, Any]:
    """COCO average precision over some classes.

    Args:
        truths: one per image.
        found: one per image, same order.
        labels: scored classes; every other box of the truth is an ignore region.

    Returns:
        `map50`, `map50_95`, `ap50` per label, and `ap50_small`, the mean over labels of AP50 among boxes smaller than
        16 x 16 px. A label without any box of its own scores None and is left out of the means.
    """
    numbers = {label: i + 1 for i, label in enumerate(labels)}
    truth = _coco_truth(truths, numbers)
    rows = [
        {"image_id": i, "category_id": numbers[label], "bbox": _xywh(box), "score": float(score)}
        for i, result in enumerate(found)
        for box, label, score in zip(result.boxes_xyxy, result.labels, result.scores, strict=True)
        if label in numbers
    ]
    present = _present(truth, numbers)
    small = _present([a for a in truth if a["area"] < SMALL_SIDE_PX**2], numbers)
    if not rows or not present:
        empty = dict.fromkeys(labels, None) | dict.fromkeys(present, 0.0)
        nothing = 0.0 if present else None
        return {"map50": nothing, "map50_95": nothing, "ap50": empty, "ap50_small": 0.0 if small else None}
    precision = _precision(truth, rows, len(truths), numbers)
    ap50 = {la: _mean(precision[0, :, numbers[la] - 1, 0]) for la in present}
    ap50_small = [_mean(precision[0, :, numbers[la] - 1, 1]) for la in small]
    return {
        "map50": statistics.fmean(ap50.values()),
        "map50_95": statistics.fmean(_mean(precision[:, :, numbers[la] - 1, 0]) for la in present),
        "ap50": dict.fromkeys(labels, None) | ap50,
        "ap50_small": statistics.fmean(ap50_small) if small else None,
    }


def _present(truth: list[dict[str, Any]], numbers: dict[str, int]) -> list[str]:
    """The labels that have boxes of their own."""
    own = {a["category_id"] for a in truth if not a["iscrowd"]}
    return [label for label, number in numbers.items() if number in own]


def _mean(values: FloatArray) -> float:
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else 0.0


def _xywh(box: FloatArray) -> list[float]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return [x1, y1, x2 - x1, y2 - y1]


def _coco_truth(truths: Sequence[ImageTruth], numbers: dict[str, int]) -> list[dict[str, Any]]:
    """COCO annotations; an ignore region becomes a crowd of every class, which COCO neither rewards nor punishes."""
    rows: list[dict[str, Any]] = []
    for i, truth in enumerate(truths):
        for box, label, ignored in zip(truth.boxes_xyxy, truth.labels, truth.ignore, strict=True):
            crowd = bool(ignored) or label not in numbers
            xywh = _xywh(box)
            for number in numbers.values() if crowd else (numbers[label],):
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "image_id": i,
                        "category_id": number,
                        "bbox": xywh,
                        "area": xywh[2] * xywh[3],
                        "iscrowd": int(crowd),
                    }
                )
    return rows


def _precision(truth: list[dict[str, Any]], rows: list[dict[str, Any]], images: int, numbers: dict[str, int]) -> Any:  # noqa: ANN401
    """(IoU thresholds, recalls, classes, sizes) interpolated precision, at most 300 detections an image.

    The sizes are all, and small.
    """
    content = {
        "images": [{"id": i, "width": 1, "height": 1} for i in range(images)],
        "annotations": truth,
        "categories": [{"id": number, "name": label} for label, number in numbers.items()],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(content)
        evaluation = COCOeval_faster(coco, coco.loadRes(rows), "bbox")
        evaluation.params.maxDets = [1, 10, 300]
        evaluation.params.areaRng = [[0.0, 1e10], [0.0, float(SMALL_SIDE_PX**2)]]
        evaluation.params.areaRngLbl = ["all", "small"]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"])[..., 2]


def detect_all(
    student: Student, data: DataSet, on_image: Callable[[int], None] | None = None
) -> tuple[list[ImageDetections], float]:
    """Known-class detections of a student on every image, and its median milliseconds per image."""
    found, times_ms = [], []
    for index in range(len(data)):
        image = data.picture(index)
        begin_s = time.perf_counter()
        seen = student.perceive(image)
        known = student.known(seen, REPORT_FLOOR)
        times_ms.append(1000 * (time.perf_counter() - begin_s))
        labels = [student.manifest.labels[c] for c in known.classes]
        found.append(ImageDetections(seen.boxes_xyxy[known.rows], labels, known.scores))
        if on_image:
            on_image(index)
    return found, statistics.median(times_ms)


def truths_of(data: DataSet) -> list[ImageTruth]:
    """A data set's truth in the form that `coco_scores` takes."""
    return [ImageTruth(item.boxes_xyxy, item.labels, item.ignore.tolist()) for item in data]


def evaluate(
    student: Student, data: DataSet, labels: Iterable[str], on_image: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """COCO scores of a student on a data set, its speed and its files.

    Args:
        student: bundle on a backend.
        data: images with truth.
        labels: scored classes.
        on_image: progress hook.
    """
    found, ms_per_image = detect_all(student, data, on_image)
    sizes = {name: entry.size_bytes for name, entry in student.manifest.variants.items()}
    scores = coco_scores(truths_of(data), found, tuple(labels))
    return {
        "bundle": student.manifest.name,
        "variant": student.bundle.variant,
        "data": data.name,
        "images": len(data),
        **scores,
        "ms_per_image": round(ms_per_image, 2),
        "file_bytes": sizes,
    }


def bundle_folder(name_or_path: str) -> Path:
    """The folder of a bundle given by path, or by the bundled names `student` and `teacher`."""
    from importlib.resources import files

    known = {"student": ("edge", "student"), "teacher": ("cloud", "teacher")}
    if name_or_path in known:
        package, folder = known[name_or_path]
        return Path(str(files(package))) / "bundles" / folder
    return Path(name_or_path)
