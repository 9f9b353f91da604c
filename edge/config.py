"""The one loader of configuration files, called by command lines only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """Base of every component's settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_toml(path: Path, model: type[Model]) -> Model:
    """Settings from a TOML file.

    Args:
        path: the file.
        model: the settings class, which checks every field.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or names an unknown or bad field.
    """
    try:
        return model.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read ({exc}); check the path") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc
    except ValidationError as exc:
        raise ConfigError(f"{path}: {first_problem(exc)}") from exc


def parse_range(text: str) -> tuple[float, float]:
    """The two numbers of `--pixel-range`.

    Raises:
        ConfigError: they are no two numbers, the lower first.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise ConfigError(f"--pixel-range {text!r}: not two numbers; give LOW,HIGH, for example 0,4000") from exc
    if not low < high:
        raise ConfigError(f"--pixel-range {text!r}: wants the lower value first; turn them round")
    return low, high


def first_problem(error: ValidationError) -> str:
    """One of pydantic's findings in one line: field, what is wrong, value.

    Unknown keys come before anything else: a key that is missing is often one that is misspelt.
    """
    found = error.errors()
    first = next((problem for problem in found if problem["type"] == "extra_forbidden"), found[0])
    where = ".".join(str(part) for part in first["loc"]) or "file"
    if first["type"] == "extra_forbidden":
        return f"unknown key {where!r}; check its spelling or remove it"
    if first["type"] == "missing":
        return f"{where}: is missing; add it"
    reason = first["msg"].removeprefix("Value error, ")
    is_table = isinstance(first["input"], (dict, list))  # the reason names the part of it that is wrong
    return f"{where}: {reason}" if is_table else f"{where}: {reason}; got {first['input']!r}"
