"""Spans of time, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[float, float]


def up_spans(seconds: float, windows: Sequence[Span], cuts: Iterable[Span]) -> list[Span]:
    """When a link is up, in order and without overlap.

    Args:
        seconds: length of the flight.
        windows: when it may be up, in any order, without overlap; empty is always.
        cuts: when it is down all the same.
    """
    spans = [(start, min(end, seconds)) for start, end in sorted(windows) or ((0.0, seconds),)]
    for cut in cuts:
        spans = [piece for span in spans for piece in _without(span, cut)]
    return [(start, end) for start, end in spans if end > start]


def _without(span: Span, cut: Span) -> list[Span]:
    """What is left of a span."""
    before, after = (span[0], min(span[1], cut[0])), (max(span[0], cut[1]), span[1])
    return [piece for piece in (before, after) if piece[1] > piece[0]]
