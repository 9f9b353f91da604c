"""Targets in made-up videos; the student is made by hand: it sees the thing where it is, and what else it is told."""

from dataclasses import replace

import numpy as np
import pytest
from moving_target import MovingTarget, spots

from edge.camera_motion import CameraMotion
from edge.correlation import CorrelationTracker
from edge.errors import TargetError
from edge.followed_target import TargetSettings
from edge.recent_frames import RecentFrames
from edge.student import NO_MAPS, Perception, unit_rows
from edge.targets import TargetTracker
from protocols.boxes import box_iou

STILL = np.eye(2, 3, dtype=np.float32)
THING, OTHER = (1.0, 0.0, 0.0), (0.1, 1.0, 0.0)


def seen(*candidates):
    """What a student saw: candidates are a box and an embedding each."""
    count = len(candidates)
    return Perception(
        boxes_xyxy=np.array([box for box, _ in candidates], np.float32).reshape(-1, 4),
        objectness=np.full(count, 0.9, np.float32),
        is_object=np.ones(count, np.bool_),
        class_scores=np.zeros((count, 1), np.float32),
        embeddings=unit_rows(np.array([vector for _, vector in candidates], np.float32).reshape(-1, 3)),
        raw=NO_MAPS,
    )


class Video:
    """A thing that is there in some frames only, over ground that stands still."""

    def __init__(self, absent=(), **changes):
        self.target, self.absent = MovingTarget(**changes), absent
        self._empty = MovingTarget(step_px=(0, 0), side=self.target.side)
        self._empty.box = lambda index: np.array([-60, -60, -40, -45], np.float32)

    def image(self, index):
        return (self._empty if index in self.absent else self.target).image(index)

    def seen(self, index, *others):
        here = () if index in self.absent else ((self.target.box(index), THING),)
        return seen(*here, *others)


def follow(video, frames, *, is_seen=True, label="target", answering=None):
    """The target in every frame but the first."""
    tracker = TargetTracker(CorrelationTracker)
    tracker.start(video.image(0), video.target.box(0), label, video.seen(0) if is_seen else None)
    found = []
    for index in range(1, frames):
        answers = answering(index) if answering else None
        found += tracker.update(video.image(index), STILL, video.seen(index) if is_seen else None, answers)
    return found


@pytest.mark.parametrize("is_seen", [True, False], ids=["student-looks", "student-rests"])
def test_target_becomes_tracked_and_stays_so(is_seen):
    video = Video()
    found = follow(video, 25, is_seen=is_seen)
    assert [target.state for target in found[:3]] == ["tentative", "tentative", "tracked"]
    assert {target.state for target in found[2:]} == {"tracked"}
    overlaps = [box_iou(t.box_xyxy[None], video.target.box(i)[None])[0, 0] for i, t in enumerate(found, 1)]
    assert min(overlaps) > 0.7
    assert min(target.presence for target in found) > 0.6


@pytest.mark.parametrize("is_seen", [True, False], ids=["student-looks", "student-rests"])
def test_target_that_is_gone_is_called_lost_and_why(is_seen):
    found = follow(Video(absent=range(12, 30)), 28, is_seen=is_seen)
    assert found[10].state == "tracked"
    assert found[-1].state == "lost"
    assert "presence under" in found[-1].reason
    assert found[-1].presence < 0.3


def test_lost_target_that_returns_elsewhere_is_found_again():
    video = Video(absent=range(10, 24), step_px=(4, 1))
    found = follow(video, 32)
    states = [target.state for target in found]
    assert states[20] == "lost"
    assert states[23:25] == ["lost", "re_found"]  # frame 24 is the first in which it is back
    assert states[-1] == "tracked"
    assert "short-term tracker agree" in found[24].reason
    assert box_iou(found[-1].box_xyxy[None], video.target.box(31)[None])[0, 0] > 0.6


def test_lost_target_is_not_mistaken_for_another_thing():
    other = np.array([200, 60, 228, 80], np.float32)
    video = Video(absent=range(10, 40))
    video.seen = lambda index: seen(*([] if index >= 10 else [(video.target.box(index), THING)]), (other, OTHER))
    assert {target.state for target in follow(video, 36)[25:]} == {"lost"}


def test_lost_target_is_not_mistaken_for_what_only_the_template_knows():
    """A candidate that the student takes for the thing, but where nothing like it is to be seen."""
    video = Video(absent=range(10, 40))
    ghost = np.array([200, 60, 228, 80], np.float32)
    video.seen = lambda index: seen((video.target.box(index) if index < 10 else ghost, THING))
    assert {target.state for target in follow(video, 36)[25:]} == {"lost"}


