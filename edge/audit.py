"""The running audit: a small random share of frames goes to the cloud whatever the edge thinks of it.

What is only asked when in doubt says nothing about the frames without doubt. The audited ones do: how far the cloud
agrees with the edge on them is an unbiased sample of all frames, whatever policy chooses the others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from protocols.arrays import Boxes
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
    """

    asked: int
    answered: int
    agreement: float | None
    has_drifted: bool


class Audit:
    """Draws the frames, remembers what the edge said, compares when the answer comes.

    `asked` is called in the frame loop and `answered` in the link's thread; both only append to or take from
    containers that take such calls from two threads.
    """

    def __init__(self, share: float, seed: int) -> None:
        """Begin.

        Args:
            share: of all frames.
            seed: of the draw.
        """
        self._share, self._rng = share, np.random.default_rng(seed)
        self._waiting: OrderedDict[str, tuple[Detection, ...]] = OrderedDict()
        self._agreements: deque[float] = deque(maxlen=_REMEMBERED)
        self._asked = self._answered = 0
        self._was_drifted = False

    def is_due(self) -> bool:
        """Whether this frame is drawn; call it once for each frame."""
        return bool(self._rng.random() < self._share)

    def asked(self, case: Case) -> None:
        """A drawn frame was sent as this case."""
        self._asked += 1
        self._waiting[case.case_id] = case.detections
        while len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)

    def answered(self, interpretation: Interpretation) -> None:
        """The cloud answered some case, perhaps one of the audit's."""
        own = self._waiting.pop(interpretation.case_id, None)
        if own is None:
            return
        self._answered += 1
        self._agreements.append(agreement_of(own, interpretation.detections))
        report = self.report()
        if report.has_drifted != self._was_drifted:
            self._was_drifted = report.has_drifted
            log.warning("edge and cloud agree", drifted=report.has_drifted, agreement=report.agreement)

    def report(self) -> Agreement:
        """What is known so far."""
        known = list(self._agreements)
        before, recent = known[:-_RECENT], known[-_RECENT:]
        has_drifted = len(before) >= _RECENT and float(np.mean(recent)) < float(np.mean(before)) - _DROP
        mean = round(float(np.mean(known)), 3) if known else None
        return Agreement(self._asked, self._answered, mean, has_drifted)


def agreement_of(edge: Sequence[Detection], cloud: Sequence[Detection]) -> float:
    """Symmetric F1 of two answers about one frame: pairs of one label that overlap by half; 1 where both are empty."""
    if not edge and not cloud:
        return 1.0
    overlap = box_iou(_boxes(edge), _boxes(cloud))
    overlap *= np.array([[one.label == other.label for other in cloud] for one in edge]).reshape(overlap.shape)
    pairs = 0
    for row in overlap:
        if row.size and row.max() >= _SAME_IOU:
            overlap[:, row.argmax()] = 0
            pairs += 1
    return 2 * pairs / (len(edge) + len(cloud))


def _boxes(detections: Sequence[Detection]) -> Boxes:
    return np.array([detection.box_xyxy for detection in detections], np.float32).reshape(-1, 4)
