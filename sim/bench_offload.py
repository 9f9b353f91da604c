"""What asking the teacher is worth where the student is at its worst, beside another student of the same recipe.

Any second opinion helps a little on the images that one model finds hard: part of its loss there is bad luck. So the
teacher is compared with a student that differs in its seed alone; what it is ahead of that one is knowledge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.dataset import DataSet, read_data_set
from distill.evaluate import ImageDetections, coco_scores, detect_all, truths_of
from distill.image_losses import image_losses
from edge.bundle import load_bundle
from edge.student import Student
from sim.bench_models import LABELS, rounded
from sim.display import Display
from sim.errors import SimError


@dataclass(frozen=True)
class OffloadBench:
    """What is measured.

    Attributes:
        data: the HIT-UAV folder.
        student: bundle whose losses say which images are hard.
        second: bundle of the same recipe with another seed.
        teacher: bundle.
        split: of the data.
        hardest: share of the images, those of the student's highest loss.
    """

    data: Path
    student: Path
    second: Path
    teacher: Path
    split: str = "dev"
    hardest: float = 0.2


def bench_offload(options: OffloadBench, display: Display) -> dict[str, Any]:
    """Rank the images by the student's loss and score all three models on the hardest of them.

    Returns:
        `images` and `hard_images` counted; `all` and `hard` with each model's mAP50 and AP50 per class; and
        `teacher_gain` in points of mAP50: teacher less second student, on the hard images.

    Raises:
        DataSetError: the folder is no HIT-UAV folder.
        ModelError: a bundle is missing or damaged.
        SimError: the hard images show nothing that is scored.
    """
    data = read_data_set(options.data, options.split)
    folders = {"student": options.student, "second": options.second, "teacher": options.teacher}
    models = {name: Student.open(load_bundle(folder)) for name, folder in folders.items()}
    with display.stage("how hard each image is", len(data)) as advance:
        losses = image_losses(models["student"], data, lambda index: advance(index + 1, ""))
    count = max(round(options.hardest * len(data)), 1)
    hard = sorted(np.argsort(-losses, kind="stable")[:count].tolist())
    found = {name: _detections(name, student, data, display) for name, student in models.items()}
    everything = range(len(data))
    result: dict[str, Any] = {
        "images": len(data),
        "hard_images": count,
        "all": _scores(data, found, everything),
        "hard": _scores(data, found, hard),
    }
    teacher, other = (result["hard"][name]["map50"] for name in ("teacher", "second"))
    if teacher is None:
        raise SimError(f"{data.name}: none of its {count} hardest images shows {', '.join(LABELS)}; take another split")
    return result | {"teacher_gain": round(100 * (teacher - other), 1)}


def _detections(name: str, student: Student, data: DataSet, display: Display) -> list[ImageDetections]:
    with display.stage(name, len(data)) as advance:
        return detect_all(student, data, lambda index: advance(index + 1, ""))[0]


def _scores(
    data: DataSet, found: Mapping[str, Sequence[ImageDetections]], chosen: Sequence[int]
) -> dict[str, dict[str, Any]]:
    truths = truths_of(data)
    rows = {}
    for name, detections in found.items():
        scores = coco_scores([truths[i] for i in chosen], [detections[i] for i in chosen], LABELS)
        rows[name] = rounded({key: scores[key] for key in ("map50", "ap50")})
    return rows
