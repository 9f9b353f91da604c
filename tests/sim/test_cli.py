import errno
import json

import pytest
from typer.testing import CliRunner

from sim import cli
from sim.errors import LoopOpenError

runner = CliRunner()
REPORT = {
    "cases_sent": 3,
    "prompts_applied": 2,
    "wall_s": 60.0,
    "loop_ms": {"p50": 500.0, "p99": 900.0},
    "known": {"ap50_edge_only": 0.6, "ap50_with_prompts": 0.6},
    "unfamiliar": {
        "label": "Debris",
        "instances_before": 60,
        "instances_after": 900,
        "recall_before": 0.0,
        "recall_after": 0.7,
        "false_alarms_per_frame": 0.1,
        "ap50_with_prompts": 0.6,
    },
}


@pytest.mark.parametrize("words", [["-h"], ["demo", "-h"], ["render", "--help"], ["bench", "overhead", "-h"]])
def test_help_teaches_with_an_example(words):
    result = runner.invoke(cli.app, words)
    assert result.exit_code == 0
    assert "skyloop-sim" in result.output


def test_demo_prints_the_report_as_json(monkeypatch, tmp_path):
    monkeypatch.setattr("sim.demo.run_demo", lambda options, display: {**REPORT, "seed": options.seed})
    result = runner.invoke(cli.app, ["demo", "--json", "--seed", "5", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["seed"] == 5


def test_demo_prints_its_requirements(monkeypatch, tmp_path):
    monkeypatch.setattr("sim.demo.run_demo", lambda options, display: REPORT)
    result = runner.invoke(cli.app, ["demo", "--out", str(tmp_path)])
    assert "Recall of Debris after the first prompt" in result.stdout
    assert "report.html" in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["demo", "--seconds", "2"], id="too short"),
        pytest.param(["render", "--frames", "3", "--out", "x", "--mix", "nobody"], id="unknown mix"),
    ],
)
def test_bad_options_are_refused(words):
    assert runner.invoke(cli.app, words).exit_code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["disastre"], "did you mean 'disaster'", id="unknown scenario"),
        pytest.param(["--mix", "student"], "say how many images with --frames", id="endless mix"),
    ],
)
def test_render_says_what_is_missing(words, message, tmp_path):
    result = runner.invoke(cli.app, ["render", "--out", str(tmp_path / "x"), *words])
    assert message in str(result.exception)


def test_render_does_not_touch_a_folder_in_use(tmp_path):
    (tmp_path / "mine").write_text("")
    result = runner.invoke(cli.app, ["render", "--frames", "1", "--out", str(tmp_path), "--mix", "student"])
    assert result.exit_code == 1
    assert "not empty" in str(result.exception)


@pytest.mark.parametrize("mix", ["student", "teacher"])
def test_render_asks_for_the_mixs_contents(mix, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("sim.dataset.render_training_set", lambda *_, **contents: asked.update(contents))
    result = runner.invoke(cli.app, ["render", "--frames", "1", "--out", str(tmp_path / "x"), "--mix", mix])
    assert result.exit_code == 0
    assert asked["novel"]
    assert asked["debris"] is asked["bicycles"] is (mix == "teacher")


def test_render_writes_a_mix_with_masks_and_another_look(tmp_path):
    out = tmp_path / "mix"
    words = ["render", "--mix", "student", "--frames", "1", "--look", "multispectral", "--masks", "--out", str(out)]
    result = runner.invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    written = {str(path.relative_to(out)) for path in out.rglob("*.*")}
    name = "000000_multispectral"
    assert written == {f"images/{name}.npy", f"ids/{name}.png", f"cover/{name}.png", "annotations.json"}


def test_render_writes_a_mix_as_tracking_sequences(tmp_path):
    out = tmp_path / "mix"
    words = ["render", "--mix", "student", "--frames", "82", "--as", "tracking", "--look", "thermal", "--out", str(out)]
    result = runner.invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    assert {path.name: len(list((path / "frames").iterdir())) for path in out.iterdir()} == {
        "00000-thermal": 60,
        "00001-thermal": 22,
    }
    assert list(out.glob("00000-thermal/*/visibility.txt"))


def test_a_mix_too_short_for_a_sequence_is_refused(tmp_path):
    words = ["render", "--mix", "student", "--frames", "20", "--as", "tracking", "--out", str(tmp_path / "x")]
    assert "a tracking sequence has more than 20; ask for more" in str(runner.invoke(cli.app, words).exception)


def test_render_writes_a_flight(tmp_path):
    out = tmp_path / "flight"
    result = runner.invoke(cli.app, ["render", "disaster", "--frames", "2", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert len(list((out / "images").iterdir())) == 2
    assert len(json.loads((out / "annotations.json").read_text())["images"]) == 2
    assert len((out / "frames.jsonl").read_text().splitlines()) == 2


def test_render_writes_tracking_sequences(tmp_path):
    out = tmp_path / "tracks"
    words = ["render", "disaster", "--frames", "45", "--as", "tracking", "--out", str(out)]
    result = runner.invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    assert len(list((out / "frames").iterdir())) == 45
    assert list(out.glob("*/groundtruth.txt"))


def test_a_flight_longer_than_its_scenario_is_refused(tmp_path):
    words = ["render", "disaster", "--frames", "100000", "--out", str(tmp_path / "x")]
    assert "ask for at most 450" in str(runner.invoke(cli.app, words).exception)


def test_render_wants_either_a_scenario_or_a_mix(tmp_path):
    for words in ([], ["disaster", "--mix", "student"]):
        result = runner.invoke(cli.app, ["render", *words, "--frames", "2", "--out", str(tmp_path / "x")])
        assert "give one of" in str(result.exception)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(LoopOpenError("the loop did not close: no prompt"), "the loop did not close", id="open loop"),
        pytest.param(OSError(errno.ENOSPC, "No space left on device", "demo-out/x"), "free some space", id="disk full"),
        pytest.param(OSError("could not write x.jpg: is the disk full?"), "is the disk full", id="image not written"),
    ],
)
def test_foreseen_errors_are_one_line_and_exit_code_1(error, words, monkeypatch, capsys):
    def fail(**_):
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert words in said
    assert "\n" not in said


def test_an_unforeseen_oserror_keeps_its_traceback(monkeypatch):
    def fail(**_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(OSError, match="Input/output"):
        cli.main()
