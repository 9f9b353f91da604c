"""The running audit: a small random share of frames goes to the cloud whatever the edge thinks of it.

What is only asked when in doubt says nothing about the frames without doubt. The audited ones do: how far the cloud
agrees with the edge on them is an unbiased sample of all frames, whatever policy chooses the others. Where they begin
to agree less, the estimate of what asking is worth is fitted anew on them (`edge.reward.refitted`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import structlog

from edge.reward import F1
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_iou
from protocols.values import Case, Detection, Interpretation

log = structlog.get_logger()

_SAME_IOU = 0.5
_WAITING = 64
_REMEMBERED = 200
"""Answers that count: at 1 % of 15 frames a second, those of the last 22 minutes."""

_RECENT = 20
_DROP = 0.15
"""Drift: the last 20 answers agree this much less than those before. Twenty values with a spread of 0.3, which that of
HIT-UAV dev is, have a mean that is good to 0.07; this is twice that."""


@dataclass(frozen=True)
class Agreement:
    """What the audit knows.

    Attributes:
        asked: frames sent for it.
        answered: of which the cloud said something.
        agreement: mean over the newest 200 answers, 0 to 1; None before the first.
        has_drifted: the newest 20 agree clearly less than those before: calibrate the bundle again.
        refits: how often the reward was fitted anew since.
    """

    asked: int
    answered: int
    agreement: float | None
    has_drifted: bool
    refits: int = 0


class _Asked(NamedTuple):
    detections: tuple[Detection, ...]
    features: FloatArray | None


class Audit:
    """Draws the frames, remembers what the edge said, compares when the answer comes.

    Everything here happens in the frame loop.
    """

    def __init__(self, share: float, seed: int) -> None:
        """Begin.

        Args:
            share: of all frames.
            seed: of the draw.
        """
        self._share, self._rng = share, np.random.default_rng(seed)
        self._waiting: OrderedDict[str, _Asked] = OrderedDict()
        self._agreements: deque[float] = deque(maxlen=_REMEMBERED)
        self._lessons: deque[tuple[FloatArray, float]] = deque(maxlen=_RECENT)
        self._asked = self._answered = self._refits = 0
        self._is_changing = self._was_drifted = False

    def is_due(self) -> bool:
        """Whether this frame is drawn; call it once for each frame."""
        return bool(self._rng.random() < self._share)

    def asked(self, case: Case, features: FloatArray | None = None) -> None:
        """A drawn frame was sent as this case.

        Args:
            case: the whole frame.
            features: what its reward is made of, where a fit flies.
        """
        self._asked += 1
        self._waiting[case.case_id] = _Asked(case.detections, features)
        while len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)

    def answered(self, interpretation: Interpretation, worth: Mapping[str, float] = MappingProxyType({})) -> None:
        """The cloud answered some case, perhaps one of the audit's.

        Args:
            interpretation: the answer.
            worth: see `RewardModel`.
        """
        own = self._waiting.pop(interpretation.case_id, None)
        if own is None:
            return
        self._answered += 1
        self._agreements.append(agreement_of(own.detections, interpretation.detections))
        if own.features is not None:
            self._lessons.append((own.features, put_right(own.detections, interpretation.detections, worth)))
        report = self.report()
        if report.has_drifted != self._was_drifted:
            self._was_drifted = report.has_drifted
            log.warning("edge and cloud agree", drifted=report.has_drifted, agreement=report.agreement)

    def begin_anew(self) -> None:
        """Another student looks from now on: what was compared says nothing about it."""
        self._waiting.clear()
        self._agreements.clear()
        self._lessons.clear()
        self._is_changing = self._was_drifted = False

    def lesson(self) -> tuple[FloatArray, FloatArray] | None:
        """What the reward is to be fitted on anew: (N, F) features and (N,) gains; None but for once in each change.

        A change is for the better, too: what was learnt in a fog is unlearnt after it.
        """
        is_changing = abs(self._shift()) > _DROP
        has_begun = is_changing and not self._is_changing
        self._is_changing = is_changing
        if not has_begun or len(self._lessons) < _RECENT:
            return None
        self._refits += 1
        features, gains = zip(*self._lessons, strict=True)
        return np.stack(features), np.array(gains, np.float32)

    def report(self) -> Agreement:
        """What is known so far."""
        mean = round(float(np.mean(self._agreements)), 3) if self._agreements else None
        return Agreement(self._asked, self._answered, mean, self._shift() < -_DROP, self._refits)

    def _shift(self) -> float:
        """By how much more the newest answers agree than those before; 0 while there are too few."""
        known = list(self._agreements)
        before, recent = known[:-_RECENT], known[-_RECENT:]
        return float(np.mean(recent) - np.mean(before)) if len(before) >= _RECENT else 0.0


def put_right(edge: Sequence[Detection], cloud: Sequence[Detection], worth: Mapping[str, float]) -> float:
    """What an answer is worth, in the unit of rewards, taking the cloud's word for the truth.

    Args:
        edge: what the craft said.
        cloud: what the cloud says.
        worth: of a detection by label, see `RewardModel`; 1 where none is told.
    """
    said, confirmed = _pairs(edge, cloud)
    missed = sum(worth.get(item.label, 1.0) for row, item in enumerate(cloud) if row not in confirmed)
    wrong = sum(worth.get(item.label, 1.0) for row, item in enumerate(edge) if row not in said)
    return (2 - F1) * missed + F1 * wrong


def agreement_of(edge: Sequence[Detection], cloud: Sequence[Detection]) -> float:
    """Symmetric F1 of two answers about one frame: pairs of one label that overlap by half; 1 where both are empty."""
    if not edge and not cloud:
        return 1.0
    return 2 * len(_pairs(edge, cloud)[0]) / (len(edge) + len(cloud))


def _pairs(edge: Sequence[Detection], cloud: Sequence[Detection]) -> tuple[set[int], set[int]]:
    """Rows of both that are the same thing, each paired once."""
    overlap = box_iou(_boxes(edge), _boxes(cloud))
    overlap *= np.array([[one.label == other.label for other in cloud] for one in edge]).reshape(overlap.shape)
    said, confirmed = set[int](), set[int]()
    for row, overlaps in enumerate(overlap):
        if overlaps.size and overlaps.max() >= _SAME_IOU:
            column = int(overlaps.argmax())
            overlap[:, column] = 0
            said.add(row)
            confirmed.add(column)
    return said, confirmed


def _boxes(detections: Sequence[Detection]) -> Boxes:
    return np.array([detection.box_xyxy for detection in detections], np.float32).reshape(-1, 4)
