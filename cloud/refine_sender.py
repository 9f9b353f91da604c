"""Requests for better pictures to one connected craft, and its refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from cloud.desk import Desk
from cloud.refine_shelf import LIFE_S, RefinementState
from protocols.messages import AnyMessage, Hello, Problem

log = structlog.get_logger()

KIND = "RefineRequest"

_RETRY_S = 1.0
"""Where a craft that is busy does not say for how long."""


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
        self._on_their_way: dict[str, float] = {}  # by request, when to look at it again, monotonic

    @property
    def is_due(self) -> bool:
        """Whether a request is to be sent again, or too old by now, though there is no news of it."""
        now_s = self._desk.clock.monotonic_s()
        return any(due_s <= now_s for due_s in self._on_their_way.values())

    def greet(self, hello: Hello) -> None:
        """Begin anew: what was not answered on another connection is sent again."""
        self._software, self._speaks = hello.craft_software, KIND in hello.kinds
        self._on_their_way.clear()

    async def look(self) -> None:
        """Send what waits.

        Raises:
            StoreError: the store cannot be asked.
        """
        desk, now_s = self._desk, self._desk.clock.monotonic_s()
        still_open: dict[str, float] = {}
        for waiting in await desk.ask(desk.store.open_refinements, self._craft, desk.clock.wall_s()):
            request_id = waiting.request.request_id
            if not self._speaks:
                reason = f"{self._craft} does not speak {KIND} ({self._software}); update its software"
                await desk.ask(desk.store.note_refinement, self._craft, request_id, "refused", reason)
                continue
            still_open[request_id] = self._on_their_way.get(request_id, now_s)
            if still_open[request_id] <= now_s:
                still_open[request_id] = now_s + LIFE_S
                await desk.ask(desk.store.note_refinement, self._craft, request_id, "sent")
                await self._send(waiting.request)
        self._on_their_way = still_open

    async def on_problem(self, problem: Problem) -> None:
        """Keep a craft's refusal; one that is busy is asked again when it says, while it may hold the frame.

        Raises:
            StoreError: it cannot be kept; the craft refuses again at its next connect.
        """
        if problem.about not in self._on_their_way:
            return
        desk = self._desk
        state: RefinementState = "queued" if problem.code == "busy" else "refused"
        if state == "queued":
            self._on_their_way[problem.about] = desk.clock.monotonic_s() + (problem.retry_after_s or _RETRY_S)
        else:
            del self._on_their_way[problem.about]
        if await desk.ask(desk.store.note_refinement, self._craft, problem.about, state, problem.detail):
            desk.stats.refinements[problem.code] += 1
            log.info("no better picture", craft=self._craft, request_id=problem.about, reason=problem.detail)
