import json

import pytest
from typer.testing import CliRunner

from sim import cli
from sim.errors import OutputError, ScenarioError
from sim.mission.events import event_digest
from sim.mission_cli import bundled_missions

runner = CliRunner()


def call(*words: str):
    return runner.invoke(cli.app, ["mission", *words], env={"COLUMNS": "160"})


def test_help_teaches_with_an_example():
    result = call("--help")
    assert result.exit_code == 0
    assert "skyloop-sim mission constellation" in result.output


def test_mission_writes_events_summary_and_figure(tmp_path):
    out = tmp_path / "out"
    result = call("constellation", "--hours", "1", "--seed", "3", "--out", str(out), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told == json.loads((out / "summary.json").read_text())
    assert (told["seed"], told["hours"], len(told["craft"])) == (3, 1.0, 10)
    assert len((out / "events.jsonl").read_text().splitlines()) == told["events"]
    assert (out / "mission.png").stat().st_size > 10_000


def test_mission_prints_a_table_and_may_replace_itself(tmp_path):
    for _ in range(2):
        result = call("constellation", "--hours", "0.5", "--out", str(tmp_path / "out"))
        assert result.exit_code == 0, result.output
    assert "drone-2" in result.stdout
    assert "digest" in result.stdout


def test_template_is_a_mission_of_its_own(tmp_path):
    result = call("constellation", "--template")
    file = tmp_path / "mine.toml"
    file.write_text(result.stdout)
    assert call(str(file), "--hours", "0.2", "--out", str(tmp_path / "out"), "--json").exit_code == 0


def test_bundled_missions_are_found():
    assert bundled_missions() == ["constellation"]


def test_unknown_mission_is_named_with_the_bundled_ones(tmp_path):
    result = call("moonshot", "--out", str(tmp_path / "out"))
    assert isinstance(result.exception, ScenarioError)
    assert "choose one of constellation" in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("constelation", "did you mean 'constellation'"),
        ("disaster", "use `skyloop-sim run disaster`"),
        ("mine.toml", "no such file"),
    ],
)
def test_wrong_mission_is_told_with_the_cure(name, cure, tmp_path):
    result = call(name, "--out", str(tmp_path / "out"))
    assert cure in str(result.exception)


def test_impossible_length_leaves_no_folder_behind(tmp_path):
    result = call("constellation", "--hours", "0", "--out", str(tmp_path / "out"))
    assert "hours 0 is not a number above 0 up to 1440; give one" in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["--hours", "long"], ["--hours"]])
def test_bad_options_are_refused(words, tmp_path):
    assert call("constellation", "--out", str(tmp_path / "out"), *words).exit_code == 2


def test_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    result = call("constellation", "--hours", "0.1", "--out", str(tmp_path))
    assert isinstance(result.exception, OutputError)
    assert "thesis.tex" in str(result.exception)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_folder_that_cannot_be_made_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    result = call("constellation", "--hours", "0.1", "--out", str(tmp_path / name))
    assert isinstance(result.exception, OutputError)
    assert "--out" in str(result.exception)


def test_digest_in_the_summary_is_that_of_the_events(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("sim.mission.summary.event_digest", lambda events: seen.append(events) or event_digest(events))
    told = json.loads(call("constellation", "--hours", "0.2", "--out", str(tmp_path / "out"), "--json").stdout)
    assert told["digest"] == event_digest(seen[0])
