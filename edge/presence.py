"""How surely a target is where its tracker says: a calibrated probability out of what each frame shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.config import Settings
from edge.short_term import Sighting


class PresenceSettings(Settings):
    """A logistic, its constants fitted on rendered sequences (docs/tracking.md).

    Attributes:
        bias: log odds where nothing else is known, as many frames with the target as without.
        prior: more log odds while a target is followed: in most frames it is there. One that is lost has none.
        odds: weight of what the short-term tracker says of its own look.
        surprise: log odds for each unit of Mahalanobis distance from the expected place, up to `MOST_SURPRISE`.
        looks_bias, looks: log odds where the student looked, and for the likeness of what it saw there.
        memory: share of the last frame's log odds in this one's: one bad frame loses nobody.
    """

    bias: float = 0.3
    prior: float = 1.0
    odds: float = 1.0
    surprise: float = -0.4
    looks_bias: float = -4.9
    looks: float = 6.5
    memory: float = 0.6


MOST_SURPRISE = 6.0
"""Mahalanobis distance beyond which a place is as good as any other."""
_MOST_ODDS = 6.0
"""Log odds beyond which there is nothing to be surer of: who was sure for an hour must change his mind in a second."""


@dataclass(frozen=True)
class Evidence:
    """What one frame says of a target's presence; nan where it says nothing.

    Attributes:
        odds: log odds by the short-term tracker's look alone, see `edge.short_term.Sighting` and `Usual`.
        surprise: Mahalanobis distance between sighting and expectation.
        looks: likeness of what the student saw there, see `edge.target_looks`.
    """

    odds: float
    surprise: float
    looks: float = math.nan

    def terms(self) -> list[float]:
        """The numbers that `PresenceSettings` weighs, in its order from `bias` to `looks`; 0 for what is not known."""
        is_seen = not math.isnan(self.looks)
        return [
            1.0,
            min(max(_known(self.odds), -_MOST_ODDS), _MOST_ODDS),
            _known(min(self.surprise, MOST_SURPRISE)),
            float(is_seen),
            self.looks if is_seen else 0.0,
        ]


class Usual:
    """What is usual for one target, by which the looks of a tracker that cannot judge itself are judged.

    The constants were fitted with such looks of the correlation filter; no other tracker's scores were at hand that are
    in units of what is usual.
    """

    _BIAS, _BY_SCORE, _BY_SHARPNESS = 1.4, 1.2, 4.1
    _MOST = 0.5
    """A score may be higher than usual, but that a target is there is then no surer still."""

    def __init__(self) -> None:
        self._score, self._sharpness = Level(), Level()

    def odds(self, sighting: Sighting) -> float:
        """Log odds that a look found the target: the tracker's own, or else by how far it falls under what is usual."""
        if not math.isnan(sighting.odds):
            return sighting.odds
        score, sharpness = self._score.excess(sighting.score), self._sharpness.excess(sighting.sharpness)
        by_score = self._BY_SCORE * _known(min(score, self._MOST))
        return self._BIAS + by_score + self._BY_SHARPNESS * _known(min(sharpness, self._MOST))

    def learn(self, sighting: Sighting) -> None:
        """Take in a look in which all is well."""
        self._score.learn(sighting.score)
        self._sharpness.learn(sighting.sharpness)


class Level:
    """What is usual, learnt while all is well."""

    _GAIN = 0.05
    """Share of the newest value: about twenty frames."""

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
            self.value = value if math.isnan(self.value) else self.value + self._GAIN * (value - self.value)


class Presence:
    """The belief in one target's presence."""

    _FIRST = 2.0
    """Log odds of a target that was just shown to us."""

    def __init__(self, settings: PresenceSettings, odds: float = _FIRST) -> None:
        """Begin with log odds, by default those of a target that was just shown to us."""
        self._settings = settings
        self._odds = odds

    @property
    def value(self) -> float:
        """Probability that the target is where it is said to be, 0 to 1."""
        return _logistic(self._odds)

    def weigh(self, evidence: Evidence, *, is_lost: bool = False) -> float:
        """Take in what a frame says of a target that was followed or lost until then, and return the new value."""
        odds = min(max(self.odds_of(evidence, is_lost=is_lost), -_MOST_ODDS), _MOST_ODDS)
        self._odds = self._settings.memory * self._odds + (1 - self._settings.memory) * odds
        return self.value

    def odds_of(self, evidence: Evidence, *, is_lost: bool = False) -> float:
        """Log odds by one frame alone."""
        s = self._settings
        bias = s.bias if is_lost else s.bias + s.prior
        return float(np.dot((bias, s.odds, s.surprise, s.looks_bias, s.looks), evidence.terms()))

    def deny(self) -> float:
        """Take in that the target is surely not here, and return the new value."""
        self._odds = -_MOST_ODDS
        return self.value


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-odds))
