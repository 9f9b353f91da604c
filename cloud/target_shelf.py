"""The targets that people ordered crafts to follow, kept until the craft has answered, and its last word about each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from cloud.database import Database
from cloud.errors import NotThere, RequestError
from cloud.tables import CaseRow, CraftRow, TargetRow
from protocols.limits import MAX_TARGETS
from protocols.messages import TargetStatus, TrackTarget

KEPT_TARGETS = 64
"""Finished targets of one craft that stay in the list."""

QUEUED = "queued"
"""State of an order that the craft has not answered; the others are those of `TargetStatus`."""

FINISHED = ("stopped", "refused", "expired", "unknown")

_KEY_PREFIX = re.compile(r"[0-9a-f]{6,32}")


@dataclass(frozen=True)
class StoredTarget:
    """One target as the store holds it.

    Attributes:
        craft: who is to follow it.
        order: the start, as it is sent.
        by: who asked for it.
        made_at_s: wall time.
        expires_at_s: wall time after which it is not begun any more.
        is_stopping: a person wants it stopped, and the craft has not said that it is.
        is_sent: the craft may know of it.
        state: `queued`, or the craft's last word.
        reason: of the state, readable.
        status: the craft's last word whole.
        heard_at_s: wall time of that.
    """

    craft: str
    order: TrackTarget
    by: str
    made_at_s: float
    expires_at_s: float
    is_stopping: bool
    is_sent: bool
    state: str
    reason: str
    status: TargetStatus | None
    heard_at_s: float | None

    @property
    def key(self) -> str:
        """The cloud's name for it."""
        return self.order.target_key


class TargetShelf:
    """The target part of the store."""

    _db: Database

    def add_target(self, craft: str, order: TrackTarget, *, by: str, now_s: float, expires_at_s: float) -> None:
        """Keep an order for a craft, which may be offline.

        Args:
            craft: who is to follow.
            order: a start under a new key.
            by: who asks.
            now_s: wall time.
            expires_at_s: wall time after which it is not begun any more.

        Raises:
            RequestError: no such craft, one that is revoked, or one with as many targets as it can take.
        """
        with self._db.writing() as session:
            row = session.get(CraftRow, craft)
            if row is None or row.is_revoked:
                what = "no craft is enrolled as" if row is None else "the key is revoked of"
                raise RequestError(f"{what} {craft[:70]!r}; see skyloop-cloud enroll --help")
            active = [t for t in session.scalars(_of(craft)) if not t.is_stopping and _state(t, now_s) not in FINISHED]
            if len(active) >= MAX_TARGETS:
                raise RequestError(
                    f"{craft} has {len(active)} targets, at most {MAX_TARGETS}; stop one with "
                    "`skyloop-cloud track CRAFT --stop TARGET`"
                )
            _forget_oldest(session, craft, now_s)
            session.add(
                TargetRow(
                    craft=craft,
                    target_key=order.target_key,
                    order_json=order.model_dump_json(),
                    by=by,
                    made_at_s=now_s,
                    expires_at_s=expires_at_s,
                )
            )

    def stop_target(self, craft: str, key: str, now_s: float) -> StoredTarget:
        """Want a target stopped; one that is over already stays as it is, one that was never sent is over at once.

        Args:
            craft: who follows it.
            key: whole, or at least its first 6 characters.
            now_s: wall time.

        Raises:
            RequestError: none or several targets of the craft fit.
        """
        with self._db.writing() as session:
            row = _found(session, craft, key)
            if _state(row, now_s) not in FINISHED:
                if row.sent_at_s is None:
                    row.state, row.reason, row.is_answered = "stopped", "taken back before it was sent", True
                else:
                    row.is_stopping, row.is_answered = True, False
            return _stored(row, now_s)

    def target(self, craft: str, key: str, now_s: float) -> StoredTarget:
        """One target. Arguments and errors: see `stop_target`."""
        with self._db.reading() as session:
            return _stored(_found(session, craft, key), now_s)

    def targets(self, now_s: float, craft: str | None = None) -> list[StoredTarget]:
        """All targets, or one craft's, oldest first."""
        query = select(TargetRow).order_by(TargetRow.id) if craft is None else _of(craft)
        with self._db.reading() as session:
            return [_stored(row, now_s) for row in session.scalars(query)]

    def open_targets(self, craft: str, now_s: float) -> tuple[list[StoredTarget], list[StoredTarget]]:
        """What a craft has not answered yet, and what it is believed to follow or wait for; oldest first.

        What was never sent and is too old is in neither.
        """
        with self._db.reading() as session:
            unanswered = session.scalars(_of(craft, ~TargetRow.is_answered, _is_worth_sending(now_s))).all()
            followed = session.scalars(
                _of(craft, TargetRow.is_answered.is_(True), TargetRow.state.not_in(FINISHED))
            ).all()
            return [_stored(row, now_s) for row in unanswered], [_stored(row, now_s) for row in followed]

    def mark_target_sent(self, craft: str, key: str, now_s: float) -> bool:
        """Note that a craft may know of a target from now on; False when it was answered or stopped meanwhile."""
        waits = (TargetRow.target_key == key, ~TargetRow.is_answered, ~TargetRow.is_stopping)
        with self._db.writing() as session:
            row = session.scalar(_of(craft, *waits))
            if row is not None and row.sent_at_s is None:
                row.sent_at_s = now_s
            return row is not None

    def note_target(self, craft: str, status: TargetStatus, now_s: float) -> bool:
        """Keep a craft's word about a target; False when no such target was ordered from it."""
        query = _of(craft, TargetRow.target_key == status.target_key)
        with self._db.reading() as session:  # who floods us with other keys writes nothing
            if session.scalar(query) is None:
                return False
        with self._db.writing() as session:
            row = session.scalar(query)
            if row is None:
                return False
            row.state, row.reason, row.heard_at_s = status.state, status.reason, now_s
            row.status_json = status.model_dump_json()
            if status.state in FINISHED or not row.is_stopping:
                row.is_answered, row.is_stopping = True, False
            if status.state in FINISHED:  # where it is helps nobody any more
                asked = func.json_extract(CaseRow.case_json, "$.target.label") == _stored(row, now_s).order.label
                moot = update(CaseRow).where(CaseRow.craft == craft, CaseRow.state == "unsure", asked)
                session.execute(moot.values(value=0.0))
            return True

    def note_unheard(self, craft: str, reason: str) -> None:
        """Say of everything that waits for a craft why it is not sent; writes only what changes."""
        with self._db.reading() as session:
            waiting = session.scalars(_of(craft, ~TargetRow.is_answered, TargetRow.reason != reason)).all()
        if waiting:
            with self._db.writing() as session:
                for row in session.scalars(_of(craft, ~TargetRow.is_answered)):
                    row.reason = reason


