"""What befalls the bytes of one direction: drawn from a seed and their place in the stream, never from the clock."""

from __future__ import annotations

import math

import numpy as np

from sim.arrays import FloatArray

GRAIN_BYTES = 64
"""As finely as fates are drawn: smaller than any message of ours, so that each has one of its own."""

MOST_LOSSES = 8
"""Of one packet in a row; a ninth would be found after more than 50 s."""

_BLOCK = 256
_JITTER, _LOSS, _FLIP, _PLACE = range(4)


class Fates:
    """The fates of the grains of one direction, each drawn once."""

    def __init__(self, seed: int) -> None:
        """Draw nothing yet.

        Args:
            seed: not negative; another seed, other fates.
        """
        self._seed = seed
        self._block, self._drawn = -1, np.zeros((_BLOCK, 4))

    def jitter(self, offset: int) -> float:
        """Share of the jitter, in [0, 1), of a packet that ends with the byte at an offset."""
        return float(self._draws(offset // GRAIN_BYTES)[_JITTER])

    def losses(self, offset: int, loss: float) -> int:
        """How often in a row a packet is lost.

        Args:
            offset: of its first byte.
            loss: probability of each time, in [0, 1).
        """
        drawn = float(self._draws(offset // GRAIN_BYTES)[_LOSS])
        if drawn >= loss:
            return 0
        # P(at least k losses) = loss^k.
        return min(int(math.log(max(drawn, 1e-300)) / math.log(loss)), MOST_LOSSES)

    def flips(self, begin: int, end: int, bit_error_rate: float) -> list[tuple[int, int]]:
        """(offset, bit) of the bits between two offsets that arrive flipped, at most one in a grain."""
        share = -math.expm1(8 * GRAIN_BYTES * math.log1p(-bit_error_rate))
        found = []
        for grain in range(begin // GRAIN_BYTES, -(-end // GRAIN_BYTES)):
            drawn = self._draws(grain)
            if drawn[_FLIP] < share:
                byte, bit = divmod(int(drawn[_PLACE] * 8 * GRAIN_BYTES), 8)
                found.append((grain * GRAIN_BYTES + byte, bit))
        return [flip for flip in found if begin <= flip[0] < end]

    def _draws(self, number: int) -> FloatArray:
        block, row = divmod(number, _BLOCK)
        if block != self._block:
            self._block, self._drawn = block, np.random.default_rng([self._seed, block]).random((_BLOCK, 4))
        row_draws: FloatArray = self._drawn[row]
        return row_draws
