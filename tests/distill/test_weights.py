import pytest
import torch
from safetensors.torch import save_file

from distill.errors import TrainingError
from distill.weights import load_network


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
        pytest.param(lambda w: save_file({"x": torch.zeros(1)}, w), "not the network", id="other-weights"),
    ],
)
def test_load_network_damaged_run_is_refused(run_copy, damage, words):
    _, workspace = run_copy
    damage(workspace.weights("tiny"))
    with pytest.raises(TrainingError, match=words):
        load_network(workspace.weights("tiny"))
