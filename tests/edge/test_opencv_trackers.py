import cv2
import numpy as np
import pytest
from moving_target import MovingTarget

from edge.correlation import CorrelationTracker
from edge.errors import ConfigError, ModelError
from edge.opencv_trackers import OpenCvTracker, open_short_term
from protocols.boxes import box_iou


class Template:
    """A tracker with OpenCV's interface that searches a little around its last place."""

    REACH = 12

    def init(self, image, box):
        x, y, width, height = box
        self.box, self.known = box, image[y : y + height, x : x + width].copy()

    def update(self, image):
        x, y, width, height = self.box
        low = max(x - self.REACH, 0), max(y - self.REACH, 0)
        part = image[low[1] : y + height + self.REACH, low[0] : x + width + self.REACH]
        _, likeness, _, at = cv2.minMaxLoc(cv2.matchTemplate(part, self.known, cv2.TM_CCOEFF_NORMED))
        self.likeness = likeness
        if likeness > 0.5:
            self.box = (low[0] + at[0], low[1] + at[1], width, height)
        return likeness > 0.5, self.box

    def getTrackingScore(self):  # OpenCV's name
        return self.likeness


def overlap(sighting, box):
    return float(box_iou(sighting.box_xyxy[None], box[None])[0, 0])


def test_look_follows_and_tells_the_trackers_own_score():
    video, tracker = MovingTarget(), OpenCvTracker(Template)
    tracker.start(video.image(0), video.box(0))
    for index in range(1, 10):
        sighting = tracker.look(video.image(index), video.box(index - 1))
        assert overlap(sighting, video.box(index)) > 0.9
    assert sighting.score > 0.9
    assert np.isnan(sighting.sharpness)


def test_look_elsewhere_finds_what_the_tracker_alone_would_lose():
    video, tracker, alone = MovingTarget(step_px=(40, 18)), OpenCvTracker(Template), Template()
    tracker.start(video.image(0), video.box(0))
    alone.init(video.image(0), tuple(int(v) for v in (*video.box(0)[:2], 28, 20)))
    for index in (1, 2, 3):
        assert overlap(tracker.look(video.image(index), video.box(index)), video.box(index)) > 0.9
    assert not alone.update(video.image(3))[0]


def test_look_tracker_that_finds_nothing_stays_with_no_score():
    video, tracker = MovingTarget(), OpenCvTracker(Template)
    tracker.start(video.image(0), video.box(0))
    blank = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    sighting = tracker.look(blank, video.box(0))
    assert sighting.score < 0.5
    assert overlap(sighting, video.box(0)) > 0.9


def test_open_short_term_knows_ours_and_opencvs():
    assert isinstance(open_short_term("correlation")(), CorrelationTracker)
    # It draws its samples at random, and what ran before in this process decides which: now and then it misses.
    assert max(_mil_overlap(MovingTarget()) for _ in range(4)) > 0.4


def _mil_overlap(video):
    tracker = open_short_term("mil")()
    tracker.start(video.image(0), video.box(0))
    return overlap(tracker.look(video.image(1), video.box(1)), video.box(1))


def test_open_short_term_unknown_name_says_which_there_are():
    with pytest.raises(ConfigError, match="none of correlation, nano, vit"):
        open_short_term("magic")


@pytest.mark.skipif(hasattr(cv2, "TrackerCSRT_create"), reason="this OpenCV has contrib")
def test_open_short_term_what_this_opencv_lacks_says_where_it_is():
    with pytest.raises(ConfigError, match="opencv-contrib-python"):
        open_short_term("csrt")


@pytest.mark.parametrize("spec", ["nano:{}", "vit:{}/net.onnx"])
def test_open_short_term_without_weights_says_so(tmp_path, spec):
    with pytest.raises(ModelError, match="exactly one"):
        open_short_term(spec.format(tmp_path))


def test_open_short_term_damaged_weights_say_so(tmp_path):
    for part in ("backbone", "head"):
        (tmp_path / f"{part}.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="fetch them again"):
        open_short_term(f"nano:{tmp_path}")
