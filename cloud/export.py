"""Reviewed cases as a data set on disk: COCO, or YOLO, with where every picture and word came from.

What people boxed is truth. Hard negatives and what nobody judged stand beside it as regions that neither teach nor
count (`iscrowd` and `ignore`, as COCO's own tools read them), hard negatives with `mark: "refuted"`. YOLO's files
cannot say either; there they stand in `provenance.jsonl`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from cloud.errors import CloudError, RequestError
from cloud.reviewed import KnownPicture, SaidBox, Truth, known_pictures
from cloud.store import CaseStore
from edge.durable import sync_folder, write_durably
from protocols.errors import ImageryError
from protocols.imagery import encode_image

Layout: TypeAlias = Literal["coco", "yolo"]

UNJUDGED = "DontCare"
"""HIT-UAV's category of things that are neither right nor wrong to detect; `distill/` knows it."""

_SUFFIX = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        pictures: files.
        boxes: of things, by label.
        hard_negatives: regions where none of a label is.
        unjudged: regions of which nobody knows.
        left_out: one line for each case that has no picture.
    """

    pictures: int = 0
    boxes: dict[str, int] = field(default_factory=dict)
    hard_negatives: int = 0
    unjudged: int = 0
    left_out: tuple[str, ...] = ()


class _Writer(Protocol):
    """Writes one layout into a folder that is not yet in its place."""

    def add(self, picture: KnownPicture, name: str) -> None:
        """Keep what is known of a picture whose file of this name is written."""
        ...

    def finish(self) -> None:
        """Write what stands for all of them."""
        ...


def export(
    store: CaseStore,
    cases: Sequence[Truth],
    out: Path,
    layout: Layout,
    *,
    licence: str,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Exported:
    """Write cases as a data set: all of it, or nothing.

    Args:
        store: holds their imagery.
        cases: what is known of them.
        out: a folder that is not there yet.
        layout: see the module.
        licence: of the imagery, as its owner states it.
        advance: told of how many cases, of how many, are done.

    Raises:
        RequestError: the folder is there, or no case has a picture.
        CloudError: the disk is full or read-only; nothing is left of it.
    """
    left_out: list[str] = []
    with _in_place_when_done(out) as folder:
        writer: _Writer = _Coco(folder, licence) if layout == "coco" else _Yolo(folder, licence)
        told = _Tally()
        for done, truth in enumerate(cases, 1):
            try:
                pictures = known_pictures(store, truth)
            except (ImageryError, CloudError) as exc:
                left_out.append(f"case {truth.stored.case.case_id} of {truth.stored.craft} is left out: {exc}")
                pictures = []
            for picture in pictures:
                writer.add(picture, _write_picture(picture, _images_folder(folder, layout)))
                told.add(picture)
            advance(done, len(cases))
        if not told.pictures:
            raise RequestError(
                "; ".join(left_out[:1]) or "no case is reviewed; answer some with `skyloop-cloud review` or the console"
            )
        writer.finish()
    return Exported(told.pictures, dict(sorted(told.boxes.items())), told.hard, told.unjudged, tuple(left_out))


def _images_folder(folder: Path, layout: Layout) -> Path:
    """Where the pictures of a layout lie: YOLO's beside their text files."""
    return folder / "images" if layout == "coco" else folder


class _Tally:
    """Counts of what is written."""

    def __init__(self) -> None:
        self.pictures = self.hard = self.unjudged = 0
        self.boxes: dict[str, int] = {}

    def add(self, picture: KnownPicture) -> None:
        self.pictures += 1
        for box in picture.boxes:
            self.hard += box.role == "hard_negative"
            self.unjudged += box.role == "unjudged"
            if box.role == "thing":
                self.boxes[box.label] = self.boxes.get(box.label, 0) + 1


