"""One craft's cases on their way into the store: offers, chunks, and receipts that tell the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import structlog

from cloud.desk import Desk
from cloud.store import Kept
from cloud.uploads import Upload
from protocols.errors import MessageError
from protocols.messages import AnyMessage, CaseChunk, CaseReceipt
from protocols.values import Case

log = structlog.get_logger()

_CREDIT_PARTS = 4
"""Receipts are due once a part of the credit waits for them: the craft goes on sending meanwhile."""


class Refuse(Protocol):
    """Tells the craft that an offer of its was not taken, and why."""

    def __call__(self, error: MessageError, about: str | None, retry_after_s: float | None = None) -> Awaitable[None]:
        """Answer with a Problem; `busy` with a time to come back."""
        ...


class CaseIntake:
    """The cases of one connection; `stored` is said only of what survives power loss."""

    def __init__(
        self,
        desk: Desk,
        craft: str,
        *,
        send: Callable[[AnyMessage], Awaitable[None]],
        refuse: Refuse,
        on_duplicate: Callable[[], None],
        on_verdict: Callable[[], None],
    ) -> None:
        """Begin with nothing.

        Args:
            desk: see `Desk`.
            craft: whose cases.
            send: sends a message to the craft.
            refuse: sends a Problem, the answer to an offer.
            on_duplicate: called for a case that was kept before: its answer may be here already.
            on_verdict: called when `send_receipts` has something to say that no message of the craft's led to.
        """
        self._desk, self._craft = desk, craft
        self._send, self._refuse = send, refuse
        self._on_duplicate, self._on_verdict = on_duplicate, on_verdict
        self._committing: set[asyncio.Future[Kept]] = set()
        self._concluded: list[Upload] = []  # the store's verdict is there, and the craft does not know it yet
        self._touched: dict[str, Upload] = {}  # uploads that want a receipt

    async def on_offer(self, case: Case, blob: bytes = b"") -> None:
        """Take a new case, go on with an unfinished one, or say again what became of it.

        Args:
            case: what is offered.
            blob: its first bytes, where they came with it.

        Raises:
            MessageError: see `Uploads.open`, and `on_chunk`.
            StoreError: the store cannot be asked.
        """
        desk = self._desk
        upload = desk.uploads.find(self._craft, case.case_id)
        # Where all of it is here, the store finds out by itself whether it has it already.
        is_asked = upload is None and len(blob) < case.payload_bytes
        known = desk.store.kept_digest(self._craft, case.case_id) if is_asked else None
        if known is not None:
            await self._tell_verdict(case, "duplicate" if known == case.payload_sha256 else "conflict")
            return
        if upload is not None:
            upload = desk.uploads.open(self._craft, case)
        elif await self._is_admitted(case):
            upload = self._open(case)
        else:
            return
        if upload.verdict is not None:  # an earlier connection brought all of it
            self._conclude(upload)
        self._touched[case.case_id] = upload
        if blob:
            self._add(upload, 0, blob)

    def _open(self, case: Case) -> Upload:
        """The upload of a case that has just been admitted, and is not counted on where there is no room for it."""
        try:
            return self._desk.uploads.open(self._craft, case)
        except MessageError:
            self._desk.admission.arrived(self._craft, case.case_id)
            raise

    async def _is_admitted(self, case: Case) -> bool:
        """Whether a case that is new is taken now; the craft is told where it is not."""
        refusal = self._desk.admission.admit(self._craft, case)
        if refusal is None:
            return True
        known = self._desk.store.case_state(self._craft, case.case_id)
        if known is not None:  # it came whole, and had come before
            await self._tell_verdict(case, "duplicate" if known[0] == case.payload_sha256 else "conflict")
        else:
            await self._refuse(MessageError(refusal.reason, code="busy"), case.case_id, refusal.retry_after_s)
        return False

    def on_chunk(self, chunk: CaseChunk, blob: bytes) -> None:
        """Take a piece of a case's imagery.

        Raises:
            MessageError: `unknown_case`, or see `Uploads.add` and `Reassembly.finish`.
        """
        upload = self._desk.uploads.find(self._craft, chunk.case_id)
        if upload is None:
            raise MessageError("no such case was offered, or it had to make room", code="unknown_case")
        self._touched[chunk.case_id] = upload
        self._add(upload, chunk.offset, blob)

    def _add(self, upload: Upload, offset: int, blob: bytes) -> None:
        if upload.verdict is not None:
            return  # seen before: all of it is here
        uploads = self._desk.uploads
        uploads.add(upload, offset, blob)
        if upload.parts.is_complete:
            payload = uploads.finish(upload)
            upload.verdict = self._desk.commits.add(self._craft, upload.case, payload)
            self._conclude(upload)

    async def send_receipts(self) -> None:
        """What has become of whole cases, and a `partial` receipt for each upload that something came for since.

        Where all is here, `stored` is all that need be said, unless it would come too late for the craft's window.
        """
        concluded, self._concluded = self._concluded, []
        for upload in concluded:
            await self._tell(upload)
        whole = {case_id: upload for case_id, upload in self._touched.items() if upload.verdict is not None}
        uncovered = sum(upload.case.payload_bytes for upload in whole.values())
        if uncovered > self._desk.settings.credit_bytes // _CREDIT_PARTS:
            whole = {}
        touched, self._touched = self._touched, whole
        for case_id, upload in touched.items():
            if case_id not in whole:
                await self._send(self._receipt(upload.case, "partial", upload.parts.next_offset))

    async def finish(self) -> None:
        """Wait until every case that is being committed has its receipt."""
        if self._committing:  # `wait`, for `gather` would take the verdicts along when it is cancelled
            await asyncio.wait(self._committing)
        await self.send_receipts()

    def _conclude(self, upload: Upload) -> None:
        assert upload.verdict is not None
        self._committing.add(upload.verdict)
        upload.verdict.add_done_callback(lambda verdict: self._note_verdict(upload, verdict))

    def _note_verdict(self, upload: Upload, verdict: asyncio.Future[Kept]) -> None:
        """Let an upload go, even where the craft has gone; many become durable at once, and are told of in one go."""
        self._committing.discard(verdict)
        self._desk.uploads.remove(upload)
        self._desk.admission.arrived(upload.craft, upload.case.case_id)
        self._concluded.append(upload)
        self._on_verdict()

    async def _tell(self, upload: Upload) -> None:
        assert upload.verdict is not None
        error = upload.verdict.exception()
        if error is None:
            await self._tell_verdict(upload.case, upload.verdict.result())
            return
        log.warning("case not kept", craft=self._craft, case_id=upload.case.case_id, reason=str(error))
        self._desk.stats.cases["failed"] += 1
        self._touched.pop(upload.case.case_id, None)
        await self._refuse(MessageError(str(error), code="busy"), about=upload.case.case_id)

    async def _tell_verdict(self, case: Case, verdict: Kept) -> None:
        self._desk.stats.cases[verdict] += 1
        self._touched.pop(case.case_id, None)
        if verdict == "conflict":
            error = MessageError("kept before with another payload_sha256", code="case_conflict")
            await self._refuse(error, about=case.case_id)
            return
        await self._send(self._receipt(case, "stored", case.payload_bytes))
        if verdict == "duplicate":
            self._on_duplicate()

    def _receipt(self, case: Case, state: Literal["partial", "stored"], next_offset: int) -> CaseReceipt:
        return CaseReceipt(
            case_id=case.case_id,
            payload_sha256=case.payload_sha256,
            state=state,
            next_offset=next_offset,
            credit_bytes=self._desk.settings.credit_bytes,
        )
