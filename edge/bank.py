"""The prompt bank this craft holds, kept through power loss."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import structlog

from edge.durable import make_folder, write_durably
from edge.errors import BankError
from protocols.errors import MessageError
from protocols.messages import pack_change, unpack_change
from protocols.values import BankChange, PromptBank, apply_change, diff_banks

log = structlog.get_logger()

FILE_NAME = "bank.skyloop"
FIRST_EPOCH = "none"
"""Epoch of the bank before any update; no cloud uses it, so the first update is always a snapshot."""


class BankStore:
    """One prompt bank in one file: sha256 of the rest, then the bank as a packed snapshot.

    `current` may be read from any thread at any time: it is one reference to a value that never changes.

    Attributes:
        set_aside: 1 when a damaged file was found on opening and renamed, else 0.
    """

    def __init__(self, folder: Path) -> None:
        """Load the bank, or start with an empty one.

        Raises:
            BankError: the folder cannot be made or read.
        """
        self.set_aside = 0
        self._path = folder / FILE_NAME
        self._lock = threading.Lock()
        try:
            make_folder(folder)
            self._current = self._load()
        except OSError as exc:
            raise BankError(f"{folder}: the prompt bank cannot be opened ({exc}); check the folder") from exc

    @property
    def current(self) -> PromptBank:
        """The bank in force."""
        return self._current

    def apply(self, change: BankChange) -> PromptBank:
        """The bank after a change; it is on the disk before anybody sees it.

        Applying a change whose target is held already does nothing, so that one may be sent again when its
        receipt was lost.

        Raises:
            MessageError: `bank_mismatch` or `bad_value`, see `protocols.values.apply_change`.
            BankError: it cannot be written; the old bank stays in force.
        """
        with self._lock:
            if change.target == self._current.ref:
                return self._current
            bank = apply_change(self._current, change)
            packed = pack_change(diff_banks(None, bank))
            try:
                write_durably(self._path, hashlib.sha256(packed).digest(), packed)
            except OSError as exc:
                raise BankError(f"{self._path}: not written ({exc.strerror}); free some space") from exc
            self._current = bank
        return bank

    def _load(self) -> PromptBank:
        empty = PromptBank.empty(FIRST_EPOCH)
        if not self._path.exists():
            return empty
        data = self._path.read_bytes()
        digest, packed = data[:32], data[32:]
        try:
            if hashlib.sha256(packed).digest() != digest:
                raise MessageError("its digest does not match", code="bad_digest")
            return apply_change(empty, unpack_change(packed))
        except MessageError as exc:
            self._path.replace(self._path.with_suffix(".corrupt"))
            self.set_aside = 1
            log.warning("prompt bank damaged, set aside", path=str(self._path), reason=str(exc))
            return empty
