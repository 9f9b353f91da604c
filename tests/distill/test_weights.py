import pytest
import torch
from safetensors.torch import save_file

from distill.errors import TrainingError
from distill.recipe import Source
from distill.train import train
from distill.weights import check_trained_by, load_network


def test_trained_network_loads_with_its_labels(finished):
    recipe, workspace = finished
    network, labels = load_network(workspace.weights(recipe.name))
    assert (labels, network.training, network.config) == (("Person", "Car"), False, recipe.network)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda w: w.unlink(), "no readable weights", id="no-weights"),
        pytest.param(lambda w: w.write_bytes(b"junk"), "no readable weights", id="damaged-weights"),
        pytest.param(lambda w: w.with_suffix(".json").unlink(), "no readable record", id="no-record"),
        pytest.param(lambda w: w.with_suffix(".json").write_text("{}"), "no network and labels", id="no-labels"),
        pytest.param(lambda w: save_file({"x": torch.zeros(1)}, w), "not the network", id="other-weights"),
    ],
)
def test_load_network_damaged_run_is_refused(run_copy, damage, words):
    _, workspace = run_copy
    damage(workspace.weights("tiny"))
    with pytest.raises(TrainingError, match=words):
        load_network(workspace.weights("tiny"))


def test_run_of_another_recipe_is_told_from_one_with_other_floors(finished, tiny_recipe):
    weights = finished[1].weights("tiny")
    check_trained_by(tiny_recipe(score_floor=0.6, held_out=(Source(path="hit_uav", split="dev"),)), weights)
    with pytest.raises(TrainingError, match="was trained by another recipe of that name; delete it"):
        check_trained_by(tiny_recipe(steps=7), weights)


@pytest.mark.parametrize(("role", "whose"), [("init", "init run 'tiny'"), ("teacher", "teacher 'tiny'")])
def test_weights_that_know_what_is_left_out_are_refused(run_copy, tiny_recipe, role, whose):
    """They were trained on cars, and would tell."""
    _, workspace = run_copy
    told = {"loss_weights": {"heat": 1.0, "kd_heat": 1.0}} if role == "teacher" else {}
    source = Source(path="hit_uav", leave_out=("Car",))
    recipe = tiny_recipe(name="blind", labels=("Person",), sources=(source,), **{role: "tiny"}, **told)
    with pytest.raises(TrainingError, match=f"{whose} knows Car, which this recipe leaves out"):
        train(recipe, workspace)


def test_label_that_is_left_out_of_one_set_alone_is_no_secret(tiny_recipe):
    sources = (Source(path="hit_uav", leave_out=("Car", "Bicycle")),)
    assert tiny_recipe(labels=("Person", "Car"), sources=sources).unfamiliar == {"Bicycle"}
