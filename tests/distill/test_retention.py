"""Two students that differ in what they call red, on pictures that are worked out by hand."""

import dataclasses

import cv2
import numpy as np
import pytest
from builders import scene

from distill import retention as module
from distill.dataset import DataSet
from distill.labelled import PLAIN, LabelledImage
from distill.retention import retention
from edge.student import Student

RED, GREEN = (40, 40, 250), (40, 250, 40)


@pytest.fixture
def student(tiny_bundle):
    return Student.open(tiny_bundle, threads=1)


@pytest.fixture
def forgetful(student):
    """The same with scores turned round: what was sure is unlikely."""
    manifest = student.manifest.model_copy(update={"score_scale": (-1.0,), "score_bias": (0.0,)})
    return Student(student.bundle.with_manifest(manifest), student.backend)


@pytest.fixture
def held_out(tmp_path):
    items = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        spots = [(30 + 20 * number, 40, RED), (40, 90, GREEN), (120, 90, GREEN)]
        cv2.imwrite(str(path), scene(*spots))
        x = 22 + 20 * number
        box = np.array([[x, 32, x + 16, 48]], np.float32)
        items.append(LabelledImage(path, box, ("Red",), np.array([-1]), np.array([False]), number))
    return DataSet("held", tuple(items), {}, PLAIN)


@pytest.fixture
def _few(monkeypatch):
    monkeypatch.setattr(module, "LEAST_BOXES", 4)


@pytest.mark.usefixtures("_few")
def test_student_that_stayed_as_it_was_passes(student, held_out):
    found = retention(student, student, [held_out])
    assert (found["passed"], found["faults"]) == (True, [])
    row = found["sets"]["held"]["Red"]
    assert row["boxes"] == 4
    assert row["before"] == row["after"] > 0.5


@pytest.mark.usefixtures("_few")
def test_class_that_fell_by_more_than_a_point_is_named(student, forgetful, held_out):
    found = retention(student, forgetful, [held_out])
    assert not found["passed"]
    assert found["faults"][0].startswith("Red fell from ")
    assert found["faults"][0].endswith("on held")


@pytest.mark.usefixtures("_few")
def test_sets_of_one_name_are_both_looked_at(student, forgetful, held_out):
    blank = tuple(dataclasses.replace(item, ignore=np.array([True])) for item in held_out.items)
    found = retention(student, forgetful, [held_out, dataclasses.replace(held_out, items=blank)])
    assert set(found["sets"]) == {"held", "held (2)"}
    assert found["sets"]["held (2)"] == {}
    assert found["faults"][0].startswith("Red fell from ")


def test_class_of_which_too_little_is_held_out_is_no_class_that_was_kept(student, held_out):
    found = retention(student, student, [held_out])
    assert not found["passed"]
    assert found["faults"] == [
        f"no held-out set shows {module.LEAST_BOXES} boxes of Red, so nobody knows what it lost; name one in held_out"
    ]


@pytest.mark.usefixtures("_few")
def test_ignored_boxes_are_not_counted(student, held_out):
    out = tuple(dataclasses.replace(item, ignore=np.array([True])) for item in held_out.items)
    found = retention(student, student, [dataclasses.replace(held_out, items=out)])
    assert found["sets"] == {"held": {}}
    assert not found["passed"]
