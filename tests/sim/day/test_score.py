"""What was found, judged on the map."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sim.day.checks import checks_of
from sim.day.flight import CASE, DayRecord, PassRecord, told_prompts
from sim.day.score import MapFeatures, read_map, score_day
from sim.day.settings import Wanted
from sim.errors import RecordError

CRS = "urn:ogc:def:crs:EPSG::32656"
EAST, NORTH = 375_000.0, 6_604_000.0


def collection(boxes, **properties) -> MapFeatures:
    """Boxes of (west, south, east, north) metres from a corner of UTM, numbered."""
    rows = [
        {"label": "Novel", "provenance": "prompt:p", "score": 0.9, "scene": "a.tif", "object_id": n, "ignore": False}
        | {name: values[n] for name, values in properties.items()}
        for n in range(len(boxes))
    ]
    corner = np.array([EAST, NORTH, EAST, NORTH])
    return MapFeatures(CRS, np.array(boxes, np.float64).reshape(-1, 4) + corner, tuple(rows))


TRUTH = collection([(0, 0, 3, 3), (10, 0, 13, 3), (20, 0, 23, 3)])
NOTHING = collection([])


def judged(found, truth=TRUTH, before=NOTHING):
    return score_day(found, truth, before, 0.15)


def test_what_lies_on_it_is_found_and_how_far_off_is_told_in_pixels():
    score = judged(collection([(0.15, 0, 3.15, 3), (10, 0.3, 13, 3.3)]))
    assert score.recall == pytest.approx(2 / 3)
    assert sorted(score.offsets_px) == pytest.approx([1.0, 2.0], abs=0.01)
    assert score.offset_px == pytest.approx(1.5, abs=0.01)
    assert score.matches == (0, 1, -1)
    assert score.false_alarms == 0


def test_each_box_finds_one_and_the_surest_is_first():
    score = judged(collection([(0, 0, 3, 3), (0.3, 0, 3.3, 3)], score=[0.5, 0.8]))
    assert score.matches == (1, -1, -1)
    assert score.false_alarms == 1


def test_only_prompted_boxes_of_the_label_count():
    boxes = [(0, 0, 3, 3), (10, 0, 13, 3), (50, 50, 53, 53)]
    found = collection(boxes, label=["Car", "Novel", "Car"], provenance=["prompt:p", "edge", "edge"])
    assert (judged(found).recall, judged(found).false_alarms) == (0.0, 0)


def test_hidden_truth_is_neither_right_nor_wrong():
    truth = collection([(0, 0, 3, 3), (10, 0, 13, 3)], ignore=[False, True])
    score = judged(collection([(0, 0, 3, 3), (10, 0, 13, 3)]), truth)
    assert (score.recall, score.false_alarms) == (1.0, 0)


def test_old_and_new_ones_are_told_apart():
    score = judged(collection([(20, 0, 23, 3)]), before=collection([(0, 0, 3, 3), (10, 0, 13, 3)]))
    assert score.truths == {"stood there": 2, "new": 1}
    assert score.recalled == {"stood there": 0, "new": 1}


def test_nothing_there_and_nothing_found_have_no_numbers():
    score = judged(NOTHING, NOTHING)
    assert (score.recall, score.offset_px, score.false_alarms) == (None, None, 0)
    assert judged(NOTHING).recall == 0.0


@pytest.mark.parametrize("text", ["", "{}", '{"features": [{}], "crs": {}}'])
def test_a_damaged_file_is_told(tmp_path, text):
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(RecordError, match="fly again"):
        read_map(tmp_path / "a.geojson")
    with pytest.raises(RecordError, match="cannot be read"):
        read_map(tmp_path / "b.geojson")


def test_a_map_is_read_as_it_was_written(tmp_path):
    ring = [[EAST, NORTH + 3], [EAST, NORTH], [EAST + 2, NORTH], [EAST + 2, NORTH + 3], [EAST, NORTH + 3]]
    feature = {"geometry": {"coordinates": [ring]}, "properties": {"label": "Novel"}}
    content = {"features": [feature], "crs": {"properties": {"name": CRS}}}
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    found = read_map(tmp_path / "a.geojson")
    assert found.crs == CRS
    assert found.boxes.tolist() == [[EAST, NORTH, EAST + 2, NORTH + 3]]


@pytest.fixture
def good(plan):
    first = PassRecord(plan.passes[0], [(400.0, 90_000, 9_000)], [(20.0, CASE), (30.0, CASE)])
    second = PassRecord(plan.passes[1], [(300.0, 4_000, 15_000)], [(10.0, told_prompts(["Novel", "Novel", "Car"]))])
    return DayRecord((first, second), ("a", "b"), 0, ("a", "b"), (), ("Car", "Novel"))


def failed(record, score=None) -> list[str]:
    score = score or judged(collection([(0, 0, 3, 3), (10, 0, 13, 3), (20, 0, 23, 3)]))
    return [check.name for check in checks_of(record, score, Wanted()) if not check.is_met]


def test_the_pass_of_a_labels_first_prompt_is_known(good):
    assert [good.prompted_in(label) for label in ("Novel", "Car", "Debris")] == [2, 2, None]
    early = replace(good.passes[0], news=[(1.0, CASE), (2.0, told_prompts(["Car"]))])
    assert replace(good, passes=(early, good.passes[1])).prompted_in("Car") == 1


def test_a_good_day_passes_every_check(good):
    assert failed(good) == []


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"spooled": (), "kept": ()}, ["Cases spooled out of contact", "Of the cases kept in pass 1"]),
        ({"bytes_out_of_contact": 5}, ["Bytes carried out of contact"]),
        ({"kept": ("a",)}, ["Cases lost, kept twice"]),
        ({"kept": ("a", "b", "b")}, ["Cases lost, kept twice"]),
        ({"labels": ("Car",)}, ["Prompt for Novel on board"]),
    ],
)
def test_what_went_wrong_is_named(good, change, names):
    assert failed(replace(good, **change)) == names


def test_more_than_the_link_can_carry_cannot_be(good, plan):
    first = replace(good.passes[0], samples=[(400.0, round(plan.passes[0].edge_to_cloud_bytes()) + 1, 10)])
    silent = replace(good.passes[1], samples=[])
    assert failed(replace(good, passes=(first, silent))) == ["kB up, down in pass 1", "kB up, down in pass 2"]


def test_too_little_too_far_off_or_in_another_crs_is_named(good):
    assert failed(good, judged(NOTHING)) == ["Recall of Novel, second overpass", "Offset on the map, median px"]
    off = judged(collection([(0.5, 0, 3.5, 3), (10.5, 0, 13.5, 3), (20.5, 0, 23.5, 3)]))
    assert failed(good, off) == ["Offset on the map, median px"]
    there = judged(collection([(0, 0, 3, 3), (10, 0, 13, 3), (20, 0, 23, 3)]))
    assert failed(good, replace(there, crs="urn:ogc:def:crs:EPSG::4326")) == ["CRS of detections.geojson"]
