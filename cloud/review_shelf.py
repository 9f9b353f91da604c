"""What people answer, from whichever process, until the running server has used it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from sqlalchemy import select

from cloud.database import Database
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
        label: what the boxes hold.
        boxes_xyxy: full-frame pixels; none says that nothing of the kind is there.
        scope: who may use the prompt.
        reviewer: who answered.
        made_at_s: wall time.
    """

    craft: str
    case_id: str
    label: str
    boxes_xyxy: tuple[BoxXyxy, ...]
    scope: Scope
    reviewer: str
    made_at_s: float
    review_id: int = 0


class ReviewShelf:
    """The review part of the store."""

    _db: Database

    def add_review(self, review: Review) -> int:
        """Keep an answer for the server; returns its number."""
        row = ReviewRow(
            craft=review.craft,
            case_id=review.case_id,
            label=review.label,
            boxes_json=json.dumps(review.boxes_xyxy),
            scope=review.scope,
            reviewer=review.reviewer,
            made_at_s=review.made_at_s or time.time(),
        )
        with self._db.writing() as session:
            session.add(row)
            session.flush()
            return row.id

    def waiting_reviews(self, limit: int = 100) -> list[Review]:
        """Answers that no server has used yet, oldest first."""
        query = select(ReviewRow).where(ReviewRow.state == "waiting").order_by(ReviewRow.id).limit(limit)
        with self._db.reading() as session:
            return [_review(row) for row in session.scalars(query)]

    def reviews(self) -> list[Review]:
        """All answers, used or not, oldest first."""
        with self._db.reading() as session:
            return [_review(row) for row in session.scalars(select(ReviewRow).order_by(ReviewRow.id))]

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


def _review(row: ReviewRow) -> Review:
    boxes: Sequence[Sequence[float]] = json.loads(row.boxes_json)
    return Review(
        craft=row.craft,
        case_id=row.case_id,
        label=row.label,
        boxes_xyxy=tuple((float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in boxes),
        scope=cast(Scope, row.scope),
        reviewer=row.reviewer,
        made_at_s=row.made_at_s,
        review_id=row.id,
    )
