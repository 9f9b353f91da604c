"""Targets begun or put right in a frame of the past, in made-up videos."""

import numpy as np
import pytest
from moving_target import MovingTarget

from edge.catching_up import CatchUp
from edge.correlation import CorrelationTracker
from edge.errors import TargetError
from edge.followed_target import TargetSettings
from edge.recent_frames import RecentFrames, RecentFramesSettings
from edge.targets import TargetTracker
from protocols.boxes import box_iou

STILL = np.eye(2, 3, dtype=np.float32)
OTHER = np.array([220, 20, 248, 40], np.float32)


class Flight:
    """A tracker beside its ring, over a made-up video of 10 frames a second."""

    def __init__(self, video=None, absent=(), **settings):
        self.video, self.absent, self.index = video or MovingTarget(), absent, -1
        self.gone = MovingTarget(size=self.video.size)
        self.gone.box = lambda index: np.array([-60, -60, -32, -40], np.float32)
        self.frames = RecentFrames(RecentFramesSettings(seconds=4.0))
        self.tracker = TargetTracker(CorrelationTracker, TargetSettings(**settings))

    def fly(self, until):
        while self.index < until:
            self.index += 1
            image = (self.gone if self.index in self.absent else self.video).image(self.index)
            self.frames.add(self.index, self.index / 10, image, STILL)
            self.tracker.update(image, STILL)
        return self

    def start(self, box=None):
        return self.tracker.start(self.frames.newest.image, self.video.box(self.index) if box is None else box)

    def overlap(self):
        (target,) = self.tracker.targets
        return float(box_iou(target.box_xyxy[None], self.video.box(self.index)[None])[0, 0])


def test_target_begun_in_the_past_catches_up_within_a_few_frames():
    flight = Flight().fly(20)
    target = flight.tracker.start_at(flight.frames, 2, flight.video.box(2), "car")
    assert (target.target_id, target.label, target.state) == (1, "car", "tentative")
    assert "18 frames behind" in target.reason
    flight.fly(24)
    assert flight.tracker.targets[0].state == "tracked"
    assert flight.overlap() > 0.7


def test_every_new_frame_pays_for_a_few_of_the_past_only():
    flight = Flight(looks=4).fly(20)
    flight.tracker.start_at(flight.frames, 2, flight.video.box(2))
    flight.fly(21)
    assert "15 frames behind" in flight.tracker.targets[0].reason  # 18, one more, less four


def test_corrected_target_is_shown_as_it_was_until_it_has_caught_up():
    flight = Flight(looks=4).fly(10)
    flight.start(OTHER)
    flight.fly(20)
    before = flight.tracker.targets[0]
    assert flight.tracker.correct(1, flight.frames, 12, flight.video.box(12))
    flight.fly(21)
    assert box_iou(flight.tracker.targets[0].box_xyxy[None], before.box_xyxy[None])[0, 0] > 0.8
    flight.fly(26)
    assert flight.tracker.targets[0].target_id == 1
    assert flight.overlap() > 0.7


def test_answer_about_the_newest_frame_needs_no_catching_up():
    flight = Flight().fly(10)
    flight.start(OTHER)
    assert flight.tracker.correct(1, flight.frames, 10, flight.video.box(10))
    assert flight.overlap() > 0.95


def test_answer_that_is_not_exact_leaves_a_target_alone_that_agrees_with_it():
    flight = Flight().fly(5)
    flight.start()
    flight.fly(20)
    loose = flight.video.box(15) + np.array([2, 1, 4, 2], np.float32)
    assert not flight.tracker.correct(1, flight.frames, 15, loose, is_exact=False)
    assert flight.tracker.correct(1, flight.frames, 15, loose, is_exact=True)
    assert flight.tracker.correct(1, flight.frames, 15, OTHER, is_exact=False)


