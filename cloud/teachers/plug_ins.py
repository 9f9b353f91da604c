"""Teachers of other packages: what is installed under the entry-point group `skyloop.teachers`.

An entry point names a function `(told: str, *, threads: int) -> Teacher`; `docs/teachers.md` holds a whole package.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.errors import TeacherError
from cloud.teachers.finding import find_by_features
from cloud.teachers.teacher import Exemplar, Places, Teacher
from edge.config import first_problem
from protocols.arrays import ImageArray
from protocols.errors import SkyloopError
from protocols.fields import Label, Text

GROUP = "skyloop.teachers"
_PAGE = "docs/teachers.md shows a whole package"
_METHODS = ("interpret", "dense_features")
"""What it must have; without a `find` of its own it finds by its features."""


class _Facts(BaseModel):
    """What a teacher must say about itself before it is asked for anything."""

    model_config = ConfigDict(from_attributes=True, strict=True)

    name: Text
    space: Text
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]


def plug_in_names() -> tuple[str, ...]:
    """Names under which installed packages offer teachers, in order; nothing of theirs is imported."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def open_plug_in(name: str, told: str = "", *, threads: int = 0) -> Teacher:
    """The teacher that a package offers.

    Args:
        name: one of `plug_in_names()`.
        told: what the person added for the plug-in, such as a path; its meaning is the plug-in's own.
        threads: processor threads it should use, 0 for all cores.

    Raises:
        TeacherError: two packages offer the name, its package fails to import, or what it opens is no teacher.
    """
    entry = _entry(name)
    whose = f"teacher {name!r} of {_package(entry)}"
    try:
        opener = entry.load()
    except Exception as exc:  # a module can raise anything while it is imported
        raise TeacherError(
            f"{whose}: {entry.value} fails to import ({_in_a_line(exc)}); install what it lacks, or mend it: "
            f"python -c 'import {entry.module}' shows where"
        ) from exc
    try:
        teacher = opener(told, threads=threads)
    except SkyloopError as exc:
        raise TeacherError(f"{whose}: {exc}") from exc
    except Exception as exc:  # code of other people, which knows our errors or does not
        raise TeacherError(
            f"{whose}: {entry.value} fails when it is told {told!r} ({_in_a_line(exc)}); check what follows the colon "
            f"in {name}:..."
        ) from exc
    return _checked(teacher, whose)


def _entry(name: str) -> EntryPoint:
    found = entry_points(group=GROUP, name=name)
    if len(found) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in found))
        raise TeacherError(f"teacher {name!r} is offered by {packages}; uninstall all but one")
    return next(iter(found))


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"


def _checked(teacher: Any, whose: str) -> Teacher:  # noqa: ANN401 - what other people's code returns
    lacking = [method for method in _METHODS if not callable(getattr(teacher, method, None))]
    if lacking:
        raise TeacherError(
            f"{whose}: a {type(teacher).__name__} without {' and '.join(lacking)} is no teacher; {_PAGE}"
        )
    try:
        _Facts.model_validate(teacher)
    except ValidationError as exc:
        raise TeacherError(f"{whose}: {type(teacher).__name__}.{first_problem(exc)}; {_PAGE}") from exc
    opened: Teacher = teacher if callable(getattr(teacher, "find", None)) else _FindsByFeatures(teacher)
    return opened


class _FindsByFeatures:
    """A teacher without a `find` of its own, with one."""

    def __init__(self, teacher: Any) -> None:  # noqa: ANN401 - what other people's code returns
        self._teacher = teacher

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever theirs has
        return getattr(self._teacher, name)

    def find(self, chips: Sequence[Exemplar], frames: Sequence[ImageArray]) -> list[Places]:
        """See `Teacher`."""
        return find_by_features(self._teacher.dense_features, chips, frames)


def _in_a_line(exc: Exception) -> str:
    return f"{type(exc).__name__}: {' '.join(str(exc).split())[:200]}"
