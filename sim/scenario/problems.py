"""A bad scenario file told in one line: which key, what it says, what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sim.scenario.near import nearest


def problem_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first of pydantic's findings.

    Args:
        error: what was found.
        model: the whole file's model.
    """
    first = error.errors()[0]
    loc, context = first["loc"], first.get("ctx", {})
    if first["type"] == "extra_forbidden":
        path, section = _follow(model, loc[:-1])
        known = section.model_fields if section else ()
        return f"unknown key {_join(path, str(loc[-1]))!r}; {nearest(str(loc[-1]), known)}"
    path, _ = _follow(model, loc)
    if first["type"] == "missing":
        return f"{path} is missing; add it"
    if first["type"] == "union_tag_not_found":
        return f"{path} has no `kind`; add one"
    if first["type"] == "union_tag_invalid":
        tags = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        return f"{path}.kind = {context['tag']!r} is not known; {nearest(context['tag'], tags)}"
    if first["type"] == "string_pattern_mismatch":  # only names have patterns
        return f"{path} = {_short(first['input'])}: use lower-case letters, digits and hyphens, a letter or digit first"
    return f"{path} = {_short(first['input'])}: {_plain(first['msg'])}"


def _follow(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[str, type[BaseModel] | None]:
    """The key path that a place in pydantic's words means in the file, and the section it ends in."""
    path, here = "", [model]
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif tagged := [section for section in here if _tag(section) == part and len(here) > 1]:
            here = tagged
        else:
            path = _join(path, part)
            field = here[0].model_fields.get(part) if here else None
            here = _sections(field.annotation) if field else []
    return path, here[0] if len(here) == 1 else None


def _sections(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - any annotation
    """The models that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]


def _tag(section: type[BaseModel]) -> str | None:
    kind = section.model_fields.get("kind")
    return get_args(kind.annotation)[0] if kind else None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _plain(message: str) -> str:
    """Pydantic's words, less its prefixes, as a wish."""
    return message.removeprefix("Value error, ").replace("Input should", "should")
