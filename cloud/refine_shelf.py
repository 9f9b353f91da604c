"""Requests for a better picture of a case, kept until the craft has answered or its frame is surely gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from cloud.database import Database
from cloud.errors import RequestError
from cloud.tables import CaseRow, InterpretationRow, RefinementRow
from protocols.limits import MAX_REFINEMENTS
from protocols.messages import RefineRequest

LIFE_S = 60.0
"""No craft holds a frame for longer (`RecentFramesSettings.seconds`)."""

_NOT_IN_TIME = "not answered in time"

RefinementState: TypeAlias = Literal["queued", "sent", "answered", "refused"]


@dataclass(frozen=True)
class Refinement:
    """One request as the store holds it.

    Attributes:
        craft: whose case.
        request: as it is sent.
        by: who asked: `teacher`, or a person's name.
        state: `queued` until the craft is connected, `sent`, `answered` with a case that is here, or `refused`.
        reason: for `refused`, and why a queued one is not sent; readable.
        new_case_id: the case that answers it.
    """

    craft: str
    request: RefineRequest
    by: str
    state: RefinementState
    reason: str
    new_case_id: str | None


class RefineShelf:
    """The refinement part of the store."""

    _db: Database

    def add_refinement(self, craft: str, request: RefineRequest, *, by: str, now_s: float) -> None:
        """Keep a request for a craft.

        Args:
            craft: whose case.
            request: under a new id.
            by: who asks.
            now_s: wall time.

        Raises:
            RequestError: the case was asked for again too often.
        """
        with self._db.writing() as session:
            count = session.scalar(select(func.count()).select_from(_about(craft, request.case_id).subquery())) or 0
            if count >= MAX_REFINEMENTS:
                raise RequestError(
                    f"case {request.case_id[:12]} was asked for again {count} times, at most {MAX_REFINEMENTS}; "
                    "review what there is"
                )
            session.add(
                RefinementRow(
                    craft=craft,
                    request_id=request.request_id,
                    case_id=request.case_id,
                    request_json=request.model_dump_json(),
                    by=by,
                    made_at_s=now_s,
                )
            )

    def refinement(self, request_id: str) -> Refinement:
        """One request by its id, which is here."""
        with self._db.reading() as session:
            return _stored(session.scalars(select(RefinementRow).where(RefinementRow.request_id == request_id)).one())

    def refinements_of(self, craft: str, case_id: str) -> list[Refinement]:
        """Every request about a case, oldest first."""
        with self._db.reading() as session:
            return [_stored(row) for row in session.scalars(_about(craft, case_id))]

    def open_refinements(self, craft: str, now_s: float) -> list[Refinement]:
        """What a craft has not answered and may still answer, oldest first; what it may not any more is given up."""
        query = select(RefinementRow).where(RefinementRow.craft == craft, ~RefinementRow.is_answered)
        with self._db.reading() as session:
            rows = session.scalars(query.order_by(RefinementRow.id)).all()
            live = [_stored(row) for row in rows if row.made_at_s > now_s - LIFE_S]
        if len(live) < len(rows):
            with self._db.writing() as session:
                old = update(RefinementRow).where(RefinementRow.craft == craft, ~RefinementRow.is_answered)
                old = old.where(RefinementRow.made_at_s <= now_s - LIFE_S)
                session.execute(old.values(state="refused", reason=_NOT_IN_TIME, is_answered=True))
        return live

    def note_refinement(self, craft: str, request_id: str, state: RefinementState, reason: str = "") -> bool:
        """Note what became of a request that is open; False where the craft has none of that id open.

        Args:
            craft: who says so.
            request_id: which; whatever a craft may send.
            state: what became of it; `queued` with a reason says why it is not sent.
            reason: readable.
        """
        with self._db.writing() as session:
            row = session.scalar(
                select(RefinementRow).where(
                    RefinementRow.craft == craft, RefinementRow.request_id == request_id, ~RefinementRow.is_answered
                )
            )
            if row is not None:
                row.state, row.reason, row.is_answered = state, reason[:1000], state in ("answered", "refused")
            return row is not None

    def supersede(self, craft: str, first_id: str, new_id: str) -> bool:
        """Let a case that shows another's frame again stand in for it.

        What the teacher said of the first is not delivered any more, and no person is asked about it. A person's answer
        to it stays.

        Returns:
            Whether it was asked for: else nothing changes, and the new case is one like any other.
        """
        with self._db.writing() as session:
            if not answer_request(session, craft, first_id, new_id):
                return False
            _stand_in(session, craft, first_id, new_id)
            return True


def answer_request(session: Session, craft: str, first_id: str, new_id: str) -> bool:
    """Book a case that shows another's frame again to the oldest request for it that is open.

    Where none is, to the oldest that was given up: a link may take longer than a frame is held.

    Returns:
        Whether it was asked for, now or before.
    """
    asked = session.scalars(_about(craft, first_id)).all()
    own = [row for row in asked if row.new_case_id == new_id]
    late = [row for row in asked if (row.state, row.reason) == ("refused", _NOT_IN_TIME)]
    row = next(iter([*own, *(row for row in asked if not row.is_answered), *late]), None)
    if row is not None:
        row.new_case_id, row.state, row.reason, row.is_answered = new_id, "answered", "", True
    return row is not None


def _stand_in(session: Session, craft: str, first_id: str, new_id: str) -> None:
    first = session.scalar(select(CaseRow).where(CaseRow.craft == craft, CaseRow.case_id == first_id))
    if first is not None and first.state == "unsure":
        first.state, first.reason = "interpreted", f"case {new_id[:12]} shows it better"
        first.value = 0.0
    told = select(InterpretationRow).where(
        InterpretationRow.craft == craft, InterpretationRow.case_id == first_id, InterpretationRow.by == "teacher"
    )
    for row in session.scalars(told):
        row.is_delivered = True


def _about(craft: str, case_id: str) -> Select[RefinementRow]:
    return (
        select(RefinementRow)
        .where(RefinementRow.craft == craft, RefinementRow.case_id == case_id)
        .order_by(RefinementRow.id)
    )


def _stored(row: RefinementRow) -> Refinement:
    return Refinement(
        craft=row.craft,
        request=RefineRequest.model_validate_json(row.request_json),
        by=row.by,
        state=cast(RefinementState, row.state),
        reason=row.reason,
        new_case_id=row.new_case_id,
    )