def test_lost_target_is_not_mistaken_for_its_double_that_stood_beside_it():
    """Student and short-term tracker take the double for the target; that it was there before tells them apart."""

    def run(double_from):
        video, _ = double_beside(gone=range(12, 99), double_from=double_from)
        return {target.state for target in follow(video, 38)[25:]}

    assert run(double_from=0) == {"lost"}
    assert "tracked" in run(double_from=14)


def double_beside(gone, double_from=0):
    """A video of a thing that is gone for some frames, and of one like it that stays beside it; with that one's box."""
    video = Video(absent=gone, step_px=(1, 0))
    x1, y1, x2, y2 = video.target.box(0).astype(int)
    thing, plain, sees = video.target.image(0)[y1:y2, x1:x2], video.image, video.seen
    double = np.array([x1 + 60, y1 + 30, x2 + 60, y2 + 30], np.float32)

    def image(index):
        pictured = plain(index)
        if index >= double_from:
            pictured[y1 + 30 : y2 + 30, x1 + 60 : x2 + 60] = thing
        return pictured

    video.image = image
    video.seen = lambda index: sees(index, *([(double, THING)] if index >= double_from else []))
    return video, double


def corrected(begins_as_double, gone):
    """What is said in the end of a target that somebody else shows in frame 15, and where it is."""
    video, double = double_beside(gone)
    tracker, frames = TargetTracker(CorrelationTracker), RecentFrames()
    tracker.start(video.image(0), double if begins_as_double else video.target.box(0), "thing", video.seen(0))
    for index in range(1, 44):
        frames.add(index, index / 10, video.image(index), STILL)
        (target,) = tracker.update(video.image(index), STILL, video.seen(index))
        if index == 15:
            assert tracker.correct(1, frames, 15, video.target.box(15))
    return target, video.target.box(43)


def test_corrected_target_is_not_mistaken_for_its_double_that_stood_beside_it():
    target, _ = corrected(begins_as_double=False, gone=range(16, 99))
    assert target.state == "lost"


def test_target_that_was_mistaken_for_its_double_is_no_bystander_of_itself():
    target, box = corrected(begins_as_double=True, gone=range(16, 28))
    assert target.state == "tracked"
    assert box_iou(target.box_xyxy[None], box[None])[0, 0] > 0.6


class LearnsLooking(CorrelationTracker):
    """One that cannot be copied, and counts where it looks."""

    looks = 0

    def look(self, image, around_xyxy):
        LearnsLooking.looks += 1
        return super().look(image, around_xyxy)

    def copied(self):
        return None


def test_lost_target_of_a_tracker_that_learns_looking_is_looked_for_at_one_place_a_frame(monkeypatch):
    monkeypatch.setattr(LearnsLooking, "looks", 0)
    video = Video(absent=range(10, 40))
    ghosts = [np.array([x, 160, x + 28, 180], np.float32) for x in (40, 120, 200)]
    video.seen = lambda index: seen(
        *([(g, THING) for g in ghosts] if index >= 10 else [(video.target.box(index), THING)])
    )
    tracker = TargetTracker(LearnsLooking)
    tracker.start(video.image(0), video.target.box(0), "target", video.seen(0))
    for index in range(1, 36):
        tracker.update(video.image(index), STILL, video.seen(index))
        assert LearnsLooking.looks == index
    assert tracker.targets[0].state == "lost"


def test_target_that_is_doubted_is_not_said_to_be_tracked_and_may_be_sure_again():
    found = follow(Video(absent=range(12, 17), step_px=(0.5, 0.2)), 34, is_seen=False)
    doubted = [target for target in found if target.reason.startswith("doubted")]
    assert {target.state for target in doubted} == {"tentative"}
    assert "lost" not in {target.state for target in found}
    assert found[-1].state == "tracked"


def test_target_without_a_template_is_found_again_where_it_is_expected():
    video = Video(absent=range(12, 30), step_px=(0.5, 0.2))
    found = follow(video, 44, is_seen=False)
    assert "lost" in {target.state for target in found[11:29]}
    assert any("no template" in target.reason for target in found[29:])
    assert found[-1].state == "tracked"


def test_prompted_target_is_found_again_only_where_prompt_and_template_agree():
    def run(answers):
        video = Video(absent=range(10, 20), step_px=(4, 1))

        def answering(index):
            rows = [0] if answers and index not in video.absent else []
            return {"Thing": np.array(rows, np.int64)}

        return follow(video, 32, label="Thing", answering=answering)[-1]

    assert run(answers=False).state == "lost"
    assert run(answers=True).state == "tracked"


