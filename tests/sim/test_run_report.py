import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_up_run import NAME, run_json, scenario, story

from sim.errors import OutputError
from sim.record import BankSeen, BytesSeen
from sim.run_figures import carried_until_s
from sim.run_report import craft_page, render_run_html, write_run_report
from sim.run_story import LANES, CraftStory, read_poses


@pytest.fixture(scope="module")
def told(record):
    return story(record)


@pytest.fixture(scope="module")
def page(told):
    return craft_page(told, run_json(told)["craft"][NAME])


def test_the_page_is_self_contained(told, page):
    html = render_run_html(run_json(told), [page])
    assert not re.search(r"https?://", html)
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert html.count("data:image/png;base64,") == 7
    assert html.count("data:image/jpeg;base64,") == 4
    for words in (
        "made-up, seed 4",
        "prompt, in force from 1.5 s",
        "first prompt: Debris",
        "An estimate, not a measure",
    ):
        assert words in html


def test_several_craft_have_an_overview(told, page):
    report = run_json(told)
    other = replace(page, story=replace(told, name=NAME), row=page.row)
    assert "All craft" in render_run_html(report, [page, other])
    assert "All craft" not in render_run_html(report, [page])


def test_the_story_tells_every_lane_in_order(told):
    happenings = told.happenings()
    assert [item.at_s for item in happenings] == sorted(item.at_s for item in happenings)
    assert {item.lane for item in happenings} == set(LANES)
    said = {item.lane: item.words for item in happenings}
    assert said["faults"] == "link cut, 1 s"
    assert said["cases"].endswith("answered with a prompt")
    assert said["answers"] == "operator: Debris (2 boxes, wrong on purpose) to case 00000000"
    assert [(item.at_s, item.end_s) for item in happenings if item.lane == "link"] == [(0, 4), (5, 6)]


def test_a_flight_with_nothing_to_show_says_so_in_one_line_each(record):
    frames = [replace(frame, detections=(), case_id=None) for frame in record.frames]
    quiet = replace(record, frames=frames, banks=[], traffic=[])
    told = CraftStory(NAME, scenario(fault=[], event=[]), quiet, {})
    page = craft_page(told, run_json(told)["craft"][NAME])
    html = render_run_html(run_json(told), [page])
    empty = [section.title for section in page.sections if section.picture is None]
    assert empty == ["Recall", "Bytes", "Loop latency", "Link", "Map"]
    for words in ("Nothing crossed the link.", "No prompt came into force", "No pose of any frame was known."):
        assert words in html


def test_curves_reach_to_the_last_byte_of_an_edge_that_did_not_keep_pace(record):
    slow = replace(record, summary={**record.summary, "fps": 5.0}, traffic=[*record.traffic, BytesSeen(11, 50_000, 0)])
    told = story(slow)
    page = craft_page(told, run_json(told)["craft"][NAME])
    assert "it needed 2.00 s for each recorded second" in render_run_html(run_json(told), [page])
    assert carried_until_s(told) == 11


def test_a_label_taught_but_never_in_view_is_told(record):
    bank = BankSeen(1, ("Tent",), ())
    told = story(replace(record, banks=[bank]))
    assert told.unscored == ["Tent"]
    page = craft_page(told, run_json(told)["craft"][NAME])
    assert "nothing of the kind was in view outside of cases: Tent" in render_run_html(run_json(told), [page])


def test_report_and_figures_are_written(tmp_path, told):
    write_run_report(tmp_path, run_json(told), [told])
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    kinds = ("recall", "bytes", "loop", "link", "power", "map", "timeline")
    assert {f"{NAME}-{kind}.png" for kind in kinds} <= names
    assert {f"{NAME}-debris-before.jpg", f"{NAME}-debris-after.jpg"} <= names
    picture = cv2.imread(str(tmp_path / "figures" / f"{NAME}-map.png"))
    assert np.ptp(picture) > 200


def test_what_the_report_adds_to_run_json_is_json(told):
    row = run_json(told)["craft"][NAME]
    assert json.loads(json.dumps(row)) == row
    assert [item["label"] for item in row["recall"]] == ["Debris", "Car"]
    assert row["loops"] == [[0.9, 600.0]]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path, told):
    (tmp_path / "figures").write_text("a file where a folder is wanted")
    with pytest.raises(OutputError, match=r"report cannot be written.*free some space"):
        write_run_report(tmp_path, run_json(told), [told])


def test_poses_are_read_where_they_are_known(tmp_path):
    pose = {"lat_deg": 47.0, "lon_deg": 8.0, "altitude_m": 50, "yaw_deg": 0, "pitch_deg": -90, "roll_deg": 0}
    lines = [{"index": 0, "pose": pose}, {"index": 1, "pose": {}}, {"index": 2}]
    (tmp_path / "frames.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert list(read_poses(tmp_path)) == [0]


def test_power_is_that_of_the_crafts_battery_and_module(told):
    craft = told.scenario.craft[0].model_dump()
    hungry = told.scenario.changed(craft=[{**craft, "power": {"battery": {"base_w": 110.0}}}])
    assert replace(told, scenario=hungry).power.mean_w == pytest.approx(told.power.mean_w + 100)
