import cv2
import numpy as np
import pytest
from moving_target import MovingTarget, spots

from edge.correlation import CorrelationTracker
from edge.errors import TargetError
from edge.short_term import Follower
from protocols.boxes import box_iou

STILL = np.eye(2, 3, dtype=np.float32)


def follow(video, frames, gray=False, tracker=None):
    """Overlaps with the truth, and sightings."""

    def seen(index):
        return video.image(index)[..., 1].copy() if gray else video.image(index)

    follower = Follower(tracker or CorrelationTracker())
    follower.start(seen(0), video.box(0))
    found = [follower.update(seen(index), STILL) for index in range(1, frames)]
    return [float(box_iou(s.box_xyxy[None], video.box(i)[None])[0, 0]) for i, s in enumerate(found, 1)], found


@pytest.mark.parametrize("gray", [False, True], ids=["colour", "gray"])
def test_target_is_followed_over_ground_that_moves_otherwise(gray):
    overlaps, found = follow(MovingTarget(ground_px=(-2, 1)), 25, gray)
    assert min(overlaps) > 0.75
    assert found[-1].score > 0.4


@pytest.mark.parametrize(("growth", "frames"), [(1.015, 40), (0.99, 25)], ids=["comes-nearer", "goes-away"])
def test_target_that_changes_its_size_is_measured(growth, frames):
    video = MovingTarget(growth=growth, step_px=(2, 1), side=(48, 36))
    overlaps, found = follow(video, frames)
    assert np.mean(overlaps[-5:]) > 0.7
    sides = found[-1].box_xyxy[2:] - found[-1].box_xyxy[:2]
    true = video.box(frames - 1)[2:] - video.box(frames - 1)[:2]
    assert np.log(sides / true) == pytest.approx(0, abs=0.2)


def test_target_that_becomes_wider_is_measured():
    video, tracker = MovingTarget(step_px=(1, 0.5), side=(48, 48)), CorrelationTracker()
    frames = [cv2.resize(video.image(i), None, fx=1.01**i, fy=1.0) for i in range(40)]
    boxes = [video.box(i) * np.array([1.01**i, 1.0] * 2, np.float32) for i in range(40)]
    follower = Follower(tracker)
    follower.start(frames[0], boxes[0])
    found = [follower.update(frame, STILL).box_xyxy for frame in frames[1:]]
    assert np.mean([box_iou(f[None], b[None])[0, 0] for f, b in zip(found[-5:], boxes[-5:], strict=True)]) > 0.8
    width, height = found[-1][2:] - found[-1][:2]
    assert np.log(width / height) == pytest.approx(39 * np.log(1.01), abs=0.12)


def test_score_and_sharpness_fall_when_the_target_is_gone():
    video = MovingTarget()
    tracker = CorrelationTracker()
    follower = Follower(tracker)
    follower.start(video.image(0), video.box(0))
    for index in range(1, 10):
        there = follower.update(video.image(index), STILL)
    gone = tracker.look(spots(240, 320, seed=9), there.box_xyxy)
    assert gone.score < 0.5 * there.score
    assert gone.sharpness < 0.6 * there.sharpness


def test_look_finds_the_target_near_where_it_is_expected_and_learns_nothing():
    video, tracker = MovingTarget(), CorrelationTracker()
    tracker.start(video.image(0), video.box(0))
    far = video.box(12)
    assert box_iou(tracker.look(video.image(12), far + 8).box_xyxy[None], far[None])[0, 0] > 0.7
    first, again = (tracker.look(video.image(12), far + 8).score for _ in range(2))
    assert first == again


def test_same_video_gives_the_same_boxes():
    first, second = (follow(MovingTarget(), 6)[1] for _ in range(2))
    np.testing.assert_array_equal(first[-1].box_xyxy, second[-1].box_xyxy)


@pytest.mark.parametrize("size", [(6, 40), (60, 5), (4, 4), (300, 200)], ids=["thin", "flat", "small", "whole"])
def test_targets_of_any_shape_are_followed_without_trouble(size):
    video = MovingTarget(side=size, step_px=(0.5, 0.2))
    _, found = follow(video, 8)
    assert all(np.isfinite(s.box_xyxy).all() and np.isfinite(s.score) for s in found)


def test_target_that_leaves_the_frame_stays_at_its_edge():
    _, found = follow(MovingTarget(step_px=(14, 0)), 24)
    middle = (found[-1].box_xyxy[:2] + found[-1].box_xyxy[2:]) / 2
    assert (middle >= 0).all()
    assert (middle <= (320, 240)).all()


