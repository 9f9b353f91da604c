"""Random generators that never collide: one stream per purpose and seed."""

from __future__ import annotations

import hashlib

import numpy as np


def rng_for(purpose: str, *keys: int) -> np.random.Generator:
    """A generator of its own for one purpose.

    Args:
        purpose: names the stream, e.g. "training-world"; two purposes never share a stream.
        *keys: non-negative integers, e.g. the seed and an instance number.
    """
    digest = hashlib.sha256(purpose.encode()).digest()
    words = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(keys) or [0], spawn_key=words)))
