"""One index over the data sets we read: images, boxes, labels, kinds and ignore regions.

Layouts are told apart by their files, in this order: a cloud's data folder (`skyloop.sqlite`; see `cases.py`), COCO
JSON as renders write it (`annotations.json`, images beside it or in `images/`), HIT-UAV (`annotations/<split>.json`),
YOLO (`*.names`, and a text file beside each image; see `yolo.py`), Pascal VOC (an XML file beside each image; see
`voc.py`), tables of boxes (`*.csv`; see `box_tables.py`), and images alone.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.box_tables import read_box_tables
from distill.errors import DataSetError
from distill.labelled import (
    PLAIN,
    LabelledImage,
    Mark,
    Reading,
    clipped,
    facts_of,
    image_files,
    known_of,
    read_image,
    read_picture,
)
from distill.voc import read_voc
from distill.yolo import names_file, read_yolo
from edge.raster import Picture, RasterImage
from protocols.arrays import ImageArray

__all__ = ["IGNORED_LABEL", "NOVEL_LABEL", "DataSet", "LabelledImage", "Reading", "read_data_set", "read_image"]

CASES_NAME = "skyloop.sqlite"
"""What tells a cloud's data folder."""

IGNORED_LABEL = "DontCare"
"""HIT-UAV's label of things that are neither right nor wrong to detect."""

_MARKS: dict[str, Mark] = {"refuted": "refuted", "doubt": "doubt"}

NOVEL_LABEL = "Novel"
"""Rendered random objects: they teach objectness, boxes and the embedding, never a class."""


@dataclass(frozen=True)
class DataSet:
    """Labelled images with their decoded pixels close at hand.

    Attributes:
        name: of the set and its split.
        items: the images.
        reading: how their files become pixels.
    """

    name: str
    items: tuple[LabelledImage, ...]
    _pixels: dict[Path, Picture] = field(default_factory=dict, compare=False, repr=False)
    reading: Reading = PLAIN

    def __len__(self) -> int:
        return len(self.items)

    def image(self, index: int) -> ImageArray:
        """Pixels of one item: (H, W) uint8 gray or (H, W, n) uint8 of the bands it is read with.

        Raises:
            DataSetError: the file does not decode, or is smaller than its boxes say.
        """
        picture = self.picture(index)
        return picture.whole() if isinstance(picture, RasterImage) else picture

    def picture(self, index: int) -> Picture:
        """As `image`, but a raster that is too large to hold is left on the disk, to be sliced."""
        item = self.items[index]
        pixels = self._pixels.get(item.path)
        return self._read(item) if pixels is None else pixels

    def view(self, index: int, side_px: int, rng: np.random.Generator) -> ImageArray:
        """As `image`, but of a raster that is too large to hold a random window of this side."""
        picture = self.picture(index)
        if not isinstance(picture, RasterImage):
            return picture
        left, top = (int(rng.integers(max(side - side_px, 0) + 1)) for side in picture.shape[1::-1])
        return picture[top : top + side_px, left : left + side_px]

    def preload(self) -> None:
        """Decode every image once and keep it, but for large rasters, so that training never waits for a decoder."""
        paths = [item.path for item in self.items]
        with ThreadPoolExecutor(2) as pool:
            self._pixels.update(zip(paths, pool.map(self._read, self.items), strict=True))

    def _read(self, item: LabelledImage) -> Picture:
        """An item's pixels, once they are seen to hold its boxes: an annotation may give another size than the file."""
        picture = read_picture(item.path, self.reading)
        height, width = picture.shape[:2]
        beyond = item.boxes_xyxy[(item.boxes_xyxy > (width, height, width, height)).any(axis=1)]
        if len(beyond):
            raise DataSetError(
                f"{item.path}: is {width}x{height}, its annotation has a box to {beyond[0, 2]:g}, {beyond[0, 3]:g}; "
                "put the image there that was annotated, or correct the size that the annotation gives"
            )
        return picture

    def without_labels(self, left_out: Iterable[str]) -> DataSet:
        """This set without *every image* that holds one of the labels."""
        forbidden = set(left_out)
        kept = tuple(item for item in self.items if forbidden.isdisjoint(item.labels))
        return replace(self, items=kept)

    def judging(self, labels: Collection[str]) -> DataSet:
        """This set with the truth of each image known to be whole for these labels alone, where it does not say so."""
        whole = tuple(labels)
        return replace(self, items=tuple(i if i.judged is not None else replace(i, judged=whole) for i in self.items))

    def of_scale(self, least_m: float, most_m: float) -> DataSet:
        """The images of so many metres per pixel.

        Raises:
            DataSetError: no image is, or an image does not say.
        """
        for item in self.items:
            if item.gsd_m is None:
                raise DataSetError(
                    f"{item.path}: has no CRS, so that its metres per pixel are not known; assign one "
                    "(`rio edit-info --crs EPSG:N`), or leave out gsd_m"
                )
        kept = tuple(item for item in self.items if item.gsd_m is not None and least_m <= item.gsd_m <= most_m)
        if not kept:
            raise DataSetError(f"{self.name}: gsd_m {least_m:g} to {most_m:g} leaves no image; widen it")
        return replace(self, items=kept)

    def named(self, patterns: Iterable[str]) -> DataSet:
        """The images whose file names match one of the shell patterns (`DJI_0005*`); none given keeps them all.

        Raises:
            DataSetError: a pattern matches no image.
        """
        wanted = list(patterns)
        names = [item.path.name for item in self.items]
        for pattern in wanted:
            if not fnmatch.filter(names, pattern):
                raise DataSetError(f"{self.name}: no image is called {pattern!r}; the first is {names[0]}")
        kept = [i for i in self.items if not wanted or any(fnmatch.fnmatch(i.path.name, p) for p in wanted)]
        return replace(self, items=tuple(kept))

    def check_shows(self, labels: Collection[str]) -> None:
        """Refuse to score labels of which none has a box, unless nothing has one: then there is the time to measure.

        Raises:
            DataSetError: none of them has one, and others have; or there is no label.
        """
        held = {name for item in self.items for name, out in zip(item.labels, item.ignore, strict=True) if not out}
        if not labels or (held and held.isdisjoint(labels)):
            raise DataSetError(
                f"{self.name}: no box is called {', '.join(labels) or 'nothing'}, they are called "
                f"{', '.join(sorted(held)) or 'nothing either'}; give --labels so"
            )

    def __iter__(self) -> Iterator[LabelledImage]:
        return iter(self.items)


