"""What a waiting case is worth for a byte, and the order that follows: most first, older first among equals."""

from __future__ import annotations

CASE_OVERHEAD_BYTES = 2000
"""What a case costs on the wire beside its imagery: 1 to 2.5 kB (docs/hardness.md)."""


def worth_per_byte(value: float, payload_bytes: int) -> float:
    """What a case brings for each byte that it takes."""
    return value / (payload_bytes + CASE_OVERHEAD_BYTES)


def rank(value: float, seq: int) -> tuple[float, int]:
    """Sort key of a case worth `value` that was the `seq`-th to arrive."""
    return -value, seq
