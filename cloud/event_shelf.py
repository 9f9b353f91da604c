"""Who did what and when, and which requests were carried out already."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, select

from cloud.database import Database
from cloud.errors import RequestError
from cloud.tables import DoneRequestRow, EventRow

REQUESTS_KEPT_S = 7 * 86400.0
"""So long a form or call that comes again is known: longer than anybody keeps a page open, or retries."""

ACCOUNT_EVENTS = (
    "login",
    "login failed",
    "user added",
    "user disabled",
    "user enabled",
    "role changed",
    "password changed",
    "token made",
    "token revoked",
)
"""What is done to accounts: who may log in, from where, and with what; for operators."""


@dataclass(frozen=True)
class Event:
    """One thing that somebody did.

    Attributes:
        event_id: counts up.
        at_s: wall time.
        who: a person, `token:<name>`, or the user of a command line.
        what: short and fixed, `review`, `prompt revoked`, `login failed`.
        about: what it was done to: a case's id, a craft's name, a prompt's id; may be empty.
        detail: readable.
    """

    event_id: int
    at_s: float
    who: str
    what: str
    about: str
    detail: str


class EventShelf:
    """The log of actions, in the store."""

    _db: Database

    def note_event(self, who: str, what: str, about: str = "", detail: str = "") -> None:
        """Keep that somebody did something, durably; see `Event`."""
        with self._db.writing() as session:
            session.add(EventRow(at_s=time.time(), who=who, what=what, about=about, detail=detail[:1000]))

    def events(
        self, limit: int = 100, *, before: int | None = None, about: str | None = None, with_accounts: bool = True
    ) -> list[Event]:
        """What was done, newest first.

        Args:
            limit: at most this many.
            before: only what has a smaller `event_id`: the last one of the page before.
            about: only what was done to this.
            with_accounts: `ACCOUNT_EVENTS` too.
        """
        query = select(EventRow).order_by(EventRow.id.desc()).limit(limit)
        query = query if before is None else query.where(EventRow.id < before)
        query = query if about is None else query.where(EventRow.about == about)
        query = query if with_accounts else query.where(EventRow.what.not_in(ACCOUNT_EVENTS))
        with self._db.reading() as session:
            return [Event(row.id, row.at_s, row.who, row.what, row.about, row.detail) for row in session.scalars(query)]

    def begin_request(self, key: str, who: str, now_s: float) -> str | None:
        """None for a request that is new and may be carried out now; what came of it where it was begun before.

        Args:
            key: the form's or call's own, chosen by who asks.
            who: the same key of somebody else is another request.
            now_s: wall time.

        Raises:
            RequestError: the key is too long.
        """
        if not 0 < len(key) <= 64:
            raise RequestError(f"a request's key has {len(key)} characters, 1..64 wanted; make a new one")
        with self._db.writing() as session:
            row = session.get(DoneRequestRow, (key, who))
            if row is not None:
                return row.outcome
            session.execute(delete(DoneRequestRow).where(DoneRequestRow.at_s < now_s - REQUESTS_KEPT_S))
            session.add(DoneRequestRow(key=key, who=who, at_s=now_s, outcome="begun, and its end is not known"))
        return None

    def finish_request(self, key: str, who: str, outcome: str) -> None:
        """Note what came of a request, to be told again."""
        with self._db.writing() as session:
            session.get_one(DoneRequestRow, (key, who)).outcome = outcome

    def forget_request(self, key: str, who: str) -> None:
        """Let a request that was refused, and changed nothing, be made again."""
        with self._db.writing() as session:
            session.execute(delete(DoneRequestRow).where(DoneRequestRow.key == key, DoneRequestRow.who == who))
