import json
import shutil

import numpy as np
import pytest
from builders import scene

from edge.bundle import Manifest, load_bundle
from edge.errors import ModelError
from edge.student import Student, as_bands, as_bgr, as_picture, pad_to_multiple
from protocols.errors import ShapeError

GREEN, RED = (60, 220, 60), (40, 40, 250)


@pytest.fixture
def student(tiny_bundle):
    return Student.open(tiny_bundle, threads=1)


def test_perceive_finds_each_spot_with_its_box(student):
    seen = student.perceive(scene((34, 34, GREEN), (102, 66, RED)))
    centres = (seen.boxes_xyxy[:, :2] + seen.boxes_xyxy[:, 2:]) / 2
    for x, y in ((34, 34), (102, 66)):
        assert np.abs(centres - (x, y)).max(axis=1).min() <= 4


def test_perceive_returns_unit_embeddings(student):
    seen = student.perceive(scene((34, 34, GREEN)))
    np.testing.assert_allclose(np.linalg.norm(seen.embeddings, axis=1), 1.0, rtol=1e-5)


def test_perceive_empty_picture_gives_no_candidates(student):
    assert len(student.perceive(scene()).objectness) == 0


def test_known_reports_only_the_taught_class(student):
    seen = student.perceive(scene((34, 34, GREEN), (102, 66, RED)))
    known = student.known(seen)
    assert len(known.rows) == 1
    assert np.abs(seen.boxes_xyxy[known.rows[0], :2] - (94, 58)).max() <= 4


def test_perceive_odd_size_clips_boxes_to_the_picture(student):
    seen = student.perceive(scene((58, 38, GREEN), size=(50, 70)))
    assert seen.boxes_xyxy.max(axis=0)[2] <= 70


def test_gray_picture_equals_its_replicated_self(student):
    image = scene((34, 34, (200, 200, 200)))
    np.testing.assert_array_equal(student.perceive(image[..., 0]).objectness, student.perceive(image).objectness)


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.float32), np.zeros((8, 8, 5), np.uint8)], ids=["float", "bands"])
def test_as_bgr_refuses_other_arrays(image):
    with pytest.raises(ShapeError, match="give uint8"):
        as_bgr(image)


def test_pad_to_multiple_leaves_fitting_pictures_alone():
    image = np.zeros((64, 96, 3), np.uint8)
    assert pad_to_multiple(image, 32) is image


def test_load_bundle_altered_file_is_refused(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "b")
    with (folder / "fp32.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="does not match the manifest"):
        load_bundle(folder)


def test_load_bundle_without_manifest_names_the_file(tmp_path):
    with pytest.raises(ModelError, match=r"bundle\.json"):
        load_bundle(tmp_path)


def test_load_bundle_unknown_variant_lists_the_choices(tiny_bundle):
    with pytest.raises(ModelError, match="choose one of fp32"):
        load_bundle(tiny_bundle.folder, "int4")


def test_load_bundle_file_name_cannot_leave_the_folder(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "b")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["variants"]["fp32"]["file"] = "../fp32.onnx"
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="file"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "image",
    [np.full((4, 6), 7, np.uint8), np.full((4, 6, 1), 7, np.uint8), np.full((4, 6, 3), 7, np.uint8)],
    ids=["gray", "one-band", "gray-as-colour"],
)
def test_one_band_takes_every_form_of_gray(image):
    np.testing.assert_array_equal(as_bands(image, ("heat",)), np.full((4, 6, 1), 7))


def test_one_band_refuses_colour():
    with pytest.raises(ShapeError, match=r"takes uint8 \(H, W\) or \(H, W, 1\) of the bands heat"):
        as_bands(np.arange(72, dtype=np.uint8).reshape(4, 6, 3), ("heat",))


@pytest.mark.parametrize("bands", [1, 2, 3, 6])
def test_picture_for_a_person_has_three_bands(bands):
    image = np.arange(24 * bands, dtype=np.uint8).reshape(4, 6, bands)
    picture = as_picture(image)
    assert picture.shape == (4, 6, 3)
    np.testing.assert_array_equal(picture[..., 0], image[..., 0])


def test_padding_is_the_mean_of_each_band():
    padded = pad_to_multiple(np.zeros((30, 40, 5), np.uint8), 32, (1, 2, 3, 4, 5))
    assert padded.shape == (32, 64, 5)
    assert padded[31, 0].tolist() == padded[0, 63].tolist() == [1, 2, 3, 4, 5]
    assert not padded[:30, :40].any()


@pytest.mark.parametrize(
    "changes",
    [{"bands": 6}, {"bands": 2, "band_order": "a,b", "band_mean": [1.0]}, {"band_order": "blue,green"}],
    ids=["names", "means", "order"],
)
def test_manifest_whose_bands_disagree_is_refused(tiny_bundle, changes):
    content = tiny_bundle.manifest.model_dump() | changes
    with pytest.raises(ValueError, match="band"):
        Manifest.model_validate(content)