def read_data_set(folder: Path, split: str, reading: Reading = PLAIN) -> DataSet:
    """The data set in a folder.

    Args:
        folder: a cloud's data folder (its reviewed cases), a HIT-UAV folder (holds `annotations/`), a COCO folder
            (holds `annotations.json`), a YOLO folder (holds a `.names` file), a VOC folder (holds `.xml` files), a
            folder of `.csv` tables of boxes or one of these, or a folder of images: nothing is known about what they
            show, so that they neither teach nor count but in distillation.
        split: HIT-UAV: `train` (less dev), `dev` or `val`; other folders are one split, whatever it is called here.
        reading: how the files become pixels.

    Raises:
        DataSetError: the folder is neither, its JSON is damaged, or the split is unknown or empty.
    """
    if not folder.exists():
        raise DataSetError(f"{folder}: is not there; check --data, or render it with `skyloop-sim render --out`")
    if (folder / CASES_NAME).is_file():
        from distill.cases import read_cases

        items, pixels = read_cases(folder, reading)
        data_set = DataSet(folder.name, tuple(items), pixels)
    elif (folder / "annotations.json").is_file():
        data_set = DataSet(folder.name, tuple(_read_coco(folder / "annotations.json", _images_in(folder), "file_name")))
    elif (folder / "annotations").is_dir():
        data_set = DataSet(f"{folder.name}/{split}", tuple(_read_hit_uav(folder, split)))
    elif names := names_file(folder):
        data_set = DataSet(folder.name, tuple(read_yolo(folder, names)))
    elif files := sorted(folder.glob("*.xml")):
        data_set = DataSet(folder.name, tuple(read_voc(files)))
    elif tables := _tables(folder):
        data_set = DataSet(folder.stem, tuple(read_box_tables(tables)))
    elif images := image_files(folder):
        data_set = DataSet(folder.name, tuple(_unlabelled(number, path) for number, path in enumerate(images)))
    else:
        raise DataSetError(
            f"{folder}: holds no annotations.json (COCO), no annotations/ (HIT-UAV), no .names file (YOLO), no .xml "
            "files (VOC), no .csv tables and no images; check the path"
        )
    if not data_set.items:
        raise DataSetError(f"{folder}: split {split!r} holds no image; choose another split")
    return replace(data_set, reading=reading)


