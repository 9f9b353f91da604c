"""One server for a data folder; command lines may work beside it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from cloud.errors import CloudError

_NAME = "server.lock"


@contextlib.contextmanager
def serving(data_dir: Path) -> Iterator[None]:
    """Hold a data folder as its one server; the lock ends with the process, however that ends.

    Raises:
        CloudError: another server holds it.
    """
    with (data_dir / _NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise CloudError(f"{data_dir}: another server uses this data folder; stop it or give another") from exc
        yield


def is_served(data_dir: Path) -> bool:
    """Whether a server holds the data folder now."""
    try:
        with serving(data_dir):
            return False
    except CloudError:
        return True
