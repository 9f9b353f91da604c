"""Data sets as Pascal VOC tools write them: an XML file beside each image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from distill.errors import DataSetError
from distill.labelled import LabelledImage, clipped, facts_of, known_of
from distill.words import in_our_words

MAX_XML_BYTES = 16_000_000


def read_voc(files: list[Path]) -> Iterator[LabelledImage]:
    """The labelled images of some annotation files, in the order given.

    What lies outside the image is cut off. Boxes run from `xmin` to `xmax` as they stand: tools do not agree whether
    they count pixels from 0 or from 1.
    Objects marked `difficult` neither teach nor count, as in VOC's own scoring.

    Args:
        files: each names its image, which lies beside it.

    Raises:
        DataSetError: a file is damaged or names no image that is there.
    """
    for number, path in enumerate(files):
        root = _root(path)
        image = path.parent / Path(root.findtext("filename") or path.with_suffix(".jpg").name).name
        if not image.is_file():
            raise DataSetError(f"{path}: names {image.name}, which is not beside it; put it there")
        objects = root.findall("object")
        bands, gsd_m = known_of(image)
        boxes = np.array([_box(path, item) for item in objects], np.float32).reshape(-1, 4)
        boxes, unseen = clipped(boxes, *_size(root, image))
        yield LabelledImage(
            path=image,
            boxes_xyxy=boxes,
            labels=tuple(_label(path, item) for item in objects),
            kinds=np.full(len(objects), -1, np.int64),
            ignore=np.array([item.findtext("difficult") == "1" for item in objects], bool) | unseen,
            image_id=number,
            bands=bands,
            gsd_m=gsd_m,
        )


def _root(path: Path) -> ElementTree.Element:
    if path.stat().st_size > MAX_XML_BYTES:
        raise DataSetError(f"{path}: larger than {MAX_XML_BYTES // 1_000_000} MB; no annotation is; remove it")
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - expat itself bounds the expansion of entities
    except ElementTree.ParseError as exc:
        raise DataSetError(f"{path}: no XML ({exc}); restore the file") from exc
    if root.tag != "annotation":
        raise DataSetError(f"{path}: its root is <{root.tag}>, VOC's is <annotation>; take it out of the folder")
    return root


def _size(root: ElementTree.Element, image: Path) -> tuple[int, int]:
    """Width and height in pixels: as the annotation says, else as the image is."""
    sides = [root.findtext(f"size/{side}") or "" for side in ("width", "height")]
    if all(side.isdecimal() and int(side) > 0 for side in sides):
        return int(sides[0]), int(sides[1])
    facts = facts_of(image)
    return facts.width, facts.height


def _label(path: Path, item: ElementTree.Element) -> str:
    label = in_our_words(item.findtext("name") or "")
    if not label:
        raise DataSetError(f"{path}: an object has no name; give it one")
    return label


def _box(path: Path, item: ElementTree.Element) -> list[float]:
    sides = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x1, y1, x2, y2 = box = [float(side or "") for side in sides]
    except ValueError as exc:
        raise DataSetError(f"{path}: an object's box is {sides}; give it xmin, ymin, xmax and ymax") from exc
    if not (np.isfinite(box).all() and x1 < x2 and y1 < y2):
        raise DataSetError(f"{path}: an object's box is {sides}; its right must lie right of its left, and so down")
    return box
