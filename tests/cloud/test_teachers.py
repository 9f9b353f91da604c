"""The bundled kind of teacher runs any bundle."""

import json

import numpy as np
import pytest

from cloud.errors import PromptRefused, TeacherError
from cloud.teachers import TeacherAnswer, open_teacher
from cloud.twins import Twins


def test_teacher_names_what_its_bundle_knows(tiny_bundle, painting):
    teacher = open_teacher(str(tiny_bundle.folder), threads=1)
    red, nothing = teacher.interpret([painting.paint((50, 50, painting.RED)), painting.paint()])
    assert red.labels[0] == "Red"
    assert np.abs(red.boxes_xyxy[0] - [42, 42, 58, 58]).max() <= 8
    assert (nothing.labels, nothing.boxes_xyxy.shape, nothing.scores.shape) == ((), (0, 4), (0,))


def test_dense_features_have_one_shape(tiny_bundle, painting):
    teacher = open_teacher(str(tiny_bundle.folder), threads=1)
    assert teacher.dense_features([painting.paint(), painting.paint()]).shape == (2, 8, 40, 40)
    with pytest.raises(TeacherError, match="one size"):
        teacher.dense_features([painting.paint(), painting.paint(size=(64, 64))])


def test_open_teacher_names_the_choices(tmp_path):
    with pytest.raises(TeacherError, match=r"choose 'bundled', the folder of a bundle, an \.onnx or a \.toml file"):
        open_teacher("clip")
    with pytest.raises(TeacherError, match=r"bundle\.json"):
        open_teacher(str(tmp_path))


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "problem"),
    [
        pytest.param([[1, 2, 3, 4]], ("Car", "Boat"), [0.5, 0.4], r"2 labels, boxes \(1, 4\)", id="a-box-short"),
        pytest.param([1, 2, 3, 4], ("Car",), [0.5], r"boxes \(4,\) .* \(1, 4\) and \(1,\) wanted", id="flat-boxes"),
        pytest.param([[1, 2, 3, 4]], ("Car",), [[0.5]], r"scores \(1, 1\)", id="nested-scores"),
        pytest.param([[1, 2, 3, np.inf]], ("Car",), [0.5], "not finite", id="endless-box"),
        pytest.param([[1, 2, 3, 4]], ("Car",), [np.nan], "not finite", id="no-score"),
    ],
)
def test_answer_that_does_not_add_up_is_refused(boxes, labels, scores, problem):
    with pytest.raises(TeacherError, match=problem):
        TeacherAnswer(np.array(boxes, np.float32), labels, np.array(scores, np.float32))


@pytest.mark.parametrize("masks", [np.zeros((2, 4, 4), np.bool_), np.zeros((4, 4), np.bool_), np.zeros((1, 4, 4))])
def test_masks_that_do_not_fit_the_answer_are_refused(masks):
    box, score = np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32)
    with pytest.raises(TeacherError, match=r"1 labels and \w+ masks of \(.*\); bool \(1, H, W\) wanted"):
        TeacherAnswer(box, ("Car",), score, masks)


def test_twin_of_a_variant_that_is_not_here_is_the_closest(tiny_bundle):
    twins = Twins([tiny_bundle.folder], threads=1)
    twin = twins.student("0123456789abcdef", "engine")
    assert twin.bundle.variant == "fp32"
    assert twins.student("0123456789abcdef", "fp32") is twin


def test_twin_of_an_unknown_space(tiny_bundle):
    with pytest.raises(PromptRefused, match="--student"):
        Twins([tiny_bundle.folder]).student("another", "fp32")


def test_twin_of_more_bands_than_a_case_shows_makes_no_prompt(tiny_bundle, tmp_path):
    content = json.loads((tiny_bundle.folder / "bundle.json").read_text())
    content |= {"bands": 6, "band_order": "blue,green,red,red_edge,nir,swir"}
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(PromptRefused, match="takes 6 bands, a case's picture shows at most 3"):
        Twins([tmp_path]).student(content["space_id"], "fp32")
