"""Requests for better pictures to one connected craft, and its refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from cloud.desk import Desk
from protocols.messages import AnyMessage, Hello, Problem

log = structlog.get_logger()

KIND = "RefineRequest"


class RefineSender:
    """What is to be said on one connection about better pictures. The craft's answer is a case, or a Problem."""

    def __init__(self, desk: Desk, craft: str, send: Callable[[AnyMessage], Awaitable[None]]) -> None:
        """Wait for the craft's Hello.

        Args:
            desk: see `Desk`.
            craft: its name.
            send: sends a message, or keeps it until there is room.
        """
        self._desk, self._craft, self._send = desk, craft, send
        self._software, self._speaks = "", False
        self._on_their_way: set[str] = set()

    def greet(self, hello: Hello) -> None:
        """Begin anew: what was not answered on another connection is sent again."""
        self._software, self._speaks = hello.craft_software, KIND in hello.kinds
        self._on_their_way.clear()

    async def look(self) -> None:
        """Send what waits.

        Raises:
            StoreError: the store cannot be asked.
        """
        desk = self._desk
        for waiting in await desk.ask(desk.store.open_refinements, self._craft, desk.clock.wall_s()):
            request_id = waiting.request.request_id
            if not self._speaks:
                reason = f"{self._craft} does not speak {KIND} ({self._software}); update its software"
                await desk.ask(desk.store.note_refinement, self._craft, request_id, "refused", reason)
            elif request_id not in self._on_their_way:
                self._on_their_way.add(request_id)
                await desk.ask(desk.store.note_refinement, self._craft, request_id, "sent")
                await self._send(waiting.request)

    async def on_problem(self, problem: Problem) -> None:
        """Keep a craft's refusal.

        Raises:
            StoreError: it cannot be kept; the craft refuses again at its next connect.
        """
        if problem.about not in self._on_their_way:
            return
        self._on_their_way.discard(problem.about)
        desk = self._desk
        if await desk.ask(desk.store.note_refinement, self._craft, problem.about, "refused", problem.detail):
            desk.stats.refinements[problem.code] += 1
            log.info("no better picture", craft=self._craft, request_id=problem.about, reason=problem.detail)
