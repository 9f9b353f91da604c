"""One server for a data folder, and nothing taken away while a backup is made; command lines may work beside both."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cloud.errors import CloudError

_NAME, _KEEP_NAME = "server.lock", "keep.lock"
LOCK_NAMES = (_NAME, _KEEP_NAME)

_LOOK_S, _STEP_WAIT_S = 0.1, 10.0


@contextlib.contextmanager
def serving(data_dir: Path) -> Iterator[None]:
    """Hold a data folder as its one server; the lock ends with the process, however that ends.

    Raises:
        CloudError: another server holds it.
    """
    with (data_dir / _NAME).open("w") as file:
        deadline_s = time.monotonic() + _LOOK_S
        while not _locked(file, fcntl.LOCK_EX):  # who looks whether there is a server holds it for microseconds
            if time.monotonic() > deadline_s:
                raise CloudError(f"{data_dir}: another server uses this data folder; stop it or give another")
            time.sleep(0.01)
        yield


def is_served(data_dir: Path) -> bool:
    """Whether a server holds the data folder now; looked at without making or writing anything.

    Raises:
        CloudError: the lock may not be read.
    """
    try:
        with (data_dir / _NAME).open("r") as file:
            return not _locked(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise CloudError(f"{data_dir / _NAME}: cannot be read ({exc.strerror}); run this as the server's user") from exc


@contextlib.contextmanager
def keeping(data_dir: Path) -> Iterator[None]:
    """Have retention take nothing away from a data folder meanwhile, in whatever process: for a backup.

    Raises:
        CloudError: another backup is being made.
    """
    with (data_dir / _KEEP_NAME).open("w") as file:
        deadline_s = time.monotonic() + _STEP_WAIT_S
        while not _locked(file, fcntl.LOCK_EX):  # a step of retention takes milliseconds
            if time.monotonic() > deadline_s:
                raise CloudError(f"{data_dir}: another backup is being made; wait for its end")
            time.sleep(0.01)
        yield


@contextlib.contextmanager
def taking_away(data_dir: Path) -> Iterator[bool]:
    """Whether a step of retention may take things away; while it does, no backup begins."""
    with (data_dir / _KEEP_NAME).open("w") as file:
        yield _locked(file, fcntl.LOCK_SH)


def _locked(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
