import hashlib
import json
import shutil

import numpy as np
import pytest

from distill.bundle import write_bundle
from distill.errors import DistillError
from distill.export import space_id
from distill.recipe import Source
from distill.weights import load_network
from edge.bundle import load_bundle
from edge.student import Student


def files_in(folder):
    return sorted(p.name for p in folder.iterdir())


def test_bundle_loads_and_perceives(finished, tmp_path):
    write_bundle(*finished, tmp_path / "bundle")
    student = Student.open(load_bundle(tmp_path / "bundle"), threads=1)
    seen = student.perceive(np.full((64, 96), 90, np.uint8))
    assert seen.embeddings.shape[1] == 8
    assert files_in(tmp_path) == ["bundle"]


def test_bundle_manifest_describes_the_run(finished, tmp_path):
    recipe, workspace = finished
    manifest = write_bundle(recipe, workspace, tmp_path / "bundle", {"map50": 0.5})
    network, _ = load_network(workspace.weights(recipe.name))
    assert (manifest.name, manifest.labels, manifest.embedding_dim) == ("tiny", ("Person", "Car"), 8)
    assert (manifest.space_id, manifest.stride_px, manifest.multiple_px) == (space_id(network), 4, 32)
    assert manifest.training["recipe"]["steps"] == 6
    assert manifest.training["data"]["hit_uav/train"]["images"] == 4
    assert manifest.training["attribution"][0].startswith("HIT-UAV")
    assert (manifest.metrics, manifest.score_floor) == ({"map50": 0.5}, recipe.score_floor)


def test_bundle_digest_is_that_of_the_file(finished, tmp_path):
    manifest = write_bundle(*finished, tmp_path / "bundle")
    content = (tmp_path / "bundle" / "fp32.onnx").read_bytes()
    entry = manifest.variants["fp32"]
    assert (entry.sha256, entry.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))


def test_bundle_takes_the_quantized_file_as_a_variant(run_copy, quantized, tmp_path):
    recipe, workspace = run_copy
    shutil.copyfile(quantized, workspace.folder(recipe.name) / "u8s8.onnx")
    write_bundle(recipe, workspace, tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").variant == "u8s8"
    assert load_bundle(tmp_path / "bundle", "fp32").variant == "fp32"


def test_bundle_ships_the_named_files_alone(run_copy, quantized, tmp_path):
    recipe, workspace = run_copy
    shutil.copyfile(quantized, workspace.folder(recipe.name) / "u8s8.onnx")
    manifest = write_bundle(recipe, workspace, tmp_path / "bundle", variants=("u8s8",))
    assert list(manifest.variants) == ["u8s8"]
    assert not (tmp_path / "bundle" / "fp32.onnx").exists()


def test_named_file_that_the_run_lacks_is_told(finished, tmp_path):
    with pytest.raises(DistillError, match="has no s8s8, but fp32; quantize it"):
        write_bundle(*finished, tmp_path / "bundle", variants=("s8s8",))


def test_bundle_replaces_an_older_one_whole(finished, tmp_path):
    write_bundle(*finished, tmp_path / "bundle")
    (tmp_path / "bundle" / "stale.onnx").write_text("old")
    write_bundle(*finished, tmp_path / "bundle")
    assert files_in(tmp_path / "bundle") == ["MODEL_CARD.md", "bundle.json", "curves.png", "fp32.onnx", "item.json"]


def test_bundle_into_an_empty_folder_is_written(finished, tmp_path):
    (tmp_path / "bundle").mkdir()
    write_bundle(*finished, tmp_path / "bundle")
    assert files_in(tmp_path / "bundle") == ["MODEL_CARD.md", "bundle.json", "curves.png", "fp32.onnx", "item.json"]


@pytest.mark.parametrize("present", ["folder", "file"])
def test_bundle_over_something_else_is_refused(finished, tmp_path, present):
    out = tmp_path / "home"
    if present == "folder":
        out.mkdir()
    kept = out / "thesis.txt" if present == "folder" else out
    kept.write_text("precious")
    with pytest.raises(DistillError, match="is no bundle, so it is not overwritten"):
        write_bundle(*finished, out)
    assert kept.read_text() == "precious"


def test_bundle_on_a_full_disk_keeps_the_old_one(finished, tmp_path, full_disk):
    write_bundle(*finished, tmp_path / "bundle")
    before = (tmp_path / "bundle" / "bundle.json").read_bytes()
    with full_disk(2000), pytest.raises(DistillError, match="bundle: cannot be written") as caught:
        write_bundle(*finished, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "bundle" / "bundle.json").read_bytes() == before
    assert files_in(tmp_path) == ["bundle"]


def test_bundle_of_a_run_without_export_is_refused(tiny_recipe, workspace, tmp_path):
    with pytest.raises(DistillError, match=r"holds no fp32\.onnx; train the run first"):
        write_bundle(tiny_recipe(), workspace, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("source", "attribution"),
    [
        pytest.param(Source(root="renders", path="student"), "skyloop-sim renders, Apache-2.0", id="renders"),
        pytest.param(Source(path="my_field"), "my_field: not recorded", id="own-data"),
    ],
)
def test_bundle_states_where_the_data_it_was_trained_on_came_from(run_copy, tmp_path, source, attribution):
    """The recipe file may have changed since."""
    recipe, workspace = run_copy
    record = workspace.weights("tiny").with_suffix(".json")
    card = json.loads(record.read_text())
    card["recipe"]["sources"] = [source.model_dump(mode="json")]
    record.write_text(json.dumps(card))
    assert write_bundle(recipe, workspace, tmp_path / "bundle").training["attribution"] == [attribution]
