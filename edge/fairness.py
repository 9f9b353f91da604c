"""Fairness between classes and targets: none of them may take all bytes because it is worth a little more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocols.values import Detection

HALF_LIFE_S = 60.0
"""What was spent so long ago counts half: as long as most things stay in view of a drone."""

_WANTING_S = 10.0
"""Whoever wanted bytes so lately may still want some."""

_LEAST_BYTES = 1.0
"""Less is forgotten."""


def class_of(reasons: Mapping[str, float], detections: Sequence[Detection], target_id: int | None = None) -> str:
    """Who a case is for: a target, things without a name, or the class that the craft is least sure of.

    Args:
        reasons: of the case.
        detections: the craft's own.
        target_id: of a question about a target.
    """
    if target_id is not None:
        return f"target {target_id}"
    if "audit" in reasons:
        return "audit"
    if max(reasons, key=lambda name: reasons[name], default="unexplained") == "unexplained":
        return "no name"
    return min(detections, key=lambda found: found.score).label if detections else "no name"


class FairShares:
    """What each class was given lately, and who wants more."""

    def __init__(self) -> None:
        """Nobody was given anything."""
        self._given: dict[str, tuple[float, float]] = {}  # bytes, as of a time
        self._wanted_s: dict[str, float] = {}

    def give(self, name: str, amount: float, now_s: float) -> None:
        """Note that a class was given bytes."""
        self._given[name] = (self.given(name, now_s) + amount, now_s)
        faded = [other for other in self._given if self.given(other, now_s) < _LEAST_BYTES]
        for other in faded:
            del self._given[other]

    def given(self, name: str, now_s: float) -> float:
        """Bytes that a class was given, the older the less they count."""
        amount, at_s = self._given.get(name, (0.0, now_s))
        return float(amount * 0.5 ** (max(now_s - at_s, 0.0) / HALF_LIFE_S))

    def want(self, name: str, now_s: float) -> None:
        """Note that a class wants bytes now."""
        self._wanted_s[name] = now_s
        for other in [other for other, at_s in self._wanted_s.items() if now_s - at_s > _WANTING_S]:
            del self._wanted_s[other]

    def has_its_share(self, name: str, now_s: float) -> bool:
        """Whether a class had as much as its equal share, or more, while another one wants bytes, too."""
        wanting = {name} | {other for other, at_s in self._wanted_s.items() if now_s - at_s <= _WANTING_S}
        total = sum(self.given(other, now_s) for other in wanting)
        return len(wanting) > 1 and self.given(name, now_s) > total / len(wanting)
