import numpy as np
import pytest

from distill.evaluate import ImageDetections
from distill.fusion import EDGE_WEIGHT, LONE_TRUST, fuse


def said(*rows: tuple[float, str, float]) -> ImageDetections:
    """Boxes of 10 px whose left edges are given, labels, scores."""
    boxes = np.array([[x, 0, x + 10, 10] for x, _, _ in rows], np.float32).reshape(-1, 4)
    return ImageDetections(boxes, [label for _, label, _ in rows], np.array([s for *_, s in rows], np.float32))


def test_same_thing_becomes_one_between_both():
    both = fuse(said((2, "Car", 0.4)), said((0, "Car", 0.8)))
    assert both.labels == ["Car"]
    assert both.boxes_xyxy[0, 0] == pytest.approx(2 * EDGE_WEIGHT)
    assert both.scores[0] == pytest.approx(0.8 + EDGE_WEIGHT * (0.4 - 0.8))


@pytest.mark.parametrize(("x", "label"), [(0, "Person"), (100, "Car")])
def test_other_thing_stays_with_less_trust(x, label):
    both = fuse(said((x, label, 0.5)), said((0, "Car", 0.8)))
    assert both.labels == ["Car", label]
    assert both.scores.tolist() == pytest.approx([0.8, 0.5 * LONE_TRUST])


def test_one_detection_of_the_edge_joins_one_of_the_cloud():
    both = fuse(said((0, "Car", 0.5)), said((1, "Car", 0.6), (0, "Car", 0.9)))
    assert both.scores.tolist() == pytest.approx([0.6, 0.9 + EDGE_WEIGHT * (0.5 - 0.9)])


def test_nothing_on_either_side():
    assert fuse(said(), said()).labels == []
    assert fuse(said(), said((0, "Car", 0.8))).scores.tolist() == pytest.approx([0.8])
    assert len(fuse(said((0, "Car", 0.8)), said()).labels) == 1
