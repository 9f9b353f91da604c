"""A day from end to end with the real programs: a small one by default, the bundled one under `slow`."""

import json
import subprocess
import sys

import pytest
from rasterio.crs import CRS
from small_day import small_day

from edge.cli import RunConfig
from edge.config import read_toml
from sim.day.flight import CASE, edge_config, prompted_labels, waiting_scenes
from sim.day.run import DayOptions, require_checks, run_day
from sim.day.score import read_map
from sim.day.settings import EdgeSettings
from sim.display import Display
from sim.errors import LoopOpenError, ScenarioError


def run_sim(*arguments, timeout=900):
    code = "from sim.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory, high_mission):
    """Half a minute on an idle core: passes of two to three minutes, thirty times as fast as they happen."""
    out = tmp_path_factory.mktemp("day") / "out"
    day = small_day(mission=str(high_mission), wanted={"recall": 0.5, "offset_px": 2})
    return run_day(DayOptions(day, 1, out, "small.toml", speed=30), Display()), out


def test_the_whole_day_passes_its_checks(run):
    report, out = run
    assert {check["name"]: check["value"] for check in report["checks"] if not check["is_met"]} == {}
    require_checks(report, out)
    assert json.loads((out / "run.json").read_text())["checks"] == report["checks"]


def test_cases_wait_for_the_first_pass_and_prompts_come_in_the_second(run):
    report, _ = run
    first, second = report["passes"]
    kept = [what for _, what in first["news"] if what == CASE]
    assert len(kept) == report["cases"]["spooled"]
    assert "Novel" in [label for _, what in second["news"] for label in prompted_labels(what)]
    assert 0 < first["edge_to_cloud_bytes"] < first["edge_to_cloud_able_bytes"]
    assert [answer["label"] for answer in report["person"]] == ["Novel"] * report["cases"]["spooled"]


def test_nothing_is_prompted_before_and_new_ones_are_found_after(run):
    report, out = run
    before, after = (read_map(out / "edge" / name) for name in ("detections.1.geojson", "detections.geojson"))
    assert len(before.boxes)
    assert not len(before.of_label("Novel").boxes)
    assert len(after.of_label("Novel", by_prompt=True).boxes)
    assert report["unfamiliar"]["recalled"]["new"] > 0


def test_the_map_is_in_the_scenes_crs(run):
    report, out = run
    assert CRS.from_user_input(report["crs"]) == CRS.from_epsg(32656)
    west, south, east, north = read_map(out / "edge" / "detections.geojson").boxes.T
    assert ((west > 375_000) & (east < 376_500) & (south > 6_604_000) & (north < 6_605_000)).all()


def test_the_report_shows_all_of_it(run):
    _, out = run
    page = (out / "report.html").read_text()
    for words in (
        "Pass 1 over svalbard",
        "Offset on the map",
        "A person looks at",
        "asked about",
        "detections.geojson",
    ):
        assert words.lower() in page.lower()
    names = {path.name for path in (out / "figures").iterdir()}
    assert names == {"passes.png", "map.png", "asked-1.jpg", "found.jpg"}


def test_failed_checks_end_with_one_line(run):
    report, out = run
    failed = {**report, "checks": [{**report["checks"][0], "is_met": False}, *report["checks"][1:]]}
    with pytest.raises(LoopOpenError, match=r"^1 of 10 checks failed: Cases spooled out of contact: 1, wanted") as told:
        require_checks(failed, out)
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_the_bundled_day_passes_its_checks(tmp_path):
    done = run_sim("run", "satellite-day", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert all(check["is_met"] for check in report["checks"])
    assert report["unfamiliar"]["recall"] >= 0.6


@pytest.mark.parametrize("is_contact", [False, True])
def test_the_edges_settings_are_ones_it_reads(tmp_path, is_contact):
    (tmp_path / "edge.toml").write_text(edge_config(EdgeSettings(tile_px=256), 30.0, is_contact=is_contact))
    settings = read_toml(tmp_path / "edge.toml", RunConfig)
    assert (settings.tile_px, settings.paced, settings.video) == (256, is_contact, False)
    assert settings.agent.scheduler.patience_frames == 1


def test_no_picture_is_due_while_there_is_contact(tmp_path, plan):
    (tmp_path / "overpass-2").mkdir()
    (tmp_path / "overpass-2" / "scene-1.tif").write_bytes(b"scene")
    folder = waiting_scenes(tmp_path, plan)
    (line,) = (json.loads(text) for text in (folder / "frames.jsonl").read_text().splitlines())
    assert line["file"] == "scene-1.tif"
    assert line["time_s"] > 20 * 3600 > plan.passes[1].end_s - plan.passes[0].start_s


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--live",), 2, "--live: a satellite's day has no video to watch; leave it out"),
        (("--speed", "max"), 2, "--speed 'max' is not a number from 1 to 60"),
        (("--speed", "99"), 2, "--speed '99' is not a number from 1 to 60"),
    ],
)
def test_options_of_a_flight_that_a_day_has_not_are_refused(tmp_path, arguments, code, says):
    done = run_sim("run", "satellite-day", "--out", tmp_path / "out", *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_list_of_scenarios_names_the_day():
    rows = {row["name"]: row for row in json.loads(run_sim("scenarios", "--json").stdout)}
    assert rows["satellite-day"]["craft"] == ["sat-b1"]
    assert rows["satellite-day"]["seconds"] is None
    assert "a day" in run_sim("scenarios").stdout


def test_what_cannot_be_opened_is_told_before_anything_is_rendered(tmp_path):
    day = small_day(teacher={"name": "nowhere.onnx"})
    with pytest.raises(ScenarioError, match=r"small\.toml: teacher\.name: "):
        run_day(DayOptions(day, 1, tmp_path / "out", "small.toml"), Display())
    assert not (tmp_path / "out").exists()


def test_the_command_repeats_the_run(run):
    report, out = run
    assert report["command"] == f"skyloop-sim run small.toml --seed 1 --out {out} --speed 30"
    assert report["settings"]["speed"] == report["speed"] == 30
