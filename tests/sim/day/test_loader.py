"""Files of satellite's days, beside those of scenarios."""

from pathlib import Path

import pytest

from sim.compare import read_run
from sim.day.loader import bundled_days, day_text, find_run, parse_day
from sim.day.plan import plan_day
from sim.day.settings import SatelliteDay
from sim.errors import RecordError, ScenarioError
from sim.mission_cli import _find
from sim.scenario import Scenario, bundled_names, find_scenario


@pytest.mark.parametrize("name", bundled_days())
def test_every_bundled_day_can_be_flown(name):
    day = find_run(name)
    assert isinstance(day, SatelliteDay)
    assert day.name == name
    assert day.description
    assert plan_day(day).passes


def test_a_name_is_a_days_or_a_scenarios_and_never_both():
    assert isinstance(find_run("disaster"), Scenario)
    assert not set(bundled_days()) & set(bundled_names())


def test_a_file_says_which_it_is(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(day_text("satellite-day").replace('name = "satellite-day"', 'name = "mine"'))
    assert find_run(str(path)).name == "mine"
    path.write_text('name = "mine"\n[[craft]]\nname = "u"\nflight = { kind = "along-roads" }\n')
    assert isinstance(find_run(str(path)), Scenario)


@pytest.mark.parametrize("name", ["satelite-day", "disastre"])
def test_an_unknown_name_tells_the_nearest_of_both(name):
    with pytest.raises(ScenarioError, match=r"did you mean '(satellite-day|disaster)'.* or give a file's path"):
        find_run(name)


def test_missions_missing_files_and_other_commands_are_told():
    with pytest.raises(ScenarioError, match="is a mission; use `skyloop-sim mission constellation`"):
        find_run("constellation")
    with pytest.raises(ScenarioError, match="no such file"):
        find_run("nowhere.toml")
    with pytest.raises(ScenarioError, match="is a satellite's day; use `skyloop-sim run satellite-day`"):
        find_scenario("satellite-day")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lat_deg = 59.56", "lat_deg = 89.0", "place.lat_deg"),
        ("gsd_m = 0.15", "gsd = 0.15", "unknown key 'scene.gsd'; did you mean 'gsd_m'"),
        ("speed = 30.0", "speed = 900", "speed"),
        ("[place]", "[place", "not valid TOML"),
    ],
)
def test_a_bad_file_is_told_in_one_line(old, new, says):
    text = day_text("satellite-day")
    assert old in text
    with pytest.raises(ScenarioError) as error:
        parse_day(text.replace(old, new), "day.toml")
    assert says in str(error.value)
    assert str(error.value).startswith("day.toml: ")
    assert "\n" not in str(error.value)


def test_commands_for_flights_and_missions_say_that_it_is_a_day(tmp_path):
    (tmp_path / "run.json").write_text('{"kind": "satellite-day"}')
    with pytest.raises(RecordError, match="is of a satellite's day"):
        read_run(tmp_path)
    with pytest.raises(ScenarioError, match="satellite-day is a scenario; use `skyloop-sim run satellite-day`"):
        _find(Path("satellite-day"))
