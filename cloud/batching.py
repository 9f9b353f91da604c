"""How long a batch waits for more: as long as the wait brings more than it costs, which is measured, not told."""

from __future__ import annotations

import math

_FORGET = 0.95
"""What each run leaves of the weight of those before: some twenty runs count."""

_ARRIVALS_S = 1.0
"""Time over which arrivals are counted, the older the less."""


class RunTimes:
    """What a run of the teacher takes: a fixed part, and a part for each case (least squares over recent runs)."""

    def __init__(self) -> None:
        """Know nothing."""
        self._weight = self._n = self._nn = self._t = self._nt = 0.0

    def ran(self, cases: int, seconds: float) -> None:
        """Note a run."""
        kept = [_FORGET * value for value in (self._weight, self._n, self._nn, self._t, self._nt)]
        now = (1.0, cases, cases * cases, seconds, cases * seconds)
        self._weight, self._n, self._nn, self._t, self._nt = (old + new for old, new in zip(kept, now, strict=True))

    @property
    def each_s(self) -> float:
        """Of a run, for each case; 0 where nothing ran yet."""
        if not self._weight:
            return 0.0
        spread = self._weight * self._nn - self._n**2
        mean_s = self._t / self._n
        if spread < 1e-6 * self._weight * self._nn:  # all of one size: nothing tells the parts apart
            return mean_s
        return min(max((self._weight * self._nt - self._n * self._t) / spread, 0.0), mean_s)

    @property
    def fixed_s(self) -> float:
        """Of a run, however many cases it takes: what one more case in it saves."""
        return max(self._t - self.each_s * self._n, 0.0) / self._weight if self._weight else 0.0

    def of(self, cases: int) -> float:
        """What a run of so many cases takes."""
        return self.fixed_s + self.each_s * cases


class ArrivalRate:
    """How many cases come in a second."""

    def __init__(self) -> None:
        """None came."""
        self._count, self._at_s = 0.0, 0.0

    def came(self, count: int, now_s: float) -> None:
        """Note arrivals at a monotonic time."""
        self._count = self._faded(now_s) + count
        self._at_s = now_s

    def per_s(self, now_s: float) -> float:
        """Arrivals a second, lately."""
        return self._faded(now_s) / _ARRIVALS_S

    def _faded(self, now_s: float) -> float:
        return self._count * math.exp(-max(now_s - self._at_s, 0.0) / _ARRIVALS_S)


def pays_to_wait(ready: int, most: int, arrivals_per_s: float, times: RunTimes) -> bool:
    """Whether an idle teacher should wait for more than it could begin with now.

    A second of waiting costs each ready case a second. It brings so many others, and each that joins the run saves the
    run's fixed part. A CPU, whose runs have next to none, never waits; nor does anybody for cases that seldom come.
    """
    return ready < most and arrivals_per_s * times.fixed_s > ready
