"""The case store: what was acknowledged is never lost, and no case is kept twice.

Rows live in one SQLite file, imagery in files beside it. Several processes may use one data folder at a time: the
server and any command line. Every method is synchronous and may be called from any thread. Cases and answers are
here; the `*_shelf.py` hold the rest of `CaseStore`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from sqlalchemy import Connection, Float, func, select, update
from sqlalchemy import cast as cast_column
from sqlalchemy.orm import Session

from cloud.account_shelf import AccountShelf
from cloud.answer_shelf import AnswerShelf, CaseState
from cloud.background_shelf import BackgroundShelf
from cloud.bank_shelf import BankShelf, DecodedBanks
from cloud.bundle_shelf import BundleShelf
from cloud.case_value import expected_value, labels_in, labels_text
from cloud.craft_shelf import Craft, CraftShelf
from cloud.database import Database
from cloud.errors import NotThere, RequestError, StoreError
from cloud.event_shelf import EventShelf
from cloud.imagery_files import ImageryFiles
from cloud.page_shelf import PageShelf
from cloud.queue_shelf import QueueShelf
from cloud.refine_shelf import RefineShelf, answer_request
from cloud.retention_shelf import RetentionShelf
from cloud.review_shelf import Review, ReviewShelf
from cloud.tables import CaseRow, InterpretationRow
from cloud.target_shelf import TargetShelf
from protocols.values import Case, Detection, Interpretation

__all__ = ["CaseState", "CaseStore", "Craft", "Kept", "Review", "StoredCase"]

Kept: TypeAlias = Literal["stored", "duplicate", "conflict"]

# Written out: where cases come fast, what SQLAlchemy makes of each row takes longer than the row.
_INSERT_CASE = (
    "INSERT INTO cases "
    "(craft, case_id, payload_sha256, case_json, received_at_s, imagery_bytes, state, reason, value, labels_json) "
    "VALUES (?, ?, ?, ?, ?, ?, 'stored', '', ?, ?)"
)

_PAGE = 200
"""Cases that are read at a time where all of them are."""

_CASE_PREFIX = re.compile(r"[0-9a-f]{6,32}")


@dataclass(frozen=True)
class StoredCase:
    """A case as the store holds it.

    Attributes:
        craft: who sent it.
        case: as offered.
        state: `stored` waits for the teacher, `interpreted` is answered, `unsure` is answered but a person should
            look, `reviewed` a person answered, `failed` cannot be interpreted.
        reason: for `unsure` and `failed`, readable.
        confidence: of the teacher's answer, where there is one.
        received_at_s: wall time.
        has_imagery: False once retention has dropped it.
        value: what a person's look at it is worth, 0..1.
        row_id: its number in the store.
    """

    craft: str
    case: Case
    state: CaseState
    reason: str
    confidence: float | None
    received_at_s: float
    has_imagery: bool = True
    value: float = 0.0
    row_id: int = 0


class CaseStore(
    AnswerShelf,
    CraftShelf,
    BankShelf,
    BackgroundShelf,
    BundleShelf,
    ReviewShelf,
    QueueShelf,
    TargetShelf,
    RefineShelf,
    AccountShelf,
    EventShelf,
    RetentionShelf,
    PageShelf,
):
    """Crafts, cases, answers, banks, reviews, targets, accounts and events of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        """Open a data folder, or make one.

        Raises:
            StoreError: it cannot be made, opened or read by this version.
        """
        self.data_dir = data_dir
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreError(f"{data_dir}: cannot be made ({exc.strerror}); give another --data folder") from exc
        self._db = Database(data_dir / "skyloop.sqlite")
        self._files = ImageryFiles(data_dir / "imagery")
        self._banks = DecodedBanks()

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        self._db.close()

    def data_version(self) -> int:
        """A number that differs from its last value when anybody, thread or process, wrote in between."""
        return self._db.data_version()

    def add_cases(self, items: Sequence[tuple[str, Case, bytes]]) -> list[Kept]:
        """Keep several cases durably in one transaction: on return they survive `kill -9` and power loss.

        Args:
            items: (craft, case, imagery); the imagery's digest has been checked against the case.

        Returns:
            For each item `stored`, `duplicate` (the same digest was kept before) or `conflict` (another one was).

        Raises:
            StoreError: nothing of the group is kept.
        """
        with self._db.writing() as session:
            connection = session.connection()
            verdicts: list[Kept] = []
            held = _digests(connection, [case.case_id for _, case, _ in items])
            for craft, case, _ in items:
                key = (craft, case.case_id)
                verdicts.append(_verdict(held.get(key), case.payload_sha256))
                held.setdefault(key, case.payload_sha256)
            new = [item for item, verdict in zip(items, verdicts, strict=True) if verdict == "stored"]
            # Before the rows: a crash in between leaves a file without a row, which the next offer replaces.
            self._files.write((craft, case.case_id, payload) for craft, case, payload in new)
            try:
                if new:
                    connection.exec_driver_sql(_INSERT_CASE, [_case_row(craft, case) for craft, case, _ in new])
                for craft, case, _ in new:
                    if case.refines is not None:
                        answer_request(session, craft, case.refines, case.case_id)
                session.commit()
            except BaseException:
                self._files.remove(self._files.path(craft, case.case_id) for craft, case, _ in new)
                raise
        return verdicts

    def case_state(self, craft: str, case_id: str) -> tuple[str, CaseState] | None:
        """(payload_sha256, state) of a case; None when it is not here."""
        query = "SELECT payload_sha256, state FROM cases WHERE craft = ? AND case_id = ?"
        rows = self._db.fetch(query, (craft, case_id))
        return (rows[0][0], cast(CaseState, rows[0][1])) if rows else None

    def kept_digest(self, craft: str, case_id: str) -> str | None:
        """The payload_sha256 of a case that is here, or was until retention took it away; None of one never kept."""
        query = (
            "SELECT payload_sha256 FROM cases WHERE craft = ?1 AND case_id = ?2 UNION ALL "
            "SELECT payload_sha256 FROM forgotten_cases WHERE craft = ?1 AND case_id = ?2"
        )
        rows = self._db.fetch(query, (craft, case_id))
        return str(rows[0][0]) if rows else None

    def set_case_state(
        self, craft: str, case_id: str, state: CaseState, reason: str = "", confidence: float | None = None
    ) -> None:
        """Note what became of a case; a person's answer (`reviewed`) is not undone by the teacher's."""
        with self._db.writing() as session:
            row = _case_of(session, craft, case_id)
            if row is None:
                raise NotThere(f"no case {case_id} of {craft}")
            if row.state != "reviewed":
                row.state, row.reason = state, reason[:1000]
            row.confidence = row.confidence if confidence is None else confidence
            row.value = expected_value(row.state, float(json.loads(row.case_json)["hardness"]), row.confidence)

    def waiting_cases(self, limit: int) -> list[StoredCase]:
        """Cases that no teacher has interpreted yet, those worth most now, in the order in which they came.

        A case with a time to live loses worth as it waits, so under overload the newest is answered while its answer is
        of use. One without keeps its worth: the oldest comes first, and one place of a batch is always theirs. Where
        the time to live is over, since it came in, a case waits for all others.

        Args:
            limit: at most this many.
        """
        ttl_s = cast_column(func.json_extract(CaseRow.case_json, "$.ttl_s"), Float)
        is_live = ttl_s.is_not(None) & (CaseRow.received_at_s + ttl_s > time.time())
        waiting = select(CaseRow).where(CaseRow.state == "stored").limit(limit)
        with self._db.reading() as session:
            live = session.scalars(waiting.where(is_live).order_by(CaseRow.id.desc())).all()
            rest = session.scalars(waiting.where(~is_live).order_by(ttl_s.is_not(None), CaseRow.id)).all()
        kept = live[: limit - (1 if rest and limit > 1 else 0)]
        rows = [*kept, *rest[: limit - len(kept)]]
        return [_stored(row) for row in sorted(rows, key=lambda row: row.id)]

    def list_cases(self, unsure_only: bool = True, limit: int = 100) -> list[StoredCase]:
        """Cases for a person to look at, newest first.

        Args:
            unsure_only: only those the teacher is unsure of.
            limit: at most this many.
        """
        query = select(CaseRow).order_by(CaseRow.id.desc()).limit(limit)
        query = query.where(CaseRow.state == "unsure") if unsure_only else query
        with self._db.reading() as session:
            return [_stored(row) for row in session.scalars(query)]

    def cases_in_state(self, state: CaseState, craft: str | None = None) -> Iterator[StoredCase]:
        """Every case of a state, oldest first, read some hundred at a time.

        Args:
            state: see `StoredCase`.
            craft: only its cases.
        """
        last = 0
        query = select(CaseRow).where(CaseRow.state == state).order_by(CaseRow.id).limit(_PAGE)
        query = query if craft is None else query.where(CaseRow.craft == craft)
        while True:
            with self._db.reading() as session:
                rows = session.scalars(query.where(CaseRow.id > last)).all()
            yield from map(_stored, rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1].id

    def count_cases(self) -> dict[str, int]:
        """How many cases of each craft are kept; a craft that sent none is missing."""
        query = select(CaseRow.craft, func.count()).group_by(CaseRow.craft)
        with self._db.reading() as session:
            return {craft: count for craft, count in session.execute(query)}

    def load_case(self, case_id: str, craft: str | None = None) -> StoredCase:
        """One case.

        Args:
            case_id: whole, or at least its first 6 characters.
            craft: where two crafts used the same id.

        Raises:
            RequestError: none or several cases fit.
        """
        if not _CASE_PREFIX.fullmatch(case_id):
            raise RequestError(f"case {case_id[:40]!r} is not 6..32 hex digits; see skyloop-cloud cases")
        # A range: LIKE, which knows no case of letters, would read every case there is.
        query = select(CaseRow).where(CaseRow.case_id >= case_id, CaseRow.case_id < case_id + "g").limit(2)
        query = query if craft is None else query.where(CaseRow.craft == craft)
        with self._db.reading() as session:
            rows = session.scalars(query).all()
        if len(rows) != 1:
            fault = "several cases start" if rows else "no case starts"
            raise NotThere(f"{fault} with {case_id!r}; see skyloop-cloud cases --all")
        return _stored(rows[0])

    def cases_at(self, row_ids: Sequence[int]) -> list[StoredCase]:
        """Cases by their numbers in the store, in the order given; those that are gone are left out."""
        with self._db.reading() as session:
            rows = {row.id: row for row in session.scalars(select(CaseRow).where(CaseRow.id.in_(row_ids)))}
        return [_stored(rows[row_id]) for row_id in row_ids if row_id in rows]

    def newest_cases(self, craft: str | None, limit: int) -> list[StoredCase]:
        """The newest cases of a craft, or of all, newest first."""
        query = select(CaseRow).order_by(CaseRow.id.desc()).limit(limit)
        query = query if craft is None else query.where(CaseRow.craft == craft)
        with self._db.reading() as session:
            return [_stored(row) for row in session.scalars(query)]

    def read_imagery(self, stored: StoredCase) -> bytes:
        """The encoded imagery of a case.

        Raises:
            StoreError: retention dropped it, or the file is gone or cannot be read.
        """
        if not stored.has_imagery:
            raise StoreError(
                f"the imagery of case {stored.case.case_id} was dropped for its age or to make room; keep more with "
                "[retention] imagery_days and imagery_bytes"
            )
        return self._files.read(stored.craft, stored.case.case_id)

    def imagery_path(self, stored: StoredCase) -> Path:
        """Where the imagery of a case lies."""
        return self._files.path(stored.craft, stored.case.case_id)

    def teacher_detections(self, stored: StoredCase) -> tuple[Detection, ...]:
        """What the teacher found in a case; nothing where it has not answered."""
        told = self.teacher_answer(stored.craft, stored.case.case_id)
        return () if told is None else told.detections

    def teacher_answer(self, craft: str, case_id: str) -> Interpretation | None:
        """The teacher's answer to a case; None where there is none."""
        query = select(InterpretationRow.interpretation_json).where(
            InterpretationRow.craft == craft, InterpretationRow.case_id == case_id, InterpretationRow.by == "teacher"
        )
        with self._db.reading() as session:
            packed = session.scalar(query)
        return None if packed is None else Interpretation.model_validate_json(packed)

    def add_interpretation(self, craft: str, interpretation: Interpretation) -> bool:
        """Keep an answer for delivery: the teacher's first one counts, a person's newest one.

        Returns:
            Whether it is to be delivered: False for an answer that was kept before.
        """
        case_id, by, packed = interpretation.case_id, interpretation.by, interpretation.model_dump_json()
        with self._db.writing() as session:
            row = session.scalar(
                select(InterpretationRow).where(
                    InterpretationRow.craft == craft,
                    InterpretationRow.case_id == case_id,
                    InterpretationRow.by == by,
                )
            )
            if row is not None and (by == "teacher" or row.interpretation_json == packed):
                return False
            if row is not None:
                session.delete(row)
                session.flush()
            session.add(InterpretationRow(craft=craft, case_id=case_id, by=by, interpretation_json=packed))
            case = _case_of(session, craft, case_id)
            if case is not None:
                case.labels_json = labels_text(json.loads(case.labels_json), labels_in(interpretation.detections))
        return True

    def news(self) -> dict[str, tuple[int, int, int, int]]:
        """Numbers by craft that differ from their last values when there is something new for it.

        Returns:
            (newest bank's row, newest unacknowledged answer's row, how many of these, unanswered orders' rows added up,
            twice where they are to stop, those of unanswered requests for better pictures, and changes of rollouts, for
            any craft may be in one); 0 where there is none.
        """
        query = (
            "SELECT craft, max(bank), max(answer), sum(answers), sum(orders) FROM ("
            "SELECT craft, max(id) AS bank, 0 AS answer, 0 AS answers, 0 AS orders FROM banks GROUP BY craft "
            "UNION ALL "
            "SELECT craft, 0, max(id), count(*), 0 FROM interpretations WHERE NOT is_delivered GROUP BY craft "
            "UNION ALL "
            "SELECT craft, 0, 0, 0, sum(id * (1 + is_stopping)) FROM targets WHERE NOT is_answered GROUP BY craft "
            "UNION ALL "
            "SELECT craft, 0, 0, 0, sum(id) << 20 FROM refinements WHERE NOT is_answered GROUP BY craft "
            "UNION ALL "
            "SELECT name, 0, 0, 0, (SELECT sum(changes) << 40 FROM rollouts) FROM crafts "
            "WHERE EXISTS (SELECT 1 FROM rollouts)) "
            "GROUP BY craft"
        )
        return {
            craft: (bank, answer, answers, orders) for craft, bank, answer, answers, orders in self._db.fetch(query)
        }

    def undelivered(self, craft: str, limit: int) -> list[Interpretation]:
        """Answers a craft has not acknowledged, oldest first."""
        query = (
            select(InterpretationRow.interpretation_json)
            .where(InterpretationRow.craft == craft, ~InterpretationRow.is_delivered)
            .order_by(InterpretationRow.id)
            .limit(limit)
        )
        with self._db.reading() as session:
            return [Interpretation.model_validate_json(packed) for packed in session.scalars(query)]

    def mark_delivered(self, craft: str, case_id: str, by: str | None = None) -> None:
        """Note that a craft keeps the answer to a case.

        Args:
            craft: who acknowledged.
            case_id: which case.
            by: `teacher` or `person`, to leave an answer that came in between undelivered; None is both.
        """
        query = update(InterpretationRow).values(is_delivered=True)
        query = query.where(InterpretationRow.craft == craft, InterpretationRow.case_id == case_id)
        query = query if by is None else query.where(InterpretationRow.by == by)
        with self._db.writing() as session:
            session.execute(query)


