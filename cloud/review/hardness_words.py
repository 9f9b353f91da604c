"""Why a craft sent a case, in words."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.values import Case

_WORDS = {
    "unexplained": ("Unexplained", "something is here that no known class and no prompt names"),
    "doubt": ("Doubt", "a known class is close to its decision point"),
    "flicker": ("Flicker", "tracks come and go from frame to frame"),
    "audit": ("Audit", "picked at random, to check what the craft takes for easy"),
    "presence": ("Presence", "the craft is less and less sure that its target is there"),
    "lost": ("Lost", "the craft has lost its target"),
    "rivals": ("Rivals", "something very like the target is near it"),
}


@dataclass(frozen=True)
class Part:
    """One reason.

    Attributes:
        name: of the sign.
        words: what it means.
        share: 0..1, how strong it was.
    """

    name: str
    words: str
    share: float


def hardness_parts(case: Case) -> list[Part]:
    """The signs that made a case hard, the strongest first."""
    parts = []
    for name, strength in sorted(case.reasons.items(), key=lambda item: -item[1]):
        title, words = _WORDS.get(name, (name.capitalize(), "a sign of the craft's own"))
        parts.append(Part(title, words, min(max(strength, 0.0), 1.0)))
    return parts


def why_sent(case: Case) -> str:
    """The strongest reason in a few words."""
    if case.target is not None:
        return f"where is target {case.target.target_id} ({case.target.label})?"
    if case.refines is not None:
        return f"shows case {case.refines[:8]} better"
    parts = hardness_parts(case)
    return parts[0].words if parts else "the craft gave no reason"
