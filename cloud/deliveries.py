"""Which answers crafts keep, noted for many crafts in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import structlog

from cloud.answer_shelf import Receipt
from cloud.errors import StoreError
from cloud.store import CaseStore

log = structlog.get_logger()

_PAUSE_S = 0.02
"""Between two transactions: receipts that come meanwhile share the next. What is lost with a crash is sent again."""

_RETRY_S = 1.0
MOST_WAITING = 10_000
"""Receipts that wait for the disk; more are dropped, and their answers are delivered again."""

Ask: TypeAlias = Callable[..., Awaitable[Any]]


class Deliveries:
    """Receipts for answers on their way to the store. It is a task of the event loop: `run` it."""

    def __init__(self, store: CaseStore) -> None:
        """Note them in a store."""
        self._store = store
        self._waiting: list[tuple[Receipt, Callable[[], None]]] = []
        self._wake = asyncio.Event()
        self._is_closing = False

    def add(self, receipt: Receipt, on_noted: Callable[[], None]) -> None:
        """Note soon that a craft keeps an answer.

        Args:
            receipt: (craft, case_id, who made the answer, when it was made).
            on_noted: called in the event loop once that is durable.
        """
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((receipt, on_noted))
            self._wake.set()

    def close(self) -> None:
        """Let `run` end once nothing waits, or the store fails."""
        self._is_closing = True
        self._wake.set()

    async def run(self, ask: Ask) -> None:
        """Note receipts until closed.

        Args:
            ask: makes a call of the store in another thread.
        """
        while self._waiting or not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            group, self._waiting = self._waiting, []
            if not group:
                continue
            try:
                await ask(self._store.mark_all_delivered, [receipt for receipt, _ in group])
            except StoreError as exc:
                log.warning("receipts of answers not noted", reason=str(exc), count=len(group))
                if self._is_closing:
                    return
                self._waiting = group + self._waiting
                self._wake.set()
                await asyncio.sleep(_RETRY_S)
                continue
            for _, on_noted in group:
                on_noted()
            if not self._is_closing:
                await asyncio.sleep(_PAUSE_S)
