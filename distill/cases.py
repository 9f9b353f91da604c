"""Cases that a person reviewed, as a data set: read from a cloud's data folder, also while the cloud runs.

What a person says of a label counts for the whole picture, since `skyloop-cloud review` asks for every thing of that
label: the newest answer's boxes are the truth, and what the craft or the teacher called so elsewhere is background.
What they called by another label, and the person did not box, was judged by nobody and is an ignore region. The rest is
background.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from cloud.case_images import CaseImage, open_case_images
from cloud.store import CaseStore, Review, StoredCase
from distill.dataset import IGNORED_LABEL
from distill.errors import DataSetError
from distill.labelled import LabelledImage, Reading, fitted
from edge.raster import Picture
from protocols.arrays import Boxes
from protocols.boxes import box_iou, clip_boxes
from protocols.errors import ImageryError
from protocols.values import Detection

_SAME_IOU = 0.4
"""A machine's box that overlaps a person's so much was judged with it."""


def read_cases(folder: Path, reading: Reading) -> tuple[list[LabelledImage], dict[Path, Picture]]:
    """The reviewed cases of a cloud's data folder, oldest review first, and their pixels.

    Args:
        folder: `--data` of the cloud.
        reading: how imagery becomes pixels.

    Raises:
        DataSetError: no case is reviewed, or a picture does not decode or fit the network.
        StoreError: the folder cannot be read.
    """
    items: list[LabelledImage] = []
    pixels: dict[Path, Picture] = {}
    with closing(CaseStore(folder)) as store:
        for answers in _by_case(store.reviews()):
            stored = store.load_case(answers[0].case_id, answers[0].craft)
            file = store.imagery_path(stored)
            machine = [*stored.case.detections, *store.teacher_detections(stored)]
            for number, image in enumerate(_images(store, stored, file), 1):
                path = file if number == 1 else file.with_name(f"{file.name}-{number}")
                items.append(_labelled(len(items), path, image, stored, _truth(image, answers, machine)))
                pixels[path] = fitted(path, image.image, reading)
    if not items:
        raise DataSetError(f"{folder}: no case is reviewed; answer some with `skyloop-cloud review`")
    return items, pixels


def _by_case(reviews: Iterable[Review]) -> Iterable[list[Review]]:
    """For each case the newest answer to each label."""
    cases: dict[tuple[str, str], dict[str, Review]] = {}
    for review in reviews:
        cases.setdefault((review.craft, review.case_id), {})[review.label.casefold()] = review
    return [list(answers.values()) for answers in cases.values()]


def _images(store: CaseStore, stored: StoredCase, path: Path) -> list[CaseImage]:
    try:
        return open_case_images(stored.case, store.read_imagery(stored))
    except ImageryError as exc:
        raise DataSetError(f"{path}: imagery of case {stored.case.case_id}: {exc}; restore the data folder") from exc


def _truth(image: CaseImage, answers: list[Review], machine: list[Detection]) -> Iterator[tuple[Boxes, str]]:
    """Boxes in pixels of the image with their label; unjudged ones are `IGNORED_LABEL`."""
    judged = {review.label.casefold() for review in answers}
    drawn = _boxes(box for review in answers for box in review.boxes_xyxy)
    for review in answers:
        yield image.from_frame(_boxes(review.boxes_xyxy)), review.label
    others = _boxes(found.box_xyxy for found in machine if found.label.casefold() not in judged)
    apart = box_iou(others, drawn).max(axis=1, initial=0.0) < _SAME_IOU
    yield image.from_frame(others[apart]), IGNORED_LABEL


def _boxes(boxes: Iterable[tuple[float, float, float, float]]) -> Boxes:
    return np.array(list(boxes), np.float32).reshape(-1, 4)


def _labelled(
    number: int, path: Path, image: CaseImage, stored: StoredCase, truth: Iterable[tuple[Boxes, str]]
) -> LabelledImage:
    parts = list(truth)
    height, width = image.image.shape[:2]
    boxes = clip_boxes(np.concatenate([boxes for boxes, _ in parts]), width, height)
    labels = tuple(label for boxes, label in parts for _ in range(len(boxes)))
    visible = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    ignored = np.array([label == IGNORED_LABEL for label in labels], bool)
    pose = stored.case.frame.pose
    return LabelledImage(
        path=path,
        boxes_xyxy=boxes,
        labels=labels,
        kinds=np.full(len(labels), -1, np.int64),
        ignore=ignored | ~visible,
        image_id=number,
        bands=1 if image.image.ndim == 2 else 3,
        gsd_m=pose.gsd_m / image.scale_xy[0] if pose and pose.gsd_m else None,
    )
