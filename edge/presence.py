"""How surely a target is where its tracker says: a calibrated probability out of what each frame shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.config import Settings


class PresenceSettings(Settings):
    """A logistic, its constants fitted on rendered sequences in which targets leave and return (docs/tracking.md).

    Attributes:
        bias: log odds of a target that is seen just as usual.
        score, sharpness: log odds for a sighting's score and sharpness, each as the share above its level.
        surprise: log odds for each unit of Mahalanobis distance from the expected place, up to `MOST_SURPRISE`.
        looks_bias, looks: log odds where the student looked, and for the likeness of what it saw there.
        memory: share of the last frame's log odds in this one's: one bad frame loses nobody.
    """

    bias: float = 1.6
    score: float = 1.2
    sharpness: float = 4.1
    surprise: float = -0.12
    looks_bias: float = -4.9
    looks: float = 6.5
    memory: float = 0.6


MOST_SURPRISE = 6.0
"""Mahalanobis distance beyond which a place is as good as any other."""
_LARGEST_EXCESS = 0.5
"""A score may be higher than usual, but that a target is there is then no surer still."""
_LEVEL_GAIN = 0.05
"""Share of the newest value in a level: about twenty frames."""
_MOST_ODDS = 6.0
"""Log odds beyond which there is nothing to be surer of: who was sure for an hour must change his mind in a second."""


@dataclass(frozen=True)
class Evidence:
    """What one frame says of a target's presence; nan where it says nothing.

    Attributes:
        score, sharpness: share by which the sighting's exceed their levels, -1 or more.
        surprise: Mahalanobis distance between sighting and expectation.
        looks: likeness of what the student saw there, see `edge.target_looks`.
    """

    score: float
    sharpness: float
    surprise: float
    looks: float = math.nan

    def terms(self) -> list[float]:
        """The numbers that `PresenceSettings` weighs, in its order from `bias` to `looks`; 0 for what is not known."""
        is_seen = not math.isnan(self.looks)
        return [
            1.0,
            _known(min(self.score, _LARGEST_EXCESS)),
            _known(min(self.sharpness, _LARGEST_EXCESS)),
            _known(min(self.surprise, MOST_SURPRISE)),
            float(is_seen),
            self.looks if is_seen else 0.0,
        ]


class Level:
    """What is usual, learnt while all is well."""

    def __init__(self) -> None:
        self.value = math.nan

    def excess(self, value: float) -> float:
        """Share by which a value exceeds the level, at least -1; 0 while there is no level, nan for nan."""
        if math.isnan(value):
            return math.nan
        return 0.0 if math.isnan(self.value) else max(value / max(self.value, 1e-6), 0.0) - 1.0

    def learn(self, value: float) -> None:
        """Take a value in."""
        if not math.isnan(value):
            self.value = value if math.isnan(self.value) else self.value + _LEVEL_GAIN * (value - self.value)


class Presence:
    """The belief in one target's presence."""

    def __init__(self, settings: PresenceSettings) -> None:
        """Begin with a target that was just shown to us."""
        self._settings = settings
        self._odds = settings.bias

    @property
    def value(self) -> float:
        """Probability that the target is where it is said to be, 0 to 1."""
        return _logistic(self._odds)

    def weigh(self, evidence: Evidence) -> float:
        """Take in what a frame says, and return the new value."""
        odds = min(max(self.odds_of(evidence), -_MOST_ODDS), _MOST_ODDS)
        self._odds = self._settings.memory * self._odds + (1 - self._settings.memory) * odds
        return self.value

    def odds_of(self, evidence: Evidence) -> float:
        """Log odds by one frame alone."""
        s = self._settings
        weights = (s.bias, s.score, s.sharpness, s.surprise, s.looks_bias, s.looks)
        return float(np.dot(weights, evidence.terms()))

    def deny(self) -> float:
        """Take in that the target is surely not here, and return the new value."""
        self._odds = -_MOST_ODDS
        return self.value


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-odds))
