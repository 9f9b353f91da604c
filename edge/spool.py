"""The durable queue of cases the link has not yet taken: one file each, most worth for a byte first.

The frame loop calls `put`, which only remembers the case in memory; a thread of the link's calls `flush`, which
writes and fsyncs. So the frame loop never waits for a disk, and what the spool promises to keep through power
loss is what `flush` has written. Nor does the link: a case may leave from memory while it is being written, and one
that was delivered before its turn to be written came never costs the disk anything. Both the memory and the disk are
bounded: what is worth least is dropped and counted when room is needed, also when it is the disk that has none left.
`edge/case_queue.py` has the order.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from edge.boot_times import BootTimes
from edge.case_files import CaseFiles, StoredCase
from edge.case_queue import CaseQueue
from edge.case_queue import SpooledCase as SpooledCase
from edge.clock import Clock, SystemClock, this_boot
from edge.durable import make_folder
from edge.errors import SpoolError
from edge.ordered import Ordered
from protocols.limits import MAX_CASE_BYTES
from protocols.values import Case

log = structlog.get_logger()

MAX_WAITING_CASES = 256
MAX_WAITING_BYTES = 4 * MAX_CASE_BYTES
"""Bounds of what is in memory alone, until `flush` has written it."""

_SYNC_FILES = 32
"""Written in a row before their folder is synced: so many cases at most wait for their sync, however slow the disk."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class SpoolStats:
    """What happened since the spool was opened.

    Attributes:
        cases, total_bytes: kept now, with those still in memory.
        peak_bytes: most there ever were.
        dropped: least valuable cases given up for want of room, on the disk or in its cap.
        expired: cases whose time to live, or the spool's cap on age, ended before a link came.
        set_aside: damaged or half-written files found.
        newer: files of a newer version of this program found, and kept for it.
        undated: cases of an earlier boot of which the age cannot be told; they live on from when the spool was opened.
        clock_jumps: of the craft's wall clock or the cloud's; no deadline moved with them.
        write_errors: cases lost because the disk refused them.
    """

    cases: int = 0
    total_bytes: int = 0
    peak_bytes: int = 0
    dropped: int = 0
    expired: int = 0
    set_aside: int = 0
    newer: int = 0
    undated: int = 0
    clock_jumps: int = 0
    write_errors: int = 0


