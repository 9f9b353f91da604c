"""What a program of the link benchmark notes down, line by line, so that it is there even after `kill -9`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Lines of JSON appended to a file, each with the kind of event and the monotonic time of this machine."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Args:
            path: the file; a program that is started again goes on in it.
        """
        self._file = path.open("a", buffering=1)

    def note(self, kind: str, **values: Any) -> None:  # noqa: ANN401 - anything that JSON holds
        """Append an event; the operating system has it when this returns."""
        self._file.write(json.dumps({"kind": kind, "s": time.monotonic(), **values}) + "\n")

    def close(self) -> None:
        """Note nothing more."""
        self._file.close()


class JournalReader:
    """Follows a journal that another process writes."""

    def __init__(self, path: Path) -> None:
        """Begin at its first line; it need not be there yet."""
        self._path, self._offset = path, 0

    def new(self) -> Iterator[dict[str, Any]]:
        """The events since the last call; a line that is half written waits for the next one."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)
