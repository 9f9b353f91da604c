"""The cloud's answers on disk: each once, however often the cloud repeats it, and durable before it is acknowledged."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from edge.durable import sync_folder
from protocols.values import Interpretation


class AnswersFile:
    """`interpretations.jsonl`: later runs append to it, and know what earlier ones have."""

    def __init__(self, path: Path) -> None:
        """Open it, and take note of what is in it.

        Raises:
            OSError: it cannot be read or written.
        """
        kept = path.read_bytes() if path.exists() else b""
        self._kept = {_digest(line) for line in kept.splitlines()}
        self._path, self._file = path, path.open("ab")
        if kept and not kept.endswith(b"\n"):  # the power went in the middle of a line
            self._file.write(b"\n")
            self._file.flush()
        sync_folder(path.parent)  # or power loss takes the whole of a new file, with all that was acknowledged
        self._size = os.fstat(self._file.fileno()).st_size  # of whole lines

    def add(self, interpretation: Interpretation) -> None:
        """Append an answer, unless it is there already.

        Raises:
            OSError: the disk refused; nothing may be acknowledged then.
        """
        line = interpretation.model_dump_json().encode()
        digest = _digest(line)
        if digest in self._kept:
            return
        if self._file.closed:  # the disk refused that as well, when it refused a line
            self._reopen()
        try:
            self._file.write(line + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):  # the next `add` tries again
                self._reopen()
            raise
        self._size += len(line) + 1
        self._kept.add(digest)

    def _reopen(self) -> None:
        """Take back a line that is not kept, be it half or whole, before any other follows it."""
        os.truncate(self._path, self._size)
        self._file = self._path.open("ab")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:16]
