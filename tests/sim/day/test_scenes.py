"""The scenes of a day: GeoTIFFs that fit together, with the truth where it is on the map."""

import sys

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.warp import transform
from small_day import MAGADAN, small_day

from distill.dataset import read_data_set
from edge.detection_map import box_ring
from edge.raster import open_raster
from sim.day.scenes import (
    PIECE_PX,
    TRUTH,
    MapPlace,
    _in_scene,
    _renderer,
    _world,
    count_pieces,
    joined,
    map_place,
    pieces_of,
    pose_over,
    render_day,
    scene_name,
)
from sim.day.score import UNFAMILIAR, read_map
from sim.day.settings import PlaceSettings
from sim.errors import ScenarioError
from sim.world.layout import Label
from sim.world.truth import TruthObject

SIDE, GSD_M = 1100, 0.2  # two pieces a side, the second nearly all beyond the border
DAY = small_day(
    scene={"count": 2, "side_px": SIDE, "gsd_m": GSD_M},
    strange={"at_first": 8, "later": 4},
    world={"landscape": "port", "people_per_hectare": 0},
)


@pytest.fixture(scope="module")
def flight(tmp_path_factory, plan):
    folder, done = tmp_path_factory.mktemp("flight"), []
    render_day(folder, DAY, plan, 1, done.append)
    assert done == list(range(1, count_pieces(DAY) + 1))
    return folder


def truth_of(flight, overpass):
    return read_map(flight / f"overpass-{overpass}" / TRUTH)


def thing(box, visible=1.0, area=100, object_id=1):
    return TruthObject(object_id, Label.NOVEL, 5, box, visible, area)


def test_scenes_lie_side_by_side_about_the_place_in_utm(flight):
    west, east = (rasterio.open(flight / "overpass-1" / scene_name(number)) for number in (0, 1))
    with west, east:
        assert west.crs.to_epsg() == east.crs.to_epsg() == 32656
        assert west.bounds.right == pytest.approx(east.bounds.left)
        assert west.bounds.top == pytest.approx(east.bounds.top)
        assert (west.width, west.height, west.count) == (SIDE, SIDE, 3)
        assert west.tags()["TIFFTAG_DATETIME"].startswith("2026:03:20 02:50")
        assert west.overviews(1)
        middle = transform(west.crs, "OGC:CRS84", [west.bounds.right], [(west.bounds.top + west.bounds.bottom) / 2])
    assert (middle[1][0], middle[0][0]) == pytest.approx((MAGADAN["lat_deg"], MAGADAN["lon_deg"]), abs=1e-5)


def test_the_edge_sees_the_ground_sampling_distance(flight):
    assert open_raster(flight / "overpass-1" / scene_name(0)).gsd_m == pytest.approx(GSD_M, rel=0.001)


@pytest.mark.parametrize(("lon_deg", "lat_deg", "crs"), [(8.0, 47.0, 32632), (-70.9, -53.2, 32719), (-180, 1, 32601)])
def test_the_zone_follows_from_the_place(lon_deg, lat_deg, crs):
    where = map_place(PlaceSettings(lat_deg=lat_deg, lon_deg=lon_deg))
    assert where.crs == f"EPSG:{crs}"
    assert 100_000 < where.east_m < 900_000


def test_truth_in_pixels_and_truth_on_the_map_are_the_same_place(flight):
    items, on_map = read_data_set(flight / "overpass-2", "all"), truth_of(flight, 2)
    place = open_raster(flight / "overpass-2" / scene_name(1)).georeference
    boxes = [
        box for box, label in zip(items.items[1].boxes_xyxy, items.items[1].labels, strict=True) if label == "Novel"
    ]
    expected = [np.array(box_ring(box.tolist(), place)) for box in boxes]
    found = on_map.chosen([row for row, p in enumerate(on_map.properties) if p["scene"] == scene_name(1)])
    found = found.of_label(UNFAMILIAR)
    assert len(boxes) == len(found.boxes) > 3
    np.testing.assert_allclose(found.boxes, [[*r.min(axis=0), *r.max(axis=0)] for r in expected], atol=0.02)


def test_strange_things_stay_and_more_have_come(flight):
    before, after = (
        {(p["scene"], p["object_id"]) for p in truth_of(flight, n).of_label(UNFAMILIAR).properties} for n in (1, 2)
    )
    assert before < after
    assert len(after) > 1.2 * len(before)


def test_they_are_of_one_kind_in_all_scenes_and_no_training_set(flight):
    items = [item for n in (1, 2) for item in read_data_set(flight / f"overpass-{n}", "all")]
    kinds = {int(kind) for item in items for kind in item.kinds if kind >= 0}
    assert len(kinds) == 1
    assert kinds.pop() >= 20_000


def test_pieces_show_the_same_ground_to_a_fraction_of_a_pixel(plan):
    renderer = _renderer(_world(DAY, plan, 1, 0), DAY.scene)
    here, beside = (renderer.render(pose_over((left, 0), DAY.scene), 0.0)[0] for left in (0, 400))
    both = [cv2.GaussianBlur(part.astype(np.float32), (0, 0), 4) for part in (here[:, 400:], beside[:, :-400])]
    apart, moved = np.abs(both[0] - both[1]), np.abs(both[0][:, 1:] - both[1][:, :-1])
    assert apart.mean() < 0.3 * moved.mean()  # what is left is noise; one pixel off would be seen
    # No darker corners either: the shared strip lies at the right of one piece and at the left of the other.
    assert abs(float((both[0] - both[1])[:, -100:].mean())) < 0.2


def test_the_same_seed_gives_the_same_scenes(flight, tmp_path, plan):
    render_day(tmp_path, DAY, plan, 1)
    for name in (scene_name(0), TRUTH):
        first, again = ((folder / "overpass-2" / name).read_bytes() for folder in (flight, tmp_path))
        assert first == again


def test_pieces_cover_the_scene_and_look_straight_down():
    pieces = list(pieces_of(SIDE))
    assert pieces == [(0, 0), (PIECE_PX, 0), (0, PIECE_PX), (PIECE_PX, PIECE_PX)]
    pose = pose_over((0, 0), DAY.scene)
    assert (pose.east_m, pose.north_m) == pytest.approx(((512 - 550) * GSD_M, (550 - 512) * GSD_M))


def test_a_thing_that_a_seam_cuts_is_one_thing():
    left, right = thing((1000, 10, 1024, 40), 0.6, 60), thing((1024, 12, 1040, 44), 0.4, 40)
    whole = joined([left, right])
    assert whole.box_xyxy == (1000, 10, 1040, 44)
    assert whole.visible == 1.0
    assert whole.area_px == 100


def test_what_a_last_piece_shows_beyond_the_border_is_cut_off():
    assert _in_scene(thing((100, 0, 140, 10)), (PIECE_PX, 0), SIDE) is None
    cut = _in_scene(thing((66, 0, 86, 10)), (PIECE_PX, 0), SIDE)
    assert cut.box_xyxy == (1090, 0, 1100, 10)
    assert cut.visible == pytest.approx(0.5)


def test_corners_count_from_the_west():
    where = MapPlace("EPSG:32656", 1000.0, 2000.0)
    assert where.corner_m(DAY.scene, 0) == pytest.approx((1000 - 220, 2110))
    assert where.corner_m(DAY.scene, 1) == pytest.approx((1000, 2110))


def test_without_rasterio_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ScenarioError, match=r"pip install 'skyloop\[geo\]'"):
        map_place(PlaceSettings(lat_deg=47.0, lon_deg=8.0))
