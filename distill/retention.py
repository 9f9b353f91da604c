"""What a fine-tuned student still knows: AP50 of every old class before and after, on data held out from both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from distill.dataset import DataSet
from distill.evaluate import coco_scores, detect_all, truths_of
from edge.student import Student

MAX_CLASS_LOSS = 0.01
"""Of AP50, for every old class on every held-out set that shows it."""

LEAST_BOXES = 20
"""With fewer boxes one of them decides: such a class is not judged on that set."""


def retention(before: Student, after: Student, held_out: Sequence[DataSet]) -> dict[str, Any]:
    """Compare two students class by class.

    Args:
        before: whose labels are the old classes.
        after: knows them too, and perhaps more.
        held_out: sets that neither was trained on.

    Returns:
        `sets`, by name (`NAME (2)` for another of that name) and label `boxes`, `before` and `after` (AP50; `before` is
        None for a new class); `faults`, one line each; and `passed`.
    """
    sets: dict[str, dict[str, dict[str, Any]]] = {}
    for name, data in zip(_told_apart([data.name for data in held_out]), held_out, strict=True):
        sets[name] = _compared(before, after, data)
    faults = [
        f"{label} fell from {row['before']:.3f} to {row['after']:.3f} on {name}"
        for name, rows in sets.items()
        for label, row in rows.items()
        if row["before"] is not None and row["boxes"] >= LEAST_BOXES and row["after"] < row["before"] - MAX_CLASS_LOSS
    ]
    seen = {label for rows in sets.values() for label, row in rows.items() if row["boxes"] >= LEAST_BOXES}
    faults += [
        f"no held-out set shows {LEAST_BOXES} boxes of {label}, so nobody knows what it lost; name one in held_out"
        for label in before.manifest.labels
        if label not in seen
    ]
    return {"max_loss": MAX_CLASS_LOSS, "passed": not faults, "faults": faults, "sets": sets}


def _told_apart(names: Sequence[str]) -> list[str]:
    """The same names, numbered where two sets in different folders are called alike."""
    told: list[str] = []
    for name in names:
        numbered = (f"{name} ({number})" for number in count(2))
        told.append(name if name not in told else next(new for new in numbered if new not in told))
    return told


def _compared(before: Student, after: Student, data: DataSet) -> dict[str, dict[str, Any]]:
    """For each label of the new student that the set shows; old ones scored alike, new ones beside all."""
    (earlier, _), (later, _) = (detect_all(student, data) for student in (before, after))
    old, all_labels, truths = before.manifest.labels, after.manifest.labels, truths_of(data)
    was, kept, learnt = (
        coco_scores(truths, found, labels)["ap50"]
        for found, labels in ((earlier, old), (later, old), (later, all_labels))
    )
    return {
        label: {"boxes": boxes, "before": was.get(label), "after": (kept if label in old else learnt)[label]}
        for label in all_labels
        if (boxes := _count(data, label))
    }


def _count(data: DataSet, label: str) -> int:
    return sum(name == label for item in data for name, out in zip(item.labels, item.ignore, strict=True) if not out)
