"""Georeferenced rasters as data sets: indexed by their headers, read whole or by windows."""

import json

import numpy as np
import pytest
from builders import write_raster

from distill.augment import random_crop
from distill.bands import band_statistics
from distill.dataset import DataSet, Reading, read_data_set
from distill.errors import DataSetError
from distill.evaluate import detect_all
from distill.quantize import calibration_images
from distill.recipe import Source, Workspace, open_source
from edge import raster
from edge.bundle import BGR
from edge.raster import RasterImage
from edge.tiling import open_student

BOX = (100, 60, 40, 24)


@pytest.fixture
def small_limit(monkeypatch):
    """Everything is too large to hold."""
    monkeypatch.setattr(raster, "MAX_WHOLE_PIXELS", 1000)


@pytest.fixture
def folder(tmp_path):
    """Two rasters with COCO boxes beside them, one without a CRS."""
    rng = np.random.default_rng(3)
    images = []
    for i, crs in enumerate(("EPSG:32633", None)):
        pixels = rng.integers(0, 90, (200, 300, 3), np.uint8)
        x, y, w, h = BOX
        pixels[y : y + h, x : x + w] = (250, 40, 40)
        write_raster(tmp_path / f"{i}.tif", pixels, crs=crs, tiled=True, blockxsize=64, blockysize=64)
        images.append({"id": i, "file_name": f"{i}.tif", "width": 300, "height": 200})
    rows = [{"id": i, "image_id": i, "category_id": 1, "bbox": BOX} for i in range(2)]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "Red"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return tmp_path


def test_index_knows_bands_and_metres(folder):
    first, second = read_data_set(folder, "all")
    assert (first.bands, first.gsd_m) == (3, pytest.approx(0.5, rel=1e-3))
    assert second.gsd_m is None
    assert first.boxes_xyxy.tolist() == [[100, 60, 140, 84]]


def test_folder_of_rasters_alone_is_a_set_without_labels(folder):
    (folder / "annotations.json").unlink()
    data = read_data_set(folder, "all")
    assert [(item.boxes_xyxy[0].tolist(), bool(item.ignore[0])) for item in data] == [([0, 0, 300, 200], True)] * 2
    assert data.items[0].bands == 3


def test_voc_beside_a_raster(folder):
    (folder / "annotations.json").unlink()
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
    text = f"<annotation><filename>0.tif</filename><object><name>Tree</name>{box}</object></annotation>"
    (folder / "0.xml").write_text(text)
    (item,) = read_data_set(folder, "all")
    assert (item.labels, item.bands, item.gsd_m) == (("Tree",), 3, pytest.approx(0.5, rel=1e-3))


def test_crop_of_a_large_raster_is_that_of_its_pixels(folder, small_limit):
    lazy = read_data_set(folder, "all")
    lazy.preload()
    assert isinstance(lazy.picture(0), RasterImage)
    held = DataSet("held", lazy.items, {item.path: lazy.image(i) for i, item in enumerate(lazy)})
    for seed in range(25):
        one, other = (random_crop(data, 0, ("Red",), 96, (), np.random.default_rng(seed)) for data in (lazy, held))
        np.testing.assert_array_equal(one.objects.boxes_xyxy, other.objects.boxes_xyxy)
        # Blank margins take the mean of the crop, mirrored pixels included, and windows mirror elsewhere.
        assert np.mean(np.abs(one.image.astype(int) - other.image) > 2) < 0.02


def test_crop_of_a_large_raster_reads_little_of_it(folder, small_limit, monkeypatch):
    data = read_data_set(folder, "all")
    sizes = []
    read = RasterImage.__getitem__

    def noting(self, window):
        found = read(self, window)
        sizes.append(found.shape[:2])
        return found

    monkeypatch.setattr(RasterImage, "__getitem__", noting)
    monkeypatch.setattr(RasterImage, "whole", None)
    random_crop(data, 0, ("Red",), 64, (), np.random.default_rng(0))
    assert max(sizes[0]) <= 64 / 0.8 + 2 * 4 + 2


def test_large_raster_is_evaluated_in_tiles(folder, small_limit, tiny_bundle):
    data = read_data_set(folder, "all")
    found, _ = detect_all(open_student(tiny_bundle, threads=1, tile_px=128), data)
    whole = DataSet("held", data.items, {item.path: data.image(i) for i, item in enumerate(data)})
    expected, _ = detect_all(open_student(tiny_bundle, threads=1, tile_px=128), whole)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
        assert "Red" in one.labels


def test_large_raster_is_measured_and_calibrated_on_parts(folder, small_limit, tiny_bundle, monkeypatch):
    monkeypatch.setattr("distill.quantize._VIEW_PX", 64)
    data = read_data_set(folder, "all")
    pixels = data.image(0).reshape(-1, 3)
    mean, _ = band_statistics([data], [1.0])
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=3.0)
    assert [image.shape for image in calibration_images([data], 2, 0, tiny_bundle.manifest)] == [(64, 64, 3)] * 2


def test_source_takes_images_of_its_scale_alone(folder):
    (folder / "1.tif").unlink()
    write_raster(folder / "1.tif", np.zeros((200, 300, 3), np.uint8), transform=(10, 0, 5e5, 0, -10, 5e6))
    source = Source(path=folder.name, split="all", gsd_m=(0.1, 1.0))
    data = open_source(source, Workspace(folder.parent, folder), BGR)
    assert [item.path.name for item in data] == ["0.tif"]


def test_scale_of_a_raster_without_crs_is_asked_in_vain(folder):
    source = Source(path=folder.name, split="all", gsd_m=(0.1, 1.0))
    with pytest.raises(DataSetError, match=r"1\.tif: .*no CRS.*rio edit-info --crs") as caught:
        open_source(source, Workspace(folder.parent, folder), BGR)
    assert "\n" not in str(caught.value)


def test_source_in_which_no_image_has_the_scale(folder):
    (folder / "1.tif").unlink()
    write_raster(folder / "1.tif", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataSetError, match=r"gsd_m 2 to 3 leaves no image"):
        open_source(Source(path=folder.name, split="all", gsd_m=(2, 3)), Workspace(folder.parent, folder), BGR)


def test_truncated_raster_is_one_clear_line(folder):
    path = folder / "0.tif"
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(DataSetError, match=r"0\.tif: truncated.*restore the file") as caught:
        read_data_set(folder, "all").image(0)
    assert "\n" not in str(caught.value)


def test_deep_raster_wants_a_range(folder):
    deep = np.full((200, 300, 3), 2000, np.uint16)
    write_raster(folder / "0.tif", deep)
    with pytest.raises(DataSetError, match="holds uint16 pixels, 8 bits wanted; say what becomes 0 and 255"):
        read_data_set(folder, "all").image(0)
    assert read_data_set(folder, "all", Reading(pixel_range=(0, 4000))).image(0).mean() == 128


@pytest.mark.data
def test_real_trees_are_read_with_their_metres(data_root):
    data = read_data_set(data_root / "aerial_rgb" / "neon_trees" / "src" / "deepforest" / "data", "all")
    item = next(item for item in data if item.path.name == "OSBS_029.tif")
    assert (set(item.labels), item.gsd_m, item.bands) == ({"Tree"}, pytest.approx(0.1, rel=0.01), 3)
    assert data.image(data.items.index(item)).shape == (400, 400, 3)


@pytest.mark.data
def test_real_folder_of_rasters_is_a_data_set(data_root):
    data = read_data_set(data_root / "geotiff" / "tests" / "data", "all")
    assert {item.path.name for item in data} >= {"RGB.byte.tif", "cogeo.tif", "goes.tif"}
    data.preload()
