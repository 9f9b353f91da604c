"""Pages made from the package's templates, each one self-contained file."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2


def page_of(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever the template shows
    """A page made from one of the package's templates."""
    loader = jinja2.FunctionLoader(lambda name: files("sim").joinpath("templates", name).read_text("utf-8"))
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(values)
