"""Networks of other bands than blue, green, red: from arrays on disk to a student that flies."""

import json

import numpy as np
import pytest
import torch

from distill.augment import random_crop
from distill.bands import adapted_stem, band_statistics, with_band_statistics
from distill.bundle import export_run, write_bundle
from distill.dataset import Reading, read_data_set
from distill.errors import TrainingError
from distill.network import STEM, SkyNet
from distill.recipe import NetworkConfig, Source, Workspace
from distill.train import train
from distill.weights import load_network, read_weights
from edge.bundle import BGR, load_bundle, read_manifest
from edge.student import Student
from protocols.errors import ShapeError

SIX = ("blue", "green", "red", "red_edge", "nir", "swir")
GRAY = ("heat",)
BOX = (24, 28, 16, 12)


def write_set(folder, bands, count=3):
    """Renders' layout: bright boxes on noise, each band about another level."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(4)
    images, rows = [], []
    for i in range(count):
        pixels = np.clip(rng.normal(20 + 25 * np.arange(bands), 8, (64, 96, bands)), 0, 255).astype(np.uint8)
        x, y, w, h = BOX
        pixels[y : y + h, x : x + w] = 240
        np.save(folder / "images" / f"{i}.npy", pixels)
        images.append({"id": i, "file_name": f"{i}.npy", "width": 96, "height": 64, "gsd_m": 0.08})
        rows.append({"id": i, "image_id": i, "category_id": 1, "bbox": BOX})
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "Car"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def six_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("six")
    write_set(root / "six", 6)
    write_set(root / "one", 1)
    return root


def config_of(tiny_recipe, bands):
    return NetworkConfig.model_validate(tiny_recipe().network.model_dump() | {"bands": bands})


@pytest.fixture(scope="module")
def flown(six_folder, tmp_path_factory, tiny_recipe):
    """Workspace, recipe and bundle of a student of six bands, trained for some steps."""
    workspace = Workspace(six_folder, tmp_path_factory.mktemp("runs"))
    recipe = tiny_recipe(
        name="six", network=config_of(tiny_recipe, SIX), sources=(Source(path="six"),), labels=("Car",), steps=4
    )
    train(recipe, workspace)
    export_run(recipe, workspace)
    write_bundle(recipe, workspace, workspace.runs / "bundle")
    return workspace, recipe, load_bundle(workspace.runs / "bundle")


def test_statistics_are_those_of_all_pixels(six_folder):
    data = read_data_set(six_folder / "six", "all", Reading(SIX))
    mean, deviation = band_statistics([data], [1.0])
    pixels = np.concatenate([data.image(i).reshape(-1, 6) for i in range(len(data))])
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=3.0)  # of every fourth row and column
    np.testing.assert_allclose(deviation, pixels.std(axis=0), atol=3.0)


def test_statistics_weigh_the_sets(six_folder, tmp_path):
    sets = [read_data_set(write_set(tmp_path / str(i), 1), "all", Reading(GRAY)) for i in range(2)]
    sets[1].preload()
    for path in sets[1]._pixels:
        sets[1]._pixels[path] = np.full((8, 8), 100, np.uint8)
    alone, _ = band_statistics(sets[:1], [1.0])
    both, _ = band_statistics(sets, [1.0, 3.0])
    assert both[0] == pytest.approx((alone[0] + 300) / 4, abs=0.01)


def test_recipe_measures_what_it_does_not_name(six_folder, tiny_recipe):
    data = read_data_set(six_folder / "six", "all", Reading(SIX))
    recipe = tiny_recipe(network=config_of(tiny_recipe, SIX))
    measured = with_band_statistics(recipe, [data], []).network
    assert len(measured.band_mean) == len(measured.band_deviation) == 6
    assert with_band_statistics(recipe, [data], [measured]).network == measured
    named = recipe.model_copy(update={"network": measured.model_copy(update={"band_mean": (1.0,) * 6})})
    assert with_band_statistics(named, [data], [measured]) == named


def test_blue_green_red_keep_their_fixed_normalisation(tiny_recipe):
    recipe = tiny_recipe()
    assert with_band_statistics(recipe, [], [recipe.network]) is recipe


@pytest.mark.parametrize(("given", "wanted"), [(BGR, SIX), (BGR, GRAY), (SIX, BGR), (GRAY, SIX)], ids=str)
def test_adapted_stem_answers_alike_to_what_is_alike_in_all_bands(given, wanted):
    weight = torch.randn(8, len(given), 3, 3)
    adapted = adapted_stem(weight, given, wanted)
    assert adapted.shape == (8, len(wanted), 3, 3)
    if given != SIX:  # a part of the given bands cannot stand for all of them
        torch.testing.assert_close(adapted.sum(dim=1), weight.sum(dim=1))


def test_adapted_stem_keeps_the_filters_of_known_bands_and_their_order():
    weight = torch.randn(8, 3, 3, 3)
    torch.testing.assert_close(adapted_stem(weight, BGR, ("red", "green", "blue")), weight.flip(1))
    torch.testing.assert_close(adapted_stem(weight, BGR, SIX)[:, :3], weight / 2)
    torch.testing.assert_close(adapted_stem(weight, BGR, SIX)[:, 5], weight.mean(dim=1) / 2)


@pytest.mark.parametrize(("name", "bands"), [("six", SIX), ("one", GRAY), ("one", BGR)])
def test_crop_has_the_bands_of_the_network(six_folder, name, bands):
    data = read_data_set(six_folder / name, "all", Reading(bands))
    rng = np.random.default_rng(0)
    for _ in range(30):
        crop = random_crop(data, 0, ("Car",), 64, (5, 6), rng)
        assert (crop.image.shape, crop.image.dtype) == ((64, 64, len(bands)), np.uint8)
        if bands == BGR:
            assert np.ptp(crop.image, axis=2).max() <= 1


def test_crop_moves_all_bands_together(six_folder):
    data = read_data_set(six_folder / "six", "all", Reading(SIX))
    data._pixels[data.items[0].path] = np.repeat(data.image(0)[..., :1], 6, axis=2)
    crop = random_crop(data, 0, ("Car",), 64, (), np.random.default_rng(2)).image
    np.testing.assert_array_equal(crop, np.repeat(crop[..., :1], 6, axis=2))


def test_student_of_six_bands_flies(flown, six_folder):
    _, recipe, bundle = flown
    manifest = bundle.manifest
    assert (manifest.bands, manifest.band_names) == (6, SIX)
    assert len(manifest.band_mean) == 6
    assert manifest.padding == tuple(round(v) for v in manifest.band_mean)
    student = Student.open(bundle, threads=1)
    pixels = np.load(six_folder / "six" / "images" / "0.npy")
    assert student.perceive(pixels[:50]).embeddings.shape[1] == recipe.network.embedding_dim


@pytest.mark.parametrize("shape", [(64, 96), (64, 96, 3), (64, 96, 5)])
def test_student_of_six_bands_refuses_others(flown, shape):
    student = Student.open(flown[2], threads=1)
    with pytest.raises(ShapeError, match=r"takes uint8 \(H, W, 6\) of the bands blue, .*swir") as caught:
        student.perceive(np.zeros(shape, np.uint8))
    assert "\n" not in str(caught.value)


def test_statistics_stand_in_the_record_and_in_the_graph(flown):
    workspace, recipe, bundle = flown
    network, _ = load_network(workspace.weights(recipe.name))
    assert network.config.band_mean == read_manifest(bundle.folder).band_mean
    assert len(network.config.band_mean) == 6


def test_run_of_other_bands_starts_from_these_weights(flown, tiny_recipe):
    workspace, _, _ = flown
    start = tiny_recipe(
        name="one", init="six", network=config_of(tiny_recipe, GRAY), sources=(Source(path="one"),), labels=("Car",),
        steps=1, learning_rate=1e-9,
    )  # fmt: skip
    train(start, workspace)
    expected = adapted_stem(read_weights(workspace.weights("six"))[STEM], SIX, GRAY)
    torch.testing.assert_close(read_weights(workspace.weights("one"))[STEM], expected, atol=1e-5, rtol=0)


def test_teacher_of_other_bands_is_refused(flown, tiny_recipe):
    workspace, _, _ = flown
    student = tiny_recipe(
        name="pupil",
        teacher="six",
        network=config_of(tiny_recipe, GRAY),
        sources=(Source(path="one"),),
        labels=("Car",),
        loss_weights={"heat": 1.0, "kd_heat": 1.0},
    )
    with pytest.raises(TrainingError, match=r"the teacher's bands are .* make them equal"):
        train(student, workspace)


def test_old_weights_keep_loading(tiny_recipe):
    """A record written before bands had names says nothing of them."""
    old = tiny_recipe().network.model_dump(exclude={"bands", "band_mean", "band_deviation"})
    assert SkyNet(NetworkConfig.model_validate(old), 2).stem[0].weight.shape[1] == 3
