"""What several commands of the command line share: two options, the store behind the first, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cloud.data_lock import is_served
from cloud.errors import RequestError
from cloud.store import CaseStore

Data = Annotated[Path, typer.Option(help="Data folder of the server")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program")]

OUTCOME_WAIT_S = 5.0
"""So long a command waits for a running server to put its order to use."""

Found = TypeVar("Found")


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


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on standard error; yields what to call with how much is done, and of how much: None where nobody knows."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def outcome(store: CaseStore, ask: Callable[[], Found], is_waiting: Callable[[Found], bool]) -> Found:
    """What is found once it waits no longer, or after a while; without a server nobody is waited for.

    Args:
        store: where a server may be at work.
        ask: looks it up.
        is_waiting: whether there is more to come.
    """
    deadline_s = time.monotonic() + (OUTCOME_WAIT_S if is_served(store.data_dir) else 0.0)
    while is_waiting(found := ask()) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return found
