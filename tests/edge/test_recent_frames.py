import numpy as np
import pytest
from moving_target import spots

from edge.errors import TargetError
from edge.recent_frames import RecentFrames, RecentFramesSettings

STILL = np.eye(2, 3, dtype=np.float32)


def ring(count, *, fps=10.0, size=(20, 30), **settings):
    frames = RecentFrames(RecentFramesSettings(**settings))
    for index in range(count):
        frames.add(index, index / fps, np.full((*size, 3), index, np.uint8), STILL)
    return frames


def test_frames_older_than_the_seconds_go():
    frames = ring(60, seconds=4.0)
    assert [frame.index for frame in frames.after(-1)] == list(range(19, 60))
    assert frames.at(30).image[0, 0, 0] == 30
    assert frames.newest.index == 59


def test_frames_beyond_the_bytes_go_but_never_the_newest():
    assert len(ring(10, max_bytes=4 * 20 * 30 * 3)) == 4
    alone = ring(10, max_bytes=0)
    assert len(alone) == 1
    assert alone.newest.index == 9
    assert alone.size_bytes == 20 * 30 * 3


def test_large_picture_is_kept_as_jpeg_and_looks_the_same():
    frames = RecentFrames(RecentFramesSettings(raw_bytes=1000))
    image = spots(120, 160, seed=1)
    frames.add(5, 0.0, image, STILL)
    assert frames.size_bytes < image.nbytes / 3
    assert np.abs(frames.at(5).image.astype(int) - image).mean() < 6  # colour noise, of which a JPEG keeps a quarter


def test_gray_picture_stays_gray_as_jpeg():
    frames = RecentFrames(RecentFramesSettings(raw_bytes=0))
    frames.add(0, 0.0, spots(60, 80, seed=2)[..., 0], STILL)
    assert frames.at(0).image.shape == (60, 80)


@pytest.mark.parametrize("index", [3, 60, -1])
def test_frame_that_is_not_held_is_told_with_what_is(index):
    with pytest.raises(TargetError, match=rf"frame {index}: is not held \(19 to 59\); answer sooner"):
        ring(60, seconds=4.0).at(index)


def test_ring_of_nothing_says_so():
    with pytest.raises(TargetError, match="no frame is held yet"):
        _ = RecentFrames().newest
    with pytest.raises(TargetError, match=r"is not held \(none\)"):
        RecentFrames().at(0)


def test_source_that_begins_anew_begins_the_ring_anew():
    frames = ring(20)
    frames.add(0, 100.0, np.zeros((20, 30, 3), np.uint8), STILL)
    assert len(frames) == 1
    assert frames.size_bytes == 20 * 30 * 3
