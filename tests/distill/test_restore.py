import shutil

import pytest
import torch

from distill.batches import make_batch
from distill.bundle import rewrite_manifest, write_bundle
from distill.errors import DistillError
from distill.export import file_entry
from distill.network import normalise
from distill.recipe import Workspace, open_sources
from distill.restore import restore
from distill.train import train
from distill.weights import load_network, read_card
from edge.bundle import MANIFEST_NAME, read_manifest


@pytest.fixture(scope="module")
def bundle(finished, tmp_path_factory):
    recipe, workspace = finished
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(recipe, workspace, folder)
    return folder


@pytest.fixture
def elsewhere(finished, tmp_path):
    return Workspace(finished[1].data, tmp_path / "elsewhere")


def test_restored_network_answers_as_the_one_that_was_bundled(finished, bundle, elsewhere):
    recipe, workspace = finished
    again, weights = restore(bundle, elsewhere)
    assert (again, weights) == (recipe, elsewhere.weights("tiny"))
    image = normalise(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8), recipe.network)
    with torch.no_grad():
        wanted, found = (load_network(w.weights("tiny"))[0](image) for w in (workspace, elsewhere))
    for want, got in zip(wanted, found, strict=True):
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_restored_batch_norms_have_the_statistics_of_training_crops(bundle, elsewhere):
    recipe, weights = restore(bundle, elsewhere)
    network, _ = load_network(weights)
    crops = [make_batch(recipe, open_sources(recipe, elsewhere), step).images for step in range(200)]
    with torch.no_grad():
        found = network.stem[0](torch.cat(crops))
    spread = found.std(dim=(0, 2, 3))
    assert float(((network.stem[1].running_mean - found.mean(dim=(0, 2, 3))).abs() / spread).max()) < 0.1
    torch.testing.assert_close(network.stem[1].running_var.sqrt(), spread, rtol=0.1, atol=0)


def test_restored_filters_are_as_long_as_in_training(bundle, elsewhere):
    """Folded, a channel that says little has a filter of almost no length, which one step would turn anywhere."""
    _, weights = restore(bundle, elsewhere)
    network, _ = load_network(weights)
    for block in (network.stem, network.detect, network.describe):
        torch.testing.assert_close(block[0].weight.flatten(1).norm(dim=1), torch.full((8,), 1.5))


def test_a_run_starts_and_learns_from_a_restored_one(bundle, elsewhere, tiny_recipe):
    restore(bundle, elsewhere)
    recipe = tiny_recipe(name="next", init="tiny", keep_init=0.5, teacher="tiny", loss_weights={"kd_heat": 1.0})
    assert train(recipe, elsewhere).is_file()


def test_record_names_the_file_it_came_from(bundle, elsewhere, finished):
    _, weights = restore(bundle, elsewhere)
    card, original = read_card(weights), read_card(finished[1].weights("tiny"))
    assert card["data"] == original["data"]
    assert card["restored_from_sha256"] == read_manifest(bundle).variants["fp32"].sha256


def test_run_of_that_name_is_not_overwritten(run_copy, bundle):
    _, workspace = run_copy
    before = workspace.weights("tiny").read_bytes()
    with pytest.raises(DistillError, match="a run of that name is there; move it"):
        restore(bundle, workspace)
    assert workspace.weights("tiny").read_bytes() == before


def test_unfinished_run_of_that_name_is_left_alone(bundle, elsewhere):
    elsewhere.folder("tiny").mkdir(parents=True)
    (elsewhere.folder("tiny") / "checkpoint.pt").write_bytes(b"steps")
    with pytest.raises(DistillError, match="a run of that name is there; move it"):
        restore(bundle, elsewhere)
    assert [path.name for path in elsewhere.folder("tiny").iterdir()] == ["checkpoint.pt"]


def test_full_disk_leaves_no_run_that_counts_as_finished(bundle, elsewhere, full_disk):
    with full_disk(2_000), pytest.raises(DistillError, match="disk"):
        restore(bundle, elsewhere)
    assert not elsewhere.weights("tiny").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param('"neck": 8', '"neck": 16', "not the network that its manifest names", id="other-network"),
        pytest.param('"recipe": {', '"elsewhere": {', "its manifest holds no recipe", id="no-recipe"),
    ],
)
def test_bundle_that_does_not_say_what_it_is_is_refused(bundle, elsewhere, tmp_path, old, new, words):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    text = (copy / MANIFEST_NAME).read_text()
    assert old in text
    (copy / MANIFEST_NAME).write_text(text.replace(old, new))
    with pytest.raises(DistillError, match=words):
        restore(copy, elsewhere)
    assert not elsewhere.weights("tiny").exists()


def test_cli_restores_a_bundle(run_cli, bundle, elsewhere):
    code, out, _ = run_cli("restore", str(bundle), "--data", str(elsewhere.data), "--runs", str(elsewhere.runs))
    assert code == 0
    assert "run 'tiny'" in out
    assert (elsewhere.folder("tiny") / "fp32.onnx").is_file()


def test_int8_file_alone_is_restored_to_within_its_rounding(quantized, bundle, elsewhere, finished, tmp_path):
    recipe, workspace = finished
    folder = shutil.copytree(bundle, tmp_path / "int8")
    (folder / "fp32.onnx").unlink()
    shutil.copyfile(quantized, folder / "u8s8.onnx")
    manifest = read_manifest(folder)
    entry = file_entry(folder / "u8s8.onnx", ("cpu",))
    rewrite_manifest(folder, manifest.model_copy(update={"variants": {"u8s8": entry}}))
    restore(folder, elsewhere)
    image = normalise(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8), recipe.network)
    with torch.no_grad():
        wanted, found = (load_network(w.weights("tiny"))[0](image) for w in (workspace, elsewhere))
    for want, got in zip(wanted, found, strict=True):
        assert float((got - want).abs().max()) < 0.02 * float(want.abs().max())


def test_bundle_without_onnx_files_says_what_is_wanted(bundle, elsewhere, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "engine")
    manifest = read_manifest(folder)
    entry = manifest.variants["fp32"]
    rewrite_manifest(folder, manifest.model_copy(update={"variants": {"engine-fp16": entry}}))
    with pytest.raises(DistillError, match="holds engine-fp16 alone; a bundle with fp32 or u8s8 or s8s8 is wanted"):
        restore(folder, elsewhere)
