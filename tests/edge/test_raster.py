"""Georeferenced rasters: which files they are, where their pixels lie, and how they are flown over."""

import json
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import rasterio
from builders import write_raster
from rasterio.crs import CRS
from rasterio.transform import Affine

from edge import raster
from edge.camera_motion import CameraMotion
from edge.capture import Look, open_source
from edge.errors import CaptureError, DecodeError
from edge.outputs import draw
from edge.raster import is_raster, open_picture, open_raster
from edge.student import Student
from edge.tiling import open_student
from protocols.errors import ShapeError
from protocols.values import Detection

COLOURS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
SIX = ("blue", "green", "red", "red_edge", "nir", "swir")


def run_edge(*arguments):
    code = "from edge.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def small_limit(monkeypatch):
    """Everything is too large to hold."""
    monkeypatch.setattr(raster, "MAX_WHOLE_PIXELS", 1000)


def test_colour_comes_in_blue_green_red(tmp_path):
    path = write_raster(tmp_path / "a.tif", COLOURS)
    image, _ = open_picture(path)
    np.testing.assert_array_equal(image, COLOURS[..., ::-1])


def test_only_what_needs_it_is_a_raster(tmp_path):
    cv2.imwrite(str(tmp_path / "plain.tif"), COLOURS)
    cv2.imwrite(str(tmp_path / "a.png"), COLOURS)
    assert not is_raster(tmp_path / "plain.tif")
    assert not is_raster(tmp_path / "a.png")
    assert not is_raster(tmp_path / "absent.tif")
    assert is_raster(write_raster(tmp_path / "geo.tif", COLOURS))
    assert is_raster(write_raster(tmp_path / "big.tif", COLOURS, BIGTIFF="YES"))
    assert is_raster(write_raster(tmp_path / "six.tif", np.zeros((8, 8, 6), np.uint8), crs=None, transform=None))


def test_large_plain_tiff_is_a_raster(tmp_path, small_limit):
    cv2.imwrite(str(tmp_path / "plain.tif"), COLOURS)
    assert is_raster(tmp_path / "plain.tif")


@pytest.mark.parametrize(
    ("crs", "transform", "gsd_m"),
    [
        pytest.param("EPSG:32633", Affine(0.25, 0, 500_000, 0, -0.25, 5_000_000), 0.25 / 0.9996, id="utm"),
        # A web map's metre is cos(latitude) of a metre, to the ellipsoid's flattening; 6 446 275.84 m north is 50°.
        pytest.param("EPSG:3857", Affine(2, 0, 1e6, 0, -2, 6_446_275.84), 2 * 0.6428, id="web-map"),
        # One degree of latitude at 50° is 111.229 km, of longitude 71.696 km (NIMA TR8350.2's ellipsoid).
        pytest.param("EPSG:4326", Affine(1e-4, 0, 15, 0, -1e-4, 50), 1e-4 * (111_229 * 71_696) ** 0.5, id="degrees"),
        pytest.param("EPSG:2263", Affine(1, 0, 984_000, 0, -1, 200_000), 0.3048, id="feet"),
        pytest.param("EPSG:32633", Affine(0.433, 0.25, 500_000, 0.25, -0.433, 5_000_000), 0.5, id="turned"),
    ],
)
def test_metres_per_pixel_are_those_on_the_ground(tmp_path, crs, transform, gsd_m):
    found = open_raster(write_raster(tmp_path / "a.tif", COLOURS, crs=crs, transform=transform))
    assert found.gsd_m == pytest.approx(gsd_m, rel=2e-3)


def test_pose_looks_down_on_the_centre(tmp_path):
    transform = Affine(0, -1, 500_000, -1, 0, 5_000_000)  # columns run south, rows west: up is east
    pose = open_raster(write_raster(tmp_path / "a.tif", COLOURS, transform=transform)).pose
    assert (pose.lat_deg, pose.lon_deg) == pytest.approx((45.15, 15.0), abs=0.02)
    assert (pose.pitch_deg, pose.yaw_deg) == pytest.approx((-90, 90), abs=0.1)


def test_raster_without_crs_has_no_metres_but_can_be_looked_at(tmp_path):
    path = write_raster(tmp_path / "a.tif", COLOURS, crs=None)
    image, raster = open_picture(path)
    assert image.shape == COLOURS.shape
    assert raster.pose is None


