import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_up_run import NAME, run_json, scenario, story

from protocols.values import Detection
from sim.errors import OutputError
from sim.ground_map import GroundTrack
from sim.operator import Given
from sim.plotting import label_colours
from sim.record import BankSeen, BytesSeen
from sim.run_figures import MAX_TRACKS, carried_until_s, clearest, power_figure
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
    assert "median of 1</span>" in html
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
    assert said["answers"] == "operator: Debris (2 boxes, wrong on purpose) to case 00000000: done"
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


def slowed(record, times: float = 2.0):
    """The same flight by an edge that needed some times as long."""
    return replace(record, frames=[replace(frame, clock_s=times * frame.time_s) for frame in record.frames])


def test_every_diagram_of_an_edge_that_did_not_keep_pace_has_recorded_seconds(record):
    told = story(slowed(replace(record, traffic=[*record.traffic, BytesSeen(11, 50_000, 0)])))
    page = craft_page(told, run_json(told)["craft"][NAME])
    assert "it needed 2.00 s for each recorded second" in render_run_html(run_json(told), [page])
    assert carried_until_s(told) == 6  # second 11 of the clock shows recorded second 5.5
    assert told.link_spans() == [(0, 2), (2.5, 6)]
    marks = {item.lane: item for item in told.happenings()}
    assert (marks["faults"].at_s, marks["faults"].end_s) == (2, 2.5)
    assert marks["answers"].at_s == 1.25
    assert marks["world"].at_s == 2  # the fog, which is in the pictures


def test_curves_reach_to_the_last_byte_after_the_recording(record):
    assert carried_until_s(
        story(replace(record, traffic=[*record.traffic, BytesSeen(11, 50_000, 0)]))
    ) == pytest.approx(11)


def test_a_run_without_any_link_says_so(tmp_path, record):
    cut = {"kind": "link-cut", "at_s": 0, "for_s": 6}
    told = CraftStory(NAME, scenario(fault=[cut]), replace(record, traffic=[BytesSeen(t, 0, 0) for t in range(7)]), {})
    write_run_report(tmp_path, run_json(told), [told])
    assert "There was no link: the scenario keeps it down for all of its 6 s." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("windows", "words"),
    [([[2, 3.5]], "up for 1.5 s of 6 s"), (None, "up all the time"), ([[0, 6]], "up all the time")],
)
def test_how_long_the_link_was_up_is_told(record, windows, words):
    link = {} if windows is None else {"windows": windows}
    told = CraftStory(NAME, scenario(fault=[], link=link), replace(record, traffic=[]), {})
    assert words in told.link_words()
    sections = craft_page(told, run_json(told)["craft"][NAME]).sections
    assert words in next(section.nothing for section in sections if section.title == "Link")


def test_an_answer_that_came_to_nothing_says_why(record):
    outcome = "skyloop-cloud review: the answer is kept, but no prompt was made: box it more tightly"
    given = Given("0" * 31 + "1", NAME, "Debris", 1, False, 5.0, outcome)
    told = replace(story(record), answers=[(2.5, given)])
    page = render_run_html(run_json(told), [craft_page(told, run_json(told)["craft"][NAME])])
    assert "(1 box) to case 00000000: the answer is kept, but no prompt was made: box it more tightly" in page


def test_false_alarms_and_labels_that_were_never_there_are_told(record):
    ghost = Detection(box_xyxy=(1, 1, 9, 9), label="Ghost", score=0.6, provenance="edge")
    seen = [replace(f, detections=(*f.detections, *(ghost,) * (f.index < 30))) for f in record.frames]
    told = story(replace(record, frames=seen))
    page = render_run_html(run_json(told), [craft_page(told, run_json(told)["craft"][NAME])])
    assert "False alarms a frame" in page
    assert "<td>Ghost</td><td>reported, but never there in this flight</td>" in page
    assert run_json(told)["craft"][NAME]["strays"][0]["boxes"] == 29  # one of the 30 frames was sent


def test_a_label_has_one_colour_on_the_whole_page(told, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("sim.run_report.recall_figure", lambda story, colours: given.append(colours))
    monkeypatch.setattr("sim.run_report.map_figure", lambda story, colours: given.append(colours))
    write_run_report(tmp_path, run_json(told), [told, told])
    assert given == [given[0]] * 4
    assert list(given[0]) == ["Debris", "Car"]


def test_labels_that_were_taught_differ_in_colour():
    colours = label_colours(["Debris", "Tent", "Car", "Debris"])
    assert len(set(colours.values())) == len(colours) == 3


def test_power_says_what_it_was_estimated_with(told):
    assert "with its defaults (orin-nano-15w)" in power_figure(told).caption
    craft = told.scenario.craft[0].model_dump()
    power = {"compute": {"mode": "agx-orin-30w"}, "battery": {"base_w": 150.0}}
    heavy = replace(told, scenario=told.scenario.changed(craft=[{**craft, "power": power}]))
    caption = power_figure(heavy).caption
    assert "the scenario's compute.mode = agx-orin-30w, battery.base_w = 150.0 and defaults for the rest" in caption
    assert "the module ends at 2" in caption


def test_a_crowded_map_draws_the_longest_tracks_and_those_of_prompts():
    def track(points: int, is_prompted: bool = False) -> GroundTrack:
        return GroundTrack("Car", is_prompted, np.zeros((points, 2)))

    chosen = clearest([*(track(n) for n in range(3, 3 + MAX_TRACKS)), track(3, is_prompted=True)])
    assert len(chosen) == MAX_TRACKS
    assert chosen[0].is_prompted
    assert min(len(item.points_m) for item in chosen[1:]) == 4


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
    assert row["loops"] == [[0.9, 612.0]]
    assert row["loops"][0][1] == row["loop_ms"]["p50"]  # the diagram and the tile tell the same loop


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
