"""Whether a new case can be answered while its answer is of use; who cannot be served is told so at the offer.

What waits, divided by the measured rate of service, is how long a case would wait. A craft that has little waiting is
before the others' backlog in its turn (see `waiting.py`), so that one craft's flood shuts no other one out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from edge.clock import Clock
from edge.config import Settings
from protocols.limits import MAX_DURATION_S
from protocols.values import Case

_ALPHA = 0.2
"""Weight of the newest batch in the measured time of a case."""

_LEAST_RETRY_S, _MOST_RETRY_S = 0.05, min(300.0, MAX_DURATION_S)
_DRAINED = 0.5
"""Share of the allowed delay that should wait still when a refused craft comes back: sooner, and it is refused again;
later, and the teacher may run dry."""

_KEPT = 8
"""One in so many places is kept for crafts that have less than an equal share of the others."""

_PROMISE_S = 10.0
"""A case that was taken and did not become durable since is not counted on any more: its link broke."""


class AdmissionSettings(Settings):
    """When cases are refused for now.

    Attributes:
        max_waiting: cases of all crafts together that no teacher has seen, uploads under way among them; some ten
            kilobytes of memory each. An eighth of these places is kept for crafts that have less than their share.
        max_delay_s: longest expected wait with which a case is taken. One with a time to live must be answered within
            that. The default lets a satellite unload its spool in a pass; a fleet of drones may want a second.
    """

    max_waiting: int = Field(default=1000, ge=1, le=1_000_000)
    max_delay_s: float = Field(default=600.0, gt=0, le=MAX_DURATION_S)


@dataclass(frozen=True)
class Refusal:
    """Why a case is not taken now, in words for the craft's log, and when to offer it again.

    Attributes:
        why: `full` (the bound of waiting cases) or `late` (it would be answered too late).
        reason: readable.
        retry_after_s: from now.
    """

    why: str
    reason: str
    retry_after_s: float


class Admission:
    """Counts what waits and what is served; in the event loop's thread alone."""

    def __init__(self, settings: AdmissionSettings, clock: Clock, seed: int | None = None) -> None:
        """Nothing waits.

        Args:
            settings: the bounds.
            clock: for the rate of service.
            seed: of the retry times' scatter.
        """
        self.refused: Counter[str] = Counter()
        self.clock, self._settings = clock, settings
        self._waiting: Counter[str] = Counter()
        self._total = 0
        self._promised: dict[tuple[str, str], float] = {}  # taken and not durable yet, oldest first
        self._case_s: float | None = None
        self._rng = random.Random(seed)  # noqa: S311 - scatter, no secret

    @property
    def waiting(self) -> int:
        """Cases that are durable and not answered."""
        return self._total

    @property
    def case_s(self) -> float:
        """Measured time that the service takes for a case when it has more than it can do; 0 before the first."""
        return self._case_s or 0.0

    def begin(self, counts: Mapping[str, int]) -> None:
        """Take over what an earlier run left, by craft."""
        self._waiting = Counter(counts)
        self._total = sum(counts.values())

    def arrived(self, craft: str, case_id: str) -> None:
        """Note that a case that was taken is not on its way any more: it is durable, or will not be."""
        self._promised.pop((craft, case_id), None)

    def stored(self, craft: str) -> None:
        """Note a durable case that is to be answered."""
        self._waiting[craft] += 1
        self._total += 1

    def answered(self, crafts: list[str], seconds: float) -> None:
        """Note a batch that is done.

        Args:
            crafts: whose cases, one entry each.
            seconds: that it kept the service from the next one.
        """
        for craft in crafts:
            self._waiting[craft] -= 1
            if self._waiting[craft] <= 0:
                del self._waiting[craft]
        self._total = sum(self._waiting.values())
        if crafts:
            newest_s = seconds / len(crafts)
            old_s = self._case_s
            self._case_s = newest_s if old_s is None else old_s + _ALPHA * (newest_s - old_s)

    def expected_s(self, craft: str, ttl_s: float | None = None) -> float:
        """How long a new case of a craft would wait for its answer.

        Args:
            craft: whose.
            ttl_s: its time to live: with one the newest of a craft goes before the older ones.
        """
        own = self._waiting[craft] if ttl_s is None else 0
        in_turn = (own + 1) * self._others(craft)  # each of the others as often as this one
        return (min(self._total, in_turn) + self._promises() + 1) * self.case_s

    def _others(self, craft: str) -> int:
        """Crafts that wait, this one among them."""
        return len(self._waiting) + (craft not in self._waiting)

    def admit(self, craft: str, case: Case) -> Refusal | None:
        """Why a case is not taken; None where it is, and is counted on from now.

        Args:
            craft: who offers it.
            case: what is offered.
        """
        settings = self._settings
        count, expected_s = self._total + self._promises(), self.expected_s(craft, case.ttl_s)
        limit_s = settings.max_delay_s if case.ttl_s is None else min(settings.max_delay_s, case.ttl_s)
        places = self._places(craft, count)
        if count >= places:
            reason = f"{count} cases wait, at most {places} do"
            drain_s = _DRAINED * count * self.case_s if case.ttl_s is None else 0.0
            refusal = self._refusal("full", reason, drain_s, craft)
        elif count and expected_s > limit_s:
            reason = f"its answer would take {expected_s:.1f} s, of use are {limit_s:.1f} s"
            refusal = self._refusal("late", reason, expected_s - _DRAINED * limit_s, craft)
        else:
            # Offered anew, it goes behind the others: they are in the order of their age.
            self._promised.pop((craft, case.case_id), None)
            self._promised[craft, case.case_id] = self.clock.monotonic_s()
            return None
        self.refused[refusal.why] += 1
        return refusal

    def _places(self, craft: str, count: int) -> int:
        """How many cases may wait where one more of a craft's comes: fewer where it has its equal share already."""
        most = self._settings.max_waiting
        open_to_all = most - most // _KEPT
        if count < open_to_all:
            return most
        promised = Counter(owner for owner, _ in self._promised)
        share = open_to_all / len(self._waiting.keys() | promised.keys() | {craft})
        return most if self._waiting[craft] + promised[craft] < share else open_to_all

    def _promises(self) -> int:
        """Cases on their way here."""
        since_s = self.clock.monotonic_s() - _PROMISE_S
        while self._promised and next(iter(self._promised.values())) < since_s:
            del self._promised[next(iter(self._promised))]
        return len(self._promised)

    def _refusal(self, why: str, reason: str, drain_s: float, craft: str) -> Refusal:
        round_s = self._others(craft) * self.case_s  # in which each of the crafts has had its turn
        # Scattered, lest all that were refused in one moment come back in one.
        retry_s = min(max(drain_s, round_s, _LEAST_RETRY_S) * self._rng.uniform(1.0, 1.5), _MOST_RETRY_S)
        return Refusal(why, f"{reason}: offer it again in {retry_s:.1f} s", round(retry_s, 3))
