"""Files of a run: whole or not there at all, and a full disk is one clear line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from distill.errors import DistillError
from edge.durable import write_durably


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Translate an error of the disk below into one line that names the file.

    Raises:
        DistillError: the block raised an OSError.
    """
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise DistillError(f"{path}: cannot be written ({reason}); free some space or choose another folder") from exc


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file, whole or not at all; its folder is made when it is missing.

    Raises:
        DistillError: the disk is full, read-only or broken; what was there before is still there.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)
