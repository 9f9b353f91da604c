"""The map of detections: in the scene's CRS, readable by GDAL, whole at any time."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from builders import write_raster
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform
from structlog.testing import capture_logs

from edge.capture import open_source
from edge.detection_map import NAME, DetectionMap, box_ring
from edge.errors import ConfigError
from edge.outputs import RunOutputs
from protocols.values import Detection

PIXELS = np.zeros((48, 64, 3), np.uint8)
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
BOX = (10.0, 20.0, 14.0, 30.0)
ALBERS = "+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=37.5 +lon_0=-96 +x_0=1 +y_0=0 +datum=WGS84 +units=m"


def detection(label="Novel", box=BOX):
    return Detection(box_xyxy=box, label=label, score=0.75, provenance="prompt:p1", track_id=3)


def frame_of(path):
    source = open_source(str(path))
    frame = next(iter(source))
    source.close()
    return frame


def written(tmp_path, frames):
    detection_map = DetectionMap(tmp_path)
    for frame in frames:
        detection_map.write(frame, [detection()])
    detection_map.close()
    return json.loads((tmp_path / NAME).read_text())


def scene(tmp_path, name="a.tif", **options):
    return frame_of(write_raster(tmp_path / name, PIXELS, **options))


def test_a_box_is_a_polygon_in_metres_of_the_scenes_crs(tmp_path):
    found = written(tmp_path, [scene(tmp_path, crs="EPSG:32656", transform=NORTH_UP)])
    assert found["crs"] == {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32656"}}
    (only,) = found["features"]
    west, east, south, north = 500_005.0, 500_007.0, 4_999_985.0, 4_999_990.0
    assert only["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[west, north], [west, south], [east, south], [east, north], [west, north]]],
    }
    assert only["properties"]["label"] == "Novel"
    assert only["properties"]["provenance"] == "prompt:p1"
    assert only["properties"]["scene"] == "a.tif"
    assert only["properties"]["box_xyxy"] == list(BOX)


def test_gdal_would_read_the_same_crs(tmp_path):
    found = written(tmp_path, [scene(tmp_path, crs="EPSG:32656")])
    assert CRS.from_user_input(found["crs"]["properties"]["name"]) == CRS.from_epsg(32656)


def test_the_place_is_the_one_that_rasterio_says(tmp_path):
    path = write_raster(tmp_path / "a.tif", PIXELS, transform=Affine.rotation(30) @ NORTH_UP)
    with rasterio.open(path) as dataset:
        corners = [dataset.xy(row, column, offset="ul") for column, row in ((10, 20), (10, 30), (14, 30), (14, 20))]
    ring = box_ring(BOX, frame_of(path).georeference)
    np.testing.assert_allclose(ring[:4], corners, atol=1e-6)
    assert ring[0] == ring[-1]


@pytest.mark.parametrize("step", [-0.5, 0.5], ids=["north-up", "south-up"])
def test_the_outline_runs_counter_clockwise(tmp_path, step):
    place = scene(tmp_path, transform=Affine(0.5, 0, 0, 0, step, 0)).georeference
    x, y = np.array(box_ring(BOX, place)).T
    assert np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 0  # twice the area, by Gauss


@pytest.mark.parametrize("crs", ["EPSG:4326", ALBERS], ids=["degrees", "no code"])
def test_what_has_no_code_of_its_own_is_written_in_degrees(tmp_path, crs):
    place = Affine(1e-5, 0, 8.0, 0, -1e-5, 47.0) if crs == "EPSG:4326" else Affine(0.5, 0, -4, 0, -0.5, 9)
    found = written(tmp_path, [scene(tmp_path, crs=crs, transform=place)])
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:OGC:1.3:CRS84"
    lon, lat = found["features"][0]["geometry"]["coordinates"][0][0]
    if crs == "EPSG:4326":
        assert (lon, lat) == pytest.approx((8.0001, 46.9998), abs=1e-9)
    else:
        assert (lon, lat) == pytest.approx((-96.0, 37.5), abs=1e-4)


def test_a_second_scene_of_another_zone_is_brought_into_the_first_ones(tmp_path):
    here = scene(tmp_path, crs="EPSG:32656", transform=NORTH_UP)
    x, y = transform("EPSG:32656", "EPSG:32655", [500_005.0], [4_999_990.0])
    there = scene(tmp_path, "b.tif", crs="EPSG:32655", transform=Affine(0.5, 0, x[0] - 5, 0, -0.5, y[0] + 10))
    found = written(tmp_path, [here, there])
    first, second = (f["geometry"]["coordinates"][0][0] for f in found["features"])
    assert second == pytest.approx(first, abs=0.01)


def test_what_lies_beside_the_earth_is_left_out(tmp_path):
    far = scene(tmp_path, crs=ALBERS, transform=Affine(0.5, 0, 5e8, 0, -0.5, 5e8))
    assert far.header.pose is None
    assert written(tmp_path, [far])["features"] == []


def test_a_scene_without_a_crs_is_told_once_and_leaves_no_map(tmp_path):
    frame = scene(tmp_path, crs=None)
    detection_map = DetectionMap(tmp_path)
    with capture_logs() as logs:
        detection_map.write(frame, [detection()])
        detection_map.write(frame, [detection()])
    assert not (tmp_path / NAME).exists()
    assert [(line["log_level"], line["scene"]) for line in logs] == [("warning", "a.tif")]
    assert "CRS" in logs[0]["event"]


def test_a_frame_that_is_no_raster_is_no_ones_business(tmp_path):
    frame = replace(scene(tmp_path), georeference=None)
    with capture_logs() as logs:
        DetectionMap(tmp_path).write(frame, [detection()])
    assert not logs
    assert not (tmp_path / NAME).exists()


def test_the_file_is_whole_after_every_scene(tmp_path):
    detection_map, frame = DetectionMap(tmp_path), scene(tmp_path)
    counts = []
    for found in ([], [detection(), detection("Car")], [], [detection()]):
        detection_map.write(frame, found)
        counts.append(len(json.loads((tmp_path / NAME).read_text())["features"]))
    detection_map.close()
    assert counts == [0, 2, 2, 3]


def test_a_run_removes_an_earlier_map_and_writes_its_own(tmp_path):
    (tmp_path / NAME).write_text("old")
    with RunOutputs(tmp_path, fps=1.0, video=False) as outputs:
        assert not (tmp_path / NAME).exists()
        outputs.write(scene(tmp_path), (detection(),), {})
    assert len(json.loads((tmp_path / NAME).read_text())["features"]) == 1


def test_a_full_disk_is_told_in_one_line(tmp_path):
    with RunOutputs(tmp_path, fps=1.0, video=False) as outputs:
        (tmp_path / NAME).symlink_to("/dev/full")
        with pytest.raises(ConfigError, match="free some space"):
            outputs.write(scene(tmp_path), (detection(),), {})
