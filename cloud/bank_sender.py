"""Brings one craft's prompt bank up to date: a delta or a snapshot, in slices, until its receipt has come."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from edge.clock import Clock
from protocols.messages import PromptReceipt, PromptUpdate, pack_change
from protocols.reassembly import slices
from protocols.values import BankRef, PromptBank, diff_banks

MAX_TRIES = 3
"""Attempts to bring one bank to a craft in one connection; then only a change or a reconnect starts again."""


@dataclass
class _Update:
    update_id: str
    target: BankRef
    packed: bytes
    sha256: str
    is_snapshot: bool
    offset: int = 0
    sent_s: float = 0.0  # monotonic time of the newest slice


class BankSender:
    """One craft's updates in one connection, one at a time.

    Attributes:
        held: the bank the craft says it holds.
    """

    def __init__(self, held: BankRef, clock: Clock, *, patience_s: float) -> None:
        self.held = held
        self._clock, self._patience_s = clock, patience_s
        self._update: _Update | None = None
        self._failed: tuple[BankRef, int] | None = None  # target that was refused, and how often

    @property
    def is_sending(self) -> bool:
        """Whether a slice waits to be sent."""
        return self._update is not None and self._update.offset < len(self._update.packed)

    def wants(self, bank: PromptBank) -> bool:
        """Whether an update to `bank` should start now."""
        if self._update is not None or bank.ref == self.held:
            return False
        return self._tries(bank.ref) < MAX_TRIES

    def wants_delta(self, bank: PromptBank) -> bool:
        """Whether the next try may be a delta: nothing has gone wrong yet."""
        return self._tries(bank.ref) == 0

    def start(self, bank: PromptBank, base: PromptBank | None) -> None:
        """Begin an update.

        Args:
            bank: what the craft should hold.
            base: the very bank it holds, or None for a snapshot.
        """
        change = diff_banks(base, bank)
        packed = pack_change(change)
        digest = hashlib.sha256(packed).hexdigest()
        self._update = _Update(uuid.uuid4().hex, bank.ref, packed, digest, is_snapshot=change.base is None)

    def next_slice(self) -> tuple[PromptUpdate, bytes] | None:
        """(message, blob) to send now; say `sent` once it is under way."""
        update = self._update
        if update is None or not self.is_sending:
            return None
        offset, blob = next(slices(update.packed, update.offset))
        message = PromptUpdate(
            update_id=update.update_id,
            target=update.target,
            total_bytes=len(update.packed),
            offset=offset,
            sha256=update.sha256,
        )
        return message, blob

    def sent(self, blob: bytes) -> None:
        """Note that the slice of `next_slice` is under way."""
        assert self._update is not None
        self._update.offset += len(blob)
        self._update.sent_s = self._clock.monotonic_s()

    def on_receipt(self, receipt: PromptReceipt) -> None:
        """Believe the craft what it holds, and end the update the receipt is for."""
        self.held = receipt.bank
        update = self._update
        if update is None or update.update_id != receipt.update_id:
            return
        if not receipt.applied:
            # The same snapshot again would be refused again.
            self._failed = (update.target, MAX_TRIES if update.is_snapshot else self._tries(update.target) + 1)
        self._update = None

    def give_up_unanswered(self) -> bool:
        """Whether the update on its way just ended because no receipt came in time."""
        update = self._update
        if update is None or self.is_sending or self._clock.monotonic_s() - update.sent_s < self._patience_s:
            return False
        self._failed = (update.target, self._tries(update.target) + 1)
        self._update = None
        return True

    def _tries(self, target: BankRef) -> int:
        return self._failed[1] if self._failed is not None and self._failed[0] == target else 0
