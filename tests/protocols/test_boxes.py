"""Box arithmetic against slow, obvious references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import ShapeError, box_inside, box_iou, boxes_area, clip_boxes, nms


def slow_iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union else 0.0


def slow_nms(boxes, scores, iou):
    left, kept = sorted(range(len(scores)), key=lambda i: -scores[i]), []
    while left:
        kept.append(left.pop(0))
        left = [i for i in left if slow_iou(boxes[kept[-1]], boxes[i]) <= iou]
    return kept


@st.composite
def box_sets(draw, most=12):
    corner, side = st.integers(0, 40), st.integers(0, 30)
    rows = draw(st.lists(st.tuples(corner, corner, side, side), max_size=most))
    return np.array([[x, y, x + w, y + h] for x, y, w, h in rows], np.float32).reshape(-1, 4)


@given(box_sets(), box_sets())
def test_iou_equals_the_slow_reference(a, b):
    expected = np.array([[slow_iou(x, y) for y in b.tolist()] for x in a.tolist()]).reshape(len(a), len(b))
    got = box_iou(a, b)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)  # a few float32 roundings of numbers below 1


@given(box_sets(), box_sets())
def test_inside_equals_the_iou_with_the_union_taken_out(a, b):
    iou, mine, other = box_iou(a, b), boxes_area(a)[:, None], boxes_area(b)[None, :]
    overlap = iou * (mine + other) / (1 + iou)
    expected = np.divide(overlap, mine, out=np.zeros_like(overlap), where=mine > 0)
    np.testing.assert_allclose(box_inside(a, b), expected, atol=1e-5)


@given(box_sets(30), st.randoms(use_true_random=False))
def test_nms_equals_the_slow_reference(boxes, random):
    scores = np.array([random.random() for _ in boxes], np.float32)
    # An iou that integer boxes of these sizes cannot hit exactly, so that rounding decides nothing.
    assert nms(boxes, scores, 0.4142135).tolist() == slow_nms(boxes.tolist(), scores.tolist(), 0.4142135)


def test_nms_of_equal_scores_keeps_the_first():
    boxes = np.array([[0, 0, 10, 10]] * 3 + [[50, 50, 60, 60]], np.float32)
    assert nms(boxes, np.ones(4, np.float32), 0.5).tolist() == [0, 3]


def test_nms_in_groups_equals_one_pass_for_each():
    rng = np.random.default_rng(5)
    corners = rng.uniform(0, 60, (80, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 30, (80, 2))], axis=1).astype(np.float32)
    scores, groups = rng.random(80), rng.integers(0, 3, 80)
    expected = []
    for members in (np.flatnonzero(groups == g) for g in range(3)):
        expected += members[nms(boxes[members], scores[members], 0.3)].tolist()
    got = nms(boxes, scores, 0.3, groups)
    assert sorted(got) == sorted(expected)
    assert len(got) > len(nms(boxes, scores, 0.3))


def test_empty_sets_give_empty_results():
    none = np.zeros((0, 4), np.float32)
    assert box_iou(none, none).shape == (0, 0)
    assert nms(none, np.zeros(0, np.float32), 0.5).shape == (0,)
    assert clip_boxes(none, 5, 5).shape == (0, 4)


def test_clip_boxes_cuts_to_the_image_and_leaves_the_input():
    boxes = np.array([[-5, 2, 30, 40], [100, 100, 120, 120]], np.float32)
    clipped = clip_boxes(boxes, 20, 10)
    assert clipped.tolist() == [[0, 2, 20, 10], [20, 10, 20, 10]]
    assert boxes[0, 0] == -5
    assert boxes_area(clipped).tolist() == [160, 0]


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 4), (0,)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"expected \(N, 4\)"):
        boxes_area(np.zeros(shape, np.float32))


def test_nms_refuses_scores_of_another_length():
    with pytest.raises(ShapeError, match="one per box"):
        nms(np.zeros((2, 4), np.float32), np.zeros(3, np.float32), 0.5)
