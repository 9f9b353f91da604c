"""What a student that knows some classes says of pictures in which nobody judged them.

Reviewed pictures say nothing of the classes that the person was not asked about, and old data nothing of new ones. Of
the first the student's own word is taken, so that what it knows is not lost there. Of the second nothing is: where it
sees an object that nobody labelled, that may be a new thing, and is no truth either way. Taught as background it would
undo what the reviews teach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from distill.dataset import IGNORED_LABEL, DataSet
from distill.labelled import LabelledImage, Mark
from edge.student import Perception, Student
from protocols.arrays import Boxes
from protocols.boxes import box_iou

OBJECTNESS = 0.5
"""From which on a student is believed to see an object; a case with as sure a thing and no name waits for a person."""

FAINT = 0.1
"""Known-class score under which a student says that nothing of the class is there."""

_SAME_IOU = 0.4


def completed(
    student: Student, data: DataSet, labels: tuple[str, ...], on_image: Callable[[int], None] = lambda _: None
) -> DataSet:
    """The same set with a student's word on what nobody judged; pictures that were judged whole stay as they are.

    Args:
        student: what knows its own classes, and objects.
        data: images with truth.
        labels: of the student to be.
        on_image: progress hook.
    """
    items = []
    for index, item in enumerate(data):
        is_whole = item.judged is None or set(labels) <= set(item.judged)
        items.append(item if is_whole else _completed(student, student.perceive(data.picture(index)), item))
        on_image(index)
    return replace(data, items=tuple(items))


def _completed(student: Student, seen: Perception, item: LabelledImage) -> LabelledImage:
    assert item.judged is not None
    known = student.manifest.labels
    unjudged = [number for number, label in enumerate(known) if label not in item.judged]
    if unjudged:
        item = _named(student, seen, item, unjudged)
    sure = seen.boxes_xyxy[seen.objectness >= OBJECTNESS]
    doubts = sure[_free(sure, item.boxes_xyxy) & _is_box(sure)]
    return _with(item, doubts, (IGNORED_LABEL,) * len(doubts), mark="doubt")


def _named(student: Student, seen: Perception, item: LabelledImage, unjudged: list[int]) -> LabelledImage:
    """What the student calls by the unjudged classes: as truth where it would report it, else to be left alone."""
    found, manifest = student.known(seen, FAINT), student.manifest
    boxes = seen.boxes_xyxy[found.rows]
    drawn = item.boxes_xyxy[~item.ignore]
    chosen = np.isin(found.classes, unjudged) & _free(boxes, drawn) & _is_box(boxes)
    is_sure = found.scores >= manifest.score_floor
    sure, faint = (np.flatnonzero(chosen & flags) for flags in (is_sure, ~is_sure))
    # What it is sure of takes the place of regions that were only to be left alone.
    item = _less(
        item, item.ignore & ~_free(item.boxes_xyxy, boxes[sure]) & np.array([not m for m in _marks(item)], bool)
    )
    item = _with(item, boxes[sure], [manifest.labels[number] for number in found.classes[sure]])
    item = _with(item, boxes[faint], (IGNORED_LABEL,) * len(faint), mark="")
    assert item.judged is not None
    return replace(item, judged=(*item.judged, *(manifest.labels[number] for number in unjudged)))


def _free(boxes: Boxes, others: Boxes) -> NDArray[np.bool_]:
    """(N,) whether none of the others is about the same thing."""
    return np.asarray(box_iou(boxes, others).max(axis=1, initial=0.0) < _SAME_IOU, dtype=np.bool_)


def _is_box(boxes: Boxes) -> NDArray[np.bool_]:
    return np.asarray(((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1), dtype=np.bool_)


def _marks(item: LabelledImage) -> tuple[Mark, ...]:
    none: Mark = ""
    return item.marks or (none,) * len(item.labels)


def _less(item: LabelledImage, out: NDArray[np.bool_]) -> LabelledImage:
    """Without some boxes."""
    kept = np.flatnonzero(~out)
    return replace(
        item,
        boxes_xyxy=item.boxes_xyxy[kept],
        labels=tuple(item.labels[i] for i in kept),
        kinds=item.kinds[kept],
        ignore=item.ignore[kept],
        marks=tuple(_marks(item)[i] for i in kept),
        things=(),
    )


def _with(item: LabelledImage, boxes: Boxes, labels: Iterable[str], mark: Mark | None = None) -> LabelledImage:
    """With some boxes more: truth, or ignored ones that have a mark, if only an empty one."""
    named, none = tuple(labels), ("" if mark is None else mark)
    return replace(
        item,
        boxes_xyxy=np.concatenate([item.boxes_xyxy, boxes]).astype(np.float32),
        labels=(*item.labels, *named),
        kinds=np.concatenate([item.kinds, np.full(len(named), -1, np.int64)]),
        ignore=np.concatenate([item.ignore, np.full(len(named), mark is not None)]),
        marks=(*_marks(item), *(none,) * len(named)),
        things=(),
    )
