import cv2
import numpy as np
import pytest

from distill.curves import save_curves, smoothed


def history(steps, *losses):
    return [{"step": float(i + 1), **{name: 1.0 / (i + 1) for name in losses}} for i in range(steps)]


@pytest.mark.parametrize(("count", "window"), [(20, 5), (20, 4), (3, 9), (1, 0), (7, 1)])
def test_smoothed_equals_the_mean_of_existing_neighbours(count, window):
    values = np.random.default_rng(2).random(count).astype(np.float32)
    reach = (min(window, count) | 1) // 2
    expected = [values[max(i - reach, 0) : i + reach + 1].mean() for i in range(count)]
    np.testing.assert_allclose(smoothed(values, window), expected, rtol=1e-5)


def test_curves_grow_by_one_axis_per_loss(tmp_path):
    save_curves(history(40, "heat"), tmp_path / "one.png")
    save_curves(history(40, "heat", "box", "embedding"), tmp_path / "three.png")
    one, three = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("one", "three"))
    assert three.shape[0] == 3 * one.shape[0]
    assert len(np.unique(three.reshape(-1, 3), axis=0)) > 10


def test_curves_of_a_single_step_are_drawn(tmp_path):
    save_curves(history(1, "heat"), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