def test_bands_are_taken_by_name(tmp_path):
    pixels = np.arange(6, dtype=np.uint8)[None, None].repeat(8, 0).repeat(8, 1)
    path = write_raster(tmp_path / "a.tif", pixels, names=("swir", "NIR", "Red Edge", "red", "green", "blue"))
    assert open_raster(path, SIX).whole()[0, 0].tolist() == [5, 4, 3, 2, 1, 0]
    assert open_raster(path, ("nir",)).whole()[0, 0] == 1
    assert open_raster(path).whole()[0, 0].tolist() == [5, 4, 3]


def test_bands_without_names_keep_their_order(tmp_path):
    pixels = np.arange(6, dtype=np.uint8)[None, None].repeat(8, 0).repeat(8, 1)
    assert open_raster(write_raster(tmp_path / "a.tif", pixels), SIX).whole()[0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_one_band_is_gray(tmp_path):
    assert open_raster(write_raster(tmp_path / "a.tif", COLOURS[..., :1])).whole().shape == (48, 64)


@pytest.mark.parametrize(
    ("pixels", "bands", "words"),
    [
        pytest.param(np.zeros((8, 8, 5), np.uint8), SIX, "the student takes blue, green, red, red_edge", id="bands"),
        pytest.param(np.zeros((8, 8, 5), np.uint8), SIX[:3], "name the file's bands", id="nameless"),
        pytest.param(np.zeros((8, 8, 3), np.uint16), SIX[:3], r"holds uint16 pixels.*--pixel-range LOW", id="deep"),
        pytest.param(np.zeros((8, 8, 3), np.complex64), SIX[:3], "convert them to real numbers", id="complex"),
    ],
)
def test_raster_that_does_not_fit_is_one_clear_line(tmp_path, pixels, bands, words):
    path = write_raster(tmp_path / "a.tif", pixels)
    with pytest.raises(CaptureError, match=words) as caught:
        open_raster(path, bands)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_pixel_range_is_the_same_in_every_window(tmp_path):
    deep = np.linspace(0, 4000, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint16)
    found = open_raster(write_raster(tmp_path / "a.tif", deep), pixel_range=(0, 4000))
    np.testing.assert_array_equal(found[10:20, 5:30], found.whole()[10:20, 5:30])
    assert np.ptp(found.whole()) == 255


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.95])
def test_truncated_raster_is_one_clear_line(tmp_path, share):
    path = write_raster(tmp_path / "a.tif", np.tile(COLOURS, (8, 8, 1)))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DecodeError, match="restore the file") as caught:
        open_picture(path)
    assert "\n" not in str(caught.value)


def test_without_rasterio_the_extra_is_named(tmp_path, monkeypatch):
    path = write_raster(tmp_path / "a.tif", COLOURS)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(CaptureError, match=r"pip install 'skyloop\[geo\]'"):
        list(open_source(str(path)))


def test_frame_of_a_raster_knows_its_metres(tmp_path):
    (frame,) = open_source(str(write_raster(tmp_path / "a.tif", COLOURS)))
    assert frame.header.pose.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert isinstance(frame.image, np.ndarray)


def test_frames_of_six_bands_reach_a_student_of_six(tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((8, 8, 6), np.uint8))
    np.save(tmp_path / "b.npy", np.zeros((8, 8, 6), np.uint8))
    (tmp_path / "c.npy").write_bytes(b"no array")
    source = open_source(str(tmp_path), look=Look(SIX))
    assert [(f.header.bands, f.image.shape) for f in source] == [(6, (8, 8, 6))] * 2
    assert source.counts.undecodable == 1


def test_truncated_raster_among_others_is_skipped(tmp_path):
    for name in ("a.tif", "b.tif"):
        write_raster(tmp_path / name, np.tile(COLOURS, (8, 8, 1)))
    (tmp_path / "a.tif").write_bytes((tmp_path / "b.tif").read_bytes()[:20_000])
    source = open_source(str(tmp_path))
    assert len(list(source)) == 1
    assert source.counts.undecodable == 1


def spotted(width, height, corners):
    pixels = np.full((height, width, 3), 20, np.uint8)
    for x, y in corners:
        pixels[y : y + 16, x : x + 16] = (250, 40, 40)  # the tiny student calls it Red
    return pixels


