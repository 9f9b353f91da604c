"""What the cloud wants followed, on its way from the link's thread to the frame loop, and what became of it back.

Both sides only put down and pick up under a lock that nobody holds for long: neither waits for the other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from edge.clock import Clock, SystemClock
from edge.errors import TargetError
from edge.followed_target import Target
from edge.pipeline import FramePipeline, FrameResult
from edge.target_requests import TargetRequest
from protocols.limits import MAX_COORD_PX, MAX_DETAIL_CHARS, MAX_TARGETS
from protocols.messages import TargetStatus, TrackTarget
from protocols.values import FrameHeader

REMEMBERED = 256
"""Orders that are known again when they are repeated; the oldest finished ones are forgotten first."""

LEAST_PAUSE_S = 1.0
"""Between two unasked words about one target: a target that flickers must not fill a thin link."""

State: TypeAlias = Literal[
    "waiting", "tentative", "tracked", "lost", "re_found", "stopped", "refused", "expired", "unknown"
]
FINAL: frozenset[State | None] = frozenset({"stopped", "refused", "expired", "unknown"})


@dataclass
class _Order:
    """One target of the cloud's.

    Attributes:
        request: until the frame loop has taken it.
        label: what it is called.
        until_s: monotonic time until which it may begin; None is for ever.
        is_stopping: it is to be followed no longer.
        state, reason: as of the newest frame; no state before the frame loop has taken the request.
        target_id, target, header: once it has begun, and as it was in the newest frame.
        told, told_s: the last state that was told, and when.
        is_asked: somebody wants to know.
    """

    request: TargetRequest | None = None
    label: str = ""
    until_s: float | None = None
    is_stopping: bool = False
    state: State | None = None
    reason: str = ""
    target_id: int | None = None
    target: Target | None = None
    header: FrameHeader | None = None
    told: State | None = None
    told_s: float = 0.0
    is_asked: bool = True

    def turn(self, state: State, reason: str) -> None:
        """Take another state."""
        self.state, self.reason = state, reason

    def is_due(self, now_s: float) -> bool:
        """Whether to tell it now."""
        if self.state is None:
            return False
        return self.is_asked or (self.state != self.told and now_s - self.told_s >= LEAST_PAUSE_S)


class TargetOrders:
    """The cloud's targets of one program.

    `receive` and `due` are for the link's thread, `give` and `note` for the frame loop.
    There are never more than the cap of targets that wait or are followed, and `REMEMBERED` in all.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        """Know of none yet.

        Args:
            clock: for lifetimes and pauses.
        """
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._orders: OrderedDict[str, _Order] = OrderedDict()

    def receive(self, message: TrackTarget) -> None:
        """Take an order; what becomes of it is told by `due`."""
        with self._lock:
            order = self._orders.get(message.target_key)
            if message.action == "start" and (order is None or order.state == "unknown"):
                self._remember(message.target_key, self._accepted(message))
            elif order is None:
                unknown = _Order(state="unknown", reason="the craft does not know it: its program began anew since")
                self._remember(message.target_key, unknown)
            else:
                order.is_stopping = order.is_stopping or message.action == "stop"
                order.is_asked = True

    def due(self, most: int) -> list[TargetStatus]:
        """At most so many words that are to be said now."""
        now_s = self._clock.monotonic_s()
        told: list[TargetStatus] = []
        with self._lock:
            for key, order in self._orders.items():
                if len(told) < most and order.is_due(now_s) and not self._is_pending(order):
                    order.told, order.told_s, order.is_asked = order.state, now_s, False
                    told.append(_status(key, order))
        return told

    def give(self, pipeline: FramePipeline) -> None:
        """Begin and stop what was ordered since the last frame."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            for key, order in self._orders.items():
                if order.state in FINAL:
                    continue
                if order.is_stopping:
                    _stop(key, order, pipeline)
                elif order.target_id is None and order.until_s is not None and now_s > order.until_s:
                    pipeline.withdraw(key)
                    order.turn("expired", "its time was over before it began")
                elif order.request is not None:
                    pipeline.follow(order.request)
                    order.request = None

    def note(self, result: FrameResult, header: FrameHeader) -> None:
        """Take what a frame says of the targets."""
        targets = {target.target_id: target for target in result.targets}
        with self._lock:
            for request, target_id, reason in result.begun:
                order = self._orders.get(request.key)
                if order is not None and target_id is None:
                    order.turn("refused", reason)
                elif order is not None:
                    order.target_id = target_id
            for order in self._orders.values():
                if order.state not in FINAL and order.request is None:
                    _note(order, targets, header)

    def _accepted(self, message: TrackTarget) -> _Order:
        active = sum(order.state not in FINAL for order in self._orders.values())
        if active >= MAX_TARGETS:
            reason = f"{active} targets are followed or waited for, at most {MAX_TARGETS}; stop one first"
            return _Order(state="refused", reason=reason)
        until_s = None if message.ttl_s is None else self._clock.monotonic_s() + message.ttl_s
        return _Order(request_of(message), message.label, until_s)

    def _remember(self, key: str, order: _Order) -> None:
        self._orders[key] = order
        finished = [key for key, order in self._orders.items() if order.state in FINAL]
        for old in finished[: max(len(self._orders) - REMEMBERED, 0)]:
            del self._orders[old]

    def _is_pending(self, order: _Order) -> bool:
        """Whether the frame loop has still to stop it."""
        return order.is_stopping and order.state not in FINAL


def request_of(message: TrackTarget) -> TargetRequest:
    """A start in the words of the pipeline."""
    box = None
    if message.box_xyxy is not None:
        x1, y1, x2, y2 = message.box_xyxy
        box = (x1, y1, x2 - x1, y2 - y1)
    return TargetRequest(
        box_xywh=box,
        label=message.label,
        point_xy=message.point_xy,
        is_normalised=message.is_normalised,
        key=message.target_key,
        seen_in=message.seen_in,
    )


def _stop(key: str, order: _Order, pipeline: FramePipeline) -> None:
    pipeline.withdraw(key)
    if order.target_id is not None:
        try:
            pipeline.stop(order.target_id)
        except TargetError as exc:  # somebody on the craft was faster
            order.turn("stopped", str(exc))
            return
    order.turn("stopped", "by the cloud")


def _note(order: _Order, targets: dict[int, Target], header: FrameHeader) -> None:
    if order.target_id is None:
        order.turn("waiting", f"nothing answers to {order.label!r} yet")
    elif (target := targets.get(order.target_id)) is None:
        order.turn("stopped", "on the craft")
    else:
        order.target, order.header = target, header
        order.turn(target.state, target.reason)


def _status(key: str, order: _Order) -> TargetStatus:
    assert order.state is not None
    status = TargetStatus(
        target_key=key, state=order.state, reason=order.reason[:MAX_DETAIL_CHARS], target_id=order.target_id
    )
    if order.target is None or order.header is None or not np.isfinite(order.target.box_xyxy).all():
        return status
    box = np.clip(order.target.box_xyxy, -MAX_COORD_PX, MAX_COORD_PX)
    place = {
        "box_xyxy": tuple(box.tolist()),
        "presence": min(max(order.target.presence, 0.0), 1.0),
        "frame_index": order.header.index,
        "captured_at_s": order.header.captured_at_s,
    }
    return status.model_copy(update=place)
