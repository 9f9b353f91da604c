"""One spooled case at a time to the cloud: offer, chunks within the credit, receipt.

No sockets here: the session asks `next_message` what to send, and tells `sent`, `on_receipt` and `on_problem`
what happened. Until the cloud says `stored` the case stays in the spool, so a lost link costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from edge.clock import Clock
from edge.errors import SpoolError
from edge.link_stats import LinkCounter
from edge.spool import Spool
from protocols.limits import CHUNK_BYTES
from protocols.messages import AnyMessage, CaseChunk, CaseOffer, CaseReceipt, Problem
from protocols.values import Case

log = structlog.get_logger()

RETRY_S = 5.0
"""Pause before a case is offered again when the cloud gave a reason but no time."""

_HOPELESS = ("case_conflict", "too_large", "bad_value", "bad_blob", "version", "unknown_kind")
"""Problem codes after which sending the same case again cannot help."""

_STALE = ("gap", "unknown_case")
"""Problem codes about chunks: they say nothing new once the case is offered again."""

_MAX_TRIES = 5
"""Problems with one case in one connection, after which it has to wait for the next one."""


@dataclass
class _Upload:
    case: Case
    payload: bytes
    is_offered: bool = False
    is_accepted: bool = False
    sent: int = 0  # bytes of imagery, from 0
    covered: int = 0  # by receipts
    progress_s: float = 0.0
    tries: int = 0


class Uploader:
    """Which message about cases goes next.

    Attributes:
        window_bytes: the cloud's newest credit.
    """

    def __init__(self, spool: Spool, clock: Clock, counter: LinkCounter, *, patience_s: float) -> None:
        """Start with nothing on its way.

        Args:
            spool: where cases come from.
            clock: for pauses.
            counter: delivered and refused cases are counted here.
            patience_s: without a receipt for so long, the case is offered again.
        """
        self.window_bytes = 0
        self._spool, self._clock, self._counter, self._patience_s = spool, clock, counter, patience_s
        self._upload: _Upload | None = None
        self._not_before_s: dict[str, float] = {}  # by case_id
        self._paused_until_s = 0.0

    def reset(self, window_bytes: int) -> None:
        """Begin a connection: nothing is on its way, and the cloud allows so many bytes."""
        self.window_bytes = window_bytes
        self._upload = None
        self._paused_until_s = 0.0

    def next_message(self) -> tuple[AnyMessage, bytes] | None:
        """(message, blob) to send now, or None; say `sent` once it is under way."""
        now_s = self._clock.monotonic_s()
        if now_s < self._paused_until_s:
            return None
        upload = self._upload or self._pick(now_s)
        if upload is None:
            return None
        if upload.is_offered and now_s - upload.progress_s > self._patience_s:
            upload.is_offered = upload.is_accepted = False
        if not upload.is_offered:
            return CaseOffer(case=upload.case), b""
        blob = self._next_chunk(upload)
        return (CaseChunk(case_id=upload.case.case_id, offset=upload.sent), blob) if blob else None

    def sent(self, message: AnyMessage, blob: bytes) -> None:
        """Note that the message of `next_message` is under way."""
        assert self._upload is not None
        if isinstance(message, CaseOffer):
            self._upload.is_offered = True
            self._upload.progress_s = self._clock.monotonic_s()
        else:
            self._upload.sent += len(blob)

    def give_up(self, reason: str) -> None:
        """Drop the case on its way: it can never be sent."""
        assert self._upload is not None
        self._counter.add(cases_refused=1)
        log.warning("case refused", case_id=self._upload.case.case_id, reason=reason)
        self._let_go(self._upload.case.case_id)

    def on_receipt(self, receipt: CaseReceipt) -> None:
        """Go on, finish or pause as the cloud says."""
        self.window_bytes = receipt.credit_bytes
        upload = self._upload
        if upload is None or (receipt.case_id, receipt.payload_sha256) != (
            upload.case.case_id,
            upload.case.payload_sha256,
        ):
            return
        if receipt.retry_after_s is not None:
            self._postpone(upload, receipt.retry_after_s, whole=receipt.state != "refused")
        if receipt.state == "stored":
            self._counter.add(cases_delivered=1)
            self._let_go(receipt.case_id)
        elif receipt.state == "partial":
            self._go_on(upload, receipt.next_offset)
        elif receipt.retry_after_s is None:
            self.give_up(receipt.reason)

    def on_problem(self, problem: Problem) -> None:
        """Drop the case, or offer it again later, where the problem is about the one on its way."""
        upload = self._upload
        if upload is None or problem.about != upload.case.case_id:
            if problem.code == "busy" and problem.about is None:
                self._paused_until_s = self._clock.monotonic_s() + (problem.retry_after_s or RETRY_S)
            return
        if not upload.is_accepted and problem.code in _STALE:
            return
        if problem.code in _HOPELESS:
            self.give_up(f"{problem.code}: {problem.detail}")
            return
        upload.tries += 1
        upload.is_offered = upload.is_accepted = False
        upload.sent = upload.covered = 0
        if problem.code == "busy" or upload.tries >= _MAX_TRIES:
            self._postpone(upload, problem.retry_after_s or RETRY_S * upload.tries, whole=False)

    def _pick(self, now_s: float) -> _Upload | None:
        waiting = {case_id: until_s for case_id, until_s in self._not_before_s.items() if until_s > now_s}
        self._not_before_s = waiting
        best = self._spool.best(skip=waiting)
        if best is None:
            return None
        try:
            payload = self._spool.payload(best.case.case_id)
        except SpoolError as exc:
            self._counter.add(spool_errors=1)
            log.warning("spooled case lost", reason=str(exc))
            return None
        self._upload = _Upload(best.case, payload)
        return self._upload

    def _next_chunk(self, upload: _Upload) -> bytes:
        if not upload.is_accepted:
            return b""
        in_flight = upload.sent - upload.covered
        room = max(0, self.window_bytes - in_flight)
        chunk = upload.payload[upload.sent : upload.sent + CHUNK_BYTES]
        # A smaller slice only where the whole window is smaller: else slices would shrink with every receipt.
        return chunk if len(chunk) <= room else chunk[:room] if in_flight == 0 else b""

    def _go_on(self, upload: _Upload, next_offset: int) -> None:
        upload.progress_s = self._clock.monotonic_s()
        if not upload.is_accepted:
            upload.is_accepted, upload.is_offered = True, True
            upload.sent = upload.covered = min(next_offset, len(upload.payload))
            return
        upload.covered = max(upload.covered, min(next_offset, upload.sent))

    def _postpone(self, upload: _Upload, delay_s: float, *, whole: bool) -> None:
        until_s = self._clock.monotonic_s() + delay_s
        if whole:  # the cloud wants nothing at all for now
            self._paused_until_s = until_s
            return
        self._not_before_s[upload.case.case_id] = until_s
        self._upload = None

    def _let_go(self, case_id: str) -> None:
        self._spool.done(case_id)
        self._not_before_s.pop(case_id, None)
        self._upload = None
