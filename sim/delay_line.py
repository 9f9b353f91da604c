"""One direction of a slow link: how long bytes take to get on it, and when they come out at the other end."""

from __future__ import annotations

import numpy as np

_DEPTH_BYTES = 1500
"""What passes at once after a pause: one packet."""


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
        full_s = now_s - _DEPTH_BYTES / self.bytes_per_s
        self._empty_s = max(self._empty_s, full_s) + count / self.bytes_per_s
        return max(self._empty_s, now_s)


class DelayLine:
    """Rate, latency and jitter of one direction; order is kept."""

    def __init__(self, rate_bps: float, latency_ms: float, jitter_ms: float, rng: np.random.Generator) -> None:
        """An empty line.

        Args:
            rate_bps: bits per second.
            latency_ms: of every byte.
            jitter_ms: most that is added to it, drawn evenly for each piece.
            rng: draws it.
        """
        self._bucket = TokenBucket(rate_bps)
        self._latency_s, self._jitter_s, self._rng = latency_ms / 1000, jitter_ms / 1000, rng
        self._last_s = float("-inf")

    @property
    def piece_bytes(self) -> int:
        """How much to take at a time: 10 ms of the rate, within reason."""
        return int(min(max(self._bucket.bytes_per_s / 100, 256), 16_384))

    def send(self, count: int, now_s: float) -> tuple[float, float]:
        """When a piece has left, and when it arrives.

        Args:
            count: of bytes.
            now_s: when it was ready.
        """
        left_s = self._bucket.take(count, now_s)
        arrives_s = left_s + self._latency_s + self._jitter_s * float(self._rng.random())
        self._last_s = max(self._last_s, arrives_s)
        return left_s, self._last_s
