"""What a craft is told, what becomes a prompt, and what is left for a person."""

from dataclasses import replace

import numpy as np
import pytest

from cloud.answers import findings_of, interpretation_of, open_question
from cloud.case_images import CaseImage
from cloud.config import CloudSettings
from cloud.evidence import look
from cloud.teachers import TeacherAnswer

CASE_ID = "0" * 32


def answer(*found):
    boxes = np.array([box for _, _, box in found], np.float32).reshape(-1, 4)
    return TeacherAnswer(boxes, tuple(label for label, _, _ in found), np.array([s for _, s, _ in found], np.float32))


def test_interpretation_is_in_frame_pixels():
    image = CaseImage(np.zeros((80, 80), np.uint8), (0.5, 0.5), (100, 40))
    said = answer(("a", 0.3, (0, 0, 5, 5)), ("b", 0.9, (10, 10, 20, 20)))
    told = interpretation_of(CASE_ID, [(image, said)], "t", 5.0)
    assert [(d.label, d.box_xyxy, d.provenance) for d in told.detections] == [
        ("b", (120, 60, 140, 80), "cloud"),
        ("a", (100, 40, 110, 50), "cloud"),
    ]
    assert told.confidence == pytest.approx(0.9)


def test_interpretation_of_nothing_has_no_confidence():
    told = interpretation_of(CASE_ID, [(CaseImage(np.zeros((8, 8), np.uint8)), answer())], "t", 5.0)
    assert (told.detections, told.confidence) == ((), 0.0)


def test_findings_are_what_the_student_cannot_name():
    box = (0, 0, 5, 5)
    said = answer(("Car", 0.9, box), ("debris", 0.8, box), ("debris", 0.4, box), ("tree", 0.4, box))
    (found,) = findings_of(said, said.boxes_xyxy, ("Car",), CASE_ID, 0.5)
    assert (found.label, found.origin, found.scope) == ("debris", "teacher", "craft")
    assert (len(found.boxes_xyxy), len(found.ignore_xyxy)) == (1, 1)
    assert found.confidence == pytest.approx(0.8)


def test_masks_go_with_the_finds_that_make_a_prompt():
    said = answer(("Car", 0.9, (0, 0, 5, 5)), ("debris", 0.8, (0, 0, 5, 5)), ("debris", 0.4, (0, 0, 5, 5)))
    masks = np.zeros((3, 8, 8), np.bool_)
    masks[1, 2, 3] = True
    (found,) = findings_of(replace(said, masks=masks), said.boxes_xyxy, ("Car",), CASE_ID, 0.5)
    np.testing.assert_array_equal(found.masks, masks[1:2])
    (bare,) = findings_of(said, said.boxes_xyxy, ("Car",), CASE_ID, 0.5)
    assert bare.masks is None


@pytest.mark.parametrize(
    ("said", "question"),
    [
        (answer(("debris", 0.4, (42, 42, 58, 58))), "best score is 0.40"),
        (answer(("debris", 0.9, (100, 100, 120, 120))), "does not name"),
        (answer(("debris", 0.9, (42, 42, 58, 58))), ""),
    ],
    ids=["low score", "something else is there", "answered"],
)
def test_open_question(twin, painting, said, question):
    image = CaseImage(painting.paint((50, 50, painting.GREEN)))
    told = interpretation_of(CASE_ID, [(image, said)], "t", 5.0)
    asked = open_question(told, [look(twin, image, None)], CloudSettings(unsure_below=0.5))
    assert question in asked
    assert bool(question) == bool(asked)


def test_interpretation_of_two_pictures_is_in_the_frame_and_names_once_what_both_show():
    pictures = [CaseImage(np.zeros((64, 64), np.uint8), origin_xy=origin) for origin in ((0, 0), (32, 0))]
    both = [answer(("a", 0.3, (40, 0, 60, 20))), answer(("a", 0.9, (8, 0, 28, 20)), ("a", 0.8, (40, 0, 60, 20)))]
    told = interpretation_of(CASE_ID, list(zip(pictures, both, strict=True)), "t", 5.0)
    assert [(d.score, d.box_xyxy) for d in told.detections] == [
        (pytest.approx(0.9), (40, 0, 60, 20)),
        (pytest.approx(0.8), (72, 0, 92, 20)),
    ]
