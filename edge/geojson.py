"""GeoJSON files that grow: whole after every write, so that a map may be open beside a flight."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path
from typing import Any

_TAIL = b"\n]}\n"

DEGREE_DIGITS = 7
"""Of a degree: a centimetre (RFC 7946, 11.2)."""


class FeatureFile:
    """A FeatureCollection on disk: features are written over its closing brackets together with new ones.

    The file exists from the first `add` on; an earlier run's is removed at the beginning.
    """

    def __init__(self, path: Path) -> None:
        """Remove an earlier run's file.

        Raises:
            OSError: it cannot be removed.
        """
        self._path, self._is_empty = path, True
        self._file: FileIO | None = None
        path.unlink(missing_ok=True)

    def add(self, features: Sequence[bytes], members: Mapping[str, Any] | None = None) -> None:
        """Append features.

        Args:
            features: one line of JSON each; none makes an empty collection where there is no file yet.
            members: further members of the collection, heeded by the call that makes the file.

        Raises:
            OSError: the disk is full or gone.
        """
        content = b",\n".join(features)
        if self._file is None:
            head = json.dumps({"type": "FeatureCollection", **(members or {})}, separators=(",", ":")).encode()
            self._file = self._path.open("wb", buffering=0)
            self._put(head[:-1] + b',"features":[\n' + content + _TAIL)
        elif features:
            self._file.seek(-len(_TAIL), os.SEEK_END)
            self._put((b"" if self._is_empty else b",\n") + content + _TAIL)
        self._is_empty = self._is_empty and not features

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def feature(feature_id: str, geometry: Mapping[str, Any], properties: Mapping[str, Any]) -> bytes:
    """One feature as a line of JSON."""
    whole = {"type": "Feature", "id": feature_id, "geometry": geometry, "properties": properties}
    return json.dumps(whole, separators=(",", ":")).encode()


def time_text(at_s: float) -> str:
    """A wall time in UTC, to the millisecond (RFC 3339)."""
    return datetime.fromtimestamp(at_s, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
