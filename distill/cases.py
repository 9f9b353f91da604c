"""Cases that a person reviewed, as a data set: read from a cloud's data folder, also while the cloud runs.

What a person says of a label counts for the whole picture (`cloud/reviewed.py`): the boxes are the truth, and what the
craft or the teacher called so elsewhere is background. Of other labels nothing is known where no box is (`judged`), and
what a machine called by one of them is an ignore region.

Pictures of one frame may overlap. Where answers to them contradict each other, the newest wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud.case_images import CaseImage
from cloud.reviewed import SAME_IOU, KnownPicture, SaidBox, Truth, known_pictures, reviewed_cases
from cloud.store import CaseStore
from distill.dataset import IGNORED_LABEL
from distill.errors import DataSetError
from distill.labelled import LabelledImage, Reading, fitted
from edge.raster import Picture
from protocols.arrays import Boxes
from protocols.boxes import box_iou
from protocols.errors import ImageryError

MAX_HELD_BYTES = 4 * 2**30
"""Of decoded pictures, all of which are held at once: 160 of 4K in colour, 13 000 of 640 x 512 in gray."""


def read_cases(folder: Path, reading: Reading) -> tuple[list[LabelledImage], dict[Path, Picture]]:
    """The reviewed cases of a cloud's data folder, last reviewed last, and their pixels at the scale of the frame.

    Args:
        folder: `--data` of the cloud.
        reading: how imagery becomes pixels.

    Raises:
        DataSetError: no case is reviewed, a picture does not decode or fit the network, or they are too many to hold.
        StoreError: the folder cannot be read.
    """
    items: list[LabelledImage] = []
    pixels: dict[Path, Picture] = {}
    held_bytes = 0
    with closing(CaseStore(folder)) as store:
        truths = sorted(reviewed_cases(store), key=lambda truth: truth.said_at_s)
        for number, truth in enumerate(truths):
            for picture in _pictures(store, _corrected(truth, truths[number + 1 :])):
                path, image = _path_of(store, picture), picture.image.at_frame_scale()
                items.append(_labelled(len(items), path, picture, image))
                pixels[path] = fitted(path, image.image, reading)
                held_bytes += image.image.nbytes
                check_held(folder, held_bytes)
    if not items:
        raise DataSetError(f"{folder}: no case is reviewed; answer some with `skyloop-cloud review`")
    return items, pixels


def check_held(folder: Path, held_bytes: int) -> None:
    """Refuse more decoded pictures than memory is sure to hold, before the system ends the program for it.

    Raises:
        DataSetError: they are more.
    """
    if held_bytes > MAX_HELD_BYTES:
        raise DataSetError(
            f"{folder}: its reviewed pictures take more than {MAX_HELD_BYTES / 2**30:.3g} GiB decoded; export fewer "
            "(`skyloop-cloud export --craft` or `--since`) and learn from those"
        )


def _path_of(store: CaseStore, picture: KnownPicture) -> Path:
    """Where the imagery lies; of a case of several pictures each has a name of its own."""
    file = store.imagery_path(picture.truth.stored)
    return file if picture.number == 1 else file.with_name(f"{file.name}-{picture.number}")


def _pictures(store: CaseStore, truth: Truth) -> list[KnownPicture]:
    """Of a case of which retention dropped the imagery, none."""
    if not truth.stored.has_imagery:
        return []
    try:
        return known_pictures(store, truth)
    except ImageryError as exc:
        where, case_id = store.imagery_path(truth.stored), truth.stored.case.case_id
        raise DataSetError(f"{where}: imagery of case {case_id}: {exc}; restore the data folder") from exc


def _frame_of(truth: Truth) -> tuple[str, str, int, float]:
    frame = truth.stored.case.frame
    return truth.stored.craft, frame.source_id, frame.index, frame.captured_at_s


def _corrected(truth: Truth, newer: Iterable[Truth]) -> Truth:
    """What is known of a case, as far as newer answers to other pictures of its frame do not know better."""
    for other in newer:
        if _frame_of(other) == _frame_of(truth) and other.judged:
            truth = replace(truth, boxes=_merged(truth, other))
    return truth


def _merged(truth: Truth, newer: Truth) -> tuple[SaidBox, ...]:
    regions = _boxes(part.region_xyxy for part in newer.stored.case.parts)
    things = [box for box in newer.boxes if box.role == "thing"]
    ours, theirs = ({label.casefold() for label in labels} for labels in (truth.judged, newer.judged))
    boxes = _boxes(box.box_xyxy for box in truth.boxes)
    seen_again = _within(boxes, regions)
    named_again = box_iou(boxes, _boxes(thing.box_xyxy for thing in things)).max(axis=1, initial=0.0) >= SAME_IOU
    kept = [
        box
        for box, again, named in zip(truth.boxes, seen_again, named_again, strict=True)
        if not (again and (named or box.label.casefold() in theirs))
    ]
    return (*kept, *(thing for thing in things if thing.label.casefold() in ours))


def _within(boxes: Boxes, regions: Boxes) -> NDArray[np.bool_]:
    """(N,) whether the middle of each box lies in one of the regions."""
    middles = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    inside = np.logical_and.reduce((middles >= regions[None, :, :2]) & (middles <= regions[None, :, 2:]), axis=2)
    return np.asarray(np.logical_or.reduce(inside, axis=1), dtype=np.bool_)


def _boxes(boxes: Iterable[tuple[float, float, float, float]]) -> Boxes:
    return np.array(list(boxes), np.float32).reshape(-1, 4)


def _labelled(number: int, path: Path, picture: KnownPicture, image: CaseImage) -> LabelledImage:
    """A picture with what people and machines told about it; `image` is the same at the scale of the frame."""
    said: Sequence[SaidBox] = picture.boxes
    things = [box.role == "thing" for box in said]
    pose = picture.truth.stored.case.frame.pose
    return LabelledImage(
        path=path,
        boxes_xyxy=image.from_frame(picture.image.to_frame(_boxes(box.box_xyxy for box in said))),
        labels=tuple(IGNORED_LABEL if box.role == "unjudged" else box.label for box in said),
        kinds=np.full(len(said), -1, np.int64),
        ignore=~np.array(things, bool),
        image_id=number,
        bands=1 if image.image.ndim == 2 else 3,
        gsd_m=pose.gsd_m / image.scale_xy[0] if pose and pose.gsd_m else None,
        judged=picture.truth.judged,
        marks=tuple("refuted" if box.role == "hard_negative" else "" for box in said),
        said_at_s=picture.truth.said_at_s,
    )
