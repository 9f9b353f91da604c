"""What the bundled models reach on real images and what they cost: teacher, FP32 and INT8 student side by side.

Scores are those of `skyloop-distill evaluate`. Times are taken in turn, model after model on the same image, so that a
machine that slows down slows all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from threadpoolctl import threadpool_limits

from distill.dataset import DataSet, read_data_set
from distill.evaluate import coco_scores, detect_all, truths_of
from edge.bundle import Bundle, load_bundle
from edge.student import Student
from sim.display import Advance, Display

SPLITS = ("val", "dev")
LABELS = ("Person", "Car", "Bicycle")
THREADS = (1, 2)
_WARM_UP = 3


@dataclass(frozen=True)
class ModelsBench:
    """What is measured.

    Attributes:
        data: the HIT-UAV folder.
        student: bundle with the variants `fp32` and `u8s8`.
        teacher: bundle with the variant `fp32`.
        images: of each split that are scored; None scores all.
        timed: images that each model is timed on, drawn evenly from val.
    """

    data: Path
    student: Path
    teacher: Path
    images: int | None = None
    timed: int = 40


def bench_models(options: ModelsBench, display: Display) -> dict[str, Any]:
    """Score on both splits, then time.

    Returns:
        For `val` and `dev` each model's `map50`, `map50_95`, `ap50` and `ap50_small`; its `cost` in milliseconds per
        image at one and two threads and in megabytes; and the `ratios`.

    Raises:
        DataSetError: the folder is no HIT-UAV folder.
        ModelError: a bundle or a variant of it is missing or damaged.
    """
    models = {
        "teacher": load_bundle(options.teacher, "fp32"),
        "student_fp32": load_bundle(options.student, "fp32"),
        "student_int8": load_bundle(options.student, "u8s8"),
    }
    sets = {split: _evenly(read_data_set(options.data, split), options.images) for split in SPLITS}
    result: dict[str, Any] = {split: _scores(models, data, split, display) for split, data in sets.items()}
    cost = _costs(models, _evenly(sets["val"], options.timed), display)
    ratios = {
        "int8_speedup_1t": cost["student_fp32"]["ms_1t"] / cost["student_int8"]["ms_1t"],
        "teacher_over_student_ms": cost["teacher"]["ms_1t"] / cost["student_int8"]["ms_1t"],
    }
    return result | {"cost": cost, "ratios": {name: round(value, 3) for name, value in ratios.items()}}


def _evenly(data: DataSet, count: int | None) -> DataSet:
    if count is None or count >= len(data):
        return data
    return DataSet(data.name, tuple(data.items[i * len(data) // count] for i in range(count)))


def _scores(models: Mapping[str, Bundle], data: DataSet, split: str, display: Display) -> dict[str, Any]:
    rows = {}
    for name, bundle in models.items():
        with display.stage(f"{name} on {split}", len(data)) as advance:
            rows[name] = rounded(_score(Student.open(bundle), data, advance))
    return rows


def _score(student: Student, data: DataSet, advance: Advance) -> dict[str, Any]:
    found, _ = detect_all(student, data, lambda index: advance(index + 1, ""))
    return coco_scores(truths_of(data), found, LABELS)


def _costs(models: Mapping[str, Bundle], data: DataSet, display: Display) -> dict[str, dict[str, float]]:
    cost = {name: {"mb": round(bundle.model_path.stat().st_size / 1e6, 3)} for name, bundle in models.items()}
    for threads in THREADS:
        students = {name: Student.open(bundle, threads=threads) for name, bundle in models.items()}
        with display.stage(f"timing with {threads} threads", len(data)) as advance, _only(threads):
            for name, median_ms in _interleaved_ms(students, data, advance).items():
                cost[name][f"ms_{threads}t"] = round(median_ms, 2)
    return cost


@contextmanager
def _only(threads: int) -> Iterator[None]:
    """Everything around the network keeps to as many threads as the network does."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        cv2.setNumThreads(before)


def _interleaved_ms(students: Mapping[str, Student], data: DataSet, advance: Advance) -> dict[str, float]:
    """Each model's median milliseconds from image to known-class detections."""
    times_ms: dict[str, list[float]] = {name: [] for name in students}
    for index in range(-_WARM_UP, len(data)):
        image = data.image(max(index, 0))
        for name, student in students.items():
            begin_s = time.perf_counter()
            student.known(student.perceive(image))
            if index >= 0:
                times_ms[name].append(1000 * (time.perf_counter() - begin_s))
        advance(index + 1, "")
    return {name: statistics.median(found) for name, found in times_ms.items()}


def rounded(scores: dict[str, Any]) -> dict[str, Any]:
    """Three digits, here and in the dictionaries within."""
    return {
        name: rounded(value) if isinstance(value, dict) else None if value is None else round(value, 3)
        for name, value in scores.items()
    }
