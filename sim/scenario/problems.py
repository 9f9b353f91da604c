"""Pydantic's findings about a file, told as one line: the key, the value, what is allowed and a cure."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from sim.scenario.near import nearest

_NUMBERS = {"int_type": "whole number", "int_parsing": "whole number", "int_from_float": "whole number"}
_NUMBERS |= {name: "number" for name in ("float_type", "float_parsing", "finite_number")}
_NUMBERS |= {name: "" for name in ("greater_than", "greater_than_equal", "less_than", "less_than_equal")}
"""Findings about numbers, and what the value is not; nothing where it is one but out of range."""


def problem_line(error: ValidationError, model: type[BaseModel]) -> str:
    """One of pydantic's findings.

    Unknown keys come before anything else: a key that is missing is often one that is misspelt.

    Args:
        error: what was found.
        model: the whole file's model.
    """
    found = error.errors()
    first = next((problem for problem in found if problem["type"] == "extra_forbidden"), found[0])
    loc, context, kind = first["loc"], first.get("ctx", {}), first["type"]
    if kind == "extra_forbidden":
        path, here = _follow(model, loc[:-1])
        known = [key for section in _models(here) for key in section.model_fields]
        return f"unknown key {_join(path, str(loc[-1]))!r}; {nearest(str(loc[-1]), known)}"
    path, here = _follow(model, loc)
    if kind == "missing":
        return f"{path} is missing; add it"
    if kind == "union_tag_not_found":
        return f"{path} has no `kind`; add one"
    if kind == "union_tag_invalid":
        tags = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        return f"{path}.kind = {context['tag']!r} is not known; {nearest(context['tag'], tags)}"
    if kind == "string_pattern_mismatch":  # only names have patterns
        letters = "lower-case letters" if "A-Z" not in context["pattern"] else "letters"
        return f"{path} = {_short(first['input'])}: use {letters}, digits and hyphens, a letter or digit first"
    if kind in _NUMBERS:
        return f"{path} = {_short(first['input'])} is not a {_number_wanted(_NUMBERS[kind], here)}; give one"
    told = "" if not path or isinstance(first["input"], dict) else f" = {_short(first['input'])}"
    return f"{path}{told}: {_plain(first['msg'])}" if path else _plain(first["msg"])


def describes_rather(data: Mapping[str, Any], other: type[BaseModel], model: type[BaseModel]) -> bool:
    """Whether a file that is no `model` has more keys of another one: it was given to the wrong command."""
    return len(data.keys() & other.model_fields.keys()) > len(data.keys() & model.model_fields.keys())


def _follow(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[str, Any]:
    """The key path that a place in pydantic's words means in the file, and the annotation it ends in."""
    path, here = "", model
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
            here = _element(here, part)
        elif tagged := [section for section in _models(here) if _tag(section) == part and len(_models(here)) > 1]:
            here = tagged[0]
        else:
            path = _join(path, part)
            here = _entry(here, part)
    return path, here


def _options(annotation: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:  # noqa: ANN401 - any annotation
    """What a value may be, each with its constraints."""
    if get_origin(annotation) is Annotated:
        bare, *more = get_args(annotation)
        constraints = [c for item in more for c in (item.metadata if isinstance(item, FieldInfo) else [item])]
        for option, own in _options(bare):
            yield option, (*own, *constraints)
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _options(part)
    else:
        yield annotation, ()


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - any annotation
    """The models that a value may be."""
    return [kind for kind, _ in _options(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _entry(annotation: Any, key: str) -> Any:  # noqa: ANN401 - any annotation
    """What a key of a table holds."""
    for kind, _ in _options(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel) and key in kind.model_fields:
            field = kind.model_fields[key]
            return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        if get_origin(kind) is dict:
            return get_args(kind)[1]
    return None


def _element(annotation: Any, index: int) -> Any:  # noqa: ANN401 - any annotation
    """What a place in a list holds."""
    for kind, _ in _options(annotation):
        parts = get_args(kind)
        if parts and get_origin(kind) in (tuple, list):
            return parts[0] if get_origin(kind) is list or parts[-1] is Ellipsis else parts[min(index, len(parts) - 1)]
    return None


def _number_wanted(what: str, annotation: Any) -> str:  # noqa: ANN401 - any annotation
    """The sort of number that a place takes, and its range."""
    options = [(kind, limits) for kind, limits in _options(annotation) if kind in (int, float)]
    if not options:
        return what or "number that fits"
    kind, limits = options[0]
    what = "whole number" if kind is int else "number"
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    found = {name: getattr(limit, name) for name in words for limit in limits if hasattr(limit, name)}
    if "ge" in found and not {"le", "lt"} & set(found):
        words["ge"] = "of at least"
    if "ge" not in found:
        words["le"] = "up to"
    return " ".join([what, *(f"{words[name]} {limit:.10g}" for name, limit in found.items())])


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
