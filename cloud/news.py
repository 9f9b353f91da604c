"""Which crafts there is something new for: asked once for all of them, not once by each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cloud.store import CaseStore
from edge.clock import Clock

Token = tuple[int, int, int, int]


class News:
    """What the store says of every craft, not older than a moment.

    A thousand sessions that each asked the store for their craft after every write of any other took more than a core.
    """

    def __init__(
        self,
        store: CaseStore,
        ask: Callable[[Callable[[], dict[str, Token]]], Awaitable[dict[str, Token]]],
        clock: Clock,
        fresh_s: float,
    ) -> None:
        """Know nothing yet.

        Args:
            store: to ask.
            ask: makes a call in another thread.
            clock: says how old an answer is.
            fresh_s: an answer counts for so long, whoever writes.
        """
        self._store, self._ask, self._clock, self._fresh_s = store, ask, clock, fresh_s
        self._tokens: dict[str, Token] = {}
        self._version: int | None = None
        self._asked_s = float("-inf")
        self._lock = asyncio.Lock()

    async def of(self, craft: str) -> Token | None:
        """Numbers that differ from their last values when there is something new for a craft; None is nothing at all.

        Raises:
            StoreError: the store cannot be asked.
        """
        async with self._lock:
            now_s = self._clock.monotonic_s()
            if now_s - self._asked_s >= self._fresh_s:
                version = self._store.data_version()
                if version != self._version:
                    self._tokens = await self._ask(self._store.news)
                    self._version = version
                self._asked_s = now_s
        return self._tokens.get(craft)
