"""Imagery of cases as files that are whole and durable, or absent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloud.errors import StoreError
from edge.durable import make_folder

_PARTIAL = ".part"

_QUICK_SYNC_S = 0.0002
"""A sync that takes no longer costs less than handing it to another thread: there is no disk to wait for."""

_SYNCS = 8
"""At a time; more than two crafts' unfinished uploads, and each only waits for the disk."""


class ImageryFiles:
    """Files `imagery/<first 2 hex of case_id>/<craft>-<case_id>` under a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: set[str] = set()
        self._syncing = ThreadPoolExecutor(_SYNCS, "skyloop-sync")  # its threads begin with the first group

    def path(self, craft: str, case_id: str) -> Path:
        """Where a case's imagery lies."""
        return self.folder / case_id[:2] / f"{craft}-{case_id}"

    def write(self, items: Iterable[tuple[str, str, bytes]]) -> None:
        """Keep the imagery of several cases durably, all or nothing.

        Args:
            items: (craft, case_id, bytes); a file of the same name is replaced.

        Raises:
            StoreError: a file cannot be written (disk full); none of them is kept.
        """
        written: list[str] = []  # text, not Path: with hundreds of files a second that is noticed
        try:
            for craft, case_id, payload in items:
                folder = f"{self.folder}/{case_id[:2]}"
                self._make_folder(folder)
                path = f"{folder}/{craft}-{case_id}"
                written.append(path)
                _write(path + _PARTIAL, payload)
            self._sync([path + _PARTIAL for path in written])
            for path in written:
                os.replace(path + _PARTIAL, path)
            self._sync(sorted({os.path.dirname(path) for path in written}))
        except OSError as exc:
            self.remove(map(Path, written))
            self._made.clear()  # somebody may have taken one away
            raise StoreError(
                f"{exc.filename or self.folder}: cannot keep imagery ({exc.strerror}); free disk space"
            ) from exc

    def read(self, craft: str, case_id: str) -> bytes:
        """The imagery of a case.

        Raises:
            StoreError: it is not there or cannot be read.
        """
        path = self.path(craft, case_id)
        try:
            return path.read_bytes()
        except OSError as exc:
            raise StoreError(f"{path}: cannot read imagery ({exc.strerror}); restore the data folder") from exc

    def remove(self, paths: Iterable[Path]) -> None:
        """Take files away, with what is left of writing them."""
        for path in paths:
            path.unlink(missing_ok=True)
            path.with_name(path.name + _PARTIAL).unlink(missing_ok=True)

    def older_files(self, prefix: str, older_than_s: float) -> list[Path]:
        """The files in one of the folders that were written before a wall time, by name; none where there is none."""
        try:
            with os.scandir(self.folder / prefix) as entries:
                old = [Path(entry.path) for entry in entries if entry.stat().st_mtime < older_than_s]
        except OSError:  # no such folder, or a file went while we looked: the next round sees what is left
            return []
        return sorted(old)

    def _make_folder(self, folder: str) -> None:
        if folder not in self._made:  # there are 256 of them
            make_folder(Path(folder))
            self._made.add(folder)

    def _sync(self, paths: Sequence[str]) -> None:
        """Sync all of them side by side: the file system's journal takes them in one go, which one by one it cannot."""
        begin_s = time.perf_counter()
        _sync(paths[:1])
        if time.perf_counter() - begin_s < _QUICK_SYNC_S:
            _sync(paths[1:])
        else:
            list(self._syncing.map(_sync, [paths[1 + first :: _SYNCS] for first in range(min(_SYNCS, len(paths) - 1))]))


def _write(path: str, payload: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        left = memoryview(payload)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)


def _sync(paths: Sequence[str]) -> None:
    """Make files' content, or folders' names, survive power loss."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
