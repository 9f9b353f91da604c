"""What a busy cloud has no room for, by kind: cases with a time to live are one, those without one are the other.

A cloud takes a case with a time to live before its craft's own backlog, so that a refusal of either kind says nothing
of the other: where survey cases must wait for minutes, a question about a target may be answered at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class _Refused:
    until_s: float
    ttl_s: float
    is_probing: bool = True


class Refusals:
    """Which cases may be offered again, and which of them go first and alone."""

    def __init__(self) -> None:
        """Nothing was refused."""
        self._kinds: dict[bool, _Refused] = {}  # by whether they have a time to live

    def clear(self) -> None:
        """Forget all: another connection, perhaps another cloud."""
        self._kinds.clear()

    def heed(self, ttl_s: float | None, until_s: float, now_s: float) -> None:
        """Note that a case was refused.

        Args:
            ttl_s: its time to live, or None.
            until_s: monotonic time before which the cloud wants to hear of none that can wait no longer.
            now_s: monotonic time.
        """
        new = _Refused(until_s, _or_for_ever(ttl_s))
        old = self._kinds.get(ttl_s is not None)
        if old is not None and now_s < old.until_s:
            new = _Refused(max(old.until_s, until_s), max(old.ttl_s, new.ttl_s))
        self._kinds[ttl_s is not None] = new

    def taken(self, ttl_s: float | None) -> None:
        """Note that the cloud had room for a case again."""
        if (refused := self._kinds.get(ttl_s is not None)) is not None:
            refused.is_probing = False

    def is_paused(self, ttl_s: float | None, now_s: float) -> bool:
        """Whether a case is not to be offered yet: one of its kind that can wait as long was refused."""
        refused = self._kinds.get(ttl_s is not None)
        return refused is not None and now_s < refused.until_s and _or_for_ever(ttl_s) <= refused.ttl_s

    def is_probing(self, ttl_s: float | None) -> bool:
        """Whether none of this kind was taken since: one at a time, and without imagery."""
        refused = self._kinds.get(ttl_s is not None)
        return refused is not None and refused.is_probing


def _or_for_ever(ttl_s: float | None) -> float:
    return math.inf if ttl_s is None else ttl_s