def _of(craft: str, *conditions: ColumnElement[bool]) -> Select[TargetRow]:
    return select(TargetRow).where(TargetRow.craft == craft, *conditions).order_by(TargetRow.id)


def _is_worth_sending(now_s: float) -> ColumnElement[bool]:
    return or_(TargetRow.expires_at_s > now_s, TargetRow.sent_at_s.is_not(None))


def _state(row: TargetRow, now_s: float) -> str:
    """What is stored, but for what has grown too old meanwhile: nobody writes that down."""
    return "expired" if row.state == QUEUED and row.expires_at_s <= now_s else row.state


def _found(session: Session, craft: str, key: str) -> TargetRow:
    if session.get(CraftRow, craft) is None:
        raise NotThere(f"no craft is enrolled as {craft[:70]!r}; see skyloop-cloud enroll --help")
    if not _KEY_PREFIX.fullmatch(key):
        raise RequestError(f"target {key[:40]!r} is not 6..32 hex digits; see skyloop-cloud targets")
    rows = session.scalars(_of(craft, TargetRow.target_key.startswith(key))).all()
    if len(rows) != 1:
        fault = "several targets" if rows else "no target"
        raise NotThere(f"{fault} of {craft} start with {key!r}; see skyloop-cloud targets --craft {craft}")
    return rows[0]


def _forget_oldest(session: Session, craft: str, now_s: float) -> None:
    finished = [row.id for row in session.scalars(_of(craft)) if _state(row, now_s) in FINISHED]
    session.execute(delete(TargetRow).where(TargetRow.id.in_(finished[: max(len(finished) - KEPT_TARGETS + 1, 0)])))


def _stored(row: TargetRow, now_s: float) -> StoredTarget:
    state = _state(row, now_s)
    reason = row.reason
    if state != row.state:
        reason = f"the craft did not answer in time{f': {reason}' if reason else ''}"
    return StoredTarget(
        craft=row.craft,
        order=TrackTarget.model_validate_json(row.order_json),
        by=row.by,
        made_at_s=row.made_at_s,
        expires_at_s=row.expires_at_s,
        is_stopping=row.is_stopping,
        is_sent=row.sent_at_s is not None,
        state=state,
        reason=reason,
        status=TargetStatus.model_validate_json(row.status_json) if row.status_json else None,
        heard_at_s=row.heard_at_s,
    )
