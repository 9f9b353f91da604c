"""Data sets as YOLO tools write them: a text file of relative boxes beside each image, and a file of class names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from distill.errors import DataSetError
from distill.labelled import LabelledImage, clipped, facts_of, image_files
from distill.words import in_our_words
from protocols.arrays import FloatArray


def names_file(folder: Path) -> Path | None:
    """The file of class names of a YOLO folder; None where there is none."""
    return next((path for path in sorted(folder.glob("*.names"))), None)


def read_yolo(folder: Path, names: Path) -> Iterator[LabelledImage]:
    """The labelled images of a folder, in the order of their names.

    Args:
        folder: holds `NAME.jpg` (or another image) and `NAME.txt`: class, x and y of the middle, width, height on each
            line, relative to the image. An image without a text file shows nothing.
        names: one class name on each line.

    Raises:
        DataSetError: a file is damaged, or names a class or a box that there cannot be.
    """
    labels = [in_our_words(name) for name in _lines(names) if name.strip()]
    if not labels:
        raise DataSetError(f"{names}: names no class; write one on each line")
    for number, path in enumerate(image_files(folder)):
        facts = facts_of(path)
        boxes, classes = _read_boxes(path.with_suffix(".txt"), len(labels))
        scale = np.array([facts.width, facts.height] * 2, np.float32)
        xyxy = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1) * scale
        inside, unseen = clipped(xyxy, facts.width, facts.height)
        yield LabelledImage(
            path=path,
            boxes_xyxy=inside,
            labels=tuple(labels[index] for index in classes),
            kinds=np.full(len(classes), -1, np.int64),
            ignore=unseen,
            image_id=number,
            bands=facts.bands,
            gsd_m=facts.gsd_m,
        )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise DataSetError(f"{path}: no readable text ({exc}); restore the file") from exc


def _read_boxes(path: Path, class_count: int) -> tuple[FloatArray, list[int]]:
    """(N, 4) relative middle and size, and class indices."""
    if not path.exists():
        return np.zeros((0, 4), np.float32), []
    rows = []
    for line, text in enumerate(_lines(path), start=1):
        try:
            index, *box = (float(part) for part in text.split())
        except ValueError as exc:
            raise DataSetError(
                f"{path}:{line}: {text[:40]!r} is not `class x y width height`; repair the line"
            ) from exc
        is_inside = len(box) == 4 and all(0 <= v <= 1 for v in box)
        if not (is_inside and index.is_integer() and 0 <= index < class_count):
            raise DataSetError(
                f"{path}:{line}: {text[:40]!r} wants a class below {class_count}, four numbers from 0 to 1; repair it"
            )
        rows.append((int(index), box))
    return np.array([box for _, box in rows], np.float32).reshape(-1, 4), [index for index, _ in rows]
