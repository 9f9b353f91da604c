"""Cases on their way in: unfinished uploads in bounded memory, resumable, and the group commit they end in."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from cloud.errors import StoreError
from cloud.store import CaseStore, Kept, StoredCase
from edge.clock import Clock
from protocols.errors import MessageError
from protocols.limits import MAX_CASE_BYTES
from protocols.reassembly import Reassembly
from protocols.values import Case

Stored: TypeAlias = tuple[StoredCase, bytes]
"""A case that has just become durable, with its imagery."""

_MAX_GROUP = 64
"""Cases in one transaction: a commit costs a few fsyncs however many there are."""


@dataclass
class Upload:
    """One case of which the imagery is coming in.

    Attributes:
        craft: whose.
        case: as offered.
        parts: what is held of the imagery.
        touched_s: monotonic time of the last sign of it.
        verdict: set once all is here and it waits to be durable.
    """

    craft: str
    case: Case
    parts: Reassembly
    touched_s: float
    verdict: asyncio.Future[Kept] | None = None


class Uploads:
    """Every unfinished upload; they survive a lost link, and the longest untouched give way when room is needed."""

    def __init__(self, clock: Clock, *, max_bytes: int, max_per_craft: int, max_craft_bytes: int) -> None:
        """Begin with none.

        Args:
            clock: says which is the longest untouched.
            max_bytes: held of all.
            max_per_craft: uploads of one craft.
            max_craft_bytes: that these announce together.
        """
        self._clock, self._max_bytes = clock, max_bytes
        self._max_per_craft, self._max_craft_bytes = max_per_craft, max_craft_bytes
        self._uploads: dict[tuple[str, str], Upload] = {}
        self._by_craft: defaultdict[str, dict[str, Upload]] = defaultdict(dict)
        self._held_bytes = 0

    def open(self, craft: str, case: Case) -> Upload:
        """The upload of a case, resumed where an earlier connection left it.

        Raises:
            MessageError: `case_conflict` when other bytes were announced under this id before; `busy` when the
                craft has too many cases waiting for the disk.
        """
        upload = self._uploads.get((craft, case.case_id))
        if upload is None:
            parts = Reassembly(case.payload_bytes, case.payload_sha256, cap_bytes=MAX_CASE_BYTES)
            self._make_room(craft, case.payload_bytes)
            upload = Upload(craft, case, parts, self._clock.monotonic_s())
            self._uploads[craft, case.case_id] = upload
            self._by_craft[craft][case.case_id] = upload
        if upload.case.payload_sha256 != case.payload_sha256:
            raise MessageError("offered before with another payload_sha256", code="case_conflict")
        upload.touched_s = self._clock.monotonic_s()
        return upload

    def find(self, craft: str, case_id: str) -> Upload | None:
        """The upload of a case that was offered, or None."""
        return self._uploads.get((craft, case_id))

    def add(self, upload: Upload, offset: int, blob: bytes) -> None:
        """Take one chunk.

        Raises:
            MessageError: see `Reassembly.add`; `busy` when there is no room for it.
        """
        while self._held_bytes + len(blob) > self._max_bytes:
            if not self._evict(other for other in self._uploads.values() if other is not upload):
                raise MessageError("too many unfinished uploads: try again later", code="busy")
        upload.touched_s = self._clock.monotonic_s()
        with self._counting(upload):
            upload.parts.add(offset, blob)

    def finish(self, upload: Upload) -> bytes:
        """The whole imagery; it counts until `remove`.

        Raises:
            MessageError: see `Reassembly.finish`.
        """
        with self._counting(upload):
            return upload.parts.finish()

    def remove(self, upload: Upload) -> None:
        """Forget an upload that is finished or hopeless."""
        if self._uploads.get((upload.craft, upload.case.case_id)) is not upload:
            return
        self._held_bytes -= upload.parts.next_offset
        del self._uploads[upload.craft, upload.case.case_id]
        own = self._by_craft[upload.craft]
        del own[upload.case.case_id]
        if not own:
            del self._by_craft[upload.craft]

    @contextlib.contextmanager
    def _counting(self, upload: Upload) -> Iterator[None]:
        """Note what becomes of the bytes held of an upload."""
        before = upload.parts.next_offset
        try:
            yield
        finally:
            self._held_bytes += upload.parts.next_offset - before

    def _make_room(self, craft: str, size: int) -> None:
        own = self._by_craft.get(craft, {})
        while own and (
            len(own) >= self._max_per_craft
            or sum(other.case.payload_bytes for other in own.values()) + size > self._max_craft_bytes
        ):
            if not self._evict(own.values()):
                raise MessageError(f"{len(own)} cases wait for the disk: try again later", code="busy")

    def _evict(self, candidates: Iterable[Upload]) -> bool:
        """Whether the longest untouched of these is gone; what waits for the disk stays."""
        idle = [upload for upload in candidates if upload.verdict is None]
        if not idle:
            return False
        self.remove(min(idle, key=lambda upload: upload.touched_s))
        return True


class GroupCommit:
    """Makes cases durable, all that wait in one transaction, in a thread of its own.

    It is a task of the event loop: `run` it. `close` finishes what waits and ends it.
    """

    def __init__(self, store: CaseStore, on_stored: Callable[[list[Stored]], None]) -> None:
        """Work on a store.

        Args:
            store: where cases are kept.
            on_stored: called in the event loop after a commit, with the new cases that it kept.
        """
        self._store, self._on_stored = store, on_stored
        self._waiting: list[tuple[str, Case, bytes, asyncio.Future[Kept]]] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self._executor = ThreadPoolExecutor(1, "skyloop-commit")

    def add(self, craft: str, case: Case, payload: bytes) -> asyncio.Future[Kept]:
        """A future that is done once the case is durable, or fails with StoreError."""
        verdict: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        # An edge that went away leaves nobody to ask for the outcome; its next offer does.
        verdict.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.append((craft, case, payload, verdict))
        self._wake.set()
        return verdict

    def close(self) -> None:
        """Let `run` end once nothing waits."""
        self._is_closing = True
        self._wake.set()

    async def run(self) -> None:
        """Commit until closed."""
        while self._waiting or not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group, self._waiting = self._waiting[:_MAX_GROUP], self._waiting[_MAX_GROUP:]
                await self._commit(group)
        self._executor.shutdown(wait=False)

    async def _commit(self, group: list[tuple[str, Case, bytes, asyncio.Future[Kept]]]) -> None:
        loop = asyncio.get_running_loop()
        items = [(craft, case, payload) for craft, case, payload, _ in group]
        try:
            verdicts = await loop.run_in_executor(self._executor, self._store.add_cases, items)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the edges must hear that nothing is kept
            error = exc if isinstance(exc, StoreError) else StoreError(f"not kept: {exc!r}")
            for _, _, _, future in group:
                future.set_exception(error)
            return
        for (_, _, _, future), verdict in zip(group, verdicts, strict=True):
            future.set_result(verdict)
        now_s = time.time()
        new = [
            (StoredCase(craft, case, "stored", "", None, now_s), payload)
            for (craft, case, payload), verdict in zip(items, verdicts, strict=True)
            if verdict == "stored"
        ]
        if new:
            self._on_stored(new)
