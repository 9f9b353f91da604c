import hashlib
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from distill import train as training
from distill.errors import DistillError, TrainingError
from distill.network import SkyNet
from distill.recipe import Source, Workspace
from distill.train import learning_rate_at, train
from distill.weights import read_card

DISTILLED = {
    "heat": 1.0, "box": 2.0, "embedding": 0.5, "prompt": 0.5,
    "kd_heat": 0.3, "kd_box": 0.5, "kd_embedding": 1.0, "kd_dense": 1.0, "kd_angle": 1.0,
}  # fmt: skip


def stop_at(step):
    def on_step(done, _):
        if done == step:
            raise KeyboardInterrupt

    return on_step


@pytest.mark.parametrize(
    ("step", "share"),
    [
        pytest.param(0, 1 / 30, id="first"),
        pytest.param(29, 1.0, id="warm"),
        pytest.param(515, 0.505, id="half-way"),
        pytest.param(1000, 0.01, id="last"),
    ],
)
def test_learning_rate_warms_up_and_falls(tiny_recipe, step, share):
    recipe = tiny_recipe(steps=1000, learning_rate=0.002)
    assert learning_rate_at(recipe, step) == pytest.approx(0.002 * share, rel=1e-3)


def test_train_leaves_weights_record_curves_and_history(finished):
    recipe, workspace = finished
    folder = workspace.folder(recipe.name)
    assert {p.name for p in folder.iterdir()} == {
        "checkpoint.pt", "curves.png", "fp32.onnx", "history.json", "model.json", "model.safetensors",
    }  # fmt: skip
    rows = json.loads((folder / "history.json").read_text())
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert np.isfinite([list(row.values()) for row in rows]).all()


