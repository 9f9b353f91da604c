"""One direction of a slow link: how long bytes take to get on it, when they come out, and which of them are damaged."""

from __future__ import annotations

from typing import NamedTuple

from sim.fates import Fates

PACKET_BYTES = 1500
"""Ethernet's payload (IEEE 802.3), the packet of nearly every path."""

LEAST_TIMEOUT_S = 0.2
"""What Linux adds to the round trip at least before it sends again (TCP_RTO_MIN in its include/net/tcp.h)."""

MOST_TIMEOUT_S = 120.0
"""What it waits at most (TCP_RTO_MAX there)."""


class TokenBucket:
    """Bytes at a rate; after a pause one packet passes at once."""

    def __init__(self, rate_bps: float) -> None:
        """Fill it.

        Args:
            rate_bps: bits per second.
        """
        self.bytes_per_s = rate_bps / 8
        self._empty_s = float("-inf")

    def take(self, count: int, now_s: float) -> float:
        """When so many bytes have passed, taken one after the other.

        Args:
            count: of bytes.
            now_s: when they were ready.
        """
        full_s = now_s - PACKET_BYTES / self.bytes_per_s
        self._empty_s = max(self._empty_s, full_s) + count / self.bytes_per_s
        return max(self._empty_s, now_s)


class LineSettings(NamedTuple):
    """How one direction is.

    Attributes:
        rate_bps: bits per second.
        latency_ms: of every byte.
        jitter_ms: most that is added to it, drawn evenly for each packet.
        loss: share of packets that have to be sent again.
        bit_error_rate: share of bits that arrive flipped.
    """

    rate_bps: float
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    bit_error_rate: float = 0.0


class Passage(NamedTuple):
    """A piece of data on the line: when it has left, when it arrives, and as what."""

    left_s: float
    arrives_s: float
    data: bytes


class DelayLine:
    """Rate, latency, jitter, loss and bit errors of one direction; order is kept."""

    def __init__(self, settings: LineSettings, seed: int) -> None:
        """An empty line.

        Args:
            settings: see `LineSettings`; `change` gives others.
            seed: of jitter, losses and flips.
        """
        self._fates = Fates(seed)
        self._bucket = TokenBucket(settings.rate_bps)
        self._settings = settings
        self._last_s = float("-inf")
        self._passed_bytes = 0

    def change(self, settings: LineSettings) -> None:
        """Be another line from the next piece on."""
        self._settings = settings
        self._bucket.bytes_per_s = settings.rate_bps / 8

    @property
    def round_trip_s(self) -> float:
        """Twice the latency."""
        return 2 * self._settings.latency_ms / 1000

    @property
    def piece_bytes(self) -> int:
        """How much to take at a time: 10 ms of the rate, within reason, and no less than a packet."""
        return int(min(max(self._bucket.bytes_per_s / 100, PACKET_BYTES), 16_384))

    def send(self, data: bytes, now_s: float) -> Passage:
        """Put a piece on the line.

        Args:
            data: it.
            now_s: when it was ready.
        """
        settings, begin = self._settings, self._passed_bytes
        self._passed_bytes = end = begin + len(data)
        left_s = self._bucket.take(len(data), now_s)
        late_s = settings.jitter_ms / 1000 * self._fates.jitter(max(end - 1, 0))
        if settings.loss and data:
            late_s += max(self._repair_s(offset) for offset in _packets(begin, end))
        if settings.bit_error_rate and data:
            data = self._damaged(data, begin)
        self._last_s = max(self._last_s, left_s + settings.latency_ms / 1000 + late_s)
        return Passage(left_s, self._last_s, data)

    def retry_after_s(self, waited_s: float, first_s: float | None = None) -> float:
        """How much longer TCP waits, by itself, on a path that came back after `waited_s` of silence.

        It sends again after a timeout that doubles (RFC 6298, section 5), and cannot know that the path is back.

        Args:
            waited_s: since it first sent in vain.
            first_s: its first timeout; by default that of a connection in use.
        """
        timeout_s = self.round_trip_s + LEAST_TIMEOUT_S if first_s is None else first_s
        at_s = 0.0
        while at_s < waited_s:
            at_s += timeout_s
            timeout_s = min(2 * timeout_s, MOST_TIMEOUT_S)
        return at_s - waited_s

    def _repair_s(self, offset: int) -> float:
        """How much later the packet comes that begins at an offset, for being lost.

        A first loss is noticed after one round trip (fast retransmit, RFC 5681, section 3.2), a further one by timeouts
        that double (RFC 6298, section 5).
        """
        times = self._fates.losses(offset, self._settings.loss)
        if not times:
            return 0.0
        return self.round_trip_s + (self.round_trip_s + LEAST_TIMEOUT_S) * (2.0 ** (times - 1) - 1)

    def _damaged(self, data: bytes, begin: int) -> bytes:
        damaged = bytearray(data)
        for offset, bit in self._fates.flips(begin, begin + len(data), self._settings.bit_error_rate):
            damaged[offset - begin] ^= 1 << bit
        return bytes(damaged)


def _packets(begin: int, end: int) -> list[int]:
    """Where the packets between two offsets begin: on a grid, so that bulk meets the same losses however it is cut.

    A message that begins none on the grid is a packet of its own.
    """
    first = -(-begin // PACKET_BYTES) * PACKET_BYTES
    return [*range(first, end, PACKET_BYTES)] or [begin]
