"""The case store: what was acknowledged is never lost, and no case is kept twice.

Rows live in one SQLite file, imagery in files beside it. Several processes may use one data folder at a time: the
server and any command line. Every method is synchronous and may be called from any thread. Cases and answers are
here; `craft_shelf.py`, `bank_shelf.py`, `background_shelf.py`, `review_shelf.py` and `target_shelf.py` hold the rest of
`CaseStore`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.background_shelf import BackgroundShelf
from cloud.bank_shelf import BankShelf
from cloud.craft_shelf import Craft, CraftShelf
from cloud.database import Database
from cloud.errors import RequestError, StoreError
from cloud.imagery_files import ImageryFiles
from cloud.review_shelf import Review, ReviewShelf
from cloud.tables import CaseRow, InterpretationRow
from cloud.target_shelf import TargetShelf
from protocols.values import Case, Detection, Interpretation

__all__ = ["CaseState", "CaseStore", "Craft", "Kept", "Review", "StoredCase"]

CaseState: TypeAlias = Literal["stored", "interpreted", "unsure", "reviewed", "failed"]
Kept: TypeAlias = Literal["stored", "duplicate", "conflict"]

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
    """

    craft: str
    case: Case
    state: CaseState
    reason: str
    confidence: float | None
    received_at_s: float


class CaseStore(CraftShelf, BankShelf, BackgroundShelf, ReviewShelf, TargetShelf):
    """Crafts, cases, answers, banks, reviews and targets of one data folder."""

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
            verdicts: list[Kept] = []
            fresh: dict[tuple[str, str], str] = {}
            for craft, case, _ in items:
                key = (craft, case.case_id)
                held = fresh.get(key) or _digest(session, *key)
                fresh.setdefault(key, case.payload_sha256)
                verdicts.append(_verdict(held, case.payload_sha256))
            new = [item for item, verdict in zip(items, verdicts, strict=True) if verdict == "stored"]
            # Before the rows: a crash in between leaves a file without a row, which the next offer replaces.
            self._files.write((craft, case.case_id, payload) for craft, case, payload in new)
            try:
                session.add_all(_case_row(craft, case) for craft, case, _ in new)
                session.commit()
            except BaseException:
                self._files.remove(self._files.path(craft, case.case_id) for craft, case, _ in new)
                raise
        return verdicts

    def case_state(self, craft: str, case_id: str) -> tuple[str, CaseState] | None:
        """(payload_sha256, state) of a case; None when it is not here."""
        with self._db.reading() as session:
            row = _case_of(session, craft, case_id)
            return None if row is None else (row.payload_sha256, cast(CaseState, row.state))

    def set_case_state(
        self, craft: str, case_id: str, state: CaseState, reason: str = "", confidence: float | None = None
    ) -> None:
        """Note what became of a case; a person's answer (`reviewed`) is not undone by the teacher's."""
        with self._db.writing() as session:
            row = _case_of(session, craft, case_id)
            if row is None:
                raise RequestError(f"no case {case_id} of {craft}")
            if row.state != "reviewed":
                row.state, row.reason = state, reason[:1000]
            row.confidence = row.confidence if confidence is None else confidence

    def waiting_cases(self, limit: int) -> list[StoredCase]:
        """Cases that no teacher has interpreted yet, oldest first."""
        query = select(CaseRow).where(CaseRow.state == "stored").order_by(CaseRow.id).limit(limit)
        with self._db.reading() as session:
            return [_stored(row) for row in session.scalars(query)]

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
        query = select(CaseRow).where(CaseRow.case_id.startswith(case_id)).limit(2)
        query = query if craft is None else query.where(CaseRow.craft == craft)
        with self._db.reading() as session:
            rows = session.scalars(query).all()
        if len(rows) != 1:
            fault = "several cases start" if rows else "no case starts"
            raise RequestError(f"{fault} with {case_id!r}; see skyloop-cloud cases --all")
        return _stored(rows[0])

    def read_imagery(self, stored: StoredCase) -> bytes:
        """The encoded imagery of a case.

        Raises:
            StoreError: the file is gone or cannot be read.
        """
        return self._files.read(stored.craft, stored.case.case_id)

    def imagery_path(self, stored: StoredCase) -> Path:
        """Where the imagery of a case lies."""
        return self._files.path(stored.craft, stored.case.case_id)

    def teacher_detections(self, stored: StoredCase) -> tuple[Detection, ...]:
        """What the teacher found in a case; nothing where it has not answered."""
        query = select(InterpretationRow.interpretation_json).where(
            InterpretationRow.craft == stored.craft,
            InterpretationRow.case_id == stored.case.case_id,
            InterpretationRow.by == "teacher",
        )
        with self._db.reading() as session:
            packed = session.scalar(query)
        return () if packed is None else Interpretation.model_validate_json(packed).detections

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
        return True

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


def _digest(session: Session, craft: str, case_id: str) -> str | None:
    query = select(CaseRow.payload_sha256).where(CaseRow.craft == craft, CaseRow.case_id == case_id)
    return session.scalar(query)


def _case_of(session: Session, craft: str, case_id: str) -> CaseRow | None:
    return session.scalar(select(CaseRow).where(CaseRow.craft == craft, CaseRow.case_id == case_id))


def _case_row(craft: str, case: Case) -> CaseRow:
    return CaseRow(
        craft=craft,
        case_id=case.case_id,
        payload_sha256=case.payload_sha256,
        case_json=case.model_dump_json(),
        received_at_s=time.time(),
        state="stored",
    )


def _stored(row: CaseRow) -> StoredCase:
    return StoredCase(
        craft=row.craft,
        case=Case.model_validate_json(row.case_json),
        state=cast(CaseState, row.state),
        reason=row.reason,
        confidence=row.confidence,
        received_at_s=row.received_at_s,
    )
