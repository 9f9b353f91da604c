"""What may go when the data folder grows too old or too large, and its going: in small steps, never what waits.

A case is *spare* once it is answered or failed, its answers are delivered, and no prompt in force, target, request
for a better picture or review refers to it. Cases that people reviewed are what students are taught with: they count
as spare only where that is asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, exists, func, select, text, update
from sqlalchemy.orm import Session

from cloud.database import Database
from cloud.imagery_files import ImageryFiles
from cloud.tables import CaseRow, EventRow, ForgottenRow, InterpretationRow, RefinementRow, ReviewRow, TargetRow
from cloud.target_shelf import FINISHED

_SPARE_STATES = ("failed", "interpreted")
"""In the order in which they go; then `reviewed`, where that is asked for."""


@dataclass(frozen=True)
class Spare:
    """Which cases may go.

    Attributes:
        needed: ids of cases that a prompt in force or a target refers to.
        with_reviewed: whether cases that people reviewed may go, too: the last of all.
    """

    needed: frozenset[str] = frozenset()
    with_reviewed: bool = False

    @property
    def states(self) -> tuple[str, ...]:
        """States of cases that may go, those to go first at the head."""
        return (*_SPARE_STATES, "reviewed") if self.with_reviewed else _SPARE_STATES


@dataclass(frozen=True)
class Gone:
    """What one step took away.

    Attributes:
        count: things.
        freed_bytes: of imagery.
    """

    count: int = 0
    freed_bytes: int = 0

    def __add__(self, other: Gone) -> Gone:
        return Gone(self.count + other.count, self.freed_bytes + other.freed_bytes)


class RetentionShelf:
    """The part of the store that lets go."""

    _db: Database
    _files: ImageryFiles

    def imagery_bytes(self) -> int:
        """Bytes of imagery kept; of an index alone, so that a million cases take some ten milliseconds."""
        return int(self._db.fetch("SELECT coalesce(sum(imagery_bytes), 0) FROM cases WHERE imagery_bytes > 0")[0][0])

    def case_count(self) -> int:
        """Cases that have a row."""
        return int(self._db.fetch("SELECT count(*) FROM cases")[0][0])

    def target_cases(self) -> set[str]:
        """Ids of the cases in whose pictures people drew targets that are not over."""
        query = select(TargetRow.order_json).where(TargetRow.state.not_in(FINISHED))
        with self._db.reading() as session:
            orders = [json.loads(order) for order in session.scalars(query)]
        return {order["seen_in"]["case_id"] for order in orders if (order.get("seen_in") or {}).get("case_id")}

    def spare_imagery(self, spare: Spare, before_s: float | None = None) -> Gone:
        """Imagery that may go, or that of cases received before a wall time; nothing is changed."""
        held = select(func.count(), func.coalesce(func.sum(CaseRow.imagery_bytes), 0)).where(CaseRow.imagery_bytes > 0)
        with self._db.reading() as session:
            return _total(Gone(*session.execute(held.where(*_free(spare, s, before_s))).one()) for s in spare.states)

    def oldest_imagery(self, spare: Spare, since_s: float | None, excess: int) -> Gone:
        """The oldest imagery that would go so that so many bytes are freed; nothing is changed.

        Args:
            spare: which may go.
            since_s: only of cases received from this wall time on.
            excess: bytes, more than 0.
        """
        gone = Gone()
        size = CaseRow.imagery_bytes
        for state in spare.states:
            held = [size > 0, *_free(spare, state), *([] if since_s is None else [CaseRow.received_at_s >= since_s])]
            before = func.sum(size).over(order_by=(CaseRow.received_at_s, CaseRow.id)) - size
            rows = select(size.label("size"), before.label("before")).where(*held).subquery()
            taken = select(func.count(), func.coalesce(func.sum(rows.c.size), 0))
            with self._db.reading() as session:
                left = excess - gone.freed_bytes
                gone += Gone(*session.execute(taken.where(rows.c.before < left)).one())
        return gone

    def spare_cases(self, spare: Spare, before_s: float | None = None) -> int:
        """Cases that may go, or those received before a wall time; nothing is changed."""
        rows = select(func.count()).select_from(CaseRow)
        with self._db.reading() as session:
            return sum(session.scalar(rows.where(*_free(spare, s, before_s))) or 0 for s in spare.states)

    def drop_imagery(self, spare: Spare, limit: int, *, before_s: float | None = None, excess: int = 0) -> Gone:
        """Drop imagery of the oldest cases that may go; their rows stay.

        Args:
            spare: which may.
            limit: at most so many cases: the step takes the write lock for some milliseconds.
            before_s: only of cases received before this wall time.
            excess: without `before_s`, stop when so many bytes are freed.
        """
        for state in spare.states:
            ids = self._oldest(spare, state, limit, before_s, CaseRow.imagery_bytes > 0)
            if before_s is None:
                ids = _until(ids, excess)
            if ids and (gone := self._drop(spare, state, [row.id for row in ids])).count:
                return gone
        return Gone()

    def forget_cases(self, spare: Spare, limit: int, *, before_s: float | None = None) -> Gone:
        """Take away the oldest cases that may go, with imagery, answers and reviews; their digests stay.

        Args:
            spare: which may.
            limit: at most so many.
            before_s: only those received before this wall time.
        """
        for state in spare.states:
            ids = [row.id for row in self._oldest(spare, state, limit, before_s)]
            if ids and (gone := self._forget(spare, state, ids)).count:
                return gone
        return Gone()

    def forget_rows(self, table: str, column: str, before_s: float, limit: int) -> Gone:
        """Delete rows of a table that are older than a wall time, at most `limit`."""
        query = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {column} < ? LIMIT ?)"  # noqa: S608 - of our own
        with self._db.writing() as session:
            return Gone(session.connection().exec_driver_sql(query, (before_s, limit)).rowcount)

    def forget_events(self, keep: int, limit: int) -> Gone:
        """Delete the oldest events over a number, at most `limit`."""
        query = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= ? ORDER BY id LIMIT ?)"
        with self._db.writing() as session:
            newest = session.scalar(select(func.max(EventRow.id))) or 0
            return Gone(session.connection().exec_driver_sql(query, (newest - keep, limit)).rowcount)

    def count_events_over(self, keep: int) -> int:
        """How many events there are over a number."""
        return max(int(self._db.fetch("SELECT count(*) FROM events")[0][0]) - keep, 0)

    def count_rows(self, table: str, column: str, before_s: float) -> int:
        """How many rows of a table are older than a wall time."""
        with self._db.reading() as session:
            query = f"SELECT count(*) FROM {table} WHERE {column} < ?"  # noqa: S608 - names of our own
            return int(session.connection().exec_driver_sql(query, (before_s,)).scalar_one())

    def find_orphans(self, prefix: str, older_than_s: float) -> list[Path]:
        """Imagery files of one of the 256 folders that no case claims, as a crash leaves them.

        Args:
            prefix: the folder's name, two hex digits.
            older_than_s: a younger file may be one whose row is about to come.
        """
        files = self._files.older_files(prefix, older_than_s)
        if not files:
            return []
        with self._db.reading() as session:
            claimed = _claimed(session, self._files, prefix)
        return [path for path in files if path not in claimed]

    def remove_orphans(self, prefix: str, older_than_s: float, limit: int) -> Gone:
        """Take such files away, at most `limit`."""
        orphans = self.find_orphans(prefix, older_than_s)[:limit]
        if not orphans:
            return Gone()
        # Cases write their files while they hold this lock: none of these can become a case's in between.
        with self._db.writing() as session:
            claimed = _claimed(session, self._files, prefix)
            again = set(self._files.older_files(prefix, older_than_s))
            doomed = [path for path in orphans if path in again and path not in claimed]
            freed = sum(path.stat().st_size for path in doomed)
            self._files.remove(doomed)
        return Gone(len(doomed), freed)

    def _oldest(
        self, spare: Spare, state: str, limit: int, before_s: float | None, *further: ColumnElement[bool]
    ) -> Sequence[Any]:
        """(id, imagery_bytes) of cases that may go; read without the write lock, so that looking holds nobody up."""
        query = select(CaseRow.id, CaseRow.imagery_bytes).where(*_free(spare, state, before_s), *further)
        with self._db.reading() as session:
            return session.execute(query.order_by(CaseRow.received_at_s, CaseRow.id).limit(limit)).all()

    def _drop(self, spare: Spare, state: str, ids: list[int]) -> Gone:
        with self._db.writing() as session:
            rows = _still_free(session, spare, state, ids)
            session.execute(update(CaseRow).where(CaseRow.id.in_([r.id for r in rows])).values(imagery_bytes=0))
        # After the commit: a crash in between leaves files without a claim, which are collected as orphans.
        self._files.remove(self._files.path(row.craft, row.case_id) for row in rows)
        return Gone(len(rows), sum(row.imagery_bytes for row in rows))

    def _forget(self, spare: Spare, state: str, ids: list[int]) -> Gone:
        now_s = time.time()
        with self._db.writing() as session:
            rows = _still_free(session, spare, state, ids)
            for row in rows:
                key = {"craft": row.craft, "case_id": row.case_id}
                session.merge(ForgottenRow(**key, payload_sha256=row.payload_sha256, forgotten_at_s=now_s))
            keys = [{"of_craft": row.craft, "of_case": row.case_id} for row in rows]
            if keys:
                for table in (InterpretationRow, RefinementRow, ReviewRow):
                    is_its = (table.craft == bindparam("of_craft")) & (table.case_id == bindparam("of_case"))
                    session.connection().execute(delete(table).where(is_its), keys)
            session.execute(delete(CaseRow).where(CaseRow.id.in_([row.id for row in rows])))
        held = [row for row in rows if row.imagery_bytes]
        self._files.remove(self._files.path(row.craft, row.case_id) for row in held)
        return Gone(len(rows), sum(row.imagery_bytes for row in held))


def _total(parts: Iterable[Gone]) -> Gone:
    return sum(parts, Gone())


def _until(rows: Sequence[Any], excess: int) -> list[Any]:
    """The rows at the head that together free so much."""
    taken = []
    for row in rows:
        if excess <= 0:
            break
        taken.append(row)
        excess -= row.imagery_bytes
    return taken


def _still_free(session: Session, spare: Spare, state: str, ids: list[int]) -> Sequence[Any]:
    """The cases among these that may go now that nobody else writes."""
    columns = CaseRow.id, CaseRow.craft, CaseRow.case_id, CaseRow.payload_sha256, CaseRow.imagery_bytes
    return session.execute(select(*columns).where(CaseRow.id.in_(ids), *_free(spare, state))).all()


def _free(spare: Spare, state: str, before_s: float | None = None) -> list[ColumnElement[bool]]:
    """What is true of a case of a state that may go."""
    of_case = CaseRow.craft, CaseRow.case_id
    reviews = exists().where(ReviewRow.craft == of_case[0], ReviewRow.case_id == of_case[1])
    reviews = reviews.where(ReviewRow.state == "waiting") if spare.with_reviewed else reviews
    undelivered = exists().where(
        InterpretationRow.craft == of_case[0],
        InterpretationRow.case_id == of_case[1],
        ~InterpretationRow.is_delivered,
    )
    asked_again = exists().where(
        RefinementRow.craft == of_case[0], RefinementRow.case_id == of_case[1], ~RefinementRow.is_answered
    )
    needed = select(text("value")).select_from(func.json_each(json.dumps(sorted(spare.needed))))
    found = [CaseRow.state == state, ~reviews, ~undelivered, ~asked_again, CaseRow.case_id.not_in(needed)]
    return found if before_s is None else [CaseRow.received_at_s < before_s, *found]


def _claimed(session: Session, files: ImageryFiles, prefix: str) -> set[Path]:
    """The files in a folder that cases claim."""
    query = select(CaseRow.craft, CaseRow.case_id).where(
        CaseRow.case_id >= prefix, CaseRow.case_id < prefix + "g", CaseRow.imagery_bytes > 0
    )
    return {files.path(craft, case_id) for craft, case_id in session.execute(query)}