class Spool:
    """The queue; every method may be called from any thread.

    Attributes:
        on_put: called in the thread that put a case; must not wait.
        departures: counts the times that a case left or became durable.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int = 2**28,
        max_cases: int = 1024,
        *,
        max_age_s: float = float("inf"),
        clock: Clock | None = None,
        boot_id: str | None = None,
    ) -> None:
        """Open a folder and take in what an earlier run left.

        Args:
            folder: made if missing; belongs to this spool alone.
            max_bytes: of imagery on the disk.
            max_cases: on the disk.
            max_age_s: a case older than this is let go, whatever its time to live.
            clock: for times to live.
            boot_id: of the computer's present run; None asks the kernel.

        Raises:
            SpoolError: the folder cannot be made or read.
        """
        self.on_put: Callable[[], None] | None = None
        self.departures = 0
        self._folder, self._max_bytes, self._max_cases, self._max_age_s = folder, max_bytes, max_cases, max_age_s
        self._clock, self._boot_id = clock or SystemClock(), boot_id or this_boot()
        self._opened_s = self._clock.monotonic_s()
        self._lock = threading.Lock()  # all that is remembered; never held while the disk works
        self._disk_lock = threading.Lock()  # one writer at a time
        self._has_waiting = threading.Event()
        self._waiting: dict[str, tuple[SpooledCase, bytes]] = {}  # in memory alone
        self._written: dict[str, SpooledCase] = {}  # the file is there, and not yet for good
        self._unsynced = 0  # files written since the folder was synced
        self._kept: dict[str, SpooledCase] = {}  # durable
        self._held: dict[str, SpooledCase] = {}  # delivered
        self._held_payloads: dict[str, bytes] = {}  # of those that were never written
        self._waiting_by_rank: Ordered[SpooledCase] = Ordered(lambda entry: entry.order)
        self._queue = CaseQueue()  # of those waiting, those written and those kept
        self._by_end: Ordered[SpooledCase] = Ordered(lambda entry: entry.end)  # of all
        self._kept_bytes = self._waiting_bytes = self._peak_bytes = self._next_seq = 0
        self._dropped = self._expired = self._undated = self._write_errors = 0
        self._files = CaseFiles(folder)
        try:
            make_folder(folder)
            self._times = BootTimes(folder / "boots.json", self._clock, self._boot_id)
            self._take_in()
        except OSError as exc:
            raise SpoolError(f"{folder}: the spool cannot be opened ({exc}); check the folder") from exc

    def __len__(self) -> int:
        """Cases kept, with those still in memory."""
        with self._lock:
            return len(self._kept) + len(self._written) + len(self._waiting)

    def __contains__(self, case_id: str) -> bool:
        """Whether a case is kept: it was not delivered, dropped, nor has it expired."""
        with self._lock:
            return self._find(case_id) is not None

    @property
    def total_bytes(self) -> int:
        """Bytes of imagery kept, with those still in memory."""
        with self._lock:
            written = sum(entry.case.payload_bytes for entry in self._written.values())
            return self._kept_bytes + written + self._waiting_bytes

    @property
    def stats(self) -> SpoolStats:
        """The counters."""
        jumps = self._times.jumps
        return SpoolStats(
            cases=len(self),
            total_bytes=self.total_bytes,
            peak_bytes=self._peak_bytes,
            dropped=self._dropped,
            expired=self._expired,
            set_aside=self._files.set_aside,
            newer=self._files.newer,
            undated=self._undated,
            clock_jumps=jumps.wall + jumps.cloud,
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
        stored = self._times.now()
        with self._lock:
            if self._find(case.case_id) is not None:
                return True
            entry = self._entry(StoredCase(case, value, stored, self._next_seq), is_left_over=False)
            self._next_seq += 1
            self._remember(entry, payload)
            self._fit_memory()
            is_kept = case.case_id in self._waiting
        if is_kept and self.on_put is not None:
            self.on_put()
        return is_kept

    def flush(self, min_age_s: float = 0.0) -> int:
        """Write what waits in memory; returns how many cases became durable.

        Args:
            min_age_s: leave those that came less than this ago, unless memory is half full: they may have left by then.

        Raises:
            SpoolError: the disk refused a case; it is dropped and counted, the others still wait.
        """
        self._has_waiting.clear()
        count = 0
        with self._disk_lock:
            self._expire()
            is_full = len(self._waiting) > MAX_WAITING_CASES / 2 or self._memory_bytes > MAX_WAITING_BYTES / 2
            before_s = self._clock.monotonic_s() - min_age_s
            try:
                while (item := self._next_waiting(float("inf") if is_full else before_s)) is not None:
                    self._write(*item)
                    if self._unsynced >= _SYNC_FILES:
                        count += self._make_last()
            finally:
                count += self._make_last()
        if self._waiting:
            self._has_waiting.set()
        return count

    def wait(self, timeout_s: float) -> bool:
        """Whether something waits for `flush`; returns once that is so, or after a time."""
        return self._has_waiting.wait(timeout_s)

    def best(
        self,
        skip: Collection[str] = (),
        bytes_per_s: float | None = None,
        is_wanted: Callable[[float | None], bool] | None = None,
    ) -> SpooledCase | None:
        """The case to send next, or None; see `CaseQueue.best`."""
        self._expire()
        with self._lock:
            return self._queue.best(self._clock.monotonic_s(), skip, bytes_per_s, is_wanted)

    def bytes_before(self, worth: float) -> int:
        """Imagery that is sent before a new case of this worth for a byte."""
        with self._lock:
            return self._queue.bytes_before(worth, self._clock.monotonic_s())

    def payload(self, case_id: str) -> bytes:
        """The imagery of a case, to be sent.

        Raises:
            SpoolError: it is not here, or its file is damaged (then it is set aside).
        """
        with self._lock:
            item, entry = self._waiting.get(case_id), self._find(case_id)
            if entry is not None:
                self._queue.give(entry, self._clock.monotonic_s())
        if item is not None:
            return item[1]
        try:
            return self._files.payload(case_id)
        except FileNotFoundError as exc:
            self._let_go(case_id)
            raise SpoolError(f"case {case_id} is not in the spool") from exc
        except (OSError, ValueError) as exc:
            path = self._files.path(case_id)
            self._files.put_aside(path, str(exc))
            self._let_go(case_id)
            raise SpoolError(f"{path}: damaged ({exc}); set aside") from exc

    def done(self, case_id: str) -> None:
        """Let a case go: it was delivered, or will never be taken. Unknown ids are ignored."""
        with self._lock:
            # One that is being written just now is removed by who writes it.
            is_unwritten = case_id in self._waiting
            self._forget(case_id)
        if not is_unwritten:
            self._files.remove(case_id)

    def find(self, case_id: str) -> SpooledCase | None:
        """A case by its id, or None."""
        with self._lock:
            return self._find(case_id)

    def _find(self, case_id: str) -> SpooledCase | None:
        waiting = self._waiting.get(case_id)
        return self._kept.get(case_id) or self._written.get(case_id) if waiting is None else waiting[0]

    def hold(self, case_id: str) -> bool:
        """Keep a delivered case for a while, out of the queue; False when it is not here.

        It counts for nothing but the bytes on the disk or in memory, and is the first to go where those run out. After
        a restart it is a case like any other, where it was written at all.
        """
        with self._lock:
            waiting, entry = self._waiting.get(case_id), self._find(case_id)
            if entry is None:
                return False
            self._forget(case_id)
            self._held[case_id] = entry
            if waiting is not None:
                self._held_payloads[case_id] = waiting[1]
            return True

    def held(self, case_id: str) -> SpooledCase | None:
        """A case that `hold` put by, or None when it had to make room."""
        return self._held.get(case_id)

    def take_back(self, case_id: str) -> None:
        """Queue a case again that `hold` put by; nothing happens where it had to make room."""
        with self._lock:
            entry, payload = self._held.get(case_id), self._held_payloads.get(case_id)
            if entry is None:
                return
            self._forget(case_id)
            if payload is None:
                self._keep(entry)
            else:
                self._remember(entry, payload)
                self._fit_memory()

    def hear_time(self, true_s: float) -> None:
        """Take the cloud's word for the time, and date the cases of earlier boots by it.

        Args:
            true_s: Unix seconds, now.
        """
        self._times.hear(true_s)
        with self._lock:
            earlier = [entry for entry in self._kept.values() if entry.stored.boot_id != self._boot_id]
            self._undated = 0
            for old in earlier:
                self._forget(old.case.case_id)
                self._keep(self._entry(old))
        self._expire()

    def _entry(self, found: StoredCase | SpooledCase, *, is_left_over: bool = True) -> SpooledCase:
        """A case with its deadline, as far as it can be told how old it is."""
        age_s = self._times.age_s(found.stored)
        if age_s is None:
            self._undated += 1
        since_s = self._opened_s if age_s is None else self._clock.monotonic_s() - age_s
        life_s = min(self._max_age_s, float("inf") if found.case.ttl_s is None else found.case.ttl_s)
        return SpooledCase(found.case, found.value, found.stored, since_s + life_s, found.seq, is_left_over)

    def _keep(self, entry: SpooledCase) -> None:
        self._kept[entry.case.case_id] = entry
        self._kept_bytes += entry.case.payload_bytes
        self._by_end.add(entry)
        self._queue.add(entry)

    def _remember(self, entry: SpooledCase, payload: bytes) -> None:
        self._waiting[entry.case.case_id] = entry, payload
        self._waiting_bytes += len(payload)
        self._waiting_by_rank.add(entry)
        self._queue.add(entry)
        self._by_end.add(entry)
        self._has_waiting.set()

    def _fit_memory(self) -> None:
        """Drop what is over the bounds of memory: delivered cases that are held there, then the least valuable."""
        most = min(MAX_WAITING_CASES, self._max_cases)
        while len(self._waiting) > most or self._memory_bytes > MAX_WAITING_BYTES:
            if self._held_payloads and self._memory_bytes > MAX_WAITING_BYTES:
                self._forget(next(iter(self._held_payloads)))
                continue
            last = self._waiting_by_rank.last
            assert last is not None
            self._forget(last.case.case_id)
            self._dropped += 1

    @property
    def _memory_bytes(self) -> int:
        return self._waiting_bytes + sum(map(len, self._held_payloads.values()))

    def _forget(self, case_id: str) -> None:
        self.departures += 1
        self._held.pop(case_id, None)
        self._held_payloads.pop(case_id, None)
        if (entry := self._kept.pop(case_id, None)) is not None:
            self._kept_bytes -= entry.case.payload_bytes
        elif (entry := self._written.pop(case_id, None)) is None:
            entry = self._forget_waiting(case_id)
        if entry is not None:
            self._queue.remove(entry)
            self._by_end.remove(entry)

    def _forget_waiting(self, case_id: str) -> SpooledCase | None:
        """Let go of what is in memory for a case; returns it, for it is in the queue still."""
        if (item := self._waiting.pop(case_id, None)) is not None:
            self._waiting_bytes -= len(item[1])
            self._waiting_by_rank.remove(item[0])
        return item and item[0]

    def _give_up(self, case_id: str) -> bool:
        """Let go of a case that cannot be written; False where it was delivered, dropped or expired meanwhile."""
        with self._lock:
            is_wanted = case_id in self._waiting
            if is_wanted:
                self._forget(case_id)
            return is_wanted

    def _let_go(self, case_id: str) -> None:
        with self._lock:
            self._forget(case_id)

    def _next_waiting(self, before_s: float) -> tuple[SpooledCase, bytes] | None:
        with self._lock:
            for entry in self._waiting_by_rank:
                if entry.stored.monotonic_s <= before_s:
                    return self._waiting[entry.case.case_id]
        return None

    def _make_room(self, entry: SpooledCase) -> bool:
        """Whether there is room under the caps for one more, once the least valuable are gone."""
        while True:
            with self._lock:
                held = [case for case_id, case in self._held.items() if case_id not in self._held_payloads]
                here = [*self._written.values(), *held]
                total = self._kept_bytes + sum(other.case.payload_bytes for other in [*here, entry])
                if len(self._kept) + len(self._written) < self._max_cases and total <= self._max_bytes:
                    self._peak_bytes = max(self._peak_bytes, total)
                    return True
            if not self._drop_held() and not self._drop_below(entry):
                return False

    def _drop_held(self) -> bool:
        """Whether a delivered case that was put by is gone."""
        with self._lock:
            case_id = next(iter(self._held), None)
            if case_id is not None:
                self._forget(case_id)  # under the same lock, lest it be queued again in between and lost
        if case_id is not None:
            self._files.remove(case_id)
        return case_id is not None

    def _drop_below(self, entry: SpooledCase) -> bool:
        """Whether a case that is to make room for this one was found, and is gone; not where this one left."""
        with self._lock:
            is_wanted = entry.case.case_id in self._waiting
            last = self._queue.least(self._clock.monotonic_s()) if is_wanted else None
            if last is None or last is entry:
                return False
            case_id = last.case.case_id
            is_written = case_id not in self._waiting
            self._forget(case_id)
            self._dropped += 1
        if is_written:
            self._files.remove(case_id)
        return True

    def _write(self, entry: SpooledCase, payload: bytes) -> None:
        """Write a case's file; where there is no room for it, what is worth less makes room, or it is dropped."""
        case_id = entry.case.case_id
        if not self._make_room(entry):
            self._dropped += self._give_up(case_id)
            return
        stored = StoredCase(entry.case, entry.value, entry.stored, entry.seq)
        while True:
            try:
                self._files.write(stored, payload)
                break
            except OSError as exc:
                is_full = exc.errno in _NO_ROOM and case_id in self._waiting
                if is_full and (self._files.clear_aside() or self._drop_held() or self._drop_below(entry)):
                    continue
                if not self._give_up(case_id):
                    return
                self._write_errors += 1
                raise SpoolError(f"{self._files.path(case_id)}: not written ({exc.strerror}); free some space") from exc
        with self._lock:
            is_wanted = self._forget_waiting(case_id) is not None
            if is_wanted:
                self._written[case_id] = entry
                self._unsynced += 1
        if not is_wanted:  # delivered, dropped or expired meanwhile
            self._files.remove(case_id)

    def _make_last(self) -> int:
        """Sync the folder once for all files written since it was, which makes them durable; returns how many."""
        if not self._unsynced:
            return 0
        written, self._unsynced = list(self._written), 0
        try:
            self._files.sync()
        except OSError as exc:
            for case_id in written:
                self.done(case_id)
            self._write_errors += len(written)
            raise SpoolError(f"{self._folder}: {len(written)} cases not kept ({exc.strerror}); check the disk") from exc
        with self._lock:
            made = [entry for case_id in written if (entry := self._written.get(case_id)) is not None]
            for entry in made:
                self._forget(entry.case.case_id)
                self._keep(entry)
        return len(made)

    def _expire(self) -> None:
        now_s = self._clock.monotonic_s()
        while True:
            with self._lock:
                first = self._by_end.first
                if first is None or first.deadline_s > now_s:
                    return
                self._forget(first.case.case_id)
                self._expired += 1
            self._files.remove(first.case.case_id)

    def _take_in(self) -> None:
        for found in self._files.take_in():
            # Numbers may repeat where power loss brought back a file that had been removed.
            seq = max(found.seq, self._next_seq)
            self._keep(self._entry(replace(found, seq=seq)))
            self._next_seq = seq + 1
        while self._kept_bytes > self._max_bytes or len(self._kept) > self._max_cases:  # the caps were lowered
            last = self._queue.least(self._clock.monotonic_s())
            assert last is not None
            self._dropped += 1
            self.done(last.case.case_id)
        self._peak_bytes = self._kept_bytes
