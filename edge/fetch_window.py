"""How many bytes of a bundle may be under way: as many as the link takes without anything urgent waiting behind them.

The queue on the way is felt by what it does to time, as LEDBAT does (RFC 6817): as long as bytes that are asked for
come hardly later than they ever did, more may be asked for; once they come later, less. Beyond that a budget bounds the
long-run mean.
"""

from __future__ import annotations

from collections import deque

LEAST_BYTES = 4096
"""An eighth of a second at 256 kbit/s."""

MOST_BYTES = 256 * 1024

QUEUE_S = 0.4
"""How much later than at best bytes may come: so long may a prompt or a receipt wait behind them."""

_GAIN = 0.25
"""By how much the window grows or shrinks at most at a time: where there is no queue, or one twice as long."""

_BURST_S = 2.0
_REMEMBERED = 64


class FetchWindow:
    """The window of one connection; times are monotonic seconds."""

    def __init__(self, budget_bytes_per_s: float, now_s: float) -> None:
        """Begin small, with a full budget.

        Args:
            budget_bytes_per_s: long-run mean.
            now_s: the time.
        """
        self._window = float(LEAST_BYTES)
        self._budget_bytes_per_s = budget_bytes_per_s
        self._most_left = max(_BURST_S * budget_bytes_per_s, LEAST_BYTES)
        self._left, self._left_s = self._most_left, now_s
        self._asked: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)  # offset up to which was asked, and when
        self._least_s, self._shrunk_s = float("inf"), float("-inf")

    def credit(self, now_s: float, *, is_busy: bool) -> int:
        """Bytes that may be under way now.

        Args:
            now_s: the time.
            is_busy: something more urgent is on its way: only the least is asked for then.
        """
        self._left = min(self._left + (now_s - self._left_s) * self._budget_bytes_per_s, self._most_left)
        self._left_s = now_s
        window = LEAST_BYTES if is_busy else self._window
        credit = int(min(window, self._left))
        return credit if credit >= LEAST_BYTES else 0

    def asked(self, until_offset: int, now_s: float) -> None:
        """Bytes up to an offset were asked for."""
        if not self._asked or until_offset > self._asked[-1][0]:
            self._asked.append((until_offset, now_s))

    def came(self, held_offset: int, size: int, now_s: float) -> None:
        """So many bytes came, and all up to an offset are held now."""
        self._left -= size
        while self._asked and self._asked[0][0] <= held_offset:
            _, asked_s = self._asked.popleft()
            took_s = now_s - asked_s
            self._least_s = min(self._least_s, took_s)
            off_target = 1 - (took_s - self._least_s) / QUEUE_S
            if off_target < 0 and asked_s < self._shrunk_s:  # asked for before the window shrank: it tells nothing new
                continue
            if off_target < 0:
                self._shrunk_s = now_s
            factor = 1 + _GAIN * max(off_target, -1.0)
            self._window = min(max(self._window * factor, LEAST_BYTES), MOST_BYTES)
