import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from distill import train as training
from distill.augment import random_crop
from distill.dataset import DataSet, LabelledImage
from distill.errors import DistillError, TrainingError
from distill.network import SkyNet
from distill.recipe import open_sources
from distill.train import batches, learning_rate_at, load_network, make_batch, supervised_losses, train

DISTILLED = {"heat": 1.0, "box": 2.0, "embedding": 0.5, "kd_heat": 0.3, "kd_box": 0.5, "kd_embedding": 1.0}


def stop_at(step):
    def on_step(done, _):
        if done == step:
            raise KeyboardInterrupt

    return on_step


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)


@pytest.fixture
def many_pictures():
    def make(name, count):
        paths = [Path(f"{i}.png") for i in range(count)]
        none = np.zeros(0, np.int64)
        items = tuple(
            LabelledImage(path, np.zeros((0, 4), np.float32), (), none, none.astype(bool), 0) for path in paths
        )
        return DataSet(name, items, dict.fromkeys(paths, np.zeros((80, 80), np.uint8)))

    return make


def test_batch_is_a_function_of_seed_and_step(tiny_recipe, workspace):
    recipe = tiny_recipe()
    sets = open_sources(recipe, workspace)
    assert same(make_batch(recipe, sets, 4), make_batch(recipe, sets, 4))
    assert not same(make_batch(recipe, sets, 4), make_batch(recipe, sets, 5))
    assert not same(make_batch(recipe, sets, 4), make_batch(tiny_recipe(seed=1), sets, 4))


def test_batch_has_the_documented_shapes(tiny_recipe, workspace):
    recipe = tiny_recipe()
    batch = make_batch(recipe, open_sources(recipe, workspace), 0)
    shapes = {name: tuple(getattr(batch, name).shape) for name in batch.__dataclass_fields__}
    cells = shapes.pop("cells")
    assert cells[1] == 4
    assert shapes == {
        "images": (2, 3, 64, 64),
        "heat": (2, 3, 16, 16),
        "box_ltrb": (2, 4, 16, 16),
        "weight": (2, 16, 16),
        "care": (2, 1, 16, 16),
        "luck": (2, 256),
    }


def test_batch_is_made_of_pairs_of_neighbouring_images(tiny_recipe, many_pictures, monkeypatch):
    taken = []

    def noting(data, index, *others):
        taken.append((data.name, index))
        return random_crop(data, index, *others)

    monkeypatch.setattr(training, "random_crop", noting)
    recipe = tiny_recipe(batch=7)
    sets = [many_pictures(f"set {i}", 100) for i in range(len(recipe.sources))]
    for step in range(5):
        assert len(make_batch(recipe, sets, step).images) == 7
    assert len(taken) == 5 * 8
    for (set_a, first), (set_b, second) in zip(taken[::2], taken[1::2], strict=True):
        assert set_a == set_b
        assert min((first - second) % 100, (second - first) % 100) <= 3


@pytest.mark.parametrize("first_step", [0, 4, 6])
def test_batches_come_in_step_order_from_any_step(tiny_recipe, workspace, first_step):
    recipe = tiny_recipe()
    sets = open_sources(recipe, workspace)
    found = list(batches(recipe, sets, first_step))
    assert len(found) == recipe.steps - first_step
    assert all(same(b, make_batch(recipe, sets, first_step + i)) for i, b in enumerate(found))


def test_batches_thread_ends_with_its_consumer(tiny_recipe, workspace):
    recipe = tiny_recipe(steps=1000)
    before = threading.active_count()
    stream = batches(recipe, open_sources(recipe, workspace), 0)
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before


def test_batches_pass_on_the_error_of_a_batch(tiny_recipe, workspace):
    recipe = tiny_recipe()
    with pytest.raises(ValueError, match="must be a positive integer"):
        next(batches(recipe, [], 0))


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


def test_losses_reach_every_parameter(tiny_recipe, workspace):
    recipe = tiny_recipe()
    network = SkyNet(recipe.network, 2)
    batch = make_batch(recipe, open_sources(recipe, workspace), 0)
    losses = supervised_losses(network(batch.images), batch)
    assert list(losses) == ["heat", "box", "embedding"]
    sum(losses.values()).backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in network.parameters())


def test_train_leaves_weights_record_curves_and_history(finished):
    recipe, workspace = finished
    folder = workspace.folder(recipe.name)
    assert {p.name for p in folder.iterdir()} == {
        "checkpoint.pt", "curves.png", "fp32.onnx", "history.json", "model.json", "model.safetensors",
    }  # fmt: skip
    rows = json.loads((folder / "history.json").read_text())
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert np.isfinite([list(row.values()) for row in rows]).all()


def test_trained_network_loads_with_its_labels(finished):
    recipe, workspace = finished
    network, labels = load_network(workspace.weights(recipe.name))
    assert (labels, network.training, network.config) == (("Person", "Car"), False, recipe.network)


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


def test_damaged_checkpoint_is_refused(run_copy):
    recipe, workspace = run_copy
    path = workspace.folder(recipe.name) / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: damaged; delete it"):
        train(recipe, workspace)


def test_loss_that_is_not_finite_stops_the_run(tiny_recipe, workspace):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step [1-5]; lower learning_rate"):
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
    state = training._fresh(recipe, workspace).network.state_dict()
    head, old = state["class_logits.weight"], given["class_logits.weight"]
    assert torch.equal(head[1], old[1])
    assert torch.equal(head[2], old[0])
    assert torch.equal(head[0], fresh)
    assert torch.equal(state["stem.0.weight"], given["stem.0.weight"])


def test_init_skips_tensors_of_another_shape(run_copy, tiny_recipe):
    _, workspace = run_copy
    wider = tiny_recipe().network.model_copy(update={"embedding_dim": 16})
    state = training._fresh(tiny_recipe(name="next", init="tiny", network=wider), workspace).network.state_dict()
    assert state["embedding.weight"].shape[0] == 16
    assert torch.equal(state["stem.0.weight"], load_file(workspace.weights("tiny"))["stem.0.weight"])


def test_student_learns_from_its_teacher(run_copy, tiny_recipe):
    _, workspace = run_copy
    recipe = tiny_recipe(name="student", teacher="tiny", labels=("Car",), loss_weights=DISTILLED, steps=2)
    rows = []
    train(recipe, workspace, lambda _, losses: rows.append(losses))
    assert [set(row) for row in rows] == [set(DISTILLED)] * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"teacher": "tiny", "labels": ("Car", "Bicycle")}, "does not know Bicycle", id="label"),
        pytest.param({"teacher": "absent"}, "train that network first", id="no-teacher"),
        pytest.param({"init": "absent"}, "train that network first", id="no-start"),
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
        train(tiny_recipe(name="student", teacher="tiny", network=wider), workspace)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda w: w.unlink(), "no readable weights", id="no-weights"),
        pytest.param(lambda w: w.write_bytes(b"junk"), "no readable weights", id="damaged-weights"),
        pytest.param(lambda w: w.with_suffix(".json").unlink(), "no readable record", id="no-record"),
        pytest.param(lambda w: save_file({"x": torch.zeros(1)}, w), "not the network", id="other-weights"),
    ],
)
def test_load_network_damaged_run_is_refused(run_copy, damage, words):
    _, workspace = run_copy
    damage(workspace.weights("tiny"))
    with pytest.raises(TrainingError, match=words):
        load_network(workspace.weights("tiny"))
