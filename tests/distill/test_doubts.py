import cv2
import numpy as np
import pytest
from builders import scene

from distill.dataset import IGNORED_LABEL, DataSet
from distill.doubts import with_doubts
from distill.labelled import PLAIN, LabelledImage
from edge.student import Student

WHITE = (250, 250, 250)


@pytest.fixture
def student(tiny_bundle):
    return Student.open(tiny_bundle, threads=1)


def two_spots(tmp_path, judged):
    """Two bright things, of which one is boxed."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), scene((40, 40, WHITE), (120, 80, WHITE)))
    item = LabelledImage(path, np.array([[32, 32, 48, 48]], np.float32), ("Red",), np.array([-1]), np.array([False]), 0)
    data = DataSet("spots", (item,), {}, PLAIN)
    return data.judging(judged) if judged is not None else data


def test_unlabelled_object_is_a_doubt_where_a_label_was_not_judged(student, tmp_path):
    (item,) = with_doubts(student, two_spots(tmp_path, ("Red",)), ("Red", "Boat"))
    assert item.labels[0] == "Red"
    assert set(item.labels[1:]) == {IGNORED_LABEL}
    assert set(item.marks[1:]) == {"doubt"}
    assert item.ignore.tolist() == [False] + [True] * (len(item.labels) - 1)
    middles = (item.boxes_xyxy[1:, :2] + item.boxes_xyxy[1:, 2:]) / 2
    assert len(middles)
    assert np.abs(middles - (120, 80)).max() <= 8


@pytest.mark.parametrize(
    ("judged", "labels"),
    [
        pytest.param(None, ("Red", "Boat"), id="truth-says-all"),
        pytest.param(("Red", "Boat"), ("Red", "Boat"), id="all-judged"),
        pytest.param(("Red",), ("Red",), id="nothing-new"),
    ],
)
def test_whole_truth_leaves_no_doubt(student, tmp_path, judged, labels):
    data = two_spots(tmp_path, judged)
    (item,) = with_doubts(student, data, labels)
    assert item is data.items[0]