def test_resumed_run_has_the_weights_of_an_uninterrupted_one(tiny_recipe, workspace, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_STEPS", 2)
    whole, broken = tiny_recipe(name="whole"), tiny_recipe(name="broken")
    train(whole, workspace)
    for step in (3, 5):  # falls back to the checkpoints of steps 2 and 4
        with pytest.raises(KeyboardInterrupt):
            train(broken, workspace, stop_at(step))
    train(broken, workspace)
    a, b = (load_file(workspace.weights(recipe.name)) for recipe in (whole, broken))
    assert all(torch.equal(a[name], b[name]) for name in a | b)
    histories = [(workspace.folder(r.name) / "history.json").read_text() for r in (whole, broken)]
    assert histories[0] == histories[1]


def test_bf16_trains_nearly_as_float32_does(tiny_recipe, workspace):
    """The same start and batches: the weights end near each other, but not the same, and are float32."""
    plain, half = tiny_recipe(name="plain"), tiny_recipe(name="half", bf16=True)
    a, b = (load_file(train(recipe, workspace)) for recipe in (plain, half))
    assert all(b[name].dtype == a[name].dtype for name in a)
    moved = torch.cat([(a[name] - b[name]).flatten() for name in a if name.endswith("0.weight")])
    size = torch.cat([a[name].flatten() for name in a if name.endswith("0.weight")])
    assert 0 < float(moved.norm() / size.norm()) < 0.05


def test_finished_run_trained_again_keeps_its_weights(run_copy):
    recipe, workspace = run_copy
    before = workspace.weights(recipe.name).read_bytes()
    train(recipe, workspace)
    assert workspace.weights(recipe.name).read_bytes() == before


def test_new_weights_remove_files_made_from_old_ones(run_copy):
    recipe, workspace = run_copy
    train(recipe, workspace)
    assert not (workspace.folder(recipe.name) / "fp32.onnx").exists()


def test_checkpoint_of_another_recipe_is_refused(run_copy, tiny_recipe):
    _, workspace = run_copy
    with pytest.raises(TrainingError, match="belongs to another recipe"):
        train(tiny_recipe(batch=3), workspace)


def test_loss_that_is_not_finite_stops_the_run(tiny_recipe, workspace):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step [1-5] \((heat|box|emb).*; lower learning_rate"):
        train(tiny_recipe(learning_rate=1e38), workspace)


def test_full_disk_at_a_checkpoint_leaves_nothing_half_written(tiny_recipe, workspace, full_disk):
    with full_disk(2000), pytest.raises(DistillError, match=r"checkpoint\.pt: cannot be written"):
        train(tiny_recipe(), workspace)
    assert list(workspace.folder("tiny").iterdir()) == []


def test_init_goes_by_label_and_shape(run_copy, tiny_recipe):
    _, workspace = run_copy
    given = load_file(workspace.weights("tiny"))
    recipe = tiny_recipe(name="next", init="tiny", labels=("Bicycle", "Car", "Person"))
    torch.manual_seed(recipe.seed)
    fresh = SkyNet(recipe.network, 3).state_dict()["class_logits.weight"][0].clone()
    torch.manual_seed(recipe.seed)
    state = training._fresh(recipe, workspace).state_dict()
    head, old = state["class_logits.weight"], given["class_logits.weight"]
    assert torch.equal(head[1], old[1])
    assert torch.equal(head[2], old[0])
    assert torch.equal(head[0], fresh)
    assert torch.equal(state["stem.0.weight"], given["stem.0.weight"])


def test_init_skips_tensors_of_another_shape(run_copy, tiny_recipe):
    _, workspace = run_copy
    wider = tiny_recipe().network.model_copy(update={"embedding_dim": 16})
    state = training._fresh(tiny_recipe(name="next", init="tiny", network=wider), workspace).state_dict()
    assert state["embedding.weight"].shape[0] == 16
    assert torch.equal(state["stem.0.weight"], load_file(workspace.weights("tiny"))["stem.0.weight"])


def test_kept_share_of_the_start_is_in_the_finished_weights(run_copy, tiny_recipe):
    _, workspace = run_copy
    moved = load_file(train(tiny_recipe(name="moved", init="tiny"), workspace))
    kept = load_file(train(tiny_recipe(name="kept", init="tiny", keep_init=0.75), workspace))
    start = load_file(workspace.weights("tiny"))
    name = "stem.0.weight"
    assert not torch.equal(moved[name], start[name])
    torch.testing.assert_close(kept[name], 0.25 * moved[name] + 0.75 * start[name])


def test_frozen_parts_and_norms_stay_and_the_rest_learns(run_copy, tiny_recipe):
    _, workspace = run_copy
    start = load_file(workspace.weights("tiny"))
    parts = ("stem", "stages", "laterals", "describe", "embedding")
    train(tiny_recipe(name="head", init="tiny", frozen=parts, freeze_norms=True), workspace)
    after = load_file(workspace.weights("head"))
    for name, value in after.items():
        stays = name.split(".")[0] in parts or "running" in name or "num_batches" in name
        assert torch.equal(value, start[name]) == stays, name


def test_frozen_norms_alone_keep_their_statistics(run_copy, tiny_recipe):
    _, workspace = run_copy
    start = load_file(workspace.weights("tiny"))
    train(tiny_recipe(name="kept", init="tiny", freeze_norms=True), workspace)
    after = load_file(workspace.weights("kept"))
    assert torch.equal(after["stem.1.running_mean"], start["stem.1.running_mean"])
    assert not torch.equal(after["stem.0.weight"], start["stem.0.weight"])


def test_student_learns_from_its_teacher(run_copy, tiny_recipe):
    _, workspace = run_copy
    recipe = tiny_recipe(name="student", teacher="tiny", labels=("Car",), loss_weights=DISTILLED, steps=2)
    rows = []
    train(recipe, workspace, lambda _, losses: rows.append(losses))
    assert [set(row) for row in rows] == [set(DISTILLED)] * 2
    assert np.isfinite([list(row.values()) for row in rows]).all()


def test_record_names_seed_versions_data_and_teacher(run_copy, tiny_recipe):
    _, workspace = run_copy
    recipe = tiny_recipe(name="student", teacher="tiny", loss_weights={"kd_dense": 1.0}, steps=1, seed=7)
    card = read_card(train(recipe, workspace))
    files = {"features": workspace.weights("tiny"), "phi_s_sha256": workspace.folder("student") / "phi_s.safetensors"}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert card["teacher"] == {"name": "tiny", **digests}
    assert (card["recipe"]["seed"], card["versions"]["numpy"]) == (7, np.__version__)
    assert len(card["data"]["hit_uav/train"]["sha256"]) == 64


def test_projection_does_not_leave_with_the_weights(run_copy, tiny_recipe):
    _, workspace = run_copy
    recipe = tiny_recipe(name="student", teacher="tiny", loss_weights={"kd_dense": 1.0}, steps=1)
    assert load_file(train(recipe, workspace)).keys() == load_file(workspace.weights("tiny")).keys()


def test_switching_a_loss_off_changes_neither_start_nor_batches(run_copy, tiny_recipe):
    _, workspace = run_copy
    first = []
    for number, weights in enumerate(({"heat": 1.0}, {"heat": 1.0, "prompt": 1.0, "kd_dense": 1.0})):
        recipe = tiny_recipe(name=f"student-{number}", teacher="tiny", loss_weights=weights, steps=1)
        train(recipe, workspace, lambda _, losses: first.append(losses["heat"]))
    assert first[0] == first[1]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from distill import train as training
from distill.recipe import Recipe, Workspace
torch.set_num_threads(1)
training.CHECKPOINT_EVERY_STEPS = 2
def on_step(step, _):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
data, runs, recipe = sys.argv[1:]
training.train(Recipe.model_validate_json(recipe), Workspace(Path(data), Path(runs)), on_step)
"""


def test_distilled_run_killed_goes_on_to_the_same_weights(run_copy, tiny_recipe, monkeypatch):
    _, workspace = run_copy
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_STEPS", 2)
    whole, broken = (tiny_recipe(name=name, teacher="tiny", loss_weights=DISTILLED) for name in ("whole", "broken"))
    train(whole, workspace)
    places = [str(workspace.data), str(workspace.runs)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *places, broken.model_dump_json()], check=False)
    assert killed.returncode == -9
    assert not workspace.weights("broken").exists()
    train(broken, workspace)
    a, b = (load_file(workspace.weights(recipe.name)) for recipe in (whole, broken))
    assert all(torch.equal(a[name], b[name]) for name in a | b)


def test_run_goes_on_from_a_checkpoint_of_an_older_version(run_copy):
    recipe, workspace = run_copy
    path = workspace.folder("tiny") / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    del content["projection"]
    kept = json.loads(content["recipe"])
    del kept["object_floor"]  # a key that came later
    content["history"][0]["kd_embedding"] = 0.0  # computed then, though it had no weight
    torch.save(content | {"recipe": json.dumps(kept)}, path)
    before = workspace.weights("tiny").read_bytes()
    train(recipe, workspace)
    assert workspace.weights("tiny").read_bytes() == before


def test_resumed_run_whose_teacher_changed_is_refused(run_copy, tiny_recipe):
    _, workspace = run_copy
    recipe = tiny_recipe(name="student", teacher="tiny", loss_weights={"kd_angle": 1.0}, steps=1)
    train(recipe, workspace)
    state = load_file(workspace.weights("tiny"))
    save_file(state | {"embedding.bias": state["embedding.bias"] + 1}, workspace.weights("tiny"))
    with pytest.raises(TrainingError, match=r"phi_s\.safetensors: is of teacher .* bring it back"):
        train(recipe, workspace)


def test_images_without_labels_teach_by_distillation_alone(run_copy, tiny_recipe, tmp_path):
    workspace = Workspace(tmp_path, run_copy[1].runs)
    (tmp_path / "unlabelled").mkdir()
    pixels = np.full((128, 128), 30, np.uint8)
    pixels[40:60, 70:90] = 220
    cv2.imwrite(str(tmp_path / "unlabelled" / "0.png"), pixels)
    rows = []
    weights = {"heat": 1.0, "box": 1.0, "embedding": 1.0, "kd_heat": 1.0, "kd_dense": 1.0}
    source = Source(path="unlabelled")
    recipe = tiny_recipe(name="student", teacher="tiny", sources=(source,), loss_weights=weights, novel_kinds=0)
    train(recipe, workspace, lambda _, losses: rows.append(losses))
    assert all(row["heat"] == row["box"] == row["embedding"] == 0 for row in rows)
    assert all(min(row["kd_heat"], row["kd_dense"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"teacher": "tiny", "labels": ("Car", "Bicycle"), "loss_weights": DISTILLED},
            "does not know Bicycle",
            id="label",
        ),
        pytest.param({"teacher": "absent", "loss_weights": DISTILLED}, "train that network first", id="no-teacher"),
        pytest.param({"init": "absent"}, "train that network first", id="no-start"),
        pytest.param(
            {"init": "tiny", "keep_init": 0.5, "labels": ("Car",)}, "keep_init: init run 'tiny'", id="kept-other-labels"
        ),
    ],
)
def test_run_that_needs_what_is_not_there_is_refused(run_copy, tiny_recipe, changes, words):
    _, workspace = run_copy
    with pytest.raises(TrainingError, match=words):
        train(tiny_recipe(name="student", **changes), workspace)


def test_teacher_with_another_embedding_is_refused(run_copy, tiny_recipe):
    _, workspace = run_copy
    wider = tiny_recipe().network.model_copy(update={"embedding_dim": 16})
    with pytest.raises(TrainingError, match="embedding_dim is 8, the student's 16"):
        train(tiny_recipe(name="student", teacher="tiny", network=wider, loss_weights=DISTILLED), workspace)
