import json
import math
import re

import pytest
from made_up_run import NAME, run_json, story
from typer.testing import CliRunner

from sim import cli
from sim.compare import compare_runs, read_run
from sim.compare_page import change, curve_pictures, shown
from sim.errors import OutputError, RecordError

runner = CliRunner()
DEMO = {
    "frames": 450, "fps": 15.0, "cases_sent": 40, "bytes": {"edge_to_cloud": 900_000, "cloud_to_edge": 300_000},
    "prompts_applied": 9, "loop_ms": {"p50": 300.0, "p99": 900.0}, "seed": 1,
    "unfamiliar": {"label": "Debris", "recall_after": 0.7},
}  # fmt: skip


@pytest.fixture
def run_of(tmp_path, record):
    """Writes a run folder with some changes."""

    def write(name: str, craft: str = NAME, **values):
        row_values = {key: values.pop(key) for key in ("fps", "slowdown", "recall") if key in values}
        run = {**run_json(story(record)), **values}
        run["craft"] = {craft: {**run["craft"][NAME], **row_values}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(run))
        return tmp_path / name

    return write


def test_measures_of_two_runs_stand_side_by_side_with_their_difference(run_of):
    comparison = compare_runs(read_run(run_of("a")), read_run(run_of("b", fps=12.5)))
    rows = {row.measure: row for row in comparison.rows[NAME]}
    assert (rows["frames/s"].a, rows["frames/s"].b, rows["frames/s"].difference) == (10.0, 12.5, 2.5)
    for name in ("cases sent", "kB edge to cloud", "prompts applied", "loop p50 (ms)"):
        assert rows[name].difference == 0
    assert rows["recall of Debris after its prompt"].a == 0.7556
    assert rows["power (W, estimate)"].a > 10
    assert comparison.warnings == []


def test_other_scenarios_and_seeds_are_warned_of_and_still_compared(run_of):
    a, b, c = run_of("a"), run_of("b", seed=5), run_of("c", scenario="other")
    assert "different seeds, 4 and 5" in compare_runs(read_run(a), read_run(b)).warnings[0]
    other = compare_runs(read_run(a), read_run(c))
    assert "different scenarios, made-up and other" in other.warnings[0]
    assert other.rows[NAME]


def test_a_demo_is_read_too(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(DEMO))
    demo = read_run(tmp_path)
    rows = {row.measure: row.a for row in compare_runs(demo, demo).rows["demo-craft"]}
    assert (rows["frames"], rows["recall of Debris after its prompt"]) == (450, 0.7)


def test_a_run_of_an_earlier_version_lacks_what_it_did_not_write(run_of):
    folder = run_of("a")
    run = json.loads((folder / "run.json").read_text())
    for key in ("recall", "loops", "power"):
        del run["craft"][NAME][key]
    (folder / "run.json").write_text(json.dumps(run))
    comparison = compare_runs(read_run(folder), read_run(run_of("b")))
    rows = {row.measure: row for row in comparison.rows[NAME]}
    assert rows["power (W, estimate)"].a is None
    assert rows["recall of Car"].difference is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"craft": {"uav": 1}}', '{"craft": {}, "seed": "x", "scenario": 1}', '{"craft": {}}']
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RecordError, match=r"run\.json: not what `skyloop-sim` writes .*run the scenario again") as told:
        read_run(tmp_path)
    assert "\n" not in str(told.value)


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(RecordError, match=r"holds neither run\.json nor report\.json; give a folder"):
        read_run(tmp_path)
    with pytest.raises(RecordError, match="is no folder"):
        read_run(tmp_path / "none")


def test_craft_of_other_names_are_compared_in_order_with_a_warning(run_of, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(DEMO))
    comparison = compare_runs(read_run(run_of("a")), read_run(tmp_path))
    assert list(comparison.rows) == [f"{NAME} / demo-craft"]
    scenarios, demo, craft = comparison.warnings
    assert scenarios.startswith("different scenarios")
    assert "counted before encryption" in demo
    assert craft == "no craft in common: uav and demo-craft are compared in this order"


def test_craft_that_only_one_run_flew_are_left_out_with_a_warning(run_of):
    folder = run_of("two")
    run = json.loads((folder / "run.json").read_text())
    run["craft"]["other"] = run["craft"][NAME]
    (folder / "run.json").write_text(json.dumps(run))
    comparison = compare_runs(read_run(folder), read_run(run_of("one")))
    assert list(comparison.rows) == [NAME]
    assert comparison.warnings == [f"only {folder} flew other: left out"]


def test_the_command_prints_a_table_and_writes_a_self_contained_page(run_of, tmp_path):
    a, b, out = run_of("a"), run_of("b", fps=12.5), tmp_path / "both.html"
    result = runner.invoke(cli.app, ["compare", str(a), str(b), "--out", str(out)])
    assert result.exit_code == 0
    assert re.search(r"frames/s\s+10\.0\s+12\.5\s+\+2\.5\b", result.stdout)
    page = out.read_text()
    assert not re.search(r"https?://", page)
    assert page.count("data:image/png;base64,") == 5  # recall of two labels, bytes, loops, power


