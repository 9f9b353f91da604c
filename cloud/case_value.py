"""What a person's look at a case is worth: the order of the console's queue."""

from __future__ import annotations

import json
from collections.abc import Iterable

from protocols.values import Detection

_OPEN = 0.5
"""Least doubt of a case that was left for a person: the teacher may be sure of one thing and not name another."""


def expected_value(state: str, hardness: float, confidence: float | None) -> float:
    """How much a person's answer would add, 0..1: what the craft hoped for, as far as the teacher left it open.

    Args:
        state: of the case; nothing is left to say of one that is reviewed, nor of one that cannot be looked at.
        hardness: the craft's estimate of what the cloud would improve.
        confidence: of the teacher's answer, where there is one.
    """
    doubt = 1.0 - (confidence or 0.0)
    share = {"stored": 1.0, "unsure": max(doubt, _OPEN), "interpreted": doubt}.get(state, 0.0)
    return hardness * share


def labels_text(*given: Iterable[str]) -> str:
    """Every name once, as the store keeps them for its filter."""
    return json.dumps(sorted(set().union(*given)), ensure_ascii=False)  # as SQLite writes them


def label_text(label: str) -> str:
    """How a name stands in `labels_text`, to look for it there."""
    return json.dumps(label, ensure_ascii=False)


def labels_in(detections: Iterable[Detection]) -> set[str]:
    """The names that some detections give."""
    return {detection.label for detection in detections}
