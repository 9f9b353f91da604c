import re
import shutil
from importlib.resources import files

import pytest

from sim.errors import ScenarioError
from sim.scenario import bundled_names, find_scenario, load_scenario, template_text
from sim.scenario.loader import parse_scenario


def test_the_promised_scenarios_are_bundled():
    assert bundled_names() == ["disaster", "fleet", "port-pass", "pursuit", "search"]


@pytest.mark.parametrize("name", bundled_names())
def test_every_bundled_scenario_loads_under_its_own_name(name):
    scenario = find_scenario(name)
    assert scenario.name == name
    assert len(scenario.description) > 20


def test_disaster_is_the_demos_flight():
    scenario = find_scenario("disaster")
    assert (scenario.seconds, scenario.frames, len(scenario.craft)) == (30, 450, 1)
    assert scenario.event[0].at_s == scenario.seconds / 10


def test_a_scenario_is_found_by_path(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(template_text().replace("NAME", "mine"))
    assert find_scenario(str(file)) == load_scenario(file)


def test_an_unknown_name_lists_what_exists_and_the_nearest():
    with pytest.raises(ScenarioError, match=r"did you mean 'disaster'.*fleet, port-pass, pursuit, search"):
        find_scenario("dissaster")


def test_a_mission_is_sent_to_its_own_command(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text((files("sim") / "missions" / "constellation.toml").read_text())
    with pytest.raises(ScenarioError, match=r"mine\.toml: this is a mission; use `skyloop-sim mission .*mine\.toml`"):
        load_scenario(file)
    with pytest.raises(ScenarioError, match="use `skyloop-sim mission constellation`"):
        find_scenario("constellation")


@pytest.mark.parametrize("name", ["nowhere.toml", "no/such"])
def test_a_missing_file_is_told(name):
    with pytest.raises(ScenarioError, match=r"no such file.*skyloop-sim new"):
        find_scenario(name)


def test_damaged_files_are_told_with_their_path(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("name = ")
    with pytest.raises(ScenarioError, match=r"bad\.toml: not valid TOML"):
        load_scenario(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match=r"bad\.toml: cannot be read"):
        load_scenario(file)
    shutil.rmtree(tmp_path)
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(file)


def test_every_key_of_the_template_is_explained():
    for line in template_text().splitlines():
        if re.match(r"(# )?[a-z_]+ = ", line):
            assert re.search(r"\s# \S", line), line
    sections = re.findall(r"(.*)\n(?:# )?\[", template_text())
    assert len(sections) > 10


def test_the_template_shows_every_key_of_the_schema():
    from typing import get_args

    from pydantic import BaseModel

    from sim.scenario.schema import Scenario

    def sections(annotation) -> list:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [section for part in get_args(annotation) for section in sections(part)]

    def keys(model) -> set[str]:
        own = {name for name, field in model.model_fields.items()}
        return own.union(*(keys(s) for f in model.model_fields.values() for s in sections(f.annotation)))

    told = set(re.findall(r"\b([a-z_]+)\b", template_text()))
    assert keys(Scenario) <= told


def test_the_template_with_everything_switched_on_still_loads():
    lines = template_text().replace("NAME", "all").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("# The other flights"))
    told = [re.sub(r"^# (\[\[event\]\]|[a-z_]+ = )", r"\1", line) for line in lines[:start]]
    scenario = parse_scenario("\n".join(line for line in told if not line.startswith("student")), "template")
    assert [event.kind for event in scenario.event] == ["earthquake", "appear", "hide", "fog", "rain"]
