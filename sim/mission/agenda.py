"""The virtual clock: what is to happen, in order of time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

Action = Callable[[float], None]
"""Takes the time at which it happens, in seconds."""


class Agenda:
    """A queue of actions; those of the same time happen in the order they were entered.

    Attributes:
        now_s: time of the action that happens, or happened last.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._queue: list[tuple[float, int, Action]] = []
        self._seq = itertools.count()

    def at(self, time_s: float, action: Action) -> None:
        """Enter an action; a time before now happens now."""
        heapq.heappush(self._queue, (max(time_s, self.now_s), next(self._seq), action))

    def run(self, until_s: float) -> None:
        """Let everything happen that is due before `until_s`, then set the clock to it."""
        while self._queue and self._queue[0][0] < until_s:
            self.now_s, _, action = heapq.heappop(self._queue)
            action(self.now_s)
        self.now_s = until_s
