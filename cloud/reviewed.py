"""What people said of cases, picture by picture: the truth that data sets are made of.

Of each case and label the newest answer counts, and it speaks for the whole picture: every thing of that label is
boxed. A thing that was called by two labels has the newer one. What the craft or the teacher called by a label that
nobody judged, and no box covers, is neither right nor wrong. An answer about a target says where one thing is, and
nothing of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from cloud.case_images import CaseImage, open_case_images
from cloud.review_shelf import BoxXyxy
from cloud.store import CaseStore, Review, StoredCase
from protocols.arrays import Boxes
from protocols.boxes import box_iou, clip_boxes
from protocols.fields import MediaType

Role: TypeAlias = Literal["thing", "hard_negative", "unjudged"]

ANY = "any"
"""Label of a hard negative that is mistaken for no label in particular."""

SAME_IOU = 0.4
"""Two boxes that overlap so much are about one thing."""

_LEAST_SIDE_PX = 1.0
"""A box of which less lies in the picture shows nothing."""


@dataclass(frozen=True)
class SaidBox:
    """One box and what is known of it.

    Attributes:
        box_xyxy: pixels; of the frame or of a picture, as its holder says.
        label: what it holds, or what a hard negative is mistaken for.
        role: `thing`; `hard_negative`, where none of the label is; `unjudged`, a machine's word alone.
        by: who said so, a person or the teacher; empty for `unjudged`.
    """

    box_xyxy: BoxXyxy
    label: str
    role: Role
    by: str = ""


@dataclass(frozen=True)
class Truth:
    """All that is known of a case, in pixels of the frame.

    Attributes:
        stored: the case.
        boxes: in the order in which they were said.
        judged: labels of which every thing in the pictures is boxed.
        by: who said so, oldest first.
        said_at_s: wall time of the newest word.
    """

    stored: StoredCase
    boxes: tuple[SaidBox, ...]
    judged: tuple[str, ...]
    by: tuple[str, ...]
    said_at_s: float


@dataclass(frozen=True)
class KnownPicture:
    """One picture of a case with what is known of it.

    Attributes:
        truth: of the case.
        number: counts the pictures of a case from 1.
        image: its pixels.
        encoded: as the craft sent it.
        media_type: of that.
        boxes: in pixels of the picture, cut to it.
    """

    truth: Truth
    number: int
    image: CaseImage
    encoded: bytes
    media_type: MediaType
    boxes: tuple[SaidBox, ...]

    @property
    def gsd_m(self) -> float | None:
        """Metres on the ground per pixel of the picture, where known."""
        pose = self.truth.stored.case.frame.pose
        return pose.gsd_m / self.image.scale_xy[0] if pose and pose.gsd_m else None


@dataclass(frozen=True)
class _Answer:
    """What one review says."""

    things: tuple[tuple[str, BoxXyxy], ...]
    negatives: tuple[tuple[str, BoxXyxy], ...]
    judged: tuple[str, ...]


def reviewed_cases(store: CaseStore, craft: str | None = None, since_s: float = 0.0) -> list[Truth]:
    """What people said, of the case reviewed first before that reviewed last.

    Args:
        store: holds the reviews.
        craft: only of its cases.
        since_s: only cases of which the newest answer is not older than this wall time.
    """
    by_case: dict[tuple[str, str], list[Review]] = {}
    for review in store.reviews():
        if craft in (None, review.craft):
            by_case.setdefault((review.craft, review.case_id), []).append(review)
    kept = ((key, reviews) for key, reviews in by_case.items() if reviews[-1].made_at_s >= since_s)
    return [_truth(store, store.load_case(case_id, of_craft), reviews) for (of_craft, case_id), reviews in kept]


def taught_cases(store: CaseStore, craft: str | None = None, since_s: float = 0.0) -> Iterator[Truth]:
    """What the teacher said of cases that no person answered and none need look at: its word, not the truth.

    Args:
        store: holds the cases.
        craft: only its cases.
        since_s: only of answers not older than this wall time.
    """
    reviewed = {(review.craft, review.case_id) for review in store.reviews()}
    for stored in store.cases_in_state("interpreted", craft):
        case = stored.case
        answer = None if case.target else store.teacher_answer(stored.craft, case.case_id)
        if answer is None or (stored.craft, case.case_id) in reviewed or answer.made_at_s < since_s:
            continue
        by = f"teacher:{answer.interpreter}"
        boxes = tuple(SaidBox(found.box_xyxy, found.label, "thing", by) for found in answer.detections)
        judged = tuple(dict.fromkeys(found.label for found in answer.detections))
        yield Truth(stored, boxes, judged, (by,), answer.made_at_s)


def known_pictures(store: CaseStore, truth: Truth) -> list[KnownPicture]:
    """The pictures of a case with the boxes that each shows.

    Raises:
        ImageryError: one does not decode.
        StoreError: the imagery is gone.
    """
    case = truth.stored.case
    payload = store.read_imagery(truth.stored)
    pairs = zip(open_case_images(case, payload), case.cut(payload), strict=True)
    return [
        KnownPicture(truth, number, image, data, case.media_type, _shown(truth.boxes, image))
        for number, (image, (_, data)) in enumerate(pairs, 1)
    ]


def _answer_of(review: Review) -> _Answer:
    """What a review says of each label; the one place that knows how a review holds it."""
    judged = dict.fromkeys(label for label in (review.label, *review.labels) if label)
    refuted = tuple((review.label or ANY, box) for box in review.negatives_xyxy)
    return _Answer(review.named, refuted, tuple(judged))


def _truth(store: CaseStore, stored: StoredCase, reviews: list[Review]) -> Truth:
    said: dict[str, list[SaidBox]] = {}
    spelled: dict[str, str] = {}
    for review in reviews:
        answer = _answer_of(review)
        said.pop(ANY, None)
        for label in answer.judged:  # the newest word on a label takes the place of the earlier ones
            spelled[label.casefold()] = label
            said[label.casefold()] = []
        for role, pairs in (("thing", answer.things), ("hard_negative", answer.negatives)):
            for label, box in pairs:
                found = SaidBox(box, label, "thing" if role == "thing" else "hard_negative", review.reviewer)
                said.setdefault(label.casefold(), []).append(found)
        _forget_renamed(said, answer)
    boxes = [box for found in said.values() for box in found]
    judged = () if stored.case.target else tuple(spelled.values())
    boxes += _unjudged(store, stored, boxes, set() if stored.case.target else set(spelled))
    by = tuple(dict.fromkeys(review.reviewer for review in reviews))
    return Truth(stored, tuple(boxes), judged, by, reviews[-1].made_at_s)


def _forget_renamed(said: dict[str, list[SaidBox]], answer: _Answer) -> None:
    """Leave out earlier boxes of things that the newest answer calls otherwise."""
    for label, found in said.items():
        others = _boxes(box for named, box in answer.things if named.casefold() != label)
        overlap = box_iou(_boxes(box.box_xyxy for box in found), others).max(axis=1, initial=0.0)
        own = {box for named, box in answer.things if named.casefold() == label}
        found[:] = [box for box, most in zip(found, overlap, strict=True) if most < SAME_IOU or box.box_xyxy in own]


def _unjudged(store: CaseStore, stored: StoredCase, said: Iterable[SaidBox], judged: set[str]) -> list[SaidBox]:
    """What machines found, called by a label that nobody judged, where no box of a person is."""
    machine = [*stored.case.detections, *store.teacher_detections(stored)]
    others = [found for found in machine if found.label.casefold() not in judged]
    overlap = box_iou(_boxes(o.box_xyxy for o in others), _boxes(s.box_xyxy for s in said)).max(axis=1, initial=0.0)
    return [
        SaidBox(found.box_xyxy, found.label, "unjudged")
        for found, most in zip(others, overlap, strict=True)
        if most < SAME_IOU
    ]


def _shown(boxes: tuple[SaidBox, ...], image: CaseImage) -> tuple[SaidBox, ...]:
    height, width = image.image.shape[:2]
    inside = clip_boxes(image.from_frame(_boxes(box.box_xyxy for box in boxes)), width, height)
    return tuple(
        SaidBox((x1, y1, x2, y2), said.label, said.role, said.by)
        for said, (x1, y1, x2, y2) in zip(boxes, inside.tolist(), strict=True)
        if min(x2 - x1, y2 - y1) >= _LEAST_SIDE_PX
    )


def _boxes(boxes: Iterable[BoxXyxy]) -> Boxes:
    return np.array(list(boxes), np.float32).reshape(-1, 4)
