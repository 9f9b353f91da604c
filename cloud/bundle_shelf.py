"""Rollouts of published bundles, and how far each has come on which craft.

Which crafts a share of the fleet is, is drawn once for each rollout by a digest of its name and the craft's: whoever is
in at 10 percent is in at 50, and another rollout begins with others.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from sqlalchemy import ScalarResult, func, select, tuple_
from sqlalchemy.orm import Session

from cloud.database import Database
from cloud.errors import NotThere, RequestError
from cloud.tables import CraftBundleRow, CraftRow, FlownBundleRow, RolloutRow
from protocols.bundle_messages import BundleState

RolloutState: TypeAlias = Literal["active", "stopped", "rolled_back"]
CraftState: TypeAlias = BundleState | Literal["offered", "not_now", "taken_back"]
"""`offered` it was told and has not answered; `not_now` it has to wait and is offered again; `taken_back` it went
back because a person wanted it to; the others are those of `BundleReceipt`."""

OVER: frozenset[str] = frozenset({"in_force", "refused", "gone_back", "taken_back"})
_NOT_FLOWN: frozenset[str] = frozenset({"refused", "gone_back", "taken_back"})
_ID_DIGITS = 12
_MOST_DIGITS = 12
"""Of a release: what a craft says it flies is its word, and must not use the numbers up."""


@dataclass(frozen=True)
class Rollout:
    """A published bundle on its way to a share of the fleet.

    Attributes:
        rollout_id: the offer's name on the wire, too.
        bundle_id: what is to be flown.
        percent: of the crafts.
        crafts: of these alone; empty is the whole fleet, also crafts enrolled later.
        state: `active`; `stopped` offers to nobody new and takes nothing back; `rolled_back` takes it back.
        by: who began it.
        made_at_s: wall time.
    """

    rollout_id: str
    bundle_id: str
    percent: float
    crafts: tuple[str, ...]
    state: RolloutState
    by: str
    made_at_s: float

    def includes(self, craft: str) -> bool:
        """Whether a craft is in the share."""
        if self.crafts and craft not in self.crafts:
            return False
        draw = int.from_bytes(hashlib.sha256(f"{self.rollout_id}:{craft}".encode()).digest()[:8], "big")
        return draw < self.percent / 100 * 2**64


@dataclass(frozen=True)
class CraftBundle:
    """How far a rollout has come on one craft.

    Attributes:
        craft, rollout_id, bundle_id: which.
        state: see `CraftState`.
        reason: readable, of a refusal or a return.
        fetched_bytes, total_bytes: of the archive.
        heard_at_s: wall time of the craft's last word; of the offer before there is one.
    """

    craft: str
    rollout_id: str
    bundle_id: str
    state: CraftState
    reason: str
    fetched_bytes: int
    total_bytes: int
    heard_at_s: float

    @property
    def percent(self) -> float:
        """Of the archive, fetched."""
        return 100.0 * self.fetched_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass(frozen=True)
class DueOffer:
    """What a craft is to be offered now."""

    rollout_id: str
    bundle_id: str
    action: Literal["take", "go_back"]


class BundleShelf:
    """The bundle part of the store."""

    _db: Database

    def add_rollout(
        self, bundle_id: str, *, percent: float, crafts: Sequence[str], by: str, now_s: float, again: bool = False
    ) -> Rollout:
        """Begin to roll a published bundle out.

        Args:
            bundle_id: which; the registry knows it.
            percent: of the crafts, over 0 to 100.
            crafts: of these alone; none is the fleet.
            by: who.
            now_s: wall time.
            again: also to crafts that have gone back from it by themselves.

        Raises:
            RequestError: the share is none, or a craft is not enrolled.
        """
        _check_percent(percent)
        with self._db.writing() as session:
            for craft in crafts:
                enrolled = session.get(CraftRow, craft)
                if enrolled is None or enrolled.is_revoked:
                    raise NotThere(f"no craft is enrolled as {craft[:70]!r}; see skyloop-cloud enroll --help")
            if again:
                gone = select(CraftBundleRow).where(CraftBundleRow.bundle_id == bundle_id)
                for old in session.scalars(gone.where(CraftBundleRow.state == "gone_back")):
                    old.state = "taken_back"
            row = RolloutRow(
                rollout_id=uuid.uuid4().hex[:_ID_DIGITS],
                bundle_id=bundle_id,
                percent=percent,
                crafts_json=json.dumps(sorted(set(crafts))),
                state="active",
                by=by,
                made_at_s=now_s,
                changes=1,
            )
            session.add(row)
            return _rollout(row)

    def change_rollout(
        self, rollout_id: str, *, percent: float | None = None, state: RolloutState | None = None
    ) -> Rollout:
        """Widen a rollout, stop it, or roll it back; what was rolled back stays so.

        Args:
            rollout_id: whole, or enough of its beginning.
            percent: not less than before: what was offered is taken back by rolling back.
            state: see `Rollout`.

        Raises:
            RequestError: none or several of that name, a smaller share, or it was rolled back.
        """
        with self._db.writing() as session:
            row = _found(session, rollout_id)
            if row.state == "rolled_back" and state != "rolled_back":
                raise RequestError(f"rollout {row.rollout_id} was rolled back; begin another one")
            if percent is not None:
                _check_percent(percent)
                if percent < row.percent:
                    raise RequestError(f"rollout {row.rollout_id} is at {row.percent:g} %; stop it, or roll it back")
                row.percent = percent
            row.state = state or row.state
            row.changes += 1
            return _rollout(row)

    def rollouts(self) -> list[Rollout]:
        """Every rollout, newest first."""
        with self._db.reading() as session:
            return [_rollout(row) for row in _newest(session)]

    def rollout(self, rollout_id: str) -> Rollout:
        """One rollout. Arguments and errors: see `change_rollout`."""
        with self._db.reading() as session:
            return _rollout(_found(session, rollout_id))

    def craft_bundles(self, *, rollout_id: str | None = None, craft: str | None = None) -> list[CraftBundle]:
        """How far rollouts have come, newest first: all, those of a rollout, or those of a craft."""
        query = select(CraftBundleRow).order_by(CraftBundleRow.id.desc())
        query = query if rollout_id is None else query.where(CraftBundleRow.rollout_id == rollout_id)
        query = query if craft is None else query.where(CraftBundleRow.craft == craft)
        with self._db.reading() as session:
            return [_craft_bundle(row) for row in session.scalars(query)]

    def newest_craft_bundles(self) -> dict[str, CraftBundle]:
        """How far the rollout has come that each craft spoke of last; a craft that was offered none is missing."""
        newest = select(CraftBundleRow.craft, func.max(CraftBundleRow.heard_at_s)).group_by(CraftBundleRow.craft)
        query = select(CraftBundleRow).where(tuple_(CraftBundleRow.craft, CraftBundleRow.heard_at_s).in_(newest))
        with self._db.reading() as session:
            return {row.craft: _craft_bundle(row) for row in session.scalars(query.order_by(CraftBundleRow.id))}

    def flown_bundles(self) -> dict[str, str | None]:
        """The published bundle that each craft says it flies, by craft; None is one that it was given by hand."""
        with self._db.reading() as session:
            return {row.craft: row.bundle_id for row in session.scalars(select(FlownBundleRow))}

    def newest_release(self) -> int:
        """The highest release of a bundle that was ever rolled out or that a craft says it flies; 0 without any."""
        with self._db.reading() as session:
            ids = [*session.scalars(select(RolloutRow.bundle_id)), *session.scalars(select(FlownBundleRow.bundle_id))]
        ends = [bundle_id.rpartition("-")[2] for bundle_id in ids if bundle_id]
        return max(
            (int(end) for end in ends if end.isascii() and end.isdigit() and len(end) <= _MOST_DIGITS), default=0
        )

    def note_flown(self, craft: str, bundle_id: str | None, now_s: float) -> None:
        """A craft says what it flies; writes only what changed."""
        with self._db.reading() as session:
            row = session.get(FlownBundleRow, craft)
            if row is not None and row.bundle_id == bundle_id:
                return
        with self._db.writing() as session:
            session.merge(FlownBundleRow(craft=craft, bundle_id=bundle_id, told_at_s=now_s))

    def due_offer(self, craft: str) -> DueOffer | None:
        """What a craft is to be offered: to go back from what was rolled back, else the newest rollout that it is in.

        None where that is settled, or where the craft has gone back from the very bundle by itself.
        """
        with self._db.reading() as session:
            own = list(session.scalars(select(CraftBundleRow).where(CraftBundleRow.craft == craft)))
            by_rollout = {row.rollout_id: row for row in own}
            newest: Rollout | None = None
            for row in _newest(session):
                held = by_rollout.get(row.rollout_id)
                if row.state == "rolled_back" and held is not None and held.state not in _NOT_FLOWN:
                    return DueOffer(row.rollout_id, row.bundle_id, "go_back")
                rollout = _rollout(row)
                if newest is None and rollout.state == "active" and rollout.includes(craft):
                    newest = rollout
            if newest is None:
                return None
            held = by_rollout.get(newest.rollout_id)
            has_gone_back = any(row.state == "gone_back" and row.bundle_id == newest.bundle_id for row in own)
            is_over = held is not None and held.state in OVER
            return None if is_over or has_gone_back else DueOffer(newest.rollout_id, newest.bundle_id, "take")

    def note_bundle(self, told: CraftBundle) -> bool:
        """Keep how far a rollout has come on a craft; False for one that never was.

        A craft that goes back from what was rolled back has been told to: that is `taken_back`.
        """
        with self._db.writing() as session:
            rollout = session.scalar(select(RolloutRow).where(RolloutRow.rollout_id == told.rollout_id))
            if rollout is None:
                return False
            query = select(CraftBundleRow).where(CraftBundleRow.craft == told.craft)
            row = session.scalar(query.where(CraftBundleRow.rollout_id == told.rollout_id))
            if row is None:
                row = CraftBundleRow(craft=told.craft, rollout_id=told.rollout_id, bundle_id=rollout.bundle_id)
                session.add(row)
            is_wanted = rollout.state == "rolled_back" and told.state in ("gone_back", "refused")
            row.state, row.reason = "taken_back" if is_wanted else told.state, told.reason
            row.fetched_bytes, row.total_bytes = told.fetched_bytes, told.total_bytes or (row.total_bytes or 0)
            row.heard_at_s = told.heard_at_s
        return True


def _newest(session: Session) -> ScalarResult[RolloutRow]:
    return session.scalars(select(RolloutRow).order_by(RolloutRow.id.desc()))


def _check_percent(percent: float) -> None:
    if not 0 < percent <= 100:
        raise RequestError(f"{percent:g} percent of the fleet; give more than 0 and at most 100")


def _found(session: Session, rollout_id: str) -> RolloutRow:
    rows = [row for row in _newest(session) if row.rollout_id.startswith(rollout_id)] if rollout_id else []
    if len(rows) != 1:
        what = "no rollout" if not rows else f"{len(rows)} rollouts"
        raise NotThere(f"{what} {rollout_id[:70]!r}; see skyloop-cloud bundles status")
    return rows[0]


def _rollout(row: RolloutRow) -> Rollout:
    return Rollout(
        rollout_id=row.rollout_id,
        bundle_id=row.bundle_id,
        percent=row.percent,
        crafts=tuple(json.loads(row.crafts_json)),
        state=cast(RolloutState, row.state),
        by=row.by,
        made_at_s=row.made_at_s,
    )


def _craft_bundle(row: CraftBundleRow) -> CraftBundle:
    return CraftBundle(
        craft=row.craft,
        rollout_id=row.rollout_id,
        bundle_id=row.bundle_id,
        state=cast(CraftState, row.state),
        reason=row.reason,
        fetched_bytes=row.fetched_bytes,
        total_bytes=row.total_bytes,
        heard_at_s=row.heard_at_s,
    )
