"""Places where a student sees an object that nobody labelled: no truth for objects of kinds that were not judged.

Old data hold new things, too, and nobody boxed them there. Taught as background they would undo what the reviews teach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from distill.dataset import IGNORED_LABEL, DataSet
from distill.labelled import LabelledImage, Mark
from edge.student import Student
from protocols.arrays import Boxes
from protocols.boxes import box_iou

OBJECTNESS = 0.5
"""From which on a student is believed to see an object; a case with as sure a thing and no name waits for a person."""

_SAME_IOU = 0.3


def with_doubts(
    student: Student, data: DataSet, labels: tuple[str, ...], on_image: Callable[[int], None] = lambda _: None
) -> DataSet:
    """The same set, its unlabelled objects marked as doubts wherever a label of the student to be was not judged.

    Args:
        student: what knows objects already.
        data: images with truth.
        labels: of the student to be.
        on_image: progress hook.
    """
    items = []
    for index, item in enumerate(data):
        is_whole = item.judged is None or set(labels) <= set(item.judged)
        items.append(item if is_whole else _doubted(item, _unnamed(student, data, index)))
        on_image(index)
    return replace(data, items=tuple(items))


def _unnamed(student: Student, data: DataSet, index: int) -> Boxes:
    """(K, 4) boxes of objects that no box of the truth covers."""
    seen, truth = student.perceive(data.picture(index)), data.items[index].boxes_xyxy
    sure = seen.boxes_xyxy[seen.objectness >= OBJECTNESS]
    sides = sure[:, 2:] - sure[:, :2]
    free = box_iou(sure, truth).max(axis=1, initial=0.0) < _SAME_IOU
    return np.asarray(sure[free & (sides >= 1).all(axis=1)], dtype=np.float32)


def _doubted(item: LabelledImage, boxes: Boxes) -> LabelledImage:
    count = len(boxes)
    none: Mark = ""
    doubt: Mark = "doubt"
    return replace(
        item,
        boxes_xyxy=np.concatenate([item.boxes_xyxy, boxes]),
        labels=(*item.labels, *(IGNORED_LABEL,) * count),
        kinds=np.concatenate([item.kinds, np.full(count, -1, np.int64)]),
        ignore=np.concatenate([item.ignore, np.ones(count, bool)]),
        marks=(*(item.marks or (none,) * len(item.labels)), *(doubt,) * count),
        things=(),
    )
