"""Which cases a person should look at first, page by page, whatever the number of cases."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from sqlalchemy import func, select, tuple_

from cloud.case_filter import CaseFilter
from cloud.database import Database
from cloud.errors import RequestError
from cloud.tables import CaseRow

_PLACE = re.compile(r"(\d(?:\.\d{1,20})?(?:e-\d{1,3})?)~(\d{1,18})")


@dataclass(frozen=True)
class QueuePlace:
    """Where in the queue a case stands.

    Attributes:
        row_id: its number in the store.
        value: what a look at it is worth, 0..1.
    """

    row_id: int
    value: float

    def __str__(self) -> str:
        """As it travels in an address."""
        return f"{self.value!r}~{self.row_id}"


def parse_place(text: str) -> QueuePlace:
    """A place from an address.

    Raises:
        RequestError: it is none.
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        raise RequestError(f"after={text[:40]!r} is no place in the queue; go back to its first page")
    return QueuePlace(int(found[2]), float(found[1]))


class QueueShelf:
    """The part of the store that puts cases into order for people."""

    _db: Database

    def queue(self, wanted: CaseFilter, after: QueuePlace | None = None, limit: int = 50) -> list[QueuePlace]:
        """Places of the cases worth most, best first, newer ones first among equals.

        A page begins after the last place of the one before, so that new cases push none over the border.

        Args:
            wanted: which cases.
            after: the place that the page before ended with.
            limit: at most this many.
        """
        query = select(CaseRow.id, CaseRow.value).where(*wanted.conditions())
        if after is not None:
            query = query.where(tuple_(CaseRow.value, CaseRow.id) < (after.value, after.row_id))
        query = query.order_by(CaseRow.value.desc(), CaseRow.id.desc()).limit(limit)
        with self._db.reading() as session:
            return [QueuePlace(row_id, value) for row_id, value in session.execute(query).all()]

    def queue_before(self, wanted: CaseFilter, before: QueuePlace) -> QueuePlace | None:
        """The place right before one; None where that is the first."""
        query = select(CaseRow.id, CaseRow.value).where(*wanted.conditions())
        query = query.where(tuple_(CaseRow.value, CaseRow.id) > (before.value, before.row_id))
        query = query.order_by(CaseRow.value, CaseRow.id).limit(1)
        with self._db.reading() as session:
            return next((QueuePlace(row_id, value) for row_id, value in session.execute(query).all()), None)

    def count_states(self) -> dict[str, int]:
        """How many cases are in each state."""
        query = select(CaseRow.state, func.count()).group_by(CaseRow.state)
        with self._db.reading() as session:
            return {state: count for state, count in session.execute(query)}

    def case_labels(self) -> list[str]:
        """Every name that anybody gave to anything in any case, in the alphabet's order."""
        with self._db.reading() as session:
            packed = session.scalars(select(CaseRow.labels_json).distinct())
            return sorted({label for text in packed for label in json.loads(text)})
