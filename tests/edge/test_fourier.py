import numpy as np
import pytest

from edge.fourier import square_transform

MAPS = np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32)


@pytest.mark.parametrize("side", [12, 13], ids=["even", "odd"])
def test_forward_and_back_agree_with_numpy(side):
    maps = np.random.default_rng(1).normal(size=(3, side, side)).astype(np.float32)
    transform = square_transform(side)
    spectra = transform.forward(maps)
    assert spectra.dtype == np.complex64
    np.testing.assert_allclose(spectra, np.fft.rfft2(maps), atol=1e-4)
    np.testing.assert_allclose(transform.back(spectra), maps, atol=1e-5)


def test_forward_takes_a_single_map():
    np.testing.assert_allclose(square_transform(12).forward(MAPS[0]), np.fft.rfft2(MAPS[0]), atol=1e-4)


def test_shift_by_whole_cells_rolls_the_map():
    transform = square_transform(12)
    moved = transform.back(transform.forward(MAPS) * transform.shift(2, -3))
    np.testing.assert_allclose(moved, np.roll(MAPS, (-3, 2), (1, 2)), atol=1e-4)


def test_part_of_a_map_is_transformed_as_the_map_that_is_zero_around_it():
    rows, columns, transform = slice(2, 5), slice(7, 12), square_transform(12)
    whole = np.zeros_like(MAPS)
    whole[:, rows, columns] = MAPS[:, rows, columns]
    spectra = transform.forward(MAPS[:, rows, columns], rows, columns)
    np.testing.assert_allclose(spectra, np.fft.rfft2(whole), atol=1e-4)
    np.testing.assert_allclose(
        transform.back(transform.forward(MAPS), rows, columns), MAPS[:, rows, columns], atol=1e-5
    )
