"""What several commands of the command line share: two options, and the store behind the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cloud.errors import RequestError
from cloud.store import CaseStore

Data = Annotated[Path, typer.Option(help="Data folder of the server")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program")]

OUTCOME_WAIT_S = 5.0
"""So long a command waits for a running server to put its order to use."""


@contextmanager
def opened_store(data: Path, *, make: bool = False) -> Iterator[CaseStore]:
    """The store in a data folder; closed on leaving.

    Args:
        data: the folder.
        make: whether a new one may be made.

    Raises:
        RequestError: there is none.
        StoreError: it cannot be opened.
    """
    if not make and not (data / "skyloop.sqlite").is_file():
        raise RequestError(f"{data}: no case store there; give the server's --data folder")
    store = CaseStore(data)
    try:
        yield store
    finally:
        store.close()
