"""Data sets as tables of boxes: CSV files with `image_path,xmin,ymin,xmax,ymax,label`, images beside them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from distill.errors import DataSetError
from distill.labelled import LabelledImage, clipped, facts_of
from distill.words import in_our_words

COLUMNS = ("image_path", "xmin", "ymin", "xmax", "ymax", "label")
_NOTHING = [0.0, 0.0, 0.0, 0.0]
"""A row whose numbers are all 0 says that its image shows nothing."""


def read_box_tables(files: list[Path]) -> Iterator[LabelledImage]:
    """The labelled images of some tables, in the order they first appear; other columns do not matter.

    Args:
        files: each lies beside the images it names.

    Raises:
        DataSetError: a table is damaged, lacks a column, or names an image that is not there or a box that cannot be.
    """
    found: dict[Path, list[tuple[list[float], str]]] = {}
    for file in files:
        for image, box, label in _rows(file):
            rows = found.setdefault(image, [])
            rows += [(box, label)] if box != _NOTHING else []
    for number, (image, rows) in enumerate(found.items()):
        facts = facts_of(image)
        boxes, unseen = clipped(
            np.array([box for box, _ in rows], np.float32).reshape(-1, 4), facts.width, facts.height
        )
        labels = tuple(label for _, label in rows)
        kinds = np.full(len(rows), -1, np.int64)
        yield LabelledImage(image, boxes, labels, kinds, unseen, number, facts.bands, facts.gsd_m)


def _rows(file: Path) -> Iterator[tuple[Path, list[float], str]]:
    try:
        with file.open(newline="", encoding="utf-8") as text:
            table = csv.DictReader(text)
            if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
                raise DataSetError(f"{file}: lacks the columns {', '.join(missing)}; add them, or take the file away")
            for row in table:
                yield _row(file, table.line_num, row)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataSetError(f"{file}: no readable table ({exc}); restore the file") from exc


def _row(file: Path, line: int, row: dict[str, str]) -> tuple[Path, list[float], str]:
    image = file.parent / Path(row["image_path"] or "").name
    if not image.is_file():
        raise DataSetError(f"{file}:{line}: names {row['image_path']!r}, which is not beside it; put it there")
    try:
        x1, y1, x2, y2 = box = [float(row[name]) for name in COLUMNS[1:5]]
    except (TypeError, ValueError) as exc:
        raise DataSetError(f"{file}:{line}: xmin, ymin, xmax and ymax are not four numbers; repair the line") from exc
    label = in_our_words(row["label"] or "")
    if not label or not (box == _NOTHING or (np.isfinite(box).all() and x1 < x2 and y1 < y2)):
        raise DataSetError(f"{file}:{line}: wants a label, and a box with its right right of its left; repair the line")
    return image, box, label
