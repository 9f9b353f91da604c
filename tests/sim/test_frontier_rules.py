import numpy as np
import pytest

from distill.evaluate import ImageDetections
from sim.frontier_rules import NEVER, RULES, difficult_case, entropy_sum


def found(*scores: float, side: float = 20) -> ImageDetections:
    boxes = np.array([[30 * i, 0, 30 * i + side, side] for i in range(len(scores))], np.float32).reshape(-1, 4)
    return ImageDetections(boxes, ["Car"] * len(scores), np.array(scores, np.float32))


@pytest.mark.parametrize("name", ["sedna_ibt", "sedna_threshold", "axonmesh_margin"])
def test_doubtful_boxes_go_before_sure_ones(name):
    assert RULES[name](found(0.4, 0.5)) > RULES[name](found(0.9, 0.95))


def test_image_without_boxes_is_easy_for_sedna_and_hard_for_axonmesh():
    assert RULES["sedna_ibt"](found()) == RULES["sedna_threshold"](found()) == NEVER
    assert RULES["axonmesh_margin"](found()) > RULES["axonmesh_margin"](found(0.1))


def test_ibt_is_the_share_of_boxes_at_most_the_threshold():
    assert RULES["sedna_ibt"](found(0.5, 0.6, 0.7, 0.2)) == 0.5


def test_difficult_case_wants_a_faint_box_then_many_or_small_ones():
    assert difficult_case(found(0.9, 0.8)) == NEVER
    assert difficult_case(found(*[0.9] * 20, 0.2)) > difficult_case(found(0.9, 0.2))
    assert difficult_case(found(0.9, 0.2, side=5)) > difficult_case(found(0.9, 0.2))


def test_entropy_is_highest_at_one_half():
    assert entropy_sum(found(0.5)) > entropy_sum(found(0.9)) > entropy_sum(found()) == 0
