"""Means and hard negatives."""

import numpy as np
import pytest

from cloud.vector_sets import best_cosine, geometric_median, hardest, prototypes, trimmed_mean

EYE = np.eye(4, dtype=np.float32)


def unit(*rows):
    array = np.asarray(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_prototypes_average_what_is_alike():
    found = prototypes(unit([1, 0.1, 0, 0], [1, -0.1, 0, 0], [0, 0, 1, 0]), 8)
    assert found == pytest.approx(EYE[[0, 2]], abs=1e-6)


def test_prototypes_keep_to_the_limit():
    assert prototypes(EYE, 2).shape == (2, 4)


@pytest.mark.parametrize("count", [0, 1])
def test_prototypes_of_few(count):
    assert np.array_equal(prototypes(EYE[:count], 8), EYE[:count])


def test_hardest_leaves_out_copies_and_the_positive_itself():
    negatives = unit([1, 0, 0, 0], [0.8, 0.6, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 0, 1])
    assert hardest(negatives, EYE[:1], 24) == pytest.approx(negatives[[1, 3]])


def test_best_cosine_without_others():
    assert best_cosine(EYE, EYE[:0]).tolist() == [-1.0] * 4


def test_geometric_median_is_the_middle_and_heeds_an_outlier_little():
    square = np.array([[0, 0], [2, 0], [0, 2], [2, 2]], np.float32)
    np.testing.assert_allclose(geometric_median(square), (1, 1), atol=1e-5)
    line = np.array([[0, 0], [1, 0], [2, 0], [1, 0.1], [900, 0]], np.float32)
    assert np.linalg.norm(geometric_median(line) - (1, 0)) < 0.2
    np.testing.assert_array_equal(geometric_median(square[1:2]), square[1])


def test_trimmed_mean_leaves_out_what_strays_and_nothing_else():
    alike = unit([1, 0.2, 0, 0], [1, -0.2, 0, 0], [1, 0, 0.3, 0], [1, 0, -0.3, 0])
    np.testing.assert_allclose(trimmed_mean(np.concatenate([alike, EYE[3:]])), alike.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(trimmed_mean(alike), alike.mean(axis=0), atol=1e-6)
