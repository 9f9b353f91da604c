"""Reviewed cases as a data set: from several folders, each picture once, labels spelled as the student spells them.

What comes out is a COCO folder beside the run, so that what was trained on stays when the cloud forgets its cases.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from distill.cases import check_held
from distill.dataset import DataSet, read_data_set
from distill.errors import DataSetError
from distill.files import write_whole
from distill.labelled import LabelledImage, Reading
from protocols.arrays import ImageArray

_LEAST_SCALE, _MAX_PIXELS = 0.05, 50_000_000
"""What no case is smaller or larger than."""

_CODEC_STEPS = 3
"""Bands of a gray picture differ by so much at most after WebP or JPEG (1 was seen at WebP 20)."""


@dataclass(frozen=True)
class Reviewed:
    """What people said.

    Attributes:
        data: the pictures, last reviewed last, each once.
        duplicates: how many pictures came more than once; the newest word about each is kept.
        gray: how many of the pictures have no colour.
    """

    data: DataSet
    duplicates: int
    gray: int

    def boxes(self) -> Counter[str]:
        """How many boxes each label has."""
        return Counter(
            name for item in self.data for name, out in zip(item.labels, item.ignore, strict=True) if not out
        )

    def record(self) -> dict[str, Any]:
        """For the manifest: pictures, and boxes by label."""
        told = {"pictures": len(self.data), "gray": self.gray, "duplicates": self.duplicates}
        return told | {"boxes": dict(sorted(self.boxes().items()))}


def gather(folders: Sequence[Path], reading: Reading, known: Sequence[str], rename: Mapping[str, str]) -> Reviewed:
    """The reviewed pictures of several folders.

    Args:
        folders: data folders of clouds, or what they exported (any labelled data set: docs/data.md); where two hold one
            picture, the later one's word counts.
        reading: how imagery becomes pixels.
        known: the student's labels, which decide how a label is spelled.
        rename: other names, by how the reviews have them; case does not matter.

    Raises:
        DataSetError: a folder cannot be read, no picture says anything, or they are too many to hold decoded.
        StoreError: a cloud's data folder cannot be opened.
    """
    spelled = _Spelling(known, rename)
    newest: dict[str, tuple[LabelledImage, ImageArray]] = {}
    seen = held_bytes = 0
    for folder in folders:
        data = read_data_set(folder, "all", reading)
        for index, item in enumerate(data):
            said, pixels = _at_frame_scale(spelled.item(item), _without_colour_noise(data.image(index)))
            if not said.judged and said.ignore.all():
                continue
            seen += 1
            digest = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
            if digest in newest and _is_newer(newest[digest][0], said):
                continue
            newest.pop(digest, None)
            newest[digest] = (said, pixels)
            held_bytes += pixels.nbytes
            check_held(folder, held_bytes)
    if not newest:
        raise DataSetError(f"{', '.join(map(str, folders))}: no picture has a reviewed box; review some cases first")
    items = tuple(replace(item, image_id=number) for number, (item, _) in enumerate(newest.values()))
    held = {item.path: pixels for item, (_, pixels) in zip(items, newest.values(), strict=True)}
    gray = sum(pixels.ndim == 2 for pixels in held.values())
    return Reviewed(DataSet("cases", items, dict(held), reading), seen - len(items), gray)


def _is_newer(a: LabelledImage, b: LabelledImage) -> bool:
    """Whether the word on one picture is known to be newer than that on another."""
    return a.said_at_s is not None and b.said_at_s is not None and a.said_at_s > b.said_at_s


def _at_frame_scale(item: LabelledImage, pixels: ImageArray) -> tuple[LabelledImage, ImageArray]:
    """A picture as large as the frame it was cut from, where things are as large as the student will see them."""
    if item.scale == 1.0:
        return item, pixels
    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
    if not _LEAST_SCALE <= item.scale <= 1 / _LEAST_SCALE or np.prod(pixels.shape[:2]) / item.scale**2 > _MAX_PIXELS:
        raise DataSetError(f"{item.path}: image_scale {item.scale:g} of {size} pixels is none; correct the annotations")
    shape = tuple(max(round(side / item.scale), 1) for side in pixels.shape[:2])
    resized = np.asarray(cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    ratio = np.array([shape[1] / pixels.shape[1], shape[0] / pixels.shape[0]] * 2, np.float32)
    gsd_m = None if item.gsd_m is None else item.gsd_m * item.scale
    return replace(item, boxes_xyxy=item.boxes_xyxy * ratio, scale=1.0, gsd_m=gsd_m), resized


def _without_colour_noise(pixels: ImageArray) -> ImageArray:
    """Gray pictures as gray, though a codec made three bands of them that differ by rounding."""
    if pixels.ndim == 3 and pixels.shape[2] == 3 and int(np.ptp(pixels, axis=2).max(initial=0)) <= _CODEC_STEPS:
        return np.ascontiguousarray(pixels[..., 1])
    return pixels


class _Spelling:
    """One spelling of each label: the student's, else the first that was met."""

    def __init__(self, known: Iterable[str], rename: Mapping[str, str]) -> None:
        self._spelled = {label.casefold(): label for label in known}
        self._rename = {old.casefold(): new for old, new in rename.items()}

    def label(self, label: str) -> str:
        renamed = self._rename.get(label.casefold(), label)
        return self._spelled.setdefault(renamed.casefold(), renamed)

    def item(self, item: LabelledImage) -> LabelledImage:
        """The same with its labels spelled so; without a word on it, the labels that have boxes were judged."""
        labels = tuple(self.label(name) for name in item.labels)
        drawn = [name for name, out in zip(labels, item.ignore, strict=True) if not out]
        judged = drawn if item.judged is None else map(self.label, item.judged)
        return replace(item, labels=labels, judged=tuple(dict.fromkeys(judged)))


def write_reviewed(reviewed: Reviewed, folder: Path) -> None:
    """Keep the pictures and what is known of them as a COCO folder, its annotations last.

    Raises:
        DistillError: the disk is full.
    """
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    names = sorted({name for item in reviewed.data for name in item.labels})
    for index, item in enumerate(reviewed.data):
        pixels = reviewed.data.image(index)
        file = f"{index:05d}{_suffix(pixels)}"
        write_whole(folder / "images" / file, _encoded(pixels))
        size = {"height": pixels.shape[0], "width": pixels.shape[1]}
        images.append({"id": index, "file_name": file, **size, "judged": item.judged, "gsd_m": item.gsd_m})
        images[-1]["said_at_s"] = item.said_at_s
        rows += [{"id": len(rows) + at, "image_id": index, **row} for at, row in enumerate(_rows(item, names))]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    content = {"images": images, "annotations": rows, "categories": categories}
    write_whole(folder / "annotations.json", json.dumps(content).encode())


def _rows(item: LabelledImage, names: Sequence[str]) -> list[dict[str, Any]]:
    marks = item.marks or ("",) * len(item.labels)
    return [
        {
            "category_id": names.index(label),
            "bbox": [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
            "area": round(float((x2 - x1) * (y2 - y1)), 2),
            "iscrowd": 0,
            "ignore": int(out),
            "mark": mark,
        }
        for (x1, y1, x2, y2), label, out, mark in zip(item.boxes_xyxy, item.labels, item.ignore, marks, strict=True)
    ]


def _suffix(pixels: ImageArray) -> str:
    return ".png" if pixels.ndim == 2 or pixels.shape[2] == 3 else ".npy"


def _encoded(pixels: ImageArray) -> bytes:
    if _suffix(pixels) == ".png":
        return cv2.imencode(".png", pixels)[1].tobytes()
    buffer = BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()
