"""What the way to the cloud is like, learned from the receipts that come back: round trip time and bandwidth.

Both are of the whole way, up to the gateway's own answer: the kernel's figures end at the next proxy, which on a
satellite link is often on our side of it. The round trip time is smoothed as in RFC 6298, section 2; the bandwidth is
the delivery rate of draft-cheng-iccrg-delivery-rate-estimation, its maximum over the last seconds as in BBR (Cardwell
et al., "BBR: congestion-based congestion control", ACM Queue 14(5), 2016). From both follows how much to have on the
way: enough to fill the link, not so much that a heartbeat or a receipt waits behind it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from protocols.limits import CHUNK_BYTES

_RATE_WINDOW_S = 10.0
"""How long a maximum of the rate is believed, ten round trips at least (BBR: ten round trips)."""

_BELIEVED_S = 30.0
"""A rate that is older than this, or than ten round trips, says nothing of what the path takes now: who decides by it
what to send, and so sends nothing, would never learn that the path has become better. Two or three cases in time."""

_LEAST_WINDOW_S = 60.0
"""How long a minimum of the round trip time is believed; then the path is emptied for a look at it (BBR: 10 s; here
less often, for each look costs a second's worth on a slow path)."""

_GAIN = 2.0
"""On the way at most: twice what the link holds, so that the rate found can double in each round trip (BBR's gain)."""

_MORE = 1.25
"""A rate that is found while there is too little to send says that the path takes more if it is this much above the
last one found with enough; less is noise (the growth that BBR takes for a sign of an unfilled path)."""

_ANSWER_S = 0.025
"""Added to the round trip when reckoning what the link holds: the gateway gathers what came before it answers."""

_CHUNK_S = 1.0
"""A chunk is to take no longer on the link: so long waits a heartbeat behind it, three at most on the cloud's side."""

_LARGE_CHUNK_S = 0.005
"""One that is larger than every cloud takes is to take no longer than this: nothing waits for it then either."""

_LEAST_CHUNK_BYTES = 1024

_FIRST_CHUNK_BYTES = 2048
"""While nothing is known: seven seconds at 2,400 bit/s, and the gateway takes a craft for gone after ten of silence."""


@dataclass(frozen=True)
class PathState:
    """What the link knows of the way to the cloud; a value, made anew for whoever asks.

    Attributes:
        connected: whether the cloud has welcomed the connection and it lives.
        rtt_s: smoothed round trip time with the gateway's answer; None before the first.
        rtt_least_s: least lately: without what waited on the way.
        rtt_spread_s: smoothed mean deviation.
        edge_to_cloud_bps: imagery bits a second that the path takes; None before the first chunk was receipted, and
            once the newest such rate is too old to be believed.
        is_bps_floor: True while there was never enough to send to fill the path: it may take more.
        in_flight_bytes: imagery sent that no receipt covers yet.
        allowance_bytes: most that should be in flight, credit apart.
    """

    connected: bool = False
    rtt_s: float | None = None
    rtt_least_s: float | None = None
    rtt_spread_s: float = 0.0
    edge_to_cloud_bps: float | None = None
    is_bps_floor: bool = True
    in_flight_bytes: int = 0
    allowance_bytes: int = 2 * _FIRST_CHUNK_BYTES


@dataclass(frozen=True)
class SentChunk:
    """What was known when a chunk left; give it back to `PathEstimate.covered`."""

    size: int
    in_flight: int  # with this one
    sent_s: float
    delivered: int
    delivered_s: float
    first_sent_s: float  # when the newest chunk delivered by then was sent
    is_limited_by_us: bool


class PathEstimate:
    """Learns from one chunk after the other; outlives connections, for the path is usually the same again."""

    def __init__(self) -> None:
        """Know nothing."""
        self._rtt_s: float | None = None
        self._spread_s = 0.0
        self._least_s, self._least_at_s = float("inf"), 0.0
        self._is_looking = False  # the path is being emptied, to see its round trip time
        self._rates: deque[tuple[float, float]] = deque()  # (when, bytes/s), falling
        self._is_floor = True
        self._delivered, self._delivered_s, self._in_flight = 0, 0.0, 0
        self._first_sent_s = 0.0  # when the newest chunk delivered was sent
        self._delivered_before = 0  # when this connection began
        self._idle_until = 0  # chunks delivered up to here say how much there was to send, not what the path takes
        self._largest = CHUNK_BYTES
        self._greeting_rate = 0.0  # bytes/s that the path takes at least, by the first thing sent

    def begin(self, largest_bytes: int = CHUNK_BYTES) -> None:
        """A new connection: nothing is on the way.

        Where nothing of what was sent on the last one came through, the path may have become another: begin small.

        Args:
            largest_bytes: chunk that the cloud takes.
        """
        self._largest = largest_bytes
        if self._in_flight and self._delivered == self._delivered_before:
            self._rates.clear()
        self._in_flight, self._idle_until, self._delivered_before = 0, self._delivered, self._delivered

    def state(self, now_s: float) -> PathState:
        """All that is known at a monotonic time, `connected` apart."""
        return PathState(
            rtt_s=self._rtt_s,
            rtt_least_s=self._least_s if self._rtt_s is not None else None,
            rtt_spread_s=self._spread_s,
            edge_to_cloud_bps=8 * self._rates[0][1] if self._is_fresh(now_s) else None,
            is_bps_floor=self._is_floor,
            in_flight_bytes=self._in_flight,
            allowance_bytes=self.allowance_bytes,
        )

    @property
    def rtt_s(self) -> float | None:
        """Smoothed round trip time; None before the first answer."""
        return self._rtt_s

    def bytes_per_s(self, now_s: float) -> float | None:
        """What the path takes at a monotonic time; None while that is unknown, or it may take more."""
        return self._rates[0][1] if self._is_fresh(now_s) and not self._is_floor else None

    def _is_fresh(self, now_s: float) -> bool:
        """Whether a rate is known that is still believed."""
        return bool(self._rates) and now_s - self._rates[-1][0] <= self._window_s(_BELIEVED_S)

    def _window_s(self, least_s: float) -> float:
        """So long, and ten round trips at least."""
        return max(least_s, 10 * min(self._least_s, _LEAST_WINDOW_S))

    @property
    def chunk_bytes(self) -> int:
        """How large the next chunk should be: at most a second's worth, and large ones only where that is nothing."""
        if not self._rates:
            return int(min(max(self._greeting_rate * _CHUNK_S, _FIRST_CHUNK_BYTES), CHUNK_BYTES))
        rate = self._rates[0][1]
        usual = min(max(rate * _CHUNK_S, _LEAST_CHUNK_BYTES), CHUNK_BYTES)
        return int(max(usual, min(rate * _LARGE_CHUNK_S, self._largest)))

    @property
    def allowance_bytes(self) -> int:
        """Most imagery that should be in flight; two chunks at least: one on its way while the other is answered."""
        least = 2 * self.chunk_bytes
        if not self._rates or self._rtt_s is None or self._is_looking:
            return least
        return max(least, int(_GAIN * self._rates[0][1] * (self._least_s + _ANSWER_S)))

    def greeted(self, size: int, rtt_s: float, now_s: float) -> None:
        """Take the round trip of a connection's first message: a path that took it in that time is no thinner.

        Args:
            size: of the message, bytes.
            rtt_s: seconds until its answer was here.
            now_s: monotonic time.
        """
        self._greeting_rate = size / max(rtt_s, 1e-6)
        self.answered(rtt_s, now_s)

    def answered(self, rtt_s: float, now_s: float, in_flight: int = 0) -> None:
        """Take one round trip time, of something that was sent once only (Karn's rule).

        Args:
            rtt_s: seconds.
            now_s: monotonic time.
            in_flight: imagery that was on the way when it was sent, with itself.
        """
        if self._rtt_s is None:
            self._rtt_s, self._spread_s = rtt_s, rtt_s / 2
        else:
            self._spread_s += (abs(self._rtt_s - rtt_s) - self._spread_s) / 4
            self._rtt_s += (rtt_s - self._rtt_s) / 8
        is_clear = in_flight <= 2 * self.chunk_bytes
        if rtt_s <= self._least_s or (self._is_looking and is_clear):
            self._least_s, self._least_at_s, self._is_looking = rtt_s, now_s, False
        elif now_s - self._least_at_s > _LEAST_WINDOW_S:
            self._is_looking = True

    def sent(self, size: int, now_s: float) -> SentChunk:
        """Note that a chunk leaves."""
        if self._in_flight == 0:  # the path was empty: what it delivers is counted from now
            self._delivered_s = self._first_sent_s = now_s
        is_limited_by_us = self._delivered < self._idle_until
        self._in_flight += size
        counted = self._delivered, self._delivered_s, self._first_sent_s
        return SentChunk(size, self._in_flight, now_s, *counted, is_limited_by_us)

    def ran_dry(self) -> None:
        """There was room on the path and nothing to send: what is in flight now tells only a floor of the rate."""
        self._idle_until = self._delivered + self._in_flight

    def covered(self, chunk: SentChunk, now_s: float) -> None:
        """A receipt covers this chunk, and whatever was sent before it was noted before."""
        self._in_flight -= chunk.size
        self._delivered += chunk.size
        self._delivered_s, self._first_sent_s = now_s, chunk.sent_s
        # Receipts that come in a bunch, as after a group commit, would make a rate of their own: the draft's remedy.
        passed_s = max(now_s - chunk.delivered_s, chunk.sent_s - chunk.first_sent_s)
        if passed_s <= 0:
            return
        rate = (self._delivered - chunk.delivered) / passed_s
        is_floor = chunk.is_limited_by_us or self._delivered <= self._idle_until
        best = self._rates[0][1] if self._rates else 0.0
        if is_floor and rate <= best:
            return
        self._is_floor = is_floor and (self._is_floor or rate > _MORE * best)
        while self._rates and self._rates[-1][1] <= rate:
            self._rates.pop()
        self._rates.append((now_s, rate))
        while now_s - self._rates[0][0] > self._window_s(_RATE_WINDOW_S):
            self._rates.popleft()

    def lost(self, size: int) -> None:
        """What was sent will not be covered: its case is offered anew or given up."""
        self._in_flight -= size
