"""Cases that a person reviewed, as a data set: read from a cloud's data folder, also while the cloud runs.

What a person says of a label counts for the whole picture, since a review boxes every thing of that label: the newest
answer's boxes are the truth, and what the craft or the teacher called so elsewhere is background. Of other labels
nothing is known where no box is (`judged`), and what a machine called by one of them is an ignore region.

Where answers contradict each other the newest wins: of one case and label, of one thing that was called by two labels,
and of two pictures of one frame, as far as they overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud.case_images import CaseImage, open_case_images
from cloud.store import CaseStore, Review, StoredCase
from distill.dataset import IGNORED_LABEL
from distill.errors import DataSetError
from distill.labelled import LabelledImage, Reading, fitted
from edge.raster import Picture
from protocols.arrays import Boxes
from protocols.boxes import box_iou, clip_boxes
from protocols.errors import ImageryError
from protocols.values import Detection

_SAME_IOU = 0.4
"""Two boxes that overlap so much are about one thing."""


@dataclass(frozen=True)
class _Verdict:
    """What a review says of one label, in pixels of the frame."""

    stored: StoredCase
    label: str
    boxes_xyxy: Boxes

    @property
    def regions_xyxy(self) -> Boxes:
        """(K, 4) what the person was shown."""
        return _boxes(part.region_xyxy for part in self.stored.case.parts)


def read_cases(folder: Path, reading: Reading) -> tuple[list[LabelledImage], dict[Path, Picture]]:
    """The reviewed cases of a cloud's data folder, last reviewed last, and their pixels at the scale of the frame.

    Args:
        folder: `--data` of the cloud.
        reading: how imagery becomes pixels.

    Raises:
        DataSetError: no case is reviewed, or a picture does not decode or fit the network.
        StoreError: the folder cannot be read.
    """
    items: list[LabelledImage] = []
    pixels: dict[Path, Picture] = {}
    with closing(CaseStore(folder)) as store:
        for frame in _by_frame(store, store.reviews()):
            for stored in {(v.stored.craft, v.stored.case.case_id): v.stored for v in frame}.values():
                file = store.imagery_path(stored)
                said = list(_said(frame, stored))
                machine = [*stored.case.detections, *store.teacher_detections(stored)]
                for number, sent in enumerate(_images(store, stored, file), 1):
                    path, image = _part_path(file, number), sent.at_frame_scale()
                    items.append(_labelled(len(items), path, image, stored, (said, machine)))
                    pixels[path] = fitted(path, image.image, reading)
    if not items:
        raise DataSetError(f"{folder}: no case is reviewed; answer some with `skyloop-cloud review`")
    return items, pixels


def _part_path(file: Path, number: int) -> Path:
    return file if number == 1 else file.with_name(f"{file.name}-{number}")


def _by_frame(store: CaseStore, reviews: Iterable[Review]) -> list[list[_Verdict]]:
    """Verdicts in the order in which they were given, frame by frame; the frame reviewed last comes last."""
    cases: dict[tuple[str, str], StoredCase] = {}
    frames: dict[tuple[str, str, int, float], list[_Verdict]] = {}
    for review in reviews:
        key = (review.craft, review.case_id)
        if key not in cases:
            cases[key] = store.load_case(review.case_id, review.craft)
        frame = cases[key].case.frame
        place = (review.craft, frame.source_id, frame.index, frame.captured_at_s)
        frames[place] = [*frames.pop(place, []), _Verdict(cases[key], review.label, _boxes(review.boxes_xyxy))]
    return list(frames.values())


def _said(frame: Sequence[_Verdict], stored: StoredCase) -> Iterator[_Verdict]:
    """The newest verdict on each label of a case, less what newer ones on the same frame contradict."""
    own = {
        verdict.label.casefold(): number
        for number, verdict in enumerate(frame)
        if verdict.stored.case.case_id == stored.case.case_id
    }
    for label, number in own.items():
        boxes = frame[number].boxes_xyxy
        for newer in frame[number + 1 :]:
            if newer.label.casefold() != label:
                boxes = boxes[box_iou(boxes, newer.boxes_xyxy).max(axis=1, initial=0.0) < _SAME_IOU]
            elif newer.stored is not stored:
                boxes = np.concatenate([boxes[~_within(boxes, newer.regions_xyxy)], newer.boxes_xyxy])
        yield _Verdict(stored, frame[number].label, boxes)


def _within(boxes: Boxes, regions: Boxes) -> NDArray[np.bool_]:
    """(N,) whether the middle of each box lies in one of the regions."""
    middles = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    inside: NDArray[np.bool_] = np.logical_and.reduce(
        (middles >= regions[None, :, :2]) & (middles <= regions[None, :, 2:]), axis=2
    )
    return np.asarray(np.logical_or.reduce(inside, axis=1), dtype=np.bool_)


def _images(store: CaseStore, stored: StoredCase, path: Path) -> list[CaseImage]:
    try:
        return open_case_images(stored.case, store.read_imagery(stored))
    except ImageryError as exc:
        raise DataSetError(f"{path}: imagery of case {stored.case.case_id}: {exc}; restore the data folder") from exc


def _truth(image: CaseImage, said: list[_Verdict], machine: list[Detection]) -> Iterator[tuple[Boxes, str]]:
    """Boxes in pixels of the image with their label; unjudged ones are `IGNORED_LABEL`."""
    judged = {verdict.label.casefold() for verdict in said}
    drawn = np.concatenate([verdict.boxes_xyxy for verdict in said])
    for verdict in said:
        yield image.from_frame(verdict.boxes_xyxy), verdict.label
    others = _boxes(found.box_xyxy for found in machine if found.label.casefold() not in judged)
    apart = box_iou(others, drawn).max(axis=1, initial=0.0) < _SAME_IOU
    yield image.from_frame(others[apart]), IGNORED_LABEL


def _boxes(boxes: Iterable[tuple[float, float, float, float]]) -> Boxes:
    return np.array(list(boxes), np.float32).reshape(-1, 4)


def _labelled(
    number: int, path: Path, image: CaseImage, stored: StoredCase, told: tuple[list[_Verdict], list[Detection]]
) -> LabelledImage:
    """A picture with what people and machines told about it."""
    parts = list(_truth(image, *told))
    height, width = image.image.shape[:2]
    boxes = clip_boxes(np.concatenate([boxes for boxes, _ in parts]), width, height)
    labels = tuple(label for boxes, label in parts for _ in range(len(boxes)))
    visible = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    ignored = np.array([label == IGNORED_LABEL for label in labels], bool)
    pose = stored.case.frame.pose
    return LabelledImage(
        path=path,
        boxes_xyxy=boxes,
        labels=labels,
        kinds=np.full(len(labels), -1, np.int64),
        ignore=ignored | ~visible,
        image_id=number,
        bands=1 if image.image.ndim == 2 else 3,
        gsd_m=pose.gsd_m / image.scale_xy[0] if pose and pose.gsd_m else None,
        judged=tuple(verdict.label for verdict in told[0]),
    )
