"""The bytes of an offer as they come: in order, no more than were asked for, and at the pace that the craft sets."""

from __future__ import annotations

from edge.fetch_window import LEAST_BYTES, FetchWindow
from protocols.bundle_messages import BundlePart
from protocols.messages import BundleChunk

_ASK_AGAIN_S = 15.0
"""Without a byte for so long, what was asked for is asked for again: the cloud may have forgotten."""

_MAX_UNWRITTEN = 2**20
"""Bytes that may wait for a slow disk."""


class BundleFetch:
    """What is being fetched of one offer. Everything in the link's thread."""

    def __init__(self, window: FetchWindow) -> None:
        """Ask for nothing yet."""
        self.window = window
        self.offer_id = ""
        self.part: BundlePart = "metadata"
        self.held = self.total = 0
        self._written = 0
        self._asked = 0
        self._told_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether bytes are still to come."""
        return self.held < self.total

    def begin(self, offer_id: str, part: BundlePart, held: int, total: int) -> None:
        """Fetch a part from an offset on."""
        self.offer_id, self.part, self.held, self.total = offer_id, part, held, total
        self._asked, self._written, self._told_s = held, held, float("-inf")

    def stop(self) -> None:
        """Ask for nothing more."""
        self.total = self.held

    def wrote(self, offset: int) -> None:
        """The disk has everything up to here."""
        self._written = offset

    def take(self, chunk: BundleChunk, blob: bytes, now_s: float) -> bool:
        """Whether a slice is one that was asked for and comes next; any other is dropped."""
        is_next = (chunk.offer_id, chunk.part, chunk.offset) == (self.offer_id, self.part, self.held)
        if not (self.is_open and is_next and self.held + len(blob) <= self._asked):
            return False
        self.held += len(blob)
        self._told_s = now_s
        self.window.came(self.held, len(blob), now_s)
        return True

    def ask(self, now_s: float, *, is_busy: bool) -> int | None:
        """Credit to give now; None where what was given lasts."""
        if not self.is_open:
            return None
        is_overdue = now_s - self._told_s >= _ASK_AGAIN_S
        credit = self.window.credit(now_s, is_busy=is_busy)
        if self.held - self._written > _MAX_UNWRITTEN:
            credit = 0
        until = min(self.held + credit, self.total)
        more = until - self._asked
        is_last = until == self.total
        # By quarters of the window: small enough to feel the queue by, and not a receipt for every slice.
        if not is_overdue and more < (1 if is_last else max(credit // 4, LEAST_BYTES // 2)):
            return None
        self._told_s = now_s
        self._asked = max(until, self._asked)
        self.window.asked(self._asked, now_s)
        return self._asked - self.held
