"""How much a cloud may say: what the craft's own messages call for, and a little of its own accord."""

from __future__ import annotations

_PER_SECOND = 200.0
"""Unasked: heartbeats (20/s at the shortest), update slices (50/s), answers (16 at a time) and problems (10/s)."""

_PER_SENT = 4.0
"""Called for by each message sent: an offer or a chunk has one or two receipts."""

_BURST = 1000.0


class FloodGuard:
    """A token bucket over received messages; while it is empty nothing is read, and TCP makes the sender wait."""

    def __init__(self, now_s: float) -> None:
        """Start full, at a monotonic time."""
        self._tokens, self._at_s = _BURST, now_s
        self._is_dry = False

    def allows(self, now_s: float) -> bool:
        """Whether one more message may be read."""
        self._tokens = min(_BURST, self._tokens + (now_s - self._at_s) * _PER_SECOND)
        self._at_s = now_s
        return self._tokens >= 1

    def note_read(self) -> bool:
        """Note one message; returns True where a flood begins: the first time in a while that nothing is left."""
        self._tokens -= 1
        was_dry, self._is_dry = self._is_dry, self._tokens < 1 or (self._is_dry and self._tokens < _BURST / 2)
        return self._is_dry and not was_dry

    def note_sent(self) -> None:
        """Note one message of our own."""
        self._tokens = min(_BURST, self._tokens + _PER_SENT)
