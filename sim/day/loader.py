"""Files of satellite's days, found by name or path; anything else is a scenario's."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sim.day.settings import KIND, SatelliteDay
from sim.errors import ScenarioError
from sim.scenario import Scenario, bundled_names, find_scenario
from sim.scenario.near import nearest
from sim.scenario.problems import problem_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def bundled_days() -> list[str]:
    """Names of the days in the package."""
    names = (Path(item.name) for item in files("sim").joinpath("days").iterdir())
    return sorted(path.stem for path in names if path.suffix == ".toml")


def day_text(name: str) -> str:
    """The file of a bundled day."""
    return files("sim").joinpath("days", f"{name}.toml").read_text("utf-8")


def find_run(name: str) -> Scenario | SatelliteDay:
    """What `skyloop-sim run` shall fly: a bundled scenario or day by its name, or one in a file by its path.

    Raises:
        ScenarioError: there is none, or it is bad.
    """
    if name in bundled_days():
        return parse_day(day_text(name), name)
    if Path(name).is_file() and is_day(Path(name)):
        return parse_day(Path(name).read_text("utf-8"), name)
    known = [*bundled_names(), *bundled_days()]
    is_word = "/" not in name and not name.endswith(".toml") and not Path(name).is_file()
    if is_word and name not in known and not files("sim").joinpath("missions", f"{name}.toml").is_file():
        raise ScenarioError(f"scenario {name!r} is not known; {nearest(name, known)}, or give a file's path")
    return find_scenario(name)


def is_day(path: Path) -> bool:
    """Whether a file says that it is a satellite's day; one that cannot be read is left to the scenarios' loader."""
    try:
        return bool(tomllib.loads(path.read_text("utf-8")).get("kind") == KIND)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False


def parse_day(text: str, origin: str) -> SatelliteDay:
    """The day in a text.

    Args:
        text: TOML.
        origin: of the text, for messages.

    Raises:
        ScenarioError: it is not TOML, or describes no day.
    """
    data: dict[str, Any]
    try:
        data = tomllib.loads(text)
        return SatelliteDay.model_validate(data)
    except tomllib.TOMLDecodeError as exc:
        raise ScenarioError(f"{origin}: not valid TOML: {exc}") from exc
    except ValidationError as exc:
        raise ScenarioError(f"{origin}: {problem_line(exc, SatelliteDay)}") from exc