def _verdict(held: str | None, offered: str) -> Kept:
    if held is None:
        return "stored"
    return "duplicate" if held == offered else "conflict"


def _digests(connection: Connection, case_ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """Digests of the cases of these ids that are or were kept, by craft and id."""
    places = ", ".join("?" * len(case_ids))
    query = (
        f"SELECT craft, case_id, payload_sha256 FROM cases WHERE case_id IN ({places}) "  # noqa: S608 - of our own
        f"UNION ALL SELECT craft, case_id, payload_sha256 FROM forgotten_cases WHERE case_id IN ({places})"
    )
    rows = connection.exec_driver_sql(query, (*case_ids, *case_ids))
    return {(craft, case_id): digest for craft, case_id, digest in rows}


def _case_of(session: Session, craft: str, case_id: str) -> CaseRow | None:
    return session.scalar(select(CaseRow).where(CaseRow.craft == craft, CaseRow.case_id == case_id))


def _case_row(craft: str, case: Case) -> tuple[str | float, ...]:
    """Values of `_INSERT_CASE`."""
    value, labels = expected_value("stored", case.hardness, None), labels_text(labels_in(case.detections))
    head = (craft, case.case_id, case.payload_sha256, case.model_dump_json(), time.time(), case.payload_bytes)
    return *head, value, labels


def _stored(row: CaseRow) -> StoredCase:
    return StoredCase(
        craft=row.craft,
        case=Case.model_validate_json(row.case_json),
        state=cast(CaseState, row.state),
        reason=row.reason,
        confidence=row.confidence,
        received_at_s=row.received_at_s,
        has_imagery=row.imagery_bytes > 0,
        value=row.value,
        row_id=row.id,
    )
