import cv2
import numpy as np
import pytest
from builders import scene

from distill.dataset import IGNORED_LABEL, DataSet
from distill.doubts import completed
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
    (item,) = completed(student, two_spots(tmp_path, ("Red",)), ("Red", "Boat"))
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
    (item,) = completed(student, data, labels)
    assert item is data.items[0]


RED = (40, 40, 250)


def test_classes_that_nobody_judged_in_a_reviewed_picture_are_what_the_student_says(student, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), scene((40, 40, RED), (120, 80, WHITE)))
    boxes = np.array([[112, 72, 128, 88], [30, 30, 50, 50]], np.float32)  # a boat, and what a machine saw there
    labels, ignore = ("Boat", IGNORED_LABEL), np.array([False, True])
    item = LabelledImage(path, boxes, labels, np.array([-1, -1]), ignore, 0, judged=("Boat",))
    (told,) = completed(student, DataSet("cases", (item,), {}, PLAIN), ("Red", "Boat"))
    assert told.judged == ("Boat", "Red")
    truths = [(name, box) for name, box, out in zip(told.labels, told.boxes_xyxy, told.ignore, strict=True) if not out]
    assert {name for name, _ in truths} == {"Boat", "Red"}
    middles = [(box[:2] + box[2:]) / 2 for name, box in truths if name == "Red"]
    np.testing.assert_allclose(middles, [(40, 40)] * len(middles), atol=8)


def test_persons_word_is_not_contradicted_by_the_student(student, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), scene((40, 40, RED)))
    box = np.array([[32, 32, 48, 48]], np.float32)
    item = LabelledImage(path, box, ("Boat",), np.array([-1]), np.array([False]), 0, judged=("Boat",))
    (told,) = completed(student, DataSet("cases", (item,), {}, PLAIN), ("Red", "Boat"))
    assert (told.labels[0], told.judged) == ("Boat", ("Boat", "Red"))
    assert "Red" not in told.labels