def test_flat_picture_does_no_harm():
    tracker, flat = CorrelationTracker(), np.full((120, 160, 3), 90, np.uint8)
    tracker.start(flat, np.array([50, 50, 80, 80], np.float32))
    for _ in range(3):
        sighting = tracker.look(flat, np.array([50, 50, 80, 80], np.float32))
        tracker.learn(flat, sighting)
    assert np.isfinite(sighting.box_xyxy).all()


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ([400, 10, 440, 40], "outside the frame of 320x240"),
        ([10, 10, 13, 40], "under 4 px"),
        ([50, 10, 20, 40], "under 4 px"),
        ([10, float("nan"), 40, 40], "not four numbers"),
        ([10, 10, 40], "not four numbers"),
    ],
)
def test_start_refuses_what_cannot_be_followed(box, word):
    with pytest.raises(TargetError, match=word):
        CorrelationTracker().start(MovingTarget().image(0), np.array(box, np.float32))


def filter_step_by_step(memory, label, own, penalties, ridge):
    """(C, n, n // 2 + 1) the filter of BACF, equations 6 to 10, as the paper tells it, with numpy's transforms."""
    cells = label.shape[0] ** 2
    wished, seen = np.fft.rfft2(label), memory.astype(np.complex128)
    small, dual = np.zeros_like(seen), np.zeros_like(seen)
    for penalty in penalties:
        right = (seen * wished.conj() / cells - dual) / penalty + small
        along = (seen.conj() * right).sum(0) / ((np.abs(seen) ** 2).sum(0) + cells * penalty)
        wide = right - seen * along
        small = np.fft.rfft2(np.fft.irfft2(penalty * wide + dual, label.shape) * own / (penalty + ridge / cells))
        dual = dual + penalty * (wide - small)
    return wide


def test_filter_is_that_of_the_paper_taken_step_by_step():
    video, tracker = MovingTarget(), CorrelationTracker()
    tracker.start(video.image(0), video.box(0))
    side = tracker.settings.cells
    own, label = np.zeros((side, side)), np.fft.irfft2(tracker._label.conj(), (side, side))
    own[tracker._own_cells] = 1
    expected = filter_step_by_step(tracker._memory, label, own, (1.0, 10.0), tracker.settings.ridge)
    peak = np.fft.irfft2((expected.conj() * tracker._memory).sum(0), (side, side))[0, 0]
    np.testing.assert_allclose(tracker._filter, expected.conj() / peak, atol=1e-4 * np.abs(expected / peak).max())


def test_copy_that_looks_nearly_there_sees_the_same_without_another_window(monkeypatch):
    video, cut = MovingTarget(), []
    tracker = CorrelationTracker()
    tracker.start(video.image(0), video.box(0))
    alone = tracker.copied().look(video.image(1), video.box(1) + 2)
    spectra = CorrelationTracker._spectra
    monkeypatch.setattr(CorrelationTracker, "_spectra", lambda self, window: cut.append(1) or spectra(self, window))
    image, copy = video.image(1), tracker.copied()
    tracker.look(image, video.box(1))
    beside = copy.look(image, video.box(1) + 2)
    assert len(cut) == 1
    np.testing.assert_allclose(beside.box_xyxy, alone.box_xyxy, atol=1.5)
    copy.look(image, video.box(1) + 40)
    copy.look(video.image(1), video.box(1))
    assert len(cut) == 3


def test_restart_where_the_target_is_half_hidden_still_knows_the_rest_of_it():
    video, tracker = MovingTarget(), CorrelationTracker()
    follow(video, 12, tracker=tracker)
    hidden, box = video.image(12), video.box(12)
    x1, y1, x2, y2 = box.astype(int)
    hidden[y1 - 4 : y2 + 4, (x1 + x2) // 2 : x2 + 4] = 128
    before = tracker.look(video.image(13), video.box(13)).score
    again, fresh = tracker.restarted(hidden, box), CorrelationTracker()
    fresh.start(hidden, box)
    (known, _), (forgot, _) = (
        (t.look(video.image(13), video.box(13)).score, t.look(hidden, box).score) for t in (again, fresh)
    )
    assert known > 1.2 * forgot
    assert tracker.look(video.image(13), video.box(13)).score == before


def test_restart_follows_what_is_shown_although_it_knew_another_thing():
    video, other = MovingTarget(), MovingTarget(step_px=(-2, 1), side=(30, 44))
    tracker = CorrelationTracker()
    follow(other, 10, tracker=tracker)
    follower = Follower(tracker.restarted(video.image(0), video.box(0)))
    follower.go_on(video.box(0))
    found = [follower.update(video.image(index), STILL).box_xyxy for index in range(1, 12)]
    assert box_iou(found[-1][None], video.box(11)[None])[0, 0] > 0.6


@pytest.mark.parametrize("place", [(-90, 10, -50, 40), (10, 10, 12, 12)], ids=["outside", "small"])
def test_restart_refused_leaves_the_tracker_as_it_was(place):
    video, tracker = MovingTarget(), CorrelationTracker()
    tracker.start(video.image(0), video.box(0))
    with pytest.raises(TargetError):
        tracker.restarted(video.image(1), np.array(place, np.float32))
    assert box_iou(tracker.look(video.image(1), video.box(1)).box_xyxy[None], video.box(1)[None])[0, 0] > 0.7
