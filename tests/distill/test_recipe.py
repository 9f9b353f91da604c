from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import distill
from distill.dataset import DataSet
from distill.errors import DataSetError
from distill.match_training import MatchRecipe
from distill.recipe import NetworkConfig, Recipe, Source, Workspace, data_digest, labels_without_boxes, open_sources
from edge.config import read_toml

SHIPPED = sorted((Path(distill.__file__).parent / "recipes").glob("*.toml"))
RECIPES = [path for path in SHIPPED if not path.stem.endswith("-match")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipe_is_valid_and_named_like_its_file(path):
    recipe = read_toml(path, Recipe)
    assert recipe.name == path.stem
    assert {recipe.init, recipe.teacher} - {None} <= {other.stem for other in RECIPES}


@pytest.mark.parametrize("path", sorted({*SHIPPED} - {*RECIPES}), ids=lambda path: path.stem)
def test_shipped_head_is_named_like_its_file_and_its_backbone(path):
    recipe = read_toml(path, MatchRecipe)
    assert recipe.name == path.stem == f"{recipe.backbone}-match"


def test_shipped_student_can_learn_from_the_shipped_teacher():
    student, teacher = (read_toml(p, Recipe) for p in RECIPES if p.stem in ("student", "teacher"))
    assert set(student.labels) <= set(teacher.labels)
    assert student.network.embedding_dim == teacher.network.embedding_dim


def shipped(name):
    return read_toml(next(path for path in RECIPES if path.stem == name), Recipe)


@pytest.mark.parametrize("name", ["leaveout", "fewshot-leaveout"])
def test_shipped_leaveout_recipe_never_names_a_bicycle_to_learn(name):
    recipe = shipped(name)
    assert "Bicycle" not in recipe.labels
    assert [set(s.leave_out) for s in recipe.sources if s.root == "data"] == [{"Bicycle", "OtherVehicle"}]


def test_few_shot_reference_differs_from_its_student_by_what_it_saw_alone():
    student, reference = (
        shipped(name).model_dump(exclude={"name": True, "labels": True, "sources": {"__all__": {"leave_out"}}})
        for name in ("fewshot-leaveout", "fewshot-reference")
    )
    assert student == reference


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"name": "Bad Name"}, "name", id="name"),
        pytest.param({"labels": ()}, "labels", id="no-labels"),
        pytest.param({"labels": ("Person", "")}, "labels", id="label-without-a-name"),
        pytest.param({"labels": ("Car", "Car")}, "labels Car, Car name one twice", id="label-twice"),
        pytest.param({"sources": ()}, "sources", id="no-sources"),
        pytest.param({"steps": 0}, "steps", id="no-steps"),
        pytest.param({"crop_px": 100}, "crop_px", id="crop-off-grid"),
        pytest.param({"seed": -1}, "seed", id="negative-seed"),
        pytest.param({"ema_decay": 1.0}, "ema_decay", id="frozen-average"),
        pytest.param({"loss_weights": {"boxes": 1.0}}, "loss_weights", id="unknown-loss"),
        pytest.param({"speed": 3}, "speed", id="unknown-key"),
        pytest.param({"init": "tiny"}, "cannot start or learn from itself", id="starts-from-itself"),
        pytest.param({"teacher": "tiny"}, "cannot start or learn from itself", id="own-teacher"),
        pytest.param({"keep_init": 0.5}, "keep_init: there is no init", id="keeps-of-nothing"),
    ],
)
def test_recipe_bad_value_is_refused_by_name(tiny_recipe, changes, field):
    with pytest.raises(ValidationError, match=field):
        tiny_recipe(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"embedding_dim": 97}, id="embedding-too-long-for-the-wire"),
        pytest.param({"widths": (8, 0, 8, 8, 8)}, id="missing-level"),
        pytest.param({"neck": 0}, id="no-neck"),
    ],
)
def test_network_bad_value_is_refused(changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        NetworkConfig(**changes)


def test_default_loss_weights_are_not_shared(tiny_recipe):
    first, second = tiny_recipe(), tiny_recipe()
    assert first.loss_weights == {"heat": 1.0, "box": 2.0, "embedding": 0.5}
    assert first.loss_weights is not second.loss_weights


def test_open_sources_preloads_what_is_left(tiny_recipe, workspace):
    (data,) = open_sources(tiny_recipe(sources=(Source(path="hit_uav", leave_out=("Bicycle",)),)), workspace)
    assert len(data) == 3
    assert data.image(0) is data.image(0)


def test_open_sources_looks_for_renders_under_runs(tiny_recipe, coco_folder):
    workspace = Workspace(Path("absent"), coco_folder.parent)
    (coco_folder.parent / "renders").symlink_to(coco_folder.parent)
    (data,) = open_sources(tiny_recipe(sources=(Source(root="renders", path="coco", split="all"),)), workspace)
    assert len(data) == 2


def test_open_sources_leaving_nothing_is_refused(tiny_recipe, workspace):
    source = Source(path="hit_uav", leave_out=("Person", "Bicycle", "OtherVehicle"))
    with pytest.raises(DataSetError, match="leave_out Person, Bicycle, OtherVehicle leaves no image"):
        open_sources(tiny_recipe(sources=(source,)), workspace)


def test_data_digest_changes_with_a_box(tiny_recipe, workspace):
    (data,) = open_sources(tiny_recipe(), workspace)
    moved = DataSet(data.name, (*data.items[:-1], move(data.items[-1])))
    assert data_digest(data) == data_digest(DataSet(data.name, data.items))
    assert data_digest(data) != data_digest(moved)


def move(item):
    boxes = item.boxes_xyxy + np.float32(1)
    return type(item)(item.path, boxes, item.labels, item.kinds, item.ignore, item.image_id)


def test_workspace_places_runs_in_folders_of_their_name():
    workspace = Workspace(Path("data"), Path("runs"))
    assert workspace.weights("teacher") == Path("runs/teacher/model.safetensors")


def test_labels_that_no_box_has_are_told(tiny_recipe, workspace):
    recipe = tiny_recipe(labels=("Person", "Debris"))
    assert labels_without_boxes(recipe, open_sources(recipe, workspace)) == ["Debris"]


def test_recipe_none_of_whose_labels_is_in_the_data_is_refused(tiny_recipe, workspace):
    recipe = tiny_recipe(labels=("person", "car"))
    words = r"no box in its data is called person, car; they are called Bicycle, Car, .*spell `labels` so"
    with pytest.raises(DataSetError, match=words):
        labels_without_boxes(recipe, open_sources(recipe, workspace))
    distilled = recipe.model_copy(update={"teacher": "big"})
    assert labels_without_boxes(distilled, open_sources(recipe, workspace)) == ["person", "car"]


@pytest.mark.parametrize("name", ["pixel_range", "gsd_m"])
def test_range_of_a_source_that_runs_backwards_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} .* wants the lower value first"):
        Source(path="x", **{name: (5, 1)})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"bands": ["a", "a"]}, id="twice"),
        pytest.param({"bands": []}, id="none"),
        pytest.param({"bands": ["Near IR"]}, id="spelling"),
        pytest.param({"band_mean": [1, 2, 3]}, id="no-deviation"),
        pytest.param({"band_mean": [1, 2], "band_deviation": [1, 2]}, id="count"),
        pytest.param({"band_mean": [1, 2, 3], "band_deviation": [1, 0, 1]}, id="zero"),
    ],
)
def test_impossible_bands_are_refused(changes):
    with pytest.raises(ValueError, match="band"):
        NetworkConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"loss_weights": {"heat": 0.0}}, "every loss is switched off", id="no-loss"),
        pytest.param({"loss_weights": {"heat": -1.0}}, "greater than or equal to 0", id="negative-weight"),
        pytest.param({"loss_weights": {"heat": 1.0, "kd_box": 1.0}}, "kd_box needs a teacher", id="no-teacher"),
    ],
)
def test_loss_weights_that_cannot_be_meant_are_refused(tiny_recipe, changes, words):
    with pytest.raises(ValidationError, match=words):
        tiny_recipe(**changes)


@pytest.mark.parametrize(
    ("teacher", "run"),
    [("teacher-long", "teacher-long"), ("bundled", None), ("./teacher", None), ("big.toml", None), ("sky:", None)],
)
def test_teacher_is_a_run_or_what_the_cloud_opens(tiny_recipe, teacher, run):
    recipe = tiny_recipe(teacher=teacher, init="start")
    assert recipe.teacher_run == run
    assert recipe.needed_runs == (("start",) if run is None else ("start", run))


@pytest.mark.parametrize("changes", [{"freeze_norms": True}, {"frozen": ("stem",)}])
def test_a_fresh_network_has_nothing_to_freeze(tiny_recipe, changes):
    with pytest.raises(ValidationError, match="a fresh network has nothing worth keeping; name an init"):
        tiny_recipe(**changes)
