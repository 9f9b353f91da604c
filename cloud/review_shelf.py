"""What people answer, from whichever process, until the running server has used it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.database import Database
from cloud.errors import ReviewedMeanwhile
from cloud.tables import ReviewRow

BoxXyxy: TypeAlias = tuple[float, float, float, float]
Scope: TypeAlias = Literal["craft", "mission", "fleet"]


@dataclass(frozen=True)
class Review:
    """One person's answer to one case.

    Attributes:
        review_id: number in this store; 0 before it is kept.
        craft: whose case.
        case_id: which case.
        label: what a prompt is made of, and what boxes without a label of their own hold; may be empty where neither
            is.
        boxes_xyxy: full-frame pixels; none says that nothing of the kind is there.
        scope: who may use the prompt.
        reviewer: who answered.
        made_at_s: wall time.
        labels: what each box holds; by default all hold `label`.
        negatives_xyxy: hard negatives, full-frame pixels: what looks like the thing and is none.
        makes_prompt: whether the boxes of `label` become a prompt.
    """

    craft: str
    case_id: str
    label: str
    boxes_xyxy: tuple[BoxXyxy, ...]
    scope: Scope
    reviewer: str
    made_at_s: float
    review_id: int = 0
    labels: tuple[str, ...] = ()
    negatives_xyxy: tuple[BoxXyxy, ...] = ()
    makes_prompt: bool = True

    def __post_init__(self) -> None:
        """Give every box its label."""
        labels = self.labels or (self.label,) * len(self.boxes_xyxy)
        assert len(labels) == len(self.boxes_xyxy), (labels, self.boxes_xyxy)
        object.__setattr__(self, "labels", labels)

    @property
    def named(self) -> tuple[tuple[str, BoxXyxy], ...]:
        """Every box with its label."""
        return tuple(zip(self.labels, self.boxes_xyxy, strict=True))

    def boxes_of(self, label: str) -> tuple[BoxXyxy, ...]:
        """The boxes that hold one thing, whatever its case of letters."""
        return tuple(box for name, box in self.named if name.casefold() == label.casefold())


class ReviewShelf:
    """The review part of the store."""

    _db: Database

    def add_review(self, review: Review, seen: int | None = None) -> int:
        """Keep an answer for the server; returns its number.

        Args:
            review: the answer.
            seen: how many answers to this case the person had seen; None does not care.

        Raises:
            ReviewedMeanwhile: somebody else answered since; nothing is kept.
        """
        row = ReviewRow(
            craft=review.craft,
            case_id=review.case_id,
            label=review.label,
            boxes_json=json.dumps(review.boxes_xyxy),
            scope=review.scope,
            reviewer=review.reviewer,
            made_at_s=review.made_at_s or time.time(),
            labels_json=json.dumps(review.labels),
            negatives_json=json.dumps(review.negatives_xyxy),
            makes_prompt=review.makes_prompt,
        )
        with self._db.writing() as session:
            if seen is not None:
                _check_seen(session, review, seen)
            session.add(row)
            session.flush()
            return row.id

    def has_waiting_reviews(self) -> bool:
        """Whether somebody waits for an answer to be used; takes microseconds."""
        return bool(self._db.fetch("SELECT 1 FROM reviews WHERE state = 'waiting' LIMIT 1"))

    def waiting_reviews(self, limit: int = 100) -> list[Review]:
        """Answers that no server has used yet, oldest first."""
        query = select(ReviewRow).where(ReviewRow.state == "waiting").order_by(ReviewRow.id).limit(limit)
        with self._db.reading() as session:
            return [review_of_row(row) for row in session.scalars(query)]

    def reviews(self) -> list[Review]:
        """All answers, used or not, oldest first."""
        with self._db.reading() as session:
            return [review_of_row(row) for row in session.scalars(select(ReviewRow).order_by(ReviewRow.id))]

    def reviews_of(self, craft: str, case_id: str) -> list[Review]:
        """Every answer to one case, oldest first."""
        query = select(ReviewRow).where(ReviewRow.craft == craft, ReviewRow.case_id == case_id).order_by(ReviewRow.id)
        with self._db.reading() as session:
            return [review_of_row(row) for row in session.scalars(query)]

    def finish_review(self, review_id: int, state: Literal["done", "failed"], reason: str = "") -> None:
        """Note that an answer was used, or why it could not be."""
        with self._db.writing() as session:
            row = session.get_one(ReviewRow, review_id)
            row.state, row.reason = state, reason

    def review_outcome(self, review_id: int) -> tuple[str, str]:
        """(state, reason) of an answer: `waiting`, `done` or `failed`."""
        with self._db.reading() as session:
            row = session.get_one(ReviewRow, review_id)
            return row.state, row.reason


def _check_seen(session: Session, review: Review, seen: int) -> None:
    """Refuse an answer of somebody who has not seen the newest one."""
    about = (ReviewRow.craft == review.craft, ReviewRow.case_id == review.case_id)
    count = session.scalar(select(func.count()).select_from(ReviewRow).where(*about)) or 0
    newest = session.scalar(select(ReviewRow).where(*about).order_by(ReviewRow.id.desc()).limit(1))
    if count > seen and newest is not None:
        raise ReviewedMeanwhile(newest.reviewer, newest.made_at_s, count)


def review_of_row(row: ReviewRow) -> Review:
    """A review as it is kept."""
    return Review(
        craft=row.craft,
        case_id=row.case_id,
        label=row.label,
        boxes_xyxy=_boxes(row.boxes_json),
        scope=cast(Scope, row.scope),
        reviewer=row.reviewer,
        made_at_s=row.made_at_s,
        review_id=row.id,
        labels=tuple(json.loads(row.labels_json)),
        negatives_xyxy=_boxes(row.negatives_json),
        makes_prompt=row.makes_prompt,
    )


def _boxes(packed: str) -> tuple[BoxXyxy, ...]:
    boxes: Sequence[Sequence[float]] = json.loads(packed)
    return tuple((float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in boxes)
