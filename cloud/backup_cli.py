"""`skyloop-cloud backup` and `restore`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cloud.backup import Manifest, make_backup
from cloud.errors import RequestError
from cloud.options import AsJson, Data, progress_bar
from cloud.restore import restore_backup, verify_backup


def backup(
    data: Data,
    out: Annotated[Path, typer.Option(help="A new folder, or a new file that ends in .tar")],
    link: Annotated[bool, typer.Option("--link", help="Hard links of imagery: quick, on the same disk")] = False,
    keys: Annotated[bool, typer.Option("--keys/--without-keys", help="Take the server's private key along")] = True,
    verify: Annotated[bool, typer.Option("--verify", help="Read the backup again when it is made")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a data folder while its server runs: rows of one moment, and the imagery they speak of.

    Example: skyloop-cloud backup --out /backups/2026-11-22.tar --data skyloop-data
    """
    with progress_bar("backup") as advance:
        made = make_backup(data, out, link=link, with_keys=keys, advance=advance)
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    for line in made.left_out:
        console.print(f"left out: {line}")
    if verify:
        with progress_bar("verify") as advance:
            verify_backup(out, advance)
    _tell(made, f"{out} holds", as_json)


def restore(
    source: Annotated[Path, typer.Option("--from", help="A backup: its folder or .tar")],
    data: Annotated[Path | None, typer.Option(help="The data folder to make")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move the folder that is there out of the way")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the backup, restore nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a data folder of a backup, checked whole before it is put in place; never under a running server.

    Example: skyloop-cloud restore --from /backups/2026-11-22.tar --data skyloop-data
    """
    if verify:
        with progress_bar("verify") as advance:
            _tell(verify_backup(source, advance), f"{source} is sound, and holds", as_json)
        return
    if data is None:
        raise RequestError("--data is missing; say which folder to make, or give --verify to only check the backup")
    with progress_bar("restore") as advance:
        manifest, before = restore_backup(source, data, replace=replace, advance=advance)
    _tell(manifest, f"{data} holds", as_json)
    if not as_json:
        if before is not None:
            typer.echo(f"the folder of before is {before}")
        typer.echo("what was revoked after the backup is valid again: see `tokens list`, `users list` and the crafts")


def _tell(manifest: Manifest, intro: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(manifest)))
        return
    others = len(manifest.sha256) - 1
    typer.echo(f"{intro} the rows, {manifest.cases} imagery files of {manifest.imagery_bytes:,} bytes, {others} others")
