"""The durable queue of cases the link has not yet taken: one file each, most valuable first.

The frame loop calls `put`, which only remembers the case in memory; the link's thread calls `flush`, which
writes and fsyncs. So the frame loop never waits for a disk, and what the spool promises to keep through power
loss is what `flush` has written. Both the memory and the disk are bounded, and one order rules both: higher
value first, older first among equals; whatever comes last in it is dropped and counted when room is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import struct
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgpack
import structlog
from pydantic import ValidationError

from edge.clock import Clock, SystemClock
from edge.durable import PARTIAL_SUFFIX, write_durably
from edge.errors import SpoolError
from edge.ranking import first_to_drop, first_to_send, rank
from protocols.limits import MAX_CASE_BYTES, MAX_HEADER_BYTES
from protocols.values import Case

log = structlog.get_logger()

MAX_WAITING_CASES = 16
MAX_WAITING_BYTES = 4 * MAX_CASE_BYTES
"""Bounds of what waits in memory for the next `flush`, a few times a second."""

_SUFFIX, _CORRUPT_SUFFIX = ".case", ".corrupt"
_MAX_CORRUPT_FILES = 8
"""Damaged files kept for people to look at; older ones are removed."""

_HEAD = struct.Struct("<8sII32s")
"""magic, bytes of header, bytes of imagery, sha256 of both."""
_MAGIC = b"SKYCASE1"


@dataclass(frozen=True)
class SpooledCase:
    """A case in the spool, without its imagery.

    Attributes:
        case: as it will be offered.
        value: what sending it is worth; any scale, only the order counts.
        stored_at_s: wall time of `put`.
        deadline_s: monotonic time from which an answer is of no use; None is never.
        seq: order of arrival in this process.
    """

    case: Case
    value: float
    stored_at_s: float
    deadline_s: float | None
    seq: int

    @property
    def order(self) -> tuple[float, int]:
        """Sort key: first to send, last to drop."""
        return rank(self.value, self.seq)


@dataclass(frozen=True)
class SpoolStats:
    """What happened since the spool was opened.

    Attributes:
        cases, total_bytes: kept now, with those still in memory.
        peak_bytes: most there ever were.
        dropped: least valuable cases given up for want of room.
        expired: cases whose time to live ended before a link came.
        set_aside: damaged or half-written files found.
        write_errors: cases lost because the disk refused them.
    """

    cases: int = 0
    total_bytes: int = 0
    peak_bytes: int = 0
    dropped: int = 0
    expired: int = 0
    set_aside: int = 0
    write_errors: int = 0


class Spool:
    """The queue; every method may be called from any thread."""

    def __init__(
        self, folder: Path, max_bytes: int = 2**28, max_cases: int = 1024, *, clock: Clock | None = None
    ) -> None:
        """Open a folder and take in what an earlier run left.

        Args:
            folder: made if missing; belongs to this spool alone.
            max_bytes: of imagery on the disk.
            max_cases: on the disk.
            clock: for times to live.

        Raises:
            SpoolError: the folder cannot be made or read.
        """
        self._folder, self._max_bytes, self._max_cases = folder, max_bytes, max_cases
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()  # the two dicts and the counts; never held while the disk works
        self._disk_lock = threading.Lock()  # one writer at a time
        self._waiting: dict[str, tuple[SpooledCase, bytes]] = {}
        self._kept: dict[str, SpooledCase] = {}
        self._seq = itertools.count()
        self._peak_bytes = self._dropped = self._expired = self._set_aside = self._write_errors = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._take_in()
        except OSError as exc:
            raise SpoolError(f"{folder}: the spool cannot be opened ({exc}); check the folder") from exc

    def __len__(self) -> int:
        """Cases kept, with those still in memory."""
        return len(self._kept) + len(self._waiting)

    @property
    def total_bytes(self) -> int:
        """Bytes of imagery kept, with those still in memory."""
        with self._lock:
            return self._bytes(self._kept.values()) + self._waiting_bytes()

    @property
    def stats(self) -> SpoolStats:
        """The counters."""
        return SpoolStats(
            cases=len(self),
            total_bytes=self.total_bytes,
            peak_bytes=self._peak_bytes,
            dropped=self._dropped,
            expired=self._expired,
            set_aside=self._set_aside,
            write_errors=self._write_errors,
        )

    def put(self, case: Case, payload: bytes, value: float) -> bool:
        """Remember a case for the next `flush`; touches no disk.

        Args:
            case: new, or one that is here already (then nothing happens).
            payload: its encoded imagery.
            value: see `SpooledCase`.

        Returns:
            False when it was worth less than everything else there was room for, and is dropped.

        Raises:
            SpoolError: the imagery is not what the case announces.
        """
        if len(payload) != case.payload_bytes:
            raise SpoolError(f"case {case.case_id}: {len(payload)} bytes, {case.payload_bytes} announced")
        entry = self._entry(case, value, self._clock.wall_s(), age_s=0.0)
        with self._lock:
            if case.case_id in self._kept:
                return True
            self._waiting.setdefault(case.case_id, (entry, payload))
            while len(self._waiting) > MAX_WAITING_CASES or self._waiting_bytes() > MAX_WAITING_BYTES:
                last, _ = max(self._waiting.values(), key=lambda item: item[0].order)
                del self._waiting[last.case.case_id]
                self._dropped += 1
            return case.case_id in self._waiting

    def flush(self) -> int:
        """Write what waits in memory; returns how many cases became durable.

        Raises:
            SpoolError: the disk refused a case; it is dropped and counted, the others still wait.
        """
        written = 0
        with self._disk_lock:
            self._expire()
            while (item := self._next_waiting()) is not None:
                if self._make_room(item[0]):
                    self._write(*item)
                    written += 1
        return written

    def best(self, skip: Collection[str] = ()) -> SpooledCase | None:
        """The most valuable durable case, or None; `skip` names cases to leave out."""
        self._expire()
        with self._lock:
            entries = [entry for entry in self._kept.values() if entry.case.case_id not in skip]
        return first_to_send(entries)

    def payload(self, case_id: str) -> bytes:
        """The imagery of a durable case.

        Raises:
            SpoolError: it is not here, or its file is damaged (then it is set aside).
        """
        path = self._path(case_id)
        try:
            return _unpack(path.read_bytes())[3]
        except FileNotFoundError as exc:
            self._forget(case_id)
            raise SpoolError(f"case {case_id} is not in the spool") from exc
        except (OSError, ValueError) as exc:
            self._forget(case_id)
            self._put_aside(path)
            raise SpoolError(f"{path}: damaged ({exc}); set aside") from exc

    def done(self, case_id: str) -> None:
        """Let a case go: it was delivered, or will never be taken. Unknown ids are ignored."""
        self._forget(case_id)
        with contextlib.suppress(OSError):  # a file that stays is offered again, and answered the same
            self._path(case_id).unlink(missing_ok=True)

    def _entry(self, case: Case, value: float, stored_at_s: float, *, age_s: float) -> SpooledCase:
        ttl_s = case.ttl_s
        deadline_s = None if ttl_s is None else self._clock.monotonic_s() + ttl_s - age_s
        return SpooledCase(case, value, stored_at_s, deadline_s, next(self._seq))

    @staticmethod
    def _bytes(entries: Collection[SpooledCase]) -> int:
        return sum(entry.case.payload_bytes for entry in entries)

    def _waiting_bytes(self) -> int:
        return sum(len(payload) for _, payload in self._waiting.values())

    def _path(self, case_id: str) -> Path:
        return self._folder / f"{case_id}{_SUFFIX}"

    def _forget(self, case_id: str) -> None:
        with self._lock:
            self._kept.pop(case_id, None)
            self._waiting.pop(case_id, None)

    def _next_waiting(self) -> tuple[SpooledCase, bytes] | None:
        with self._lock:
            if not self._waiting:
                return None
            best, _ = min(self._waiting.values(), key=lambda item: item[0].order)
            return self._waiting.pop(best.case.case_id)

    def _make_room(self, entry: SpooledCase) -> bool:
        while True:
            with self._lock:
                total = self._bytes(self._kept.values()) + entry.case.payload_bytes
                if len(self._kept) < self._max_cases and total <= self._max_bytes:
                    self._peak_bytes = max(self._peak_bytes, total)
                    return True
                self._dropped += 1
                last = first_to_drop(self._kept.values(), entry)
                if last is entry:
                    return False
            self.done(last.case.case_id)

    def _write(self, entry: SpooledCase, payload: bytes) -> None:
        header: bytes = msgpack.packb(
            {"case": entry.case.model_dump(), "value": entry.value, "stored_at_s": entry.stored_at_s}
        )
        digest = hashlib.sha256(header + payload).digest()
        path = self._path(entry.case.case_id)
        try:
            write_durably(path, _HEAD.pack(_MAGIC, len(header), len(payload), digest), header, payload)
        except OSError as exc:
            self._write_errors += 1
            raise SpoolError(f"{path}: not written ({exc.strerror}); free some space") from exc
        with self._lock:
            self._kept[entry.case.case_id] = entry

    def _expire(self) -> None:
        now_s = self._clock.monotonic_s()
        with self._lock:
            entries = [*self._kept.values(), *(entry for entry, _ in self._waiting.values())]
        for entry in entries:
            if entry.deadline_s is not None and entry.deadline_s <= now_s:
                self._expired += 1
                self.done(entry.case.case_id)

    def _take_in(self) -> None:
        for path in sorted(self._folder.glob(f"*{PARTIAL_SUFFIX}")):
            path.unlink()
            self._set_aside += 1
        found = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                case, value, stored_at_s, _ = _unpack(path.read_bytes())
                if path != self._path(case.case_id):
                    raise ValueError("its name is not its case_id")
                found.append((stored_at_s, value, case))
            except (OSError, ValueError) as exc:
                self._put_aside(path)
                log.warning("spooled case damaged, set aside", path=str(path), reason=str(exc)[:200])
        for stored_at_s, value, case in sorted(found, key=lambda item: item[0]):
            age_s = max(0.0, self._clock.wall_s() - stored_at_s)  # clocks may jump back
            self._kept[case.case_id] = self._entry(case, value, stored_at_s, age_s=age_s)
        self._peak_bytes = self._bytes(self._kept.values())

    def _put_aside(self, path: Path) -> None:
        self._set_aside += 1
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(_CORRUPT_SUFFIX))
            corrupt = sorted(self._folder.glob(f"*{_CORRUPT_SUFFIX}"), key=lambda old: old.stat().st_mtime)
            for old in corrupt[:-_MAX_CORRUPT_FILES]:
                old.unlink()


def _unpack(data: bytes) -> tuple[Case, float, float, bytes]:
    """(case, value, wall time stored, imagery) of a spool file; ValueError when anything is wrong with it."""
    if len(data) < _HEAD.size:
        raise ValueError(f"{len(data)} bytes are too few")
    magic, header_bytes, payload_bytes, digest = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if magic != _MAGIC or header_bytes > 2 * MAX_HEADER_BYTES or len(body) != header_bytes + payload_bytes:
        raise ValueError("its length or magic is wrong")
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its digest does not match")
    try:
        header = msgpack.unpackb(bytes(body[:header_bytes]))
        case = Case.model_validate(header["case"])
        return case, float(header["value"]), float(header["stored_at_s"]), bytes(body[header_bytes:])
    except (ValidationError, msgpack.UnpackException, KeyError, TypeError) as exc:
        raise ValueError(f"its header is not valid: {type(exc).__name__}") from exc
