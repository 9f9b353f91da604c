import sys

import numpy as np
import pytest
import torch

from cloud.teachers import TeacherAnswer
from distill.batches import make_batch
from distill.errors import TrainingError
from distill.recipe import Source, open_sources
from distill.teaching import answer_maps, open_teaching
from distill.train import train

KD = {"kd_heat": 1.0, "kd_box": 1.0, "kd_dense": 1.0, "kd_angle": 1.0}


@pytest.fixture
def bundle_recipe(tiny_bundle, tiny_recipe, coco_folder, workspace):
    """A recipe that learns from the bundle worked out by hand, its data, and their workspace."""

    def make(**changes):
        given = {"teacher": str(tiny_bundle.folder), "labels": ("Red",), "loss_weights": KD, "novel_kinds": 0}
        recipe = tiny_recipe(**given | {"sources": (Source(path=str(coco_folder), split="all"),)} | changes)
        return recipe, workspace, open_sources(recipe, workspace)

    return make


def test_answer_maps_are_bells_as_high_as_the_scores():
    boxes = np.array([[8, 8, 24, 24], [40, 32, 56, 56]], np.float32)
    answer = TeacherAnswer(boxes, ("Car", "Whale"), np.array([0.8, 0.5], np.float32))
    heat, box_ltrb = answer_maps(answer, ("Person", "Car"), 64)
    assert heat.shape == (3, 16, 16)
    assert [float(heat[c].max()) for c in range(3)] == pytest.approx([0, 0.8, 0.8])
    assert float(heat[2, 11, 12]) == pytest.approx(0.5)
    y, x = divmod(int(heat[1].argmax()), 16)
    assert (y, x) == (4, 4)
    left_top_right_bottom = np.exp(box_ltrb[:, 4, 4].numpy()) * 4
    np.testing.assert_allclose(left_top_right_bottom, [10, 10, 6, 6], rtol=1e-5)


def test_answer_maps_where_two_overlap_follow_the_surer():
    boxes = np.array([[16, 16, 48, 48], [20, 20, 44, 44]], np.float32)
    maps = [
        answer_maps(TeacherAnswer(boxes[order], ("Car",) * 2, scores[order]), ("Car",), 64)[1]
        for scores in (np.array([0.9, 0.4], np.float32),)
        for order in ([0, 1], [1, 0])
    ]
    assert torch.equal(*maps)
    assert float(maps[0][:, 8, 8].exp().sum()) * 4 == pytest.approx(64)


def test_bundle_teaches_boxes_and_features(bundle_recipe):
    recipe, workspace, sets = bundle_recipe()
    teaching = open_teaching(recipe, workspace, sets, resumed=False)
    batch = make_batch(recipe, sets, 0)
    lesson = teaching.lesson(batch)
    assert lesson.heat.shape == (2, 2, 16, 16)
    assert lesson.features.shape == (2, 8, 16, 16)
    assert float(lesson.heat.max()) > 0.5  # the red square is found
    assert teaching.record["features"].endswith("0123456789abcdef")


def test_scales_are_kept_and_taken_again(bundle_recipe):
    recipe, workspace, sets = bundle_recipe()
    first = open_teaching(recipe, workspace, sets, resumed=False)
    again = open_teaching(recipe, workspace, sets, resumed=True)
    assert first.record == again.record
    assert torch.equal(first.phi_s.rotation, again.phi_s.rotation)


def test_teacher_is_not_opened_for_losses_that_do_not_ask_it(bundle_recipe):
    recipe, workspace, sets = bundle_recipe(teacher="./absent", loss_weights={"heat": 1.0, "prompt": 1.0})
    assert open_teaching(recipe, workspace, sets, resumed=False) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"labels": ("Red", "Blue")}, "does not know Blue; leave kd_heat", id="label"),
        pytest.param({"loss_weights": {"kd_embedding": 1.0}}, "wants a run of ours; use kd_dense", id="embedding"),
    ],
)
def test_losses_that_a_teacher_cannot_serve_are_refused(bundle_recipe, changes, words):
    recipe, workspace, sets = bundle_recipe(**changes)
    with pytest.raises(TrainingError, match=words):
        open_teaching(recipe, workspace, sets, resumed=False)


PLUG_IN = """
import numpy as np
from cloud.teachers import TeacherAnswer

class Told:
    name, space, labels = "told", "s", ("Red",)

    def __init__(self, told, *, threads):
        self.told, self.calls = told, 0

    def interpret(self, frames):
        return [TeacherAnswer(np.zeros((0, 4), np.float32), (), np.zeros(0, np.float32)) for _ in frames]

    def dense_features(self, frames):
        self.calls += 1
        width = 6 if self.told == "narrows" and self.calls > 32 else 7
        found = np.random.default_rng(self.calls).normal(size=(len(frames), width, 3, 3)).astype(np.float32)
        return {"nan": found * np.nan, "flat": found[0], "same": found * 0 + 1}.get(self.told, found)
"""


@pytest.fixture
def _plugged(tmp_path, monkeypatch):
    """A teacher of another package, which is as good as it is told to be."""
    info = tmp_path / "site" / "told-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: told\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[skyloop.teachers]\nplugged = told_teacher:Told\n")
    (info.parent / "told_teacher.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(info.parent)
    monkeypatch.delitem(sys.modules, "told_teacher", raising=False)


@pytest.mark.usefixtures("_plugged")
@pytest.mark.parametrize(
    ("teacher", "weights", "words"),
    [
        pytest.param("plugged:", {"kd_heat": 1.0}, "finds nothing in 64 training crops", id="finds-nothing"),
        pytest.param("plugged:nan", {"kd_dense": 1.0}, "features are not finite", id="nan"),
        pytest.param("plugged:flat", {"kd_dense": 1.0}, r"shape \(7, 3, 3\), \(images, D, h, w\) wanted", id="shape"),
        pytest.param("plugged:same", {"kd_dense": 1.0}, "same everywhere", id="constant"),
        pytest.param("plugged:narrows", {"kd_dense": 1.0}, "have 6 channels now, 7 at the first step", id="width"),
    ],
)
def test_teacher_that_does_not_fit_is_one_clear_line_and_leaves_no_weights(bundle_recipe, teacher, weights, words):
    recipe, workspace, _ = bundle_recipe(teacher=teacher, loss_weights=weights)
    with pytest.raises(TrainingError, match=words):
        train(recipe, workspace)
    assert not workspace.weights(recipe.name).exists()


@pytest.mark.usefixtures("_plugged")
def test_features_of_any_width_teach(bundle_recipe):
    recipe, workspace, _ = bundle_recipe(teacher="plugged:", loss_weights={"kd_dense": 1.0, "kd_angle": 1.0}, steps=2)
    rows = []
    train(recipe, workspace, lambda _, losses: rows.append(losses))
    assert all(0 < row["kd_dense"] < 2 for row in rows)
