import numpy as np
import pytest

from distill.calibrate import fit_platt


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (2.5, 1.0), (0.5, -2.0)])
def test_fit_platt_recovers_the_numbers_that_made_the_data(scale, bias):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, 20_000)
    truths = rng.random(20_000) < 1 / (1 + np.exp(-(scale * logits + bias)))
    assert fit_platt(logits, truths) == pytest.approx((scale, bias), abs=0.1)


@pytest.mark.parametrize("truths", [[], [True, True], [False, False]], ids=["nothing", "all-right", "all-wrong"])
def test_fit_platt_without_evidence_keeps_the_numbers(truths):
    assert fit_platt(np.zeros(len(truths)), np.array(truths, bool)) == (1.0, 0.0)
