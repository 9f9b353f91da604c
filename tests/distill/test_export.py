import copy

import numpy as np
import pytest
import torch
from torch import nn

from distill import export
from distill.errors import DistillError
from distill.export import fold_batch_norms, space_id
from distill.network import SkyNet, normalise
from distill.recipe import NetworkConfig
from distill.weights import load_network
from edge.runtime.onnx import OUTPUT_NAMES, OnnxBackend


@pytest.fixture(scope="module")
def network(finished):
    recipe, workspace = finished
    return load_network(workspace.weights(recipe.name))[0]


@pytest.fixture(scope="module")
def backend(finished):
    recipe, workspace = finished
    return OnnxBackend(workspace.folder(recipe.name) / "fp32.onnx", threads=1)


def test_exported_file_takes_pixels_and_has_four_named_outputs(backend):
    (image,) = backend.session.get_inputs()
    assert (image.name, image.type, image.shape[0], image.shape[3]) == ("image", "tensor(uint8)", 1, 3)
    assert tuple(o.name for o in backend.session.get_outputs()) == OUTPUT_NAMES


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (512, 640), (96, 32)], ids=str)
def test_exported_file_equals_the_network_at_any_size(backend, network, size):
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    with torch.no_grad():
        expected = network(normalise(torch.from_numpy(pixels)[None], network.config))
    found = backend.run(pixels)
    for name, want in zip(OUTPUT_NAMES, expected, strict=True):
        np.testing.assert_allclose(np.squeeze(getattr(found, name)), np.squeeze(want[0].numpy()), atol=2e-4)


def test_folding_batch_norms_changes_no_output(tiny_network):
    folded = fold_batch_norms(tiny_network)
    image = torch.randn(1, 3, 64, 64)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        for want, got in zip(tiny_network(image), folded(image), strict=True):
            torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_folding_batch_norms_leaves_the_original(tiny_network):
    fold_batch_norms(tiny_network)
    assert isinstance(tiny_network.stem[1], nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("part", "moves_space"),
    [
        ("stem.0.weight", True),
        ("stages.1.0.1.running_mean", True),
        ("laterals.0.bias", True),
        ("describe.0.weight", True),
        ("embedding.weight", True),
        ("detect.0.weight", False),
        ("box_ltrb.weight", False),
        ("objectness.bias", False),
        ("class_logits.weight", False),
    ],
)
def test_space_id_follows_only_what_the_embedding_depends_on(tiny_recipe, part, moves_space):
    torch.manual_seed(1)
    network = SkyNet(tiny_recipe().network, 2)
    before = space_id(network)
    network.state_dict()[part].view(-1)[0] += 1e-3
    assert (space_id(network) != before) == moves_space


def test_space_id_of_the_first_networks_never_changes():
    """Digests of what was flown before bands had names; a prompt of an older cloud must still find its space."""
    network = SkyNet(NetworkConfig(widths=(8, 8, 8, 8, 0), blocks=(1, 0, 1, 0), neck=8, embedding_dim=8), 2)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.zero_()
    assert space_id(network) == "2e4d65f8e41434797af7dacc6e9a9e2e"


def test_space_id_follows_bands_and_statistics(tiny_recipe):
    changes = [
        {},
        {"bands": ("red", "green", "blue")},
        {"band_mean": (115.0,) * 3, "band_deviation": (64.0,) * 3},
    ]
    found = set()
    for change in changes:
        torch.manual_seed(1)
        found.add(space_id(SkyNet(tiny_recipe().network.model_copy(update=change), 2)))
    assert len(found) == len(changes)


def test_space_id_is_the_same_whether_the_usual_statistics_are_spelt_out(tiny_network):
    spelt_out = fold_copy(tiny_network)
    spelt_out.config = tiny_network.config.model_copy(update={"band_mean": (114.0,) * 3, "band_deviation": (64.0,) * 3})
    assert space_id(spelt_out) == space_id(tiny_network)


def test_space_id_is_32_digits_and_repeats(tiny_network):
    assert len(space_id(tiny_network)) == 32
    assert space_id(tiny_network) == space_id(fold_copy(tiny_network))


def fold_copy(network):
    copy = SkyNet(network.config, 2)
    copy.load_state_dict(network.state_dict())
    return copy


def test_check_refuses_a_file_of_other_weights(finished, tiny_network, tmp_path):
    recipe, workspace = finished
    content = (workspace.folder(recipe.name) / "fp32.onnx").read_bytes()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with pytest.raises(DistillError, match="output embedding differs from the network"):
        export._check(export._Deployed(tiny_network), content, tmp_path / "fp32.onnx", image)


def test_network_that_is_not_finite_is_refused(finished, tiny_network, tmp_path):
    recipe, workspace = finished
    content = (workspace.folder(recipe.name) / "fp32.onnx").read_bytes()
    broken = copy.deepcopy(tiny_network)
    torch.nn.init.constant_(broken.embedding.weight, float("inf"))
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with pytest.raises(DistillError, match=r"own embedding is not finite; .* lower learning_rate"):
        export._check(export._Deployed(broken), content, tmp_path / "fp32.onnx", image)


def test_file_entry_states_digest_and_size(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"abc")
    entry = export.file_entry(tmp_path / "a.onnx", ("cpu",))
    # FIPS 180-2, appendix B.1
    assert entry.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (entry.file, entry.size_bytes, entry.suits) == ("a.onnx", 3, ("cpu",))
