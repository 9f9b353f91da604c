import numpy as np

from edge.short_term import Follower, Sighting

STILL = np.eye(2, 3, dtype=np.float32)
IMAGE = np.zeros((100, 100), np.uint8)


class Remembering:
    """Is where it is told to be, and remembers where it was told to look."""

    def __init__(self, places):
        self.places, self.asked, self.learnt = list(places), [], 0

    def start(self, image, box_xyxy):
        pass

    def look(self, image, around_xyxy):
        self.asked.append(around_xyxy[:2].tolist())
        x, y = self.places.pop(0)
        return Sighting(np.array([x, y, x + 10, y + 10], np.float32), 1.0)

    def learn(self, image, sighting):
        self.learnt += 1


def asked(places, motions):
    tracker = Remembering(places)
    follower = Follower(tracker)
    follower.start(IMAGE, np.array([20, 20, 30, 30], np.float32))
    for motion in motions:
        follower.update(IMAGE, motion)
    assert tracker.learnt == len(places)
    return np.array(tracker.asked)


def test_update_looks_where_the_camera_took_the_target():
    motion = np.array([[1, 0, -30], [0, 1, 12]], np.float32)
    np.testing.assert_allclose(asked([(-10, 32)], [motion]), [[-10, 32]])


def test_update_looks_ahead_of_a_target_that_moves():
    places = [(20 + 3 * i, 20) for i in range(1, 12)]
    found = asked(places, [STILL] * 11)
    assert found[0].tolist() == [20, 20]
    np.testing.assert_allclose(found[-1], places[-1], atol=0.2)


def test_update_a_jump_does_not_run_away():
    found = asked([(80, 20), (80, 20)], [STILL] * 2)
    assert found[1, 0] - 80 <= 0.5 * 10 * 0.3 + 1e-3


def test_update_camera_that_zooms_scales_the_expected_box():
    tracker = Remembering([(40, 40)])
    sizes = []
    tracker.look = lambda image, around: sizes.append(around[2:] - around[:2]) or Sighting(around, 1.0)
    follower = Follower(tracker)
    follower.start(IMAGE, np.array([20, 20, 30, 30], np.float32))
    follower.update(IMAGE, np.array([[2, 0, 0], [0, 2, 0]], np.float32))
    np.testing.assert_allclose(sizes, [[20, 20]])
