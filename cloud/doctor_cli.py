"""`skyloop-cloud doctor`: what a server needs, and what of it is missing here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cloud.config import CloudSettings
from cloud.options import AsJson
from edge.checks import has_problem
from edge.config import read_toml


def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder of the server")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of the server; options win over it")] = None,
    bind: Annotated[str | None, typer.Option(help="Endpoint for crafts, as of serve")] = None,
    http: Annotated[str | None, typer.Option(help="host:port of the console, as of serve")] = None,
    as_json: AsJson = False,
) -> None:
    """Check what a server needs: keys, ports, disk, database, clock, ONNX Runtime, teacher and students.

    Each check is ok, a warning or a problem with what cures it; the exit code is 1 where there is a problem. Nothing is
    changed, and a server may run beside.

    Example: skyloop-cloud doctor --data skyloop-data
    """
    from cloud.doctor import examine
    from edge.runtime.agreement import check_picture

    settings = read_toml(config, CloudSettings) if config else CloudSettings()
    told = {"data": data, "bind": bind, "http": http}
    settings = settings.model_copy(update={name: value for name, value in told.items() if value is not None})
    checks = examine(settings, check_picture(3))
    if as_json:
        typer.echo(json.dumps({"checks": [check.record() for check in checks]}))
    else:
        typer.echo("\n".join(check.line() for check in checks))
    if has_problem(checks):
        raise typer.Exit(1)
