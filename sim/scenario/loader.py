"""Scenario files found by name or path, read and checked."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sim.errors import OutputError, ScenarioError
from sim.scenario.near import nearest
from sim.scenario.problems import describes_rather, problem_line
from sim.scenario.schema import Scenario

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEMPLATE = "template"
"""File in the folder of bundled scenarios that `skyloop-sim new` copies; no scenario of its own."""


def bundled_names() -> list[str]:
    """Names of the scenarios in the package."""
    names = (Path(item.name) for item in files("sim").joinpath("scenarios").iterdir())
    return sorted(path.stem for path in names if path.suffix == ".toml" and path.stem != TEMPLATE)


def template_text() -> str:
    """The commented file that new scenarios begin with."""
    return files("sim").joinpath("scenarios", f"{TEMPLATE}.toml").read_text("utf-8")


def new_scenario(name: str, path: Path) -> None:
    """Write the commented template under a name.

    Raises:
        ScenarioError: the name cannot be a scenario's.
        OutputError: the file exists, or cannot be written.
    """
    name = name.removesuffix(".toml")  # who types a file's name means the scenario in it
    text = template_text().replace('"NAME"', f'"{name}"').replace("NAME.toml", path.name)
    parse_scenario(text, f"scenario {name!r}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as exc:
        raise OutputError(f"{path}: exists already and is left alone; choose another --out, or remove it") from exc
    except OSError as exc:
        raise OutputError(f"{path}: cannot be written ({exc.strerror}); choose another --out") from exc


def find_scenario(name: str) -> Scenario:
    """A bundled scenario by its name, or one in a file by its path.

    Raises:
        ScenarioError: there is none, or it is bad.
    """
    if name in bundled_names():
        return parse_scenario(files("sim").joinpath("scenarios", f"{name}.toml").read_text("utf-8"), name)
    if Path(name).is_file():
        return load_scenario(Path(name))
    if "/" in name or name.endswith(".toml"):
        raise ScenarioError(f"{name}: no such file; make one with `skyloop-sim new NAME`")
    if files("sim").joinpath("missions", f"{name}.toml").is_file():
        raise ScenarioError(f"{name} is a mission; use `skyloop-sim mission {name}`")
    if files("sim").joinpath("days", f"{name}.toml").is_file():
        raise ScenarioError(f"{name} is a satellite's day; use `skyloop-sim run {name}`")
    raise ScenarioError(f"scenario {name!r} is not known; {nearest(name, bundled_names())}, or give a file's path")


def load_scenario(path: Path) -> Scenario:
    """The scenario in a file.

    Raises:
        ScenarioError: it cannot be read, is not TOML, or does not describe a flight that can happen.
    """
    try:
        return parse_scenario(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path}: cannot be read ({exc}); check the path") from exc


def parse_scenario(text: str, origin: str) -> Scenario:
    """The scenario in a text.

    Args:
        text: TOML.
        origin: of the text, for messages.

    Raises:
        ScenarioError: it is not TOML, or does not describe a flight that can happen.
    """
    data: dict[str, Any] = {}
    try:
        data = tomllib.loads(text)
        return Scenario.model_validate(data)
    except tomllib.TOMLDecodeError as exc:
        raise ScenarioError(f"{origin}: not valid TOML: {exc}") from exc
    except ValidationError as exc:
        from sim.mission.settings import MissionSettings

        if describes_rather(data, MissionSettings, Scenario):
            raise ScenarioError(f"{origin}: this is a mission; use `skyloop-sim mission {origin}`") from exc
        raise ScenarioError(f"{origin}: {problem_line(exc, Scenario)}") from exc
    except ScenarioError as exc:
        raise ScenarioError(f"{origin}: {exc}") from exc
