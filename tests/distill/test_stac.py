"""A bundle's STAC Item, checked offline: the core by pystac's own schemas, mlm by stac-model."""

import hashlib
import json
import shutil

import pytest

from distill.bundle import rewrite_manifest
from distill.engine import place_engine
from distill.stac import EXTENSIONS, ITEM_NAME, stac_item
from edge.bundle import bundled_student, load_bundle, read_manifest
from edge.reward import HARDNESS_NAME

pystac = pytest.importorskip("pystac", reason="needs pystac (Python 3.11)")
schema = pytest.importorskip("stac_model.schema", reason="needs stac-model (Python 3.11)")


@pytest.fixture
def folder(tmp_path):
    folder = shutil.copytree(bundled_student(), tmp_path / "bundle")
    rewrite_manifest(folder, read_manifest(folder))
    return folder


@pytest.fixture
def item(folder):
    return json.loads((folder / ITEM_NAME).read_text())


def test_item_follows_the_core_of_stac(item):
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    assert pystac.Item.from_dict(item).to_dict(include_self_link=False) == item


def test_item_breaking_the_core_is_noticed(item):
    """The check above can fail."""
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    del item["properties"]["datetime"]
    with pytest.raises(pystac.STACValidationError):
        JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])


def test_item_follows_the_extension_mlm(item):
    properties = schema.MLModelProperties.model_validate(item["properties"])
    assert schema.SCHEMA_URI in EXTENSIONS
    assert properties.input[0].input.shape == [1, -1, -1, 3]
    assert [output.name for output in properties.output] == ["embedding", "objectness", "box_ltrb", "class_logits"]
    assert [c.name for c in properties.output[3].classes] == list(load_bundle(bundled_student()).manifest.labels)


def test_item_models_are_assets_as_mlm_wants_them(item):
    models = [asset for asset in item["assets"].values() if "mlm:model" in asset["roles"]]
    assert {asset["href"] for asset in models} == {"./fp32.onnx", "./u8s8.onnx", "./s8s8.onnx"}
    assert {asset["mlm:artifact_type"] for asset in models} == {"onnx"}


def test_item_lists_every_file_but_itself_and_the_fitted_reward_with_its_digest(item, folder):
    found = {asset["href"][2:]: asset["file:checksum"][4:] for asset in item["assets"].values()}
    listed = [p for p in folder.iterdir() if p.name not in (ITEM_NAME, HARDNESS_NAME)]
    assert found == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in listed}


def test_manifest_holds_digests_of_what_is_not_run(folder):
    manifest = load_bundle(folder).manifest
    assert set(manifest.files) == {"MODEL_CARD.md", "curves.png"}
    for name, digest in manifest.files.items():
        assert digest.sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert manifest.outputs["class_logits"] == (1, len(manifest.labels), -1, -1)


def test_item_names_data_and_their_publication(item):
    assert any("CC BY 4.0" in line for line in item["properties"]["skyloop:attribution"])
    assert [link["href"] for link in item["links"]] == ["https://doi.org/10.1038/s41597-023-02066-6"]


def test_item_of_an_engine_says_what_it_runs_on(folder):
    place_engine(folder, "engine-fp16-sm87-trt10.3.0", b"plan", "sm87-trt10.3.0")
    asset = json.loads((folder / ITEM_NAME).read_text())["assets"]["engine-fp16-sm87-trt10.3.0"]
    assert (asset["mlm:artifact_type"], asset["title"]) == (
        "tensorrt",
        "engine-fp16-sm87-trt10.3.0, made for engine on sm87-trt10.3.0",
    )


def test_item_of_the_smallest_manifest_follows_mlm(tiny_bundle):
    """Written by hand: no training, no licence."""
    item = stac_item(tiny_bundle.manifest, b"{}")
    schema.MLModelProperties.model_validate(item["properties"])
    assert "license" not in item["properties"]


def test_label_that_is_no_name_is_kept_as_its_description(tiny_bundle):
    manifest = tiny_bundle.manifest.model_copy(update={"labels": ("Fishing boat",)})
    (found,) = stac_item(manifest, b"{}")["properties"]["mlm:output"][3]["classification:classes"]
    assert found == {"value": 0, "name": "Fishing-boat", "description": "Fishing boat"}
