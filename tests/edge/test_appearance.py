import cv2
import numpy as np
import pytest

from edge.appearance import ColourWords, _histogram, cut_window, gradient_histograms, gray_of


def ramp(width=400, height=300):
    """Brightness that tells where a pixel is: x in blue, y in green, both halved."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns / 2, rows / 2, np.zeros_like(rows)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("size", [(20, 20), (40, 30), (160, 120), (300, 250)], ids=["larger", "same", "fold", "most"])
def test_cut_window_shows_what_is_there(size):
    window = cut_window(ramp(), np.array([200.0, 150.0]), np.array(size, float), (40, 30)).astype(float)
    expected = np.array([200 - size[0] / 4, 150 - size[1] / 4]) / 2
    np.testing.assert_allclose(window[7:8, 9:11, :2].mean((0, 1)), expected, atol=2.5)
    np.testing.assert_allclose(window.mean((0, 1))[:2], [100, 75], atol=1.0)


@pytest.mark.parametrize("centre", [(-500.0, 150.0), (0.0, 0.0), (2000.0, 9000.0)])
@pytest.mark.parametrize("side", [30, 900])
def test_cut_window_beyond_the_image_repeats_its_edge(centre, side):
    window = cut_window(np.full((60, 80), 7, np.uint8), np.array(centre), np.full(2, float(side)), (24, 24))
    assert window.shape == (24, 24)
    assert (window == 7).all()


@pytest.mark.parametrize("turn", [0, 45, 90, 200])
def test_gradient_histograms_peak_at_the_direction_of_the_gradient(turn):
    rows, columns = np.mgrid[:32, :32]
    along = columns * np.cos(np.radians(turn)) + rows * np.sin(np.radians(turn))
    found = gradient_histograms((along / 60).astype(np.float32), 4)
    assert found.shape == (28, 8, 8)
    inner = found[:, 3, 3]
    assert abs(inner[:18].argmax() * 20 - turn) <= 10.1
    assert abs(inner[18:27].argmax() * 20 - turn % 180) <= 10.1


def test_gradient_histograms_of_nothing_are_zero_and_contrast_hardly_matters():
    noise = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    assert not gradient_histograms(np.full((32, 32), 0.5, np.float32), 4).any()
    np.testing.assert_allclose(gradient_histograms(noise, 4), gradient_histograms(0.7 * noise, 4), atol=0.03)


def test_every_gradient_is_shared_between_the_two_directions_nearest_to_it():
    gray = np.random.default_rng(1).random((12, 8)).astype(np.float32)
    expected = np.zeros((3, 2, 18))
    for row, column in np.ndindex(gray.shape):
        across = gray[row, min(column + 1, 7)] - gray[row, max(column - 1, 0)] if 0 < column < 7 else 0.0
        down = gray[min(row + 1, 11), column] - gray[max(row - 1, 0), column] if 0 < row < 11 else 0.0
        turn = np.arctan2(down, across) % (2 * np.pi) / (2 * np.pi) * 18
        for bin_number, share in ((int(turn), 1 - turn % 1), (int(turn) + 1, turn % 1)):
            expected[row // 4, column // 4, bin_number % 18] += share * np.hypot(across, down)
    spread = np.array([0.15, 0.7, 0.15])
    wide = np.pad(expected, ((1, 1), (1, 1), (0, 0)), "edge")
    expected = sum(wide[i : i + 3, j : j + 2] * spread[i] * spread[j] for i in range(3) for j in range(3))
    np.testing.assert_allclose(_histogram(gray, 4), expected, atol=0.02)


def test_gray_of_is_between_zero_and_one():
    assert gray_of(np.full((2, 2, 3), 255, np.uint8)).max() == pytest.approx(1, abs=1e-6)


def test_colour_words_tell_the_colours_of_a_picture_apart():
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[:, :10] = (200, 30, 30)
    picture[:, 10:] = (30, 200, 200)
    words = ColourWords(picture, 2)(picture)
    assert words.shape == (2, 20, 20)
    assert {int(words[:, 5, 2].argmax()), int(words[:, 5, 15].argmax())} == {0, 1}
    np.testing.assert_allclose(words.sum(axis=0), words.sum(axis=0)[0, 0], atol=1e-5)


@pytest.mark.parametrize("picture", [np.full((8, 8), 90, np.uint8), np.full((8, 8, 3), 90, np.uint8)])
def test_colour_words_of_one_colour_are_still_words(picture):
    assert np.isfinite(ColourWords(picture, 4)(picture)).all()


def test_colour_words_are_the_same_each_time():
    picture = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 6, 3)).astype(np.uint8), (60, 60))
    np.testing.assert_array_equal(ColourWords(picture, 6)(picture), ColourWords(picture, 6)(picture))
