"""The pair with a network made by hand: it finds what it is told to, and is as sure as it is told to be."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from moving_target import MovingTarget

from edge.correlation import CorrelationTracker
from edge.paired import PairedTracker
from edge.short_term import Sighting
from protocols.boxes import box_iou

AWAY = np.array([90, 60, 90, 60], np.float32)


@dataclass
class Told:
    """Stands for NanoTrack: goes astray in some frames, surely or not."""

    video: MovingTarget
    astray: range = range(0)
    odds: float = 4.0
    index: int = 0
    asked: list = field(default_factory=list)

    def start(self, image, box_xyxy):
        self.index = 0

    def look(self, image, around_xyxy):
        self.index += 1
        self.asked.append(around_xyxy)
        is_astray = self.index in self.astray
        box = self.video.box(self.index) + (AWAY if is_astray else 0)
        return Sighting(box, 0.9, odds=self.odds)


def follow(told, frames=16, *, blind=()):
    """Boxes and odds of every frame but the first; in `blind` frames the target is not in the picture."""
    pair, video = PairedTracker(None), told.video
    pair._nano = told
    empty = MovingTarget(step_px=(0, 0))
    empty.box = lambda index: np.array([-60, -60, -40, -45], np.float32)
    pair.start(video.image(0), video.box(0))
    found = []
    for index in range(1, frames):
        image = (empty if index in blind else video).image(index)
        found.append(pair.look(image, found[-1].box_xyxy if found else video.box(0)))
        pair.learn(image, found[-1])
    return found


def overlap(sighting, box):
    return float(box_iou(sighting.box_xyxy[None], box[None])[0, 0])


def test_two_that_agree_are_surer_than_each():
    video = MovingTarget()
    alone = CorrelationTracker()
    alone.start(video.image(0), video.box(0))
    odds = alone.look(video.image(1), video.box(0)).odds
    found = follow(Told(video), 3)
    assert found[0].odds > max(odds, 4.0)
    np.testing.assert_array_equal(found[0].box_xyxy, video.box(1))


def test_network_that_goes_astray_unsure_gives_way_to_the_filter_and_comes_back_to_it():
    told = Told(MovingTarget(), astray=range(5, 40), odds=-3.0)
    found = follow(told)
    assert overlap(found[4], told.video.box(5)) == 0
    assert overlap(found[-1], told.video.box(15)) > 0.6
    assert any(overlap(Sighting(asked, 0.0), told.video.box(i + 1)) > 0.5 for i, asked in enumerate(told.asked[8:], 8))


def test_network_that_is_sure_is_believed_though_the_filter_lost_the_target():
    told = Told(MovingTarget(step_px=(9, 6)), odds=5.0)
    found = follow(told, 20, blind=range(4, 12))
    assert min(overlap(sighting, told.video.box(i)) for i, sighting in enumerate(found, 1)) > 0.9
    assert found[7].odds == 5.0  # the network is alone


@pytest.mark.parametrize("odds", [-3.0, 5.0], ids=["unsure", "sure"])
def test_one_frame_apart_changes_nothing(odds):
    told = Told(MovingTarget(), astray=range(5, 6), odds=odds)
    assert all(overlap(s, told.video.box(i)) > 0.9 for i, s in enumerate(follow(told), 1) if i != 5)
