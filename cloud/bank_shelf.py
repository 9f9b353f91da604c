"""Prompt banks of every craft with their recent revisions, fleet prompts and revoked prompts."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any

import msgpack
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from cloud.database import Database
from cloud.errors import BankMoved
from cloud.tables import BankRow, FleetPromptRow, RevokedPromptRow
from protocols.values import BankRef, Prompt, PromptBank

_HELD_BYTES = 64 * 2**20
"""Of banks that stay decoded, packed: pages ask for the same ones every two seconds."""

KEPT_REVISIONS = 16
"""A craft that holds an older one gets a snapshot instead of a delta."""


class DecodedBanks:
    """The newest bank of each craft as it was decoded last, as many as there is room for."""

    def __init__(self) -> None:
        """Hold none."""
        self._lock, self._bytes = threading.Lock(), 0
        self._held: dict[str, tuple[BankRef, int, PromptBank]] = {}

    def of(self, row: BankRow) -> PromptBank:
        """The bank of a row."""
        ref, size = BankRef(epoch=row.epoch, revision=row.revision, digest=row.digest), len(row.prompts)
        with self._lock:
            held = self._held.get(row.craft)
        if held is not None and held[0] == ref:
            return held[2]
        bank = _bank(row)
        with self._lock:
            if (old := self._held.pop(row.craft, None)) is not None:
                self._bytes -= old[1]
            if self._bytes + size <= _HELD_BYTES:
                self._held[row.craft] = ref, size, bank
                self._bytes += size
        return bank


class BankShelf:
    """The prompt part of the store."""

    _db: Database
    _banks: DecodedBanks

    def bank(self, craft: str) -> PromptBank:
        """The bank a craft should hold; at first use an empty one in a new epoch, which stays."""
        with self._db.reading() as session:
            row = _latest(session, craft)
        if row is not None:
            return self._banks.of(row)
        with self._db.writing() as session:
            row = _latest(session, craft) or _row(craft, PromptBank.empty(uuid.uuid4().hex))
            session.add(row)
        return _bank(row)

    def save_bank(self, craft: str, bank: PromptBank) -> None:
        """Make `bank` the one a craft should hold.

        Raises:
            BankMoved: the bank does not follow the latest revision: read it again and redo the change.
        """
        with self._db.writing() as session:
            row = _latest(session, craft)
            if row is not None and (row.epoch, row.revision + 1) != (bank.epoch, bank.revision):
                raise BankMoved(f"the bank of {craft} is at revision {row.revision}, not {bank.revision - 1}")
            session.add(_row(craft, bank))
            session.execute(
                delete(BankRow).where(
                    BankRow.craft == craft,
                    (BankRow.revision <= bank.revision - KEPT_REVISIONS) | (BankRow.epoch != bank.epoch),
                )
            )

    def begin_epoch(self, craft: str) -> PromptBank:
        """The craft's bank under a new epoch and number 0, the only one kept.

        A data folder restored from a copy issues numbers again that a craft may hold; it refuses older ones.
        """
        with self._db.writing() as session:
            held = _latest(session, craft)
            prompts = () if held is None else tuple(_prompts(held.prompts))
            session.execute(delete(BankRow).where(BankRow.craft == craft))
            row = _row(craft, PromptBank(epoch=uuid.uuid4().hex, revision=0, prompts=prompts))
            session.add(row)
        return _bank(row)

    def bank_revisions(self) -> dict[str, tuple[str, int]]:
        """(epoch, revision) of every craft's bank, without reading the banks themselves."""
        newest = select(func.max(BankRow.id)).group_by(BankRow.craft)
        query = select(BankRow.craft, BankRow.epoch, BankRow.revision).where(BankRow.id.in_(newest))
        with self._db.reading() as session:
            return {craft: (epoch, revision) for craft, epoch, revision in session.execute(query)}

    def bank_refs(self, craft: str | None = None) -> dict[str, BankRef]:
        """The name of every craft's bank, or of one's, without reading the banks themselves."""
        newest = select(func.max(BankRow.id)).group_by(BankRow.craft)
        newest = newest if craft is None else newest.where(BankRow.craft == craft)
        query = select(BankRow.craft, BankRow.epoch, BankRow.revision, BankRow.digest).where(BankRow.id.in_(newest))
        with self._db.reading() as session:
            rows = session.execute(query).all()
        return {name: BankRef(epoch=epoch, revision=revision, digest=digest) for name, epoch, revision, digest in rows}

    def bank_at(self, craft: str, ref: BankRef) -> PromptBank | None:
        """The craft's bank as it was at a recent revision; None when it is gone or its digest is another."""
        with self._db.reading() as session:
            row = session.scalar(
                select(BankRow).where(
                    BankRow.craft == craft,
                    BankRow.epoch == ref.epoch,
                    BankRow.revision == ref.revision,
                    BankRow.digest == ref.digest,
                )
            )
        return None if row is None else _bank(row)

    def add_fleet_prompt(self, prompt: Prompt) -> None:
        """Keep a prompt for every craft, also those enrolled later; replaces one of the same id."""
        with self._db.writing() as session:
            session.merge(FleetPromptRow(prompt_id=prompt.prompt_id, prompt=_packed([prompt])))

    def fleet_prompts(self) -> list[Prompt]:
        """The prompts of scope `fleet`."""
        with self._db.reading() as session:
            rows = session.scalars(select(FleetPromptRow).order_by(FleetPromptRow.prompt_id))
            return [prompt for row in rows for prompt in _prompts(row.prompt)]

    def forbid_prompt(self, prompt_id: str) -> None:
        """Note that a person took a prompt back; the fleet's copy goes too."""
        with self._db.writing() as session:
            session.merge(RevokedPromptRow(prompt_id=prompt_id, revoked_at_s=time.time()))
            session.execute(delete(FleetPromptRow).where(FleetPromptRow.prompt_id == prompt_id))

    def allow_prompt(self, prompt_id: str) -> None:
        """Forget that a prompt was taken back."""
        with self._db.writing() as session:
            session.execute(delete(RevokedPromptRow).where(RevokedPromptRow.prompt_id == prompt_id))

    def is_forbidden(self, prompt_id: str) -> bool:
        """Whether a person took this prompt back."""
        with self._db.reading() as session:
            return session.get(RevokedPromptRow, prompt_id) is not None


def _latest(session: Session, craft: str) -> BankRow | None:
    return session.scalar(select(BankRow).where(BankRow.craft == craft).order_by(BankRow.id.desc()).limit(1))


def _row(craft: str, bank: PromptBank) -> BankRow:
    return BankRow(
        craft=craft,
        epoch=bank.epoch,
        revision=bank.revision,
        digest=bank.digest,
        prompts=_packed(bank.prompts),
    )


def _bank(row: BankRow) -> PromptBank:
    return PromptBank(epoch=row.epoch, revision=row.revision, prompts=tuple(_prompts(row.prompts)))


def _packed(prompts: Iterable[Prompt]) -> bytes:
    packed: bytes = msgpack.packb([prompt.model_dump() for prompt in prompts])
    return packed


def _prompts(packed: bytes) -> Iterable[Prompt]:
    fields: list[dict[str, Any]] = msgpack.unpackb(packed)
    return [Prompt.model_validate(item) for item in fields]
