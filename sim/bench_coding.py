"""What a teacher keeps of what it finds, and what a student's embedding keeps, in imagery of each quality.

`edge/coding.py` holds what this measured: the craft weighs it against bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cloud.case_images import viewable
from distill.dataset import DataSet, read_data_set
from distill.evaluate import REPORT_FLOOR, ImageDetections, ImageTruth, truths_of
from distill.matches import judge, map50_of
from distill.reward_fit import known_detections
from edge.bundle import load_bundle
from edge.chips import pool_boxes
from edge.student import Student, as_picture
from protocols.arrays import Boxes, FloatArray, ImageArray
from protocols.fields import MediaType
from protocols.imagery import decode_image, encode_image
from sim.display import Display
from sim.errors import SimError

LADDER: tuple[tuple[MediaType, int], ...] = (
    *(("image/jpeg", quality) for quality in (10, 20, 40, 60, 75, 85, 95)),
    *(("image/webp", quality) for quality in (5, 10, 20, 40, 60, 80)),
)


@dataclass(frozen=True)
class CodingBench:
    """What is measured.

    Attributes:
        data: a folder with labels: HIT-UAV, or one that `skyloop-sim render` wrote.
        split: of HIT-UAV.
        student, teacher: bundles.
        images: the first ones by a stride; None takes all.
        threads: of both models, 0 for all cores.
    """

    data: Path
    split: str
    student: Path
    teacher: Path
    images: int | None = None
    threads: int = 0


def bench_coding(options: CodingBench, display: Display) -> dict[str, Any]:
    """Show both models the same images raw and in each coding.

    Returns:
        `images`, `labels` that count, `raw_map50`, and `codings`, each with `name`, `bytes_per_kilopixel`, `map50`,
        `kept` (of the raw mAP50) and `cosine` (median over true boxes, of the embedding there with that of raw pixels).

    Raises:
        DataSetError: the folder holds no labelled images.
        ModelError: a bundle is missing or damaged.
        SimError: the images show nothing that the teacher knows.
    """
    student, teacher = (
        Student.open(load_bundle(folder), threads=options.threads) for folder in (options.student, options.teacher)
    )
    data = read_data_set(options.data, options.split)
    step = max(len(data) // options.images, 1) if options.images else 1
    data = DataSet(data.name, data.items[::step][: options.images])
    truths = truths_of(data)
    shown = {name for truth in truths for name, ignored in zip(truth.labels, truth.ignore, strict=True) if not ignored}
    labels = tuple(label for label in teacher.manifest.labels if label in shown)
    if not labels:
        raise SimError(f"{options.data}: shows nothing that the teacher knows; give other images")
    images = [as_picture(data.image(index)) for index in range(len(data))]
    looks = [_looks(student, image, truth.boxes_xyxy) for image, truth in zip(images, truths, strict=True)]
    raw = _map50(truths, [_found(teacher, image) for image in images], labels)
    pixels = sum(image[..., 0].size for image in images)
    rows = []
    with display.stage("codings", len(LADDER)) as advance:
        for number, (media_type, quality) in enumerate(LADDER):
            payloads = [encode_image(image, media_type, quality) for image in images]
            decoded = [viewable(decode_image(payload, media_type)) for payload in payloads]
            reached = _map50(truths, [_found(teacher, image) for image in decoded], labels)
            near = [
                (_looks(student, image, truth.boxes_xyxy) * look).sum(axis=1)
                for image, truth, look in zip(decoded, truths, looks, strict=True)
            ]
            name = f"{media_type.split('/')[1]} {quality}"
            rows.append(
                {
                    "name": name,
                    "bytes_per_kilopixel": round(1000 * sum(map(len, payloads)) / pixels, 1),
                    "map50": round(reached, 4),
                    "kept": round(reached / raw, 4) if raw else 0.0,
                    "cosine": round(float(np.median(np.concatenate(near))), 4),
                }
            )
            advance(number + 1, name)
    return {"images": len(data), "labels": list(labels), "raw_map50": round(raw, 4), "codings": rows}


def _found(teacher: Student, image: ImageArray) -> ImageDetections:
    return known_detections(teacher, teacher.perceive(image), REPORT_FLOOR)


def _map50(truths: Sequence[ImageTruth], found: Sequence[ImageDetections], labels: Sequence[str]) -> float:
    return map50_of([judge(truth, one, labels) for truth, one in zip(truths, found, strict=True)])


def _looks(student: Student, image: ImageArray, boxes_xyxy: Boxes) -> FloatArray:
    """(N, D) unit vectors of what stands in the boxes."""
    if not len(boxes_xyxy):
        return np.zeros((0, student.manifest.embedding_dim), np.float32)
    return pool_boxes(student.perceive(image), boxes_xyxy, student.manifest.stride_px)
