import pytest
from pydantic import ValidationError

from sim.errors import ScenarioError
from sim.mission import MissionSettings, load_mission
from sim.scenario import template_text


def change(table: dict, path: str, value) -> dict:
    """Set `a.0.b` of nested dicts and lists."""
    *way, last = path.split(".")
    for part in way:
        table = table[int(part)] if isinstance(table, list) else table[part]
    table[int(last) if isinstance(table, list) else last] = value
    return table


def test_bundled_mission_has_ten_craft_for_two_days(constellation):
    assert (len(constellation.craft), constellation.hours) == (10, 48.0)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        pytest.param("craft", [], "at least one", id="zero craft"),
        pytest.param("craft.0.profile", "zeppelin", r"'zeppelin' is not among \[profiles\] \(cubesat", id="profile"),
        pytest.param("craft.1.name", "sat-a1", "'sat-a1' is there twice", id="same name"),
        pytest.param("craft.0.tle", None, "needs one of `tle` and `drone`", id="neither orbit nor drone"),
        pytest.param("stations", [], "has a TLE but there is no", id="no station"),
        pytest.param("craft.8.drone.offset_s", 200_000.0, "first goes up after 200000 s", id="link never up"),
        pytest.param("hours", 0, "greater than 0", id="no time"),
        pytest.param("start", "2026-03-20T00:00:00", "timezone", id="no time zone"),
        pytest.param("cloud.teacher_s", [9.0, 3.0], "shortest 9 is above longest 3", id="span reversed"),
        pytest.param("profiles.cubesat.rest.until_share", 0.1, "must be above below_share", id="rest"),
        pytest.param("profiles.cubesat.power.compute.mode", "tx2", "unknown power mode", id="power mode"),
        pytest.param("profiles.cubesat.spool.max_bytes", 1000, "max_bytes", id="spool below one case"),
        pytest.param("weather", "fog", "extra", id="unknown key"),
    ],
)
def test_impossible_mission_is_refused(mission_table, path, value, words):
    change(mission_table, path, value)
    with pytest.raises(ValidationError, match=f"(?is){words}"):
        MissionSettings.model_validate(mission_table)


def test_unknown_key_of_a_file_is_named_with_its_place(tmp_path, mission_text):
    file = tmp_path / "mine.toml"
    file.write_text(mission_text.replace("kinds = 400", "sorts = 400"))
    with pytest.raises(ScenarioError, match=r"mine\.toml: unknown key 'scene\.sorts'; choose one of kinds, "):
        load_mission(file)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("hours = 48.0", 'hours = "long"', r"hours = 'long' is not a number above 0 up to 1440; give one"),
        ("lat_deg = 78.23", "lat_deg = 95", r"stations\[0\]\.lat_deg = 95 is not a number from -90 to 90; give one"),
        ("[profiles.cubesat.camera]", "[profiles.cubesat.camra]", r"'profiles\.cubesat\.camra'; did you mean 'camera'"),
    ],
    ids=["hours", "latitude", "camera"],
)
def test_bad_value_of_a_file_is_told_with_what_would_do(tmp_path, mission_text, old, new, words):
    assert old in mission_text
    file = tmp_path / "mine.toml"
    file.write_text(mission_text.replace(old, new))
    with pytest.raises(ScenarioError, match=words):
        load_mission(file)


def test_scenario_is_sent_to_its_own_command(tmp_path):
    file = tmp_path / "flight.toml"
    file.write_text(template_text().replace("NAME", "flight"))
    with pytest.raises(ScenarioError, match=r"this is a scenario; use `skyloop-sim run .*flight\.toml`"):
        load_mission(file)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_mission(tmp_path / "none.toml")
