"""Files that are either whole and on the disk, or not there at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PARTIAL_SUFFIX = ".partial"
"""A file that ends like this was being written when the power went; it holds nothing that was promised."""


def make_folder(folder: Path) -> None:
    """Make a folder, with its parents, that power loss does not take away again with all that is in it.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def write_durably(path: Path, *parts: bytes, sync_parent: bool = True) -> None:
    """Replace a file so that power loss leaves the old one or the new one, whole.

    Written beside it, fsynced, renamed, and the folder fsynced: only then may anybody be told it is kept.

    Args:
        path: the file; its folder exists.
        parts: its new content, in order.
        sync_parent: False leaves the last step to the caller, who writes several files and then calls `sync_folder`.

    Raises:
        OSError: the disk is full, read-only or broken; the old file is still there.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        if sync_parent:
            sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder survive power loss.

    Raises:
        OSError: the folder cannot be opened or synced.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