def _tables(path: Path) -> list[Path]:
    return [path] if path.suffix == ".csv" and path.is_file() else sorted(path.glob("*.csv"))


def _images_in(folder: Path) -> Path:
    return folder / "images" if (folder / "images").is_dir() else folder


def _unlabelled(number: int, path: Path) -> LabelledImage:
    """An image that is one ignore region from edge to edge."""
    facts = facts_of(path)
    everything = np.array([[0, 0, facts.width, facts.height]], np.float32)
    nothing = (IGNORED_LABEL,), np.array([-1], np.int64), np.array([True])
    return LabelledImage(path, everything, *nothing, number, facts.bands, facts.gsd_m)


def _read_hit_uav(folder: Path, split: str) -> Iterator[LabelledImage]:
    if split not in ("train", "dev", "val"):
        raise DataSetError(f"split {split!r} of {folder} is unknown; choose train, dev or val")
    part = "val" if split == "val" else "train"
    items = _read_coco(folder / "annotations" / f"{part}.json", folder / part, "filename")
    if split == "val":
        yield from items
        return
    try:
        dev_groups = set((folder / "dev_groups.txt").read_text().split())
    except OSError as exc:
        raise DataSetError(
            f"{folder}/dev_groups.txt: cannot be read ({exc.strerror}); it tells train from dev"
        ) from exc
    for item in items:
        group = item.path.stem.rsplit("_", 1)[0]
        if (group in dev_groups) == (split == "dev"):
            yield item


def _read_coco(path: Path, images: Path, file_key: str) -> list[LabelledImage]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise DataSetError(f"{path}: no readable COCO JSON ({exc}); restore the file") from exc
    try:
        return list(_images_of(content, images, file_key))
    except (KeyError, TypeError, ValueError) as exc:
        what = f"no {exc}" if isinstance(exc, KeyError) else str(exc)
        raise DataSetError(f"{path}: not laid out as COCO ({what}); restore the file") from exc


def _images_of(content: Any, images: Path, file_key: str) -> Iterator[LabelledImage]:  # noqa: ANN401 - decoded JSON
    names = {c["id"]: c["name"] for c in content["categories"]}
    if not all(isinstance(name, str) and name.strip() for name in names.values()):
        raise ValueError("a category has no name")
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    # HIT-UAV spells the key `annotation`.
    for annotation in content.get("annotations") or content.get("annotation") or []:
        if annotation["category_id"] not in names:
            raise ValueError(f"a box has the category {annotation['category_id']}, which `categories` does not name")
        by_image[annotation["image_id"]].append(annotation)
    for image in content["images"]:
        yield _labelled(image, by_image[image["id"]], names, images / image[file_key])


def _labelled(
    image: dict[str, Any], annotations: list[dict[str, Any]], names: dict[int, str], path: Path
) -> LabelledImage:
    xywh = np.array([a["bbox"] for a in annotations], np.float32).reshape(len(annotations), 4)
    if not np.isfinite(xywh).all():
        raise ValueError(f"image {image['id']} has a box that is not finite")
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    xyxy, unseen = clipped(xyxy, image["width"], image["height"])
    labels = tuple(names[a["category_id"]] for a in annotations)
    marked = [bool(a.get("ignore", 0) or a.get("iscrowd", 0)) for a in annotations]
    ignore = np.array(marked, bool) | np.array([name == IGNORED_LABEL for name in labels], bool) | unseen
    kinds = [a.get("kind", -1) if name == NOVEL_LABEL else -1 for a, name in zip(annotations, labels, strict=True)]
    bands, gsd_m = known_of(path)
    judged = image.get("judged")
    # Renders number the things of each world.
    told = "world" in image and all("object_id" in a for a in annotations)
    return LabelledImage(
        path,
        xyxy,
        labels,
        np.array(kinds, np.int64),
        ignore,
        int(image["id"]),
        bands=image.get("bands", bands),
        gsd_m=image.get("gsd_m", gsd_m),
        things=tuple(f"{image['world']}/{a['object_id']}" for a in annotations) if told else (),
        judged=None if judged is None else tuple(map(str, judged)),
        marks=tuple(_MARKS.get(a.get("mark", ""), "") for a in annotations),
        scale=float(image.get("image_scale", 1.0)),
        said_at_s=image.get("said_at_s"),
    )
