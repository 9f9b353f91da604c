import cv2
import numpy as np
import pytest

from edge.camera_motion import STILL, CameraMotion, move_boxes


def ground(side=900, seed=0):
    """Smooth spots on smooth ground, in pixels of a map."""
    noise = np.random.default_rng(seed).integers(0, 255, (side // 8, side // 8)).astype(np.uint8)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)


def seen(picture, matrix, size=(640, 480)):
    """What a camera sees after the ground moved by a similarity on pixel edges."""
    half = np.array([0.5, 0.5])
    centred = np.array(matrix, np.float64)
    centred[:, 2] += centred[:, :2] @ half - half
    return cv2.warpAffine(picture, centred, size, flags=cv2.INTER_AREA)


def similarity(turn_deg, scale, x, y):
    cos, sin = scale * np.cos(np.radians(turn_deg)), scale * np.sin(np.radians(turn_deg))
    return np.array([[cos, -sin, x], [sin, cos, y]])


@pytest.mark.parametrize(
    "step",
    [similarity(0, 1, 25, 0), similarity(0, 1, -12, 30), similarity(4, 1, 20, -9), similarity(0, 1.06, -15, -12)],
    ids=["right", "left-down", "turns", "comes-nearer"],
)
@pytest.mark.parametrize("bands", [1, 3, 6])
def test_update_tells_how_the_ground_moved(step, bands):
    picture, motion = ground(), CameraMotion()
    first, second = (np.repeat(seen(picture, m)[..., None], bands, 2) for m in (np.eye(2, 3), step))
    assert not motion.update(first).is_believed
    found = motion.update(second)
    assert found.is_believed
    corners = np.array([[0, 0, 0, 0], [640, 480, 640, 480], [0, 480, 0, 480]], np.float32)
    np.testing.assert_allclose(move_boxes(corners, found.matrix), move_boxes(corners, step), atol=1.0)


def test_update_heeds_the_ground_not_what_moves_on_it():
    picture, motion = ground(), CameraMotion()
    for step in range(2):
        image = seen(picture, similarity(0, 1, 10 * step, 0))
        image[200:300, 300 - 30 * step : 420 - 30 * step] = ground(seed=1)[:100, :120]
        found = motion.update(image)
    np.testing.assert_allclose(found.matrix, similarity(0, 1, 10, 0), atol=0.8)


@pytest.mark.parametrize(
    "second",
    [np.full((480, 640), 90, np.uint8), ground(seed=5)[:480, :640], ground()[:300, :300]],
    ids=["nothing-to-see", "another-place", "another-size"],
)
def test_update_what_does_not_agree_is_not_believed(second):
    motion = CameraMotion()
    motion.update(seen(ground(), np.eye(2, 3)))
    assert motion.update(second) == STILL


def test_move_boxes_scales_sides_and_keeps_boxes_upright():
    box = np.array([[10, 20, 30, 60]], np.float32)
    moved = move_boxes(box, similarity(90, 2, 100, 0).astype(np.float32))
    np.testing.assert_allclose(moved, [[100 - 80 - 20, 40 - 40, 100 - 80 + 20, 40 + 40]], atol=1e-3)
