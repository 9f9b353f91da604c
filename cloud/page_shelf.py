"""Lists of the store, newest first and a page at a time, whatever their length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from cloud.case_filter import CaseFilter
from cloud.database import Database
from cloud.review_shelf import Review, review_of_row
from cloud.tables import CaseRow, InterpretationRow, ReviewRow
from protocols.values import Interpretation


@dataclass(frozen=True)
class ListedAnswer:
    """An interpretation in a list.

    Attributes:
        row_id: its number in the store; another one takes its place when a person answers anew.
        craft: whom it is for.
        interpretation: what was said.
        is_delivered: whether the craft has it.
    """

    row_id: int
    craft: str
    interpretation: Interpretation
    is_delivered: bool


@dataclass(frozen=True)
class ListedReview:
    """A review in a list, with what became of it.

    Attributes:
        review: what a person said.
        state: `waiting`, `done` or `failed`.
        reason: of the state, readable.
    """

    review: Review
    state: str
    reason: str


class PageShelf:
    """The part of the store that lists."""

    _db: Database

    def case_page(self, wanted: CaseFilter, before: int | None, limit: int) -> list[int]:
        """Row numbers of cases, newest first.

        Args:
            wanted: which.
            before: only smaller row numbers: the last of the page before.
            limit: at most this many.
        """
        query = _paged(select(CaseRow.id).where(*wanted.conditions()), CaseRow.id, before, limit)
        with self._db.reading() as session:
            return list(session.scalars(query))

    def newest_case_rows(self) -> list[int]:
        """The row number of each craft's newest case."""
        with self._db.reading() as session:
            return list(session.scalars(select(func.max(CaseRow.id)).group_by(CaseRow.craft)))

    def newest_answers_s(self) -> dict[str, float]:
        """The wall time at which the newest answer for each craft was made; a craft without one is missing."""
        newest = select(func.max(InterpretationRow.id)).group_by(InterpretationRow.craft)
        made = func.json_extract(InterpretationRow.interpretation_json, "$.made_at_s")
        query = select(InterpretationRow.craft, made).where(InterpretationRow.id.in_(newest))
        with self._db.reading() as session:
            return {craft: float(at_s) for craft, at_s in session.execute(query)}

    def answer_page(
        self, craft: str | None, by: str | None, before: int | None, limit: int, case_id: str | None = None
    ) -> list[ListedAnswer]:
        """Interpretations, newest first.

        Args:
            craft: only for it.
            by: only of `teacher` or `person`.
            before: only smaller row numbers.
            limit: at most this many.
            case_id: only of this case, and then of a craft.
        """
        query = _paged(select(InterpretationRow), InterpretationRow.id, before, limit)
        wanted = ((InterpretationRow.craft, craft), (InterpretationRow.by, by), (InterpretationRow.case_id, case_id))
        for column, value in wanted:
            query = query if value is None else query.where(column == value)
        with self._db.reading() as session:
            rows = session.scalars(query).all()
        read = Interpretation.model_validate_json
        return [ListedAnswer(row.id, row.craft, read(row.interpretation_json), row.is_delivered) for row in rows]

    def review_page(self, craft: str | None, state: str | None, before: int | None, limit: int) -> list[ListedReview]:
        """Reviews, newest first; see `answer_page`."""
        query = _paged(select(ReviewRow), ReviewRow.id, before, limit)
        for column, value in ((ReviewRow.craft, craft), (ReviewRow.state, state)):
            query = query if value is None else query.where(column == value)
        with self._db.reading() as session:
            return [_listed(row) for row in session.scalars(query)]

    def listed_review(self, number: int) -> ListedReview | None:
        """One review; None where there is none of the number."""
        with self._db.reading() as session:
            row = session.get(ReviewRow, number)
            return None if row is None else _listed(row)


def _paged(query: Select[Any], column: Any, before: int | None, limit: int) -> Select[Any]:  # noqa: ANN401 - a column
    query = query.order_by(column.desc()).limit(limit)
    return query if before is None else query.where(column < before)


def _listed(row: ReviewRow) -> ListedReview:
    return ListedReview(review_of_row(row), row.state, row.reason)
