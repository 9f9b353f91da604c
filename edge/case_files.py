"""The spool's files, one for each case: whole, checked, and set aside where they cannot be used.

A file that cannot be read never stops the craft and is never offered: it is named in the log, counted, and renamed,
so that a person can look at it. A file of a newer version is kept for that version, and taken in again once it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgpack
import structlog
from pydantic import ValidationError

from edge.boot_times import Moment
from edge.durable import PARTIAL_SUFFIX, sync_folder, write_durably
from protocols.limits import MAX_HEADER_BYTES
from protocols.values import Case

log = structlog.get_logger()

_SUFFIX, _CORRUPT_SUFFIX, _NEWER_SUFFIX = ".case", ".corrupt", ".newer"
_MAX_CORRUPT_FILES = 8
"""Damaged files kept for people to look at; older ones are removed."""

_HEAD = struct.Struct("<7scII32s")
"""magic, version, bytes of header, bytes of imagery, sha256 of both."""
_MAGIC, _VERSION = b"SKYCASE", b"1"


class _NewerFormat(ValueError):
    """A file that a later version of this program wrote."""


@dataclass(frozen=True)
class StoredCase:
    """What a file says about a case beside its imagery.

    Attributes:
        case: as it will be offered.
        value: what sending it is worth.
        stored: when it came into the spool.
        seq: order of arrival, over all runs; -1 in files of the first release, which did not tell.
    """

    case: Case
    value: float
    stored: Moment
    seq: int


class CaseFiles:
    """The folder. Only the spool's writer and readers of single files touch it.

    Attributes:
        set_aside: damaged or half-written files found so far.
        newer: files of a newer version found so far.
    """

    def __init__(self, folder: Path) -> None:
        self.set_aside = self.newer = 0
        self._folder = folder

    def path(self, case_id: str) -> Path:
        """Where a case is kept."""
        return self._folder / f"{case_id}{_SUFFIX}"

    def write(self, entry: StoredCase, payload: bytes) -> None:
        """Write a case's file, which `sync` makes last.

        Raises:
            OSError: the disk refused.
        """
        about = {"case": entry.case.model_dump(), "value": entry.value, "seq": entry.seq}
        # The first release reads `stored_at_s` and nothing of `stored`.
        header: bytes = msgpack.packb({**about, "stored": asdict(entry.stored), "stored_at_s": entry.stored.wall_s})
        digest = hashlib.sha256(header + payload).digest()
        head = _HEAD.pack(_MAGIC, _VERSION, len(header), len(payload), digest)
        write_durably(self.path(entry.case.case_id), head, header, payload, sync_parent=False)

    def sync(self) -> None:
        """Make all files written so far survive power loss.

        Raises:
            OSError: the disk refused; some may be gone then.
        """
        sync_folder(self._folder)

    def payload(self, case_id: str) -> bytes:
        """The imagery of a case.

        Raises:
            FileNotFoundError: it is not here.
            OSError: it cannot be read.
            ValueError: it is damaged.
        """
        return _unpack(self.path(case_id).read_bytes())[1]

    def remove(self, case_id: str) -> None:
        """Let a case go; a file that stays, or comes back with the power, is offered again and answered the same."""
        with contextlib.suppress(OSError):
            self.path(case_id).unlink(missing_ok=True)

    def take_in(self) -> list[StoredCase]:
        """Every case an earlier run left, oldest first; what cannot be used is set aside.

        Raises:
            OSError: the folder cannot be read.
        """
        for path in sorted(self._folder.glob(f"*{_SUFFIX}{PARTIAL_SUFFIX}")):
            self.put_aside(path, "half-written: the power went, or the program was ended")
        paths = [*self._folder.glob(f"*{_SUFFIX}"), *self._folder.glob(f"*{_NEWER_SUFFIX}")]
        found = [entry for path in sorted(paths) if (entry := self._read(path)) is not None]
        return sorted(found, key=lambda entry: (entry.seq, entry.stored.wall_s))

    def put_aside(self, path: Path, reason: str) -> None:
        """Rename a file that nobody can use, and say so."""
        self.set_aside += 1
        log.warning("spooled case set aside", path=str(path), reason=reason[:200])
        with contextlib.suppress(OSError):
            path.replace(path.with_name(path.name.split(".")[0] + _CORRUPT_SUFFIX))
            for old in self._aside(_CORRUPT_SUFFIX)[:-_MAX_CORRUPT_FILES]:
                old.unlink()

    def clear_aside(self) -> bool:
        """Whether removing what was set aside made room: damaged files first, then the oldest of a newer version."""
        with contextlib.suppress(OSError):
            for path in self._aside(_CORRUPT_SUFFIX) or self._aside(_NEWER_SUFFIX)[:1]:
                log.warning("set aside before, removed for want of room", path=str(path))
                path.unlink()
                return True
        return False

    def _read(self, path: Path) -> StoredCase | None:
        try:
            entry, _ = _unpack(path.read_bytes())
            if path.stem != entry.case.case_id:
                raise ValueError("its name is not its case_id")
            if path.suffix == _NEWER_SUFFIX:
                path.replace(self.path(entry.case.case_id))
        except _NewerFormat as exc:
            self.newer += 1
            log.warning("spooled case of a newer version, kept for that version", path=str(path), reason=str(exc))
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(_NEWER_SUFFIX))
        except (OSError, ValueError) as exc:
            self.put_aside(path, f"damaged: {exc}")
        else:
            return entry
        return None

    def _aside(self, suffix: str) -> list[Path]:
        """Files set aside, oldest first."""
        return sorted(self._folder.glob(f"*{suffix}"), key=lambda path: path.stat().st_mtime)


def _unpack(data: bytes) -> tuple[StoredCase, bytes]:
    """The case and its imagery in a spool file; ValueError when anything is wrong with it."""
    if len(data) < _HEAD.size:
        raise ValueError(f"{len(data)} bytes are too few")
    magic, version, header_bytes, payload_bytes, digest = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("it does not begin as a spooled case does")
    if version > _VERSION:
        raise _NewerFormat(f"format {version.decode('latin-1')!r}, this program reads {_VERSION.decode()}")
    body = memoryview(data)[_HEAD.size :]
    if header_bytes > 2 * MAX_HEADER_BYTES or len(body) != header_bytes + payload_bytes:
        raise ValueError("its length is wrong")
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its digest does not match")
    try:
        return _entry(msgpack.unpackb(bytes(body[:header_bytes]))), bytes(body[header_bytes:])
    except (ValidationError, msgpack.UnpackException, KeyError, TypeError) as exc:
        raise ValueError(f"its header is not valid: {type(exc).__name__}") from exc


def _entry(header: dict[str, Any]) -> StoredCase:
    # The first release told the wall time alone: no boot has an empty id, so that nobody takes it for exact.
    stored = header.get("stored") or {"boot_id": "", "monotonic_s": 0.0, "wall_s": header["stored_at_s"]}
    moment = Moment(str(stored["boot_id"]), float(stored["monotonic_s"]), float(stored["wall_s"]))
    case = Case.model_validate(header["case"])
    return StoredCase(case, float(header["value"]), moment, int(header.get("seq", -1)))
