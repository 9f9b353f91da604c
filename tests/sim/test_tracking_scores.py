import numpy as np
import pytest

from sim.tracking_scores import bootstrap_interval, score_boxes, score_claims

TRUTH = np.tile(np.array([10, 20, 40, 30], np.float32), (5, 1))


def test_perfect_boxes_score_what_the_data_page_says():
    scores = score_boxes(TRUTH, TRUTH)
    assert scores["auc"] == pytest.approx(20 / 21)  # no overlap is greater than the last threshold, 1
    assert (scores["p20"], scores["norm_precision"], scores["absent"]) == (1, 1, 0)


def test_boxes_elsewhere_score_nothing():
    scores = score_boxes(TRUTH + np.array([500, 0, 0, 0], np.float32), TRUTH)
    assert (scores["auc"], scores["p20"], scores["norm_precision"]) == (0, 0, 0)


def test_half_overlap_counts_the_thresholds_below():
    scores = score_boxes(TRUTH * np.array([1, 1, 0.5, 1], np.float32), TRUTH)
    assert scores["auc"] == pytest.approx(10 / 21)


def test_first_frame_and_frames_without_the_target_are_left_out():
    found, truth = TRUTH.copy(), TRUTH.copy()
    found[0], found[2], found[3] = 0, 0, 0
    truth[2], truth[3] = np.nan, (0, 0, 0, 0)
    scores = score_boxes(found, truth)
    assert scores["auc"] == pytest.approx(20 / 21)
    assert scores["absent"] == 2


def test_precision_within_twenty_pixels_and_in_units_of_the_box():
    scores = score_boxes(TRUTH + np.array([19, 0, 0, 0], np.float32), TRUTH)
    assert scores["p20"] == 1
    assert scores["norm_precision"] == pytest.approx(3 / 51)  # 19/40 of the width: thresholds 0.48, 0.49, 0.5


def test_sequence_that_never_shows_its_target_again_has_no_scores():
    truth = TRUTH.copy()
    truth[1:] = np.nan
    assert np.isnan(score_boxes(TRUTH, truth)["auc"])


def test_bootstrap_interval_holds_the_mean_and_narrows_with_more():
    few, many = (bootstrap_interval(np.random.default_rng(0).normal(0.5, 0.1, n)) for n in (5, 500))
    assert few[0] < 0.5 < few[1]
    assert many[1] - many[0] < 0.3 * (few[1] - few[0])
    assert bootstrap_interval([0.4]) == (0.4, 0.4)


AWAY = np.array([500, 0, 0, 0], np.float32)


def claims(away=(), absent=(), silent=(), count=9):
    """Scores of a tracker that is elsewhere, or says nothing, in some frames."""
    truth = np.repeat(TRUTH[:1], count, axis=0)
    found, claimed = truth.copy(), np.ones(count, np.bool_)
    found[list(away)] += AWAY
    truth[list(absent)] = np.nan
    claimed[list(silent)] = False
    return score_claims(found, truth, claimed, fps=10)


def test_claims_are_false_where_the_target_is_elsewhere_or_not_there():
    assert claims()["false_tracked"] == 0
    assert claims(away=(3, 4), absent=(6, 7))["false_tracked"] == 4 / 8
    assert claims(away=(3, 4), absent=(6, 7), silent=(4, 6, 7))["false_tracked"] == 1 / 8


def test_time_until_a_target_is_found_again_counts_frames_that_show_it():
    assert claims()["reacquire_s"] is None
    assert claims(away=(2, 3, 4))["reacquire_s"] == pytest.approx(0.3)
    assert claims(away=(2, 7, 8))["reacquire_s"] == pytest.approx(0.15)
    assert claims(away=(2, 3, 4), absent=(3,))["reacquire_s"] == pytest.approx(0.2)
