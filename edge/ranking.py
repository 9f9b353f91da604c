"""The one order of waiting cases: most worth for a byte first, older first among equals; the last is dropped first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Ranked(Protocol):
    """Something that waits for the link."""

    @property
    def order(self) -> tuple[float, int]:
        """Sort key: first to send, last to drop; see `rank`."""
        ...


AnyRanked = TypeVar("AnyRanked", bound=Ranked)


CASE_OVERHEAD_BYTES = 2000
"""What a case costs on the wire beside its imagery: 1 to 2.5 kB (docs/hardness.md)."""


def worth_per_byte(value: float, payload_bytes: int) -> float:
    """What a case brings for each byte that it takes."""
    return value / (payload_bytes + CASE_OVERHEAD_BYTES)


def rank(value: float, seq: int) -> tuple[float, int]:
    """Sort key of a case worth `value` that was the `seq`-th to arrive."""
    return -value, seq


def first_to_send(waiting: Iterable[AnyRanked]) -> AnyRanked | None:
    """The most valuable, oldest among equals; None when nothing waits."""
    return min(waiting, key=lambda entry: entry.order, default=None)


def first_to_drop(kept: Iterable[AnyRanked], new: AnyRanked) -> AnyRanked:
    """Whoever makes room when `new` arrives at a full queue: the least valuable, and that may be `new` itself."""
    last = max(kept, key=lambda entry: entry.order, default=new)
    return last if last.order > new.order else new
