"""Two short-term trackers of different failings as one: NanoTrack leads, a correlation filter stands beside it.

A network that knows the first picture alone is thrown off by other things like it, a filter that learns in every frame
by looks that change fast; so seldom both, and seldom to the same place. Where they agree, the target is there almost
surely. Where they are apart for some frames, each is judged by its own evidence, and the one that is clearly worse is
begun again, or looks, at the other's place.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from edge.correlation import CorrelationSettings, CorrelationTracker
from edge.nanotrack import NanoNetwork, NanoTracker
from edge.short_term import Sighting
from protocols.arrays import FloatArray, ImageArray
from protocols.boxes import box_iou

_AGREE_IOU = 0.1
_AGREEMENT = 2.0
"""Log odds for two that agree. On frames of changing renders 4.5 fit beside NanoTrack's own; but in frames that show no
target they agree more often on the same background."""
_MEMORY = 0.7
"""Share of the last frame's difference in this one's: about three frames decide."""
_CLEARLY = 1.5
"""Log odds by which one must be better for the other to give way; of the renders' frames in which one of them was right
the difference told which in more than nine of ten."""
_APART = 4
"""Frames apart until the worse one gives way."""


class PairedTracker:
    """Both for one target."""

    def __init__(self, network: NanoNetwork) -> None:
        """Knows no target yet."""
        # NanoTrack says how wide and high the target is.
        self._nano, self._filter = NanoTracker(network), CorrelationTracker(CorrelationSettings(aspect=None))

    def start(self, image: ImageArray, box_xyxy: FloatArray) -> None:
        """See `ShortTermTracker.start`."""
        self._nano.start(image, box_xyxy)
        self._filter.start(image, box_xyxy)
        self._agree_at(box_xyxy)

    def _agree_at(self, box_xyxy: FloatArray) -> None:
        self._box = self._other = np.asarray(box_xyxy, dtype=np.float32)
        self._nano_leads, self._apart, self._filter_better = True, 0, 0.0

    def look(self, image: ImageArray, around_xyxy: FloatArray) -> Sighting:
        """See `ShortTermTracker.look`; while both are apart it also keeps account of who is better."""
        around = np.asarray(around_xyxy, dtype=np.float32)
        other = self._where_the_other_is(around) if self._apart else around
        places = (around, other) if self._nano_leads else (other, around)
        nano, witness = self._nano.look(image, places[0]), self._filter.look(image, places[1])
        self._witness = witness
        if box_iou(nano.box_xyxy[None], witness.box_xyxy[None])[0, 0] >= _AGREE_IOU:
            self._nano_leads, self._apart, self._filter_better = True, 0, 0.0
            self._box = self._other = nano.box_xyxy
            return replace(nano, odds=max(nano.odds, witness.odds) + _AGREEMENT)
        return self._apart_from(image, nano, witness)

    def learn(self, image: ImageArray, sighting: Sighting) -> None:
        """See `ShortTermTracker.learn`: the filter does, unless it looks at something else."""
        if not self._apart or not self._nano_leads:
            self._filter.learn(image, self._witness)

    def restarted(self, image: ImageArray, box_xyxy: FloatArray) -> PairedTracker:
        """See `ShortTermTracker.restarted`."""
        other = copy(self)
        other._nano = self._nano.restarted(image, box_xyxy)
        other._filter = self._filter.restarted(image, box_xyxy)
        other._agree_at(box_xyxy)
        return other

    def copied(self) -> PairedTracker:
        """See `ShortTermTracker.copied`."""
        other = copy(self)
        other._nano, other._filter = self._nano.copied(), self._filter.copied()
        return other

    def _where_the_other_is(self, around: FloatArray) -> FloatArray:
        """The place of the one that does not lead, moved as the leader's is expected to; a leap takes both along."""
        moved = (around[:2] + around[2:] - self._box[:2] - self._box[2:]) / 2
        is_leap = float(np.hypot(*moved)) > float(np.sqrt(np.prod(around[2:] - around[:2])))
        return around if is_leap else np.asarray(self._other + np.tile(moved, 2), dtype=np.float32)

    def _apart_from(self, image: ImageArray, nano: Sighting, witness: Sighting) -> Sighting:
        """The sighting of who leads, after giving the lead to who is clearly better."""
        self._apart += 1
        self._filter_better = _MEMORY * self._filter_better + (1 - _MEMORY) * (witness.odds - nano.odds)
        if self._apart >= _APART and abs(self._filter_better) > _CLEARLY:
            self._nano_leads = self._filter_better < 0
            if self._nano_leads:
                self._filter.start(image, nano.box_xyxy)
            # The network needs no lesson: it looks at the other's place in the next frame.
            self._apart, self._filter_better = 0, 0.0
        best, other = (nano, witness) if self._nano_leads else (witness, nano)
        self._box, self._other = best.box_xyxy, other.box_xyxy
        return best
