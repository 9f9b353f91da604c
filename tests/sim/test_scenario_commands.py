import json

import pytest
from typer.testing import CliRunner

from sim import cli
from sim.errors import OutputError, ScenarioError
from sim.scenario import load_scenario

runner = CliRunner()
CRAFT = {
    "frames": 30, "cases_sent": 2, "bytes_on_the_wire": {"edge_to_cloud": 41_000, "cloud_to_edge": 9_000},
    "prompts_applied": 1, "loop_ms": {"p50": 612.0}, "labels_learned": ["Debris"],
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """What `run` was asked for, without flying it."""
    seen = []

    def run(options, display, onlooker):
        seen.append((options, onlooker))
        report = {
            "scenario": options.scenario.name,
            "seed": options.seed,
            "wall_s": 3.0,
            "speed": 1.0,
            "events_sha256": "ab" * 32,
        }
        return {**report, "craft": {"uav": CRAFT}}

    monkeypatch.setattr("sim.runner.run_scenario", run)
    return seen


def test_scenarios_are_listed():
    result = runner.invoke(cli.app, ["scenarios", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert (rows["disaster"]["seconds"], rows["fleet"]["craft"]) == (30, ["north", "east", "south", "west"])
    table = runner.invoke(cli.app, ["scenarios"]).stdout
    assert all(name in table for name in rows)


def test_run_flies_a_scenario_with_seed_and_folder(asked, tmp_path):
    result = runner.invoke(cli.app, ["run", "disaster", "--seed", "7", "--out", str(tmp_path), "--json"])
    assert json.loads(result.stdout)["seed"] == 7
    ((options, onlooker),) = asked
    assert (options.scenario.name, options.seed, options.out, onlooker) == ("disaster", 7, tmp_path, None)


def test_run_prints_what_became_of_every_craft(asked):
    result = runner.invoke(cli.app, ["run", "disaster", "--live"])
    for word in ("uav", "41", "612", "Debris", "disaster-out", "abab"):
        assert word in result.stdout
    assert asked[0][1] is not None


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["demo"], id="demo"),
        pytest.param(["run", "disaster"], id="run"),
        pytest.param(["render", "disaster"], id="render"),
        pytest.param(["render", "--mix", "student", "--frames", "1"], id="mix"),
        pytest.param(["mission", "constellation"], id="mission"),
    ],
)
def test_every_command_takes_the_same_seeds(asked, words, tmp_path):
    error = runner.invoke(cli.app, [*words, "--out", str(tmp_path / "x"), "--seed", "2147483648"]).exception
    assert "--seed '2147483648' is not a whole number from 0 to 2147483647" in str(error)
    assert not (tmp_path / "x").exists()


def test_what_was_flown_with_a_great_seed_can_be_rendered(tmp_path):
    words = ["render", "disaster", "--frames", "1", "--seed", "2147483647", "--out", str(tmp_path / "x")]
    result = runner.invoke(cli.app, words)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("seed", ["x", "-1", "1.5", "99999999999", "²"])
def test_a_seed_that_is_no_number_is_told(asked, seed):
    error = runner.invoke(cli.app, ["run", "disaster", f"--seed={seed}"]).exception
    assert isinstance(error, ScenarioError)
    assert "is not a whole number from 0 to" in str(error)
    assert not asked


def test_new_writes_a_scenario_that_loads_and_never_overwrites(tmp_path):
    path = tmp_path / "mine.toml"
    result = runner.invoke(cli.app, ["new", "my-flight", "--out", str(path)])
    assert f"skyloop-sim run {path}" in result.stdout
    assert load_scenario(path).name == "my-flight"
    path.write_text("mine")
    error = runner.invoke(cli.app, ["new", "my-flight", "--out", str(path)]).exception
    assert isinstance(error, OutputError)
    assert "left alone" in str(error)
    assert path.read_text() == "mine"


def test_new_takes_the_name_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runner.invoke(cli.app, ["new", "my.toml"]).exit_code == 0
    assert load_scenario(tmp_path / "my.toml").name == "my"


def test_new_refuses_names_and_folders_that_cannot_be(tmp_path):
    error = runner.invoke(cli.app, ["new", "My Flight", "--out", str(tmp_path / "x.toml")]).exception
    assert "use lower-case letters, digits and hyphens" in str(error)
    error = runner.invoke(cli.app, ["new", "x", "--out", str(tmp_path / "none" / "x.toml")]).exception
    assert isinstance(error, OutputError)


def test_brackets_of_toml_survive_in_an_error(monkeypatch, capsys):
    def fail(**_):
        raise ScenarioError("craft: there is none; add at least one [[craft]] with a [craft.flight]")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert "[[craft]] with a [craft.flight]" in capsys.readouterr().err
