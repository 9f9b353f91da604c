from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from distill.dataset import LabelledImage
from sim.scenario.conditions import OperatorSettings
from sim.scripted_answers import Answer, Decision, as_decided, decisions, true_answer

BOXES = [(10, 10, 30, 30), (200, 50, 240, 80), (50, 50, 60, 70), (95, 10, 115, 20)]
LABELS = ("Debris", "Debris", "Car", "Debris")
REGION = (0, 0, 100, 100)


def truth(ignore=(False, False, False, False)) -> LabelledImage:
    boxes = np.array(BOXES, np.float32)
    return LabelledImage(Path("x.jpg"), boxes, LABELS, np.full(4, -1), np.array(ignore), 1)


def test_boxes_of_the_label_inside_the_region_are_given_as_x_y_w_h():
    assert true_answer(truth(), [REGION], ["Debris"]) == Answer("Debris", ((10, 10, 20, 20),))


def test_what_the_craft_cannot_name_itself_goes_first():
    assert true_answer(truth(), [REGION], ["Car", "Debris"]).label == "Car"
    assert true_answer(truth(), [REGION], ["Car", "Debris"], on_edge=["Car"]).label == "Debris"


@pytest.mark.parametrize(
    ("labels", "region", "ignore"),
    [
        pytest.param(["Ship"], REGION, (False,) * 4, id="unknown label"),
        pytest.param(["Debris"], (300, 300, 400, 400), (False,) * 4, id="nothing there"),
        pytest.param(["Debris"], REGION, (True, False, False, False), id="hardly visible"),
    ],
)
def test_nothing_to_name_is_no_answer(labels, region, ignore):
    assert true_answer(truth(ignore), [region], labels) is None


def test_decisions_repeat_with_the_seed_and_err_at_their_rate():
    settings = OperatorSettings(labels=("Debris",), error_rate=0.3)
    first, again, other = (list(islice(decisions(settings, seed), 500)) for seed in (1, 1, 2))
    assert first == again != other
    assert 0.24 < sum(d.is_error for d in first) / 500 < 0.36


def test_a_wrong_answer_names_something_else():
    answer = Answer("Debris", ((1, 2, 3, 4),))
    assert as_decided(answer, Decision(False, 0.9), ["Car"]) == answer
    assert as_decided(answer, Decision(True, 0.9), ["Car", "Debris", "Boat"]).label == "Car"
    assert as_decided(answer, Decision(True, 0.1), ["Car", "Debris", "Boat"]).label == "Boat"
    assert as_decided(answer, Decision(True, 0.1), ["Debris"]).label == "Unknown"