def test_large_raster_is_flown_in_windows_as_if_it_were_whole(tmp_path, tiny_bundle, small_limit, monkeypatch):
    pixels = spotted(416, 224, [(42, 42), (122, 98), (330, 186)])
    path = write_raster(tmp_path / "a.tif", pixels, tiled=True, blockxsize=64, blockysize=64)
    student = open_student(tiny_bundle, threads=1, tile_px=128)
    whole = student.perceive(np.ascontiguousarray(pixels[..., ::-1]))
    monkeypatch.setattr(raster.RasterImage, "whole", None)
    (frame,) = open_source(str(path))
    seen = student.perceive(frame.image)
    assert frame.image.shape == (224, 416, 3)
    assert len(student.known(seen).rows) == 3
    np.testing.assert_array_equal(seen.boxes_xyxy, whole.boxes_xyxy)


def test_large_raster_wants_tiles(tmp_path, tiny_bundle, small_limit):
    picture, _ = open_picture(write_raster(tmp_path / "a.tif", COLOURS))
    with pytest.raises(ShapeError, match=r"a\.tif: 64x48 pixels .*--tile 640"):
        Student.open(tiny_bundle, threads=1).perceive(picture)


def test_large_raster_is_drawn_and_compared_on_its_overview(tmp_path, small_limit, monkeypatch):
    picture, _ = open_picture(write_raster(tmp_path / "a.tif", spotted(400, 200, [(200, 100)])))
    monkeypatch.setattr("edge.outputs._OVERVIEW_PX", 100)
    drawn = draw(picture, (Detection(box_xyxy=(200, 100, 280, 160), label="Red", score=1.0, track_id=1),))
    assert drawn.shape == (50, 100, 3)
    assert (drawn[25:40, 50] == (80, 200, 80)).all(axis=1).any()
    motion = CameraMotion()
    motion.update(picture)
    np.testing.assert_allclose(motion.update(picture).matrix, np.eye(2, 3), atol=0.01)


def test_run_over_a_raster_of_eighteen_million_pixels(tmp_path, tiny_bundle):
    pixels = spotted(4400, 4100, [(42, 42), (3330, 186), (2002, 4002)])
    path = write_raster(tmp_path / "scene.tif", pixels, tiled=True, compress="deflate")
    assert open_raster(path).is_large
    done = run_edge(
        "run", "--source", path, "--bundle", tiny_bundle.folder, "--out", tmp_path / "out", "--tile", "1024"
    )
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "out" / "detections.jsonl").read_text().splitlines()
    boxes = [found["box_xyxy"] for found in json.loads(line)["detections"]]
    assert sorted((round(x1, -1), round(y1, -1)) for x1, y1, *_ in boxes) == [(40, 40), (2000, 4000), (3330, 190)]
    refused = run_edge("run", "--source", path, "--bundle", tiny_bundle.folder, "--out", tmp_path / "out")
    assert refused.returncode == 1
    assert "look in tiles (--tile 640)" in refused.stderr.splitlines()[-1]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "gsd_m"),
    [
        ("geotiff/tests/data/RGB.byte.tif", 300.04),
        ("geotiff/tests/data/cogeo.tif", 0.597 * np.cos(np.radians(37.6))),
        ("geotiff/tests/data/goes.tif", 20_055),
        ("aerial_rgb/neon_trees/src/deepforest/data/OSBS_029.tif", 0.1),
        ("aerial_rgb/neon_trees/src/deepforest/data/australia.tif", 0.018),
    ],
)
def test_real_rasters_have_their_metres(data_root, name, gsd_m):
    found = open_raster(data_root / name)
    assert found.gsd_m == pytest.approx(gsd_m, rel=0.01)
    assert found.whole().ndim == 3


def test_written_raster_is_what_the_tests_think(tmp_path):
    with rasterio.open(write_raster(tmp_path / "a.tif", COLOURS)) as dataset:
        assert (dataset.crs, dataset.count) == (CRS.from_epsg(32633), 3)


def test_an_overview_decodes_each_block_about_once(tmp_path):
    path = write_raster(
        tmp_path / "a.tif", spotted(2048, 2048, [(100, 100)]), tiled=True, blockxsize=256, blockysize=256,
        compress="jpeg", photometric="ycbcr",
    )  # fmt: skip
    scene = open_raster(path)
    begin_s = time.process_time()
    scene.whole()
    once_s = time.process_time() - begin_s
    scene.overview(700)
    assert time.process_time() - begin_s < 5 * once_s + 0.2