def test_answer_that_is_not_exact_tells_the_place_and_half_of_the_size():
    flight = Flight().fly(10)
    flight.start(OTHER)  # 28 x 20
    flight.fly(12)
    x, y = (flight.video.box(12)[:2] + flight.video.box(12)[2:]) / 2
    large = np.array([x - 28, y - 20, x + 28, y + 20], np.float32)
    assert flight.tracker.correct(1, flight.frames, 12, large, is_exact=False)
    box = flight.tracker.targets[0].box_xyxy
    assert (box[2:] - box[:2]).tolist() == pytest.approx([28 * 2**0.5, 20 * 2**0.5], rel=1e-3)
    assert ((box[:2] + box[2:]) / 2).tolist() == pytest.approx([x, y], abs=0.01)


def test_target_that_is_not_there_says_the_cloud_is_lost():
    flight = Flight().fly(10)
    flight.start(OTHER)
    flight.fly(16)
    assert flight.tracker.targets[0].state == "tracked"
    assert flight.tracker.correct(1, flight.frames, 12, None)
    (target,) = flight.tracker.targets
    assert (target.state, target.reason) == ("lost", "not there, says the cloud")
    assert target.presence < 0.1


def test_target_found_again_since_is_not_lost_for_an_old_answer():
    flight = Flight(MovingTarget(step_px=(0.5, 0.2)), absent=range(12, 20)).fly(0)
    flight.start()
    flight.fly(26)
    assert flight.tracker.targets[0].state in ("tracked", "re_found")
    assert not flight.tracker.correct(1, flight.frames, 15, None)
    assert flight.tracker.targets[0].state in ("tracked", "re_found")


def test_late_answer_that_loses_the_way_leaves_a_target_that_was_right():
    flight = Flight(MovingTarget(step_px=(0.5, 0.2)), absent=range(12, 20)).fly(0)
    flight.start()
    flight.fly(30)
    kept = flight.tracker.targets[0]
    assert kept.state == "tracked"
    assert flight.tracker.correct(1, flight.frames, 11, flight.video.box(11))
    flight.fly(40)
    assert flight.overlap() > 0.7
    assert flight.tracker.targets[0].state == "tracked"


def test_frame_no_longer_held_changes_nothing():
    flight = Flight().fly(0)
    flight.start()
    flight.fly(60)
    before = flight.tracker.targets
    with pytest.raises(TargetError, match="frame 5: is not held"):
        flight.tracker.correct(1, flight.frames, 5, flight.video.box(5))
    with pytest.raises(TargetError, match="frame 5: is not held"):
        flight.tracker.start_at(flight.frames, 5, flight.video.box(5))
    assert flight.tracker.targets == before


def test_box_that_is_no_target_changes_nothing():
    flight = Flight().fly(0)
    flight.start()
    flight.fly(10)
    with pytest.raises(TargetError, match="outside the frame"):
        flight.tracker.correct(1, flight.frames, 8, np.array([900, 900, 930, 930], np.float32))
    with pytest.raises(TargetError, match="outside the frame"):
        flight.tracker.start_at(flight.frames, 8, np.array([900, 900, 930, 930], np.float32))
    assert len(flight.tracker.targets) == 1


def test_target_that_is_not_followed_cannot_be_corrected():
    flight = Flight().fly(3)
    with pytest.raises(TargetError, match=r"target 7: is not followed; name one that is \(none\)"):
        flight.tracker.correct(7, flight.frames, 3, None)


def test_target_still_catching_up_can_be_stopped():
    flight = Flight(looks=2).fly(30)
    flight.tracker.start_at(flight.frames, 2, flight.video.box(2))
    flight.tracker.stop(1)
    assert flight.tracker.targets == ()
    assert flight.fly(35).tracker.targets == ()


def test_box_is_carried_with_the_ground():
    frames = RecentFrames()
    moved = np.array([[1, 0, 3], [0, 1, -2]], np.float32)
    for index in range(4):
        frames.add(index, float(index), np.zeros((8, 8), np.uint8), moved)
    way = CatchUp(frames, 1, lambda frame: None)
    assert way.carried(np.array([10, 10, 20, 20], np.float32)).tolist() == [16, 6, 26, 16]
    assert (way.run(1), way.behind, way.run(5), way.behind) == (1, 1, 1, 0)