def test_the_command_prints_json(run_of):
    a = str(run_of("a"))
    told = json.loads(runner.invoke(cli.app, ["compare", a, a, "--json"]).stdout)
    assert (told["a"]["scenario"], told["warnings"]) == ("made-up", [])
    assert told["craft"][NAME][0] == {"measure": "frames", "a": 60, "b": 60, "difference": 0}


def test_a_page_that_cannot_be_written_is_told(run_of, tmp_path):
    a = str(run_of("a"))
    error = runner.invoke(cli.app, ["compare", a, a, "--out", str(tmp_path / "none" / "x.html")]).exception
    assert isinstance(error, OutputError)
    assert "choose another --out" in str(error)


@pytest.mark.parametrize(
    ("value", "digits", "words"),
    [(None, 2, "-"), (0, 0, "0"), (1.0, 2, "1.00"), (0.7556, 2, "0.76"), (12.5, 1, "12.5"), (1234.5, 0, "1,234")],
)
def test_a_measure_has_its_own_digits_whatever_its_value(value, digits, words):
    assert shown(value, digits) == words


@pytest.mark.parametrize(
    ("value", "digits", "words"),
    [(None, 2, "-"), (0.001, 2, "0"), (2.5, 2, "+2.50"), (-0.1, 2, "-0.10"), (1500, 0, "+1,500")],
)
def test_differences_carry_their_sign(value, digits, words):
    assert change(value, digits) == words


def test_counts_are_whole_and_the_rows_of_a_label_stand_together(run_of, record):
    tent = {"label": "Tent", "recall": 1.0, "after": None, "over_time": [[0.5, 1.0]], "false_alarms_per_frame": 0.0}
    rows = list(run_json(story(record))["craft"][NAME]["recall"])
    comparison = compare_runs(read_run(run_of("a")), read_run(run_of("b", recall=[tent, *rows])))
    found = comparison.rows[NAME]
    assert {row.measure: row.digits for row in found}["prompts applied"] == 0
    names = [row.measure for row in found]
    of_label = [name.split(" of ")[1].split()[0] for name in names if name.startswith(("recall", "false"))]
    assert of_label == sorted(of_label, key=["Debris", "Car", "Tent"].index)
    assert names.index("power (W, estimate)") < names.index("recall of Debris")
    assert "recall of Tent after its prompt" not in names


def test_another_speed_and_another_pace_are_warned_of(run_of):
    a, b = read_run(run_of("a", slowdown=1.0)), read_run(run_of("b", speed=4.0, slowdown=2.26))
    speed, pace = compare_runs(a, b).warnings
    assert speed.startswith("flown 1 and 4 times as fast")
    assert pace.startswith("uav: the edge took 1.00 s in A and 2.26 s in B for each recorded second")
    assert compare_runs(a, a).warnings == []


def test_settings_that_differ_are_listed(run_of, record, tmp_path):
    settings = run_json(story(record))["settings"]
    link = {**settings["link"], "latency_ms": 900.0}
    craft = [{**settings["craft"][0], "student": "other"}]
    b = run_of("b", settings={**settings, "link": link, "craft": craft, "description": "in other words"})
    comparison = compare_runs(read_run(run_of("a")), read_run(b))
    found = {item.key: (item.a, item.b) for item in comparison.settings}
    assert set(found) == {"link.latency_ms", "craft.0.student"}
    assert found["link.latency_ms"][1] == "900.0"
    assert comparison.as_json()["settings"][0].keys() == {"key", "a", "b"}
    out = tmp_path / "both.html"
    result = runner.invoke(cli.app, ["compare", str(comparison.a.folder), str(b), "--out", str(out)])
    assert re.search(r"link\.latency_ms\s+\S+\s+900\.0", result.stdout)
    assert "<td>link.latency_ms</td>" in out.read_text()


def test_axes_do_not_depend_on_the_names_of_craft(run_of, monkeypatch):
    drawn = []
    monkeypatch.setattr("sim.compare_page.png_picture", lambda figure, *_: drawn.append(figure.axes[0]))
    pair = read_run(run_of("a", craft="total recall: two")).craft["total recall: two"]
    curve_pictures("total recall: two", pair, pair)
    labels = [axes.get_ylabel() for axes in drawn]
    assert labels[-3:] == ["kB from edge to cloud", "loop latency (ms)", "power (W), an estimate"]
    assert [axes.get_ylim()[1] == 1.04 for axes in drawn] == [True, True, False, False, False]


def test_curves_have_a_gap_where_nothing_was_in_view(run_of, record):
    rows = list(run_json(story(record))["craft"][NAME]["recall"])
    rows[0] = {**rows[0], "bin_s": 1.0, "over_time": [[0.5, 1.0], [4.5, 0.0]]}
    curve = read_run(run_of("a", recall=rows)).craft[NAME].recall["Debris"]
    assert [at_s for at_s, _ in curve] == [0.5, 1.5, 4.5]
    assert math.isnan(curve[1][1])
