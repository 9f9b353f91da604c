import numpy as np
import pytest

from edge.target_motion import TargetMotion

STILL = np.eye(2, 3, dtype=np.float32)


def box(x, y, side=20.0):
    return np.array([x, y, x + side, y + side], np.float32)


def moved(steps, velocity=(3.0, -1.0)):
    motion = TargetMotion(box(50, 50))
    for index in range(1, steps + 1):
        motion.predict(STILL)
        motion.correct(box(50 + velocity[0] * index, 50 + velocity[1] * index))
    return motion


def test_predict_learns_a_steady_velocity():
    np.testing.assert_allclose(moved(15).predict(STILL), box(50 + 48, 50 - 16), atol=0.3)


def test_predict_takes_place_size_and_velocity_along_with_a_camera_that_turns_and_zooms():
    motion = moved(15)
    quarter = np.array([[0, -2, 300], [2, 0, 0]], np.float32)  # a quarter to the right, twice as near
    expected = motion.predict(quarter)
    # In the old picture the centre came to (108, 44).
    np.testing.assert_allclose((expected[:2] + expected[2:]) / 2, (300 - 2 * 44, 2 * 108), atol=1.0)
    np.testing.assert_allclose(expected[2:] - expected[:2], 40)


def test_surprise_is_small_where_expected_and_grows_with_the_distance():
    motion = moved(15)
    expected = motion.predict(STILL)
    distances = [motion.surprise(expected + step) for step in (0, 1, 5, 20)]
    assert distances[0] == pytest.approx(0, abs=1e-3)
    assert distances[1] < 2 < 3 < distances[2] < distances[3]


def test_surprise_is_smaller_where_less_is_known():
    fresh, known = TargetMotion(box(50, 50)), moved(15)
    surprises = []
    for motion in (fresh, known):
        surprises.append(motion.surprise(motion.predict(STILL) + 5))
    assert surprises[0] < 0.7 * surprises[1]


def test_surprise_grows_less_after_frames_without_a_sighting():
    motion = moved(15)
    near = motion.surprise(motion.predict(STILL) + 5)
    for _ in range(5):
        expected = motion.predict(STILL)
    assert motion.surprise(expected + 5) < near


def test_correct_a_jump_is_followed_but_is_no_velocity():
    motion = TargetMotion(box(50, 50))
    motion.predict(STILL)
    motion.correct(box(250, 50))
    np.testing.assert_allclose(motion.box_xyxy, box(250, 50), atol=8)
    assert motion.predict(STILL)[0] < 262


def test_rest_stays_with_the_ground():
    motion = moved(15)
    pan = np.array([[1, 0, -7], [0, 1, 2]], np.float32)
    for index in range(1, 4):
        np.testing.assert_allclose(motion.rest(pan), box(95 - 7 * index, 35 + 2 * index), atol=0.3)
