"""Imagery of cases as files that are whole and durable, or absent."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cloud.errors import StoreError

_PARTIAL = ".part"


class ImageryFiles:
    """Files `imagery/<first 2 hex of case_id>/<craft>-<case_id>` under a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        written: list[Path] = []
        try:
            for craft, case_id, payload in items:
                path = self.path(craft, case_id)
                self._make_folder(path.parent)
                written.append(path)
                _write_durably(path, payload)
            for folder in {path.parent for path in written}:
                _sync_folder(folder)
        except OSError as exc:
            self.remove(written)
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

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(folder.parent)


def _write_durably(path: Path, payload: bytes) -> None:
    partial = path.with_name(path.name + _PARTIAL)
    with partial.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