def test_prompted_target_is_not_mistaken_for_what_all_that_is_seen_speaks_against():
    video = Video(absent=range(10, 40))
    ghost = np.array([200, 60, 228, 80], np.float32)
    video.seen = lambda index: seen((video.target.box(index) if index < 10 else ghost, THING))
    found = follow(video, 36, label="Thing", answering=lambda index: {"Thing": np.array([0], np.int64)})
    assert {target.state for target in found[20:]} == {"lost"}


def test_target_that_leaves_the_frame_is_lost_there():
    found = follow(Video(step_px=(14, 0)), 24)
    assert found[-1].state == "lost"


def test_camera_that_turns_away_leaves_the_target_where_it_is_on_the_ground():
    tracker, motion = TargetTracker(CorrelationTracker), CameraMotion()
    ground = spots(500, 900, seed=4)
    ground[200:224, 300:330] = spots(24, 30, seed=2, cell=4)
    views = [ground[130:370, x : x + 320] for x in [*range(160, 420, 13), *range(420, 160, -13)]]
    box = np.array([140, 70, 170, 94], np.float32)
    motion.update(views[0])
    tracker.start(views[0], box, "thing", seen((box, THING)))
    states = []
    for x, view in zip([*range(173, 420, 13), *range(420, 160, -13)], views[1:], strict=True):
        place = box - np.array([x - 160, 0] * 2, np.float32)
        (target,) = tracker.update(view, motion.update(view).matrix, seen((place, THING)) if place[2] > 0 else seen())
        states.append(target.state)
        if target.state == "lost":
            assert target.reason == "left the frame"
            np.testing.assert_allclose(target.box_xyxy, place, atol=6)
    assert "lost" in states
    assert states[-1] == "tracked"


def test_targets_are_followed_side_by_side_and_stopped_one_by_one():
    video, tracker = Video(), TargetTracker(CorrelationTracker)
    for shift in (0, 60):
        tracker.start(video.image(0), video.target.box(0) + shift, f"t{shift}")
    tracker.update(video.image(1), STILL)
    assert [(t.target_id, t.label) for t in tracker.targets] == [(1, "t0"), (2, "t60")]
    tracker.stop(1)
    assert tracker.start(video.image(1), video.target.box(1)).target_id == 3
    assert [t.target_id for t in tracker.update(video.image(2), STILL)] == [2, 3]
    with pytest.raises(TargetError, match=r"target 1: is not followed; name one that is \(2, 3\)"):
        tracker.stop(1)


def test_start_refused_leaves_the_others_alone():
    video, tracker = Video(), TargetTracker(CorrelationTracker)
    tracker.start(video.image(0), video.target.box(0))
    with pytest.raises(TargetError, match="outside the frame of 320x240"):
        tracker.start(video.image(0), np.array([400, 10, 440, 40], np.float32))
    assert [t.target_id for t in tracker.targets] == [1]


class Counting(CorrelationTracker):
    """Keeps the numbers of lessons that each of them had; a copy begins at none."""

    def __init__(self):
        super().__init__()
        self.lessons = 0

    def learn(self, image, sighting):
        self.lessons += 1
        super().learn(image, sighting)

    def copied(self):
        other = super().copied()
        other.lessons = 0
        return other


def test_unsure_sightings_teach_the_tracker_that_judges_nothing():
    video, made = Video(absent=range(8, 40)), []
    tracker = TargetTracker(lambda: made.append(Counting()) or made[-1], TargetSettings())
    tracker.start(video.image(0), video.target.box(0), seen=video.seen(0))
    for index in range(1, 30):
        tracker.update(video.image(index), STILL, video.seen(index))
    (judge,) = made
    assert 7 <= judge.lessons <= 9


class Doubtful(CorrelationTracker):
    """Finds the target as ever, but from some look on doubts what it sees; its copies do, too."""

    sure_looks = 8

    def __init__(self):
        super().__init__()
        self.looks = 0

    def look(self, image, around_xyxy):
        self.looks += 1
        return replace(super().look(image, around_xyxy), odds=6.0 if self.looks <= self.sure_looks else -6.0)


def test_target_in_doubt_is_shown_where_whoever_believes_it_all_has_it():
    video = Video(step_px=(3, 1))
    tracker = TargetTracker(Doubtful)
    tracker.start(video.image(0), video.target.box(0))
    for index in range(1, 30):
        (target,) = tracker.update(video.image(index), STILL)
    assert target.state == "lost"
    assert box_iou(target.box_xyxy[None], video.target.box(29)[None])[0, 0] > 0.6