class _Labels:
    """Numbers of labels in the order in which they first came; the first spelling of one counts."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.names: list[str] = []

    def number(self, label: str) -> int:
        if label.casefold() not in self._numbers:
            self._numbers[label.casefold()] = len(self.names)
            self.names.append(label)
        return self._numbers[label.casefold()]


class _Coco:
    """`annotations.json` and `images/`."""

    def __init__(self, folder: Path, licence: str) -> None:
        self._folder, self._licence, self._labels = folder, licence, _Labels()
        self._images: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, picture: KnownPicture, name: str) -> None:
        """See `_Writer`."""
        number = len(self._images) + 1
        height, width = picture.image.image.shape[:2]
        size = {"file_name": name, "width": width, "height": height, "license": 1}
        self._images.append({"id": number, **size, **_provenance(picture)})
        for box in picture.boxes:
            self._rows.append({"id": len(self._rows) + 1, "image_id": number, **self._row(box)})

    def _row(self, box: SaidBox) -> dict[str, Any]:
        x, y, width, height = _xywh(box)
        is_thing = box.role == "thing"
        label = UNJUDGED if box.role == "unjudged" else box.label
        row = {
            "category_id": self._labels.number(label) + 1,
            "bbox": [x, y, width, height],
            "area": round(width * height, 2),
            "segmentation": [],
            "iscrowd": int(not is_thing),
            "ignore": int(not is_thing),
            "by": box.by,
        }
        if box.role == "hard_negative":
            return row | {"mark": "refuted", "hard_negative": True}
        return row if is_thing else row | {"called": box.label}

    def finish(self) -> None:
        """See `_Writer`."""
        categories = [{"id": at, "name": name, "supercategory": ""} for at, name in enumerate(self._labels.names, 1)]
        content = {
            "info": {"description": "Cases reviewed in skyloop", "version": "1"},
            "licenses": [{"id": 1, "name": self._licence, "url": ""}],
            "images": self._images,
            "annotations": self._rows,
            "categories": categories,
        }
        _write(self._folder / "annotations.json", json.dumps(content, ensure_ascii=False).encode())


class _Yolo:
    """A text file beside each picture, `skyloop.names`, and `data.yaml` as trainers of YOLO models read it."""

    def __init__(self, folder: Path, licence: str) -> None:
        self._folder, self._licence, self._labels = folder, licence, _Labels()
        self._provenance: list[str] = []

    def add(self, picture: KnownPicture, name: str) -> None:
        """See `_Writer`."""
        height, width = picture.image.image.shape[:2]
        lines, others = [], []
        for box in picture.boxes:
            x, y, w, h = _xywh(box)
            if box.role == "thing":
                place = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                lines.append(f"{self._labels.number(box.label)} " + " ".join(f"{min(v, 1.0):.6f}" for v in place))
            else:
                others.append({"role": box.role, "label": box.label, "bbox": [x, y, w, h], "by": box.by})
        _write((self._folder / name).with_suffix(".txt"), "".join(f"{line}\n" for line in lines).encode())
        told = {"file_name": name, **_provenance(picture), "license": self._licence, "other_regions": others}
        self._provenance.append(json.dumps(told, ensure_ascii=False))

    def finish(self) -> None:
        """See `_Writer`."""
        names = self._labels.names
        _write(self._folder / "skyloop.names", "".join(f"{name}\n" for name in names).encode())
        # A JSON string is a YAML one: labels cannot break out of it.
        listed = "".join(f"  {at}: {json.dumps(name, ensure_ascii=False)}\n" for at, name in enumerate(names))
        _write(self._folder / "data.yaml", f"path: .\ntrain: .\nval: .\nnames:\n{listed or '  {}'}".encode())
        _write(self._folder / "provenance.jsonl", "".join(f"{line}\n" for line in self._provenance).encode())


def _provenance(picture: KnownPicture) -> dict[str, Any]:
    """Where a picture came from, who said what it shows, and when."""
    truth, case = picture.truth, picture.truth.stored.case
    part = case.parts[picture.number - 1]
    pose = case.frame.pose
    return {
        "craft": truth.stored.craft,
        "case_id": case.case_id,
        "source_id": case.frame.source_id,
        "frame_index": case.frame.index,
        "captured_at_s": case.frame.captured_at_s,
        "frame_size": [case.frame.width, case.frame.height],
        "region_xyxy": list(part.region_xyxy),
        "image_scale": picture.image.scale_xy[0],
        "gsd_m": picture.gsd_m,
        "pose": pose.model_dump(exclude_none=True) if pose else None,
        "sent_as": picture.media_type,
        "judged": list(truth.judged),
        "by": list(truth.by),
        "said_at_s": truth.said_at_s,
    }


def _xywh(box: SaidBox) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box.box_xyxy
    return round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)


def _write_picture(picture: KnownPicture, folder: Path) -> str:
    """Write a picture as the craft sent it, or as PNG where no viewer could read that; returns its name."""
    stored = picture.truth.stored
    suffix = _SUFFIX.get(picture.media_type)
    data = picture.encoded if suffix else encode_image(picture.image.image, "image/png")
    number = f"-{picture.number}" if picture.number > 1 else ""
    name = f"{stored.craft}-{stored.case.case_id}{number}{suffix or '.png'}"
    _write(folder / name, data)
    return name


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content, sync_parent=False)
    except OSError as exc:
        raise CloudError(f"{path}: cannot be written ({exc.strerror}); free some space or give another --out") from exc


@contextmanager
def _in_place_when_done(out: Path) -> Iterator[Path]:
    """A new folder that takes its place only when all is in it; what fails or is interrupted leaves nothing.

    Raises:
        RequestError: there is something at its place already.
        CloudError: it cannot be made.
    """
    if out.exists() or out.is_symlink():
        raise RequestError(f"{out}: is there already; give a new folder, nothing is overwritten")
    folder = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True)
        yield folder
        sync_folder(folder)
        folder.rename(out)
        sync_folder(out.parent)
    except OSError as exc:
        raise CloudError(f"{out}: cannot be written ({exc.strerror}); check the folder and its disk") from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)
