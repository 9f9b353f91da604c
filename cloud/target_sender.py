"""The targets of one connected craft: orders out, its words about them in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from cloud.desk import Desk
from cloud.target_shelf import FINISHED, StoredTarget
from protocols.limits import MAX_DURATION_S
from protocols.messages import AnyMessage, Hello, TargetStatus, TrackTarget

log = structlog.get_logger()

KIND = "TrackTarget"


class TargetSender:
    """What is to be said on one connection about targets."""

    def __init__(self, desk: Desk, craft: str, send: Callable[[AnyMessage], Awaitable[None]]) -> None:
        """Wait for the craft's Hello.

        Args:
            desk: see `Desk`.
            craft: its name.
            send: sends a message, or keeps it until there is room.
        """
        self._desk, self._craft, self._send = desk, craft, send
        self._software = ""
        self._speaks = self._has_asked = False
        self._on_their_way: set[tuple[str, str]] = set()

    def greet(self, hello: Hello) -> None:
        """Begin anew: what was not answered on another connection is sent again."""
        self._software, self._speaks = hello.craft_software, KIND in hello.kinds
        self._has_asked = False
        self._on_their_way.clear()

    async def look(self) -> None:
        """Send what waits; once on each connection also ask after what the craft is believed to follow.

        Raises:
            StoreError: the store cannot be asked.
        """
        desk, now_s = self._desk, self._desk.clock.wall_s()
        if not self._speaks:
            reason = f"{self._craft} does not speak {KIND} ({self._software}); update its software"
            await desk.ask(desk.store.note_unheard, self._craft, reason)
            return
        unanswered, followed = await desk.ask(desk.store.open_targets, self._craft, now_s)
        for target in unanswered:
            await self._order(target, now_s)
        if not self._has_asked:
            self._has_asked = True
            for target in followed:
                await self._send(TrackTarget(target_key=target.key, action="status"))

    async def on_status(self, status: TargetStatus) -> None:
        """Keep the craft's word.

        Raises:
            StoreError: it cannot be kept; the craft is asked again at its next connect.
        """
        desk = self._desk
        self._desk.stats.targets[status.state] += 1
        if not await desk.ask(desk.store.note_target, self._craft, status, desk.clock.wall_s()):
            log.warning("word about a target that nobody ordered", craft=self._craft, target_key=status.target_key)
        elif status.state in FINISHED:
            log.info("target over", craft=self._craft, target_key=status.target_key, state=status.state)

    async def _order(self, target: StoredTarget, now_s: float) -> None:
        left_s = min(target.expires_at_s - now_s, MAX_DURATION_S)  # more where the clock was put back meanwhile
        if target.is_stopping:
            message = TrackTarget(target_key=target.key, action="stop")
        elif left_s > 0:
            message = target.order.model_copy(update={"ttl_s": left_s})
        else:  # it was sent, and may have begun
            message = TrackTarget(target_key=target.key, action="status")
        if (target.key, message.action) in self._on_their_way:
            return
        self._on_their_way.add((target.key, message.action))
        desk = self._desk
        if target.is_sent or await desk.ask(desk.store.mark_target_sent, self._craft, target.key, now_s):
            await self._send(message)
