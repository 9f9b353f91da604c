"""Spooled cases to the cloud: offer, chunks within the credit and what the path takes, receipt.

A few cases are on their way at a time, so that the next one's offer and its receipt cross the link while the last of
the others' imagery does; chunks go out of the most valuable that the cloud has agreed to. No sockets here: the session
asks `next_message` what to send, and tells `sent`, `on_receipt` and `on_problem` what happened. Until the cloud says
`stored` a case stays in the spool, so a lost link costs nothing.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field

import structlog

from edge.clock import Clock
from edge.errors import SpoolError
from edge.link_stats import LinkCounter
from edge.path_estimate import PathEstimate, SentChunk
from edge.ranking import CASE_OVERHEAD_BYTES
from edge.receipt_audit import ReceiptAudit
from edge.refusals import Refusals
from edge.spool import Spool, SpooledCase
from protocols.limits import CHUNK_BYTES, MAX_OPEN_BYTES, OPEN_CASES
from protocols.messages import AnyMessage, CaseChunk, CaseOffer, CaseReceipt, Problem

log = structlog.get_logger()

RETRY_S = 5.0
"""Pause before a case is offered again when the cloud gave a reason but no time."""

MAX_ON_THE_WAY = 32
"""Cases offered and not stored yet, to a cloud that holds as many: on a fast path their commits take the time."""

_HOPELESS = ("case_conflict", "too_large", "bad_value", "bad_blob", "version", "unknown_kind")
"""Problem codes after which sending the same case again cannot help."""

_STALE = ("gap", "unknown_case")
"""Problem codes about chunks: they say nothing new once the case is offered again."""

_MAX_TRIES = 5
"""Problems with one case in one connection, after which it has to wait for the next one."""

_LOOK_S = 0.02
"""How often cases on their way are looked at for what time alone changes."""

_PATIENCE_RTTS = 4
_MAX_ENDED = 64


@dataclass
class _Upload:
    spooled: SpooledCase
    payload: bytes
    is_audit: bool = False
    is_offered: bool = False
    is_accepted: bool = False  # or sent on trust: a case that is new cannot be anything but wanted from its beginning
    is_answered: bool = False
    is_probe: bool = False  # offered after a refusal: what becomes of it tells whether there is room again
    sent: int = 0  # bytes of imagery, from 0
    covered: int = 0  # by receipts
    offered_s: float = 0.0
    progress_s: float = 0.0
    tries: int = 0
    chunks: deque[tuple[int, SentChunk]] = field(default_factory=deque)  # (offset behind it, …), not covered yet

    @property
    def case_id(self) -> str:
        return self.spooled.case.case_id


class Uploader:
    """Which message about cases goes next.

    Attributes:
        window_bytes: the cloud's newest credit.
        path: what the receipts tell about the way.
    """

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        counter: LinkCounter,
        *,
        patience_s: float,
        audit: ReceiptAudit | None = None,
    ) -> None:
        """Start with nothing on its way.

        Args:
            spool: where cases come from.
            clock: for pauses.
            counter: delivered and refused cases are counted here.
            patience_s: without a receipt for so long, and some round trips, a case is offered again.
            audit: asks again about a few cases that the cloud says it has; None believes it.
        """
        self.window_bytes = 0
        self.path = PathEstimate()
        self._spool, self._clock, self._counter, self._patience_s = spool, clock, counter, patience_s
        self._audit = audit
        self._uploads: dict[str, _Upload] = {}
        self._ordered: list[_Upload] | None = None  # the same, most valuable first; None where that is to be found out
        self._looked = (float("-inf"), -1)  # when, and what had left the spool by then
        self._most = OPEN_CASES
        self._offers_bring_imagery = False
        self._not_before_s: dict[str, float] = {}  # by case_id
        self._offered: set[str] = set()  # once or more: the cloud may have some of it
        self._ended: deque[str] = deque(maxlen=_MAX_ENDED)  # cases just let go, of which receipts may be under way
        self._paused_until_s = 0.0
        self._refusals = Refusals()
        self._open_cases = OPEN_CASES

    def reset(self, window_bytes: int, *, chunk_bytes: int | None = None, open_cases: int = OPEN_CASES) -> None:
        """Begin a connection: nothing is on its way.

        Args:
            window_bytes: the cloud's credit.
            chunk_bytes: largest that the cloud takes, with an offer too; None is the usual ones, and none with offers.
            open_cases: that the cloud holds of this craft.
        """
        self.window_bytes = window_bytes
        self._uploads.clear()
        self._ordered = None
        self._offered = {case_id for case_id in self._offered if case_id in self._spool}
        self._most = self._open_cases = open_cases
        self._refusals.clear()
        self._paused_until_s = 0.0
        self._offers_bring_imagery = chunk_bytes is not None
        self.path.begin(chunk_bytes or CHUNK_BYTES)
        if self._audit is not None:
            self._audit.begin()

    @property
    def is_waiting(self) -> bool:
        """Whether a case is on its way, so that a receipt is to come."""
        return bool(self._uploads)

    def next_message(self) -> tuple[AnyMessage, bytes] | None:
        """(message, blob) to send now, or None; say `sent` once it is under way."""
        now_s = self._clock.monotonic_s()
        if now_s < self._paused_until_s:
            return None
        looked_s, departures = self._looked
        if now_s - looked_s >= _LOOK_S or departures != self._spool.departures:
            self._looked = (now_s, self._spool.departures)
            self._look_after(now_s)
        while len(self._uploads) < self._most and self._pick(now_s):
            pass
        if self._ordered is None:
            self._ordered = sorted(self._uploads.values(), key=lambda upload: self._order(upload.spooled))
        for upload in self._ordered:
            if not upload.is_offered:
                return CaseOffer(case=upload.spooled.case), self._first_slice(upload, self._ordered)
        return self._next_chunk(self._ordered)

    def sent(self, message: AnyMessage, blob: bytes) -> None:
        """Note that the message of `next_message` is under way."""
        now_s = self._clock.monotonic_s()
        if isinstance(message, CaseOffer):
            upload = self._uploads[message.case.case_id]
            upload.is_offered = True
            upload.offered_s = upload.progress_s = now_s
            upload.is_accepted = self._is_new(upload)
            upload.is_probe = not upload.is_audit and self._refusals.is_probing(upload.spooled.case.ttl_s)
            self._offered.add(upload.case_id)
        elif isinstance(message, CaseChunk):
            upload = self._uploads[message.case_id]
        if blob:
            upload.sent += len(blob)
            upload.chunks.append((upload.sent, self.path.sent(len(blob), now_s)))

    def give_up(self, message: AnyMessage, reason: str) -> None:
        """Drop the case that a message of `next_message` is about: it can never be sent."""
        assert isinstance(message, CaseOffer | CaseChunk)
        case_id = message.case.case_id if isinstance(message, CaseOffer) else message.case_id
        self._refuse(self._uploads[case_id], reason)

    def on_receipt(self, receipt: CaseReceipt) -> None:
        """Go on, finish or pause as the cloud says."""
        self.window_bytes = receipt.credit_bytes
        upload = self._uploads.get(receipt.case_id)
        if upload is None or receipt.payload_sha256 != upload.spooled.case.payload_sha256:
            self._on_stray_receipt(receipt)
            return
        if receipt.retry_after_s is not None:
            self._postpone(upload, receipt.retry_after_s, whole=receipt.state != "refused")
        if receipt.state == "stored":
            self._on_stored(upload)
        elif receipt.state == "partial":
            self._go_on(upload, receipt.next_offset)
        elif receipt.retry_after_s is None:
            self._refuse(upload, receipt.reason)

    def on_problem(self, problem: Problem) -> None:
        """Drop the case, or offer it again later, where the problem is about one on its way."""
        upload = self._uploads.get(problem.about or "")
        if upload is None:
            if problem.code == "busy" and problem.about is None:
                self._paused_until_s = self._clock.monotonic_s() + (problem.retry_after_s or RETRY_S)
            return
        if not upload.is_answered and problem.code in _STALE:
            return
        if problem.code in _HOPELESS:
            self._refuse(upload, f"{problem.code}: {problem.detail}")
            return
        if problem.code in ("busy", "unknown_case"):  # it holds fewer unfinished uploads than we thought
            self._most = max(1, self._most // 2)
        upload.tries += 1
        if problem.code == "busy":
            self._heed(upload.spooled.case.ttl_s, problem.retry_after_s or RETRY_S)
        self._begin_again(upload)
        if problem.code == "busy" or upload.tries >= _MAX_TRIES:
            self._postpone(upload, problem.retry_after_s or RETRY_S * upload.tries, whole=False)

    def _heed(self, ttl_s: float | None, retry_after_s: float) -> None:
        """Offer nothing like a case that the cloud has no room for, and then one at a time.

        Each refusal costs the link an offer, and its imagery too where that came along.
        """
        now_s = self._clock.monotonic_s()
        self._refusals.heed(ttl_s, now_s + retry_after_s, now_s)
        for upload in list(self._uploads.values()):
            upload.is_probe = upload.is_probe and (upload.spooled.case.ttl_s is None) != (ttl_s is None)
            if not upload.is_offered and not upload.is_audit:  # picked before; its turn may come yet
                self._forget(upload)

    def _note_room(self, upload: _Upload) -> None:
        """The cloud took a case: where it was offered after a refusal, there is room for its kind again."""
        if upload.is_probe:
            upload.is_probe = False
            self._refusals.taken(upload.spooled.case.ttl_s)

    def _look_after(self, now_s: float) -> None:
        """Forget what left the spool, and offer again what nobody answered."""
        patience_s = max(self._patience_s, _PATIENCE_RTTS * (self.path.rtt_s or 0.0))
        for upload in list(self._uploads.values()):
            if self._is_vain(upload, now_s):
                self._forget(upload)
            elif upload.is_offered and now_s - upload.progress_s > patience_s:
                self._begin_again(upload)

    def _is_vain(self, upload: _Upload, now_s: float) -> bool:
        """Whether a case on its way expired, or had to make room for a better one before any of it was sent.

        What has begun goes on, from memory: where each case is soon replaced by a newer one, none would ever arrive.
        """
        if upload.is_audit or upload.case_id in self._spool:
            return False
        return upload.sent == 0 or upload.spooled.deadline_s <= now_s

    def _pick(self, now_s: float) -> bool:
        """Whether one more case is on its way now."""
        if self._audit is not None and (held := self._audit.due(now_s)) is not None:
            self._add(_Upload(held, b"", is_audit=True))
            return True
        self._not_before_s = {case_id: until_s for case_id, until_s in self._not_before_s.items() if until_s > now_s}
        busy = self._not_before_s.keys() | self._uploads.keys() if self._not_before_s else self._uploads
        open_ttls = [upload.spooled.case.ttl_s for upload in self._uploads.values() if not upload.is_answered]
        is_asking = {ttl_s is not None for ttl_s in open_ttls if self._refusals.is_probing(ttl_s)}
        best = self._spool.best(
            busy,
            self.path.bytes_per_s(now_s),
            lambda ttl_s: (ttl_s is not None) not in is_asking and not self._refusals.is_paused(ttl_s, now_s),
        )
        if best is None or not self._is_its_turn(best):
            return False
        try:
            payload = self._spool.payload(best.case.case_id)
        except SpoolError as exc:
            self._counter.add(spool_errors=1)
            log.warning("spooled case lost", reason=str(exc))
            return True
        self._add(_Upload(best, payload))
        return True

    def _add(self, upload: _Upload) -> None:
        self._uploads[upload.case_id] = upload
        self._ordered = None

    def _is_its_turn(self, spooled: SpooledCase) -> bool:
        """Whether a case goes beside those on their way: what is left of them leaves soon, or it is worth more.

        Offering further ahead would fill the cloud's few places with cases that a better one may come before.
        """
        left = sum(len(upload.payload) - upload.sent for upload in self._uploads.values())
        announced = sum(upload.spooled.case.payload_bytes for upload in self._uploads.values())
        if announced + spooled.case.payload_bytes > MAX_OPEN_BYTES:  # the cloud would be busy
            return False
        is_better = all(self._order(spooled) < self._order(upload.spooled) for upload in self._uploads.values())
        # An offer is no imagery, and no credit counts it: on a thin path a heartbeat would wait behind all of them.
        offers = CASE_OVERHEAD_BYTES * sum(not upload.is_answered for upload in self._uploads.values())
        return is_better or max(left, offers) < self.path.allowance_bytes

    def _order(self, spooled: SpooledCase) -> tuple[bool, tuple[float, int]]:
        """Sort key among cases on their way: what can still be in time first."""
        now_s = self._clock.monotonic_s()
        return not spooled.is_in_time(now_s, self.path.bytes_per_s(now_s)), spooled.order

    def _is_new(self, upload: _Upload) -> bool:
        """Whether the cloud cannot have anything of a case that is about to be offered."""
        is_known = upload.spooled.is_left_over or upload.is_audit or upload.case_id in self._offered
        return not is_known and not self._refusals.is_probing(upload.spooled.case.ttl_s)

    def _first_slice(self, upload: _Upload, uploads: list[_Upload]) -> bytes:
        """What goes out with the offer of a case, if it is its turn and the cloud takes it."""
        if not self._offers_bring_imagery or not self._is_new(upload):
            return b""
        for better in itertools.takewhile(lambda other: other is not upload, uploads):
            if better.is_accepted and better.sent < len(better.payload):
                return b""
        return self._slice(upload, uploads)

    def _next_chunk(self, uploads: list[_Upload]) -> tuple[AnyMessage, bytes] | None:
        """A chunk of the most valuable case that the cloud has agreed to, if there is room for it on the way."""
        for upload in uploads:
            if upload.is_accepted and upload.sent < len(upload.payload):
                blob = self._slice(upload, uploads)
                return (CaseChunk(case_id=upload.case_id, offset=upload.sent), blob) if blob else None
        if self._room(uploads)[0]:
            self.path.ran_dry()
        return None

    def _slice(self, upload: _Upload, uploads: list[_Upload]) -> bytes:
        """The next bytes of a case that there is room for."""
        room, is_idle = self._room(uploads)
        chunk = upload.payload[upload.sent : upload.sent + self.path.chunk_bytes]
        # A smaller slice only where the whole window is smaller: else slices would shrink with every receipt.
        return chunk if len(chunk) <= room else chunk[:room] if is_idle else b""

    def _room(self, uploads: list[_Upload]) -> tuple[int, bool]:
        """Bytes that may be sent now, and whether none is on its way."""
        in_flight = sum(upload.sent - upload.covered for upload in uploads)
        return max(0, min(self.window_bytes, self.path.allowance_bytes) - in_flight), in_flight == 0

    def _go_on(self, upload: _Upload, next_offset: int) -> None:
        now_s = self._clock.monotonic_s()
        self._note_room(upload)
        upload.progress_s = now_s
        if upload.is_audit:
            self._on_forgotten(upload)
            return
        if not upload.is_answered and upload.tries == 0 and not upload.chunks:
            self.path.answered(now_s - upload.offered_s, now_s)
        upload.is_answered = True
        if not upload.is_accepted:
            upload.is_accepted, upload.is_offered = True, True
            upload.sent = upload.covered = min(next_offset, len(upload.payload))
            return
        if (newest := self._cover(upload, next_offset, now_s)) is not None:
            self.path.answered(now_s - newest.sent_s, now_s, newest.in_flight)
        if next_offset > upload.sent:  # it was not new to the cloud after all
            upload.sent = upload.covered = min(next_offset, len(upload.payload))

    def _cover(self, upload: _Upload, next_offset: int, now_s: float) -> SentChunk | None:
        """The last chunk that a receipt covers, if it covers any that was on the way."""
        newest = None
        while upload.chunks and upload.chunks[0][0] <= next_offset:
            _, newest = upload.chunks.popleft()
            self.path.covered(newest, now_s)
        upload.covered = max(upload.covered, min(next_offset, upload.sent))
        return newest

    def _on_stored(self, upload: _Upload) -> None:
        self._note_room(upload)
        self._most = min(self._most + 1, self._open_cases)  # one more at a time, where it was busy before
        if upload.is_audit:
            assert self._audit is not None
            self._audit.passed(upload.case_id)
            self._forget(upload)
            return
        self._cover(upload, len(upload.payload), self._clock.monotonic_s())  # waited for a disk: no round trip time
        self._delivered(upload.case_id)
        self._forget(upload)

    def _delivered(self, case_id: str) -> None:
        self._counter.add(cases_delivered=1)
        self._not_before_s.pop(case_id, None)
        if self._audit is None or not self._audit.hold(case_id, self._clock.monotonic_s()):
            self._spool.done(case_id)
        self._offered.discard(case_id)

    def _on_forgotten(self, upload: _Upload) -> None:
        """The cloud said that it stored this case, and now wants it anew."""
        assert self._audit is not None
        self._counter.add(cases_forgotten=1)
        log.error("the cloud stored a case and forgot it; sending it again", case_id=upload.case_id)
        self._audit.failed(upload.case_id)
        self._forget(upload)

    def _on_stray_receipt(self, receipt: CaseReceipt) -> None:
        """A receipt for nothing on its way: late, for a case that is in the spool still, or for none that we know."""
        spooled = self._spool.find(receipt.case_id)
        if spooled is None and receipt.case_id in self._ended:
            return
        if spooled is None or spooled.case.payload_sha256 != receipt.payload_sha256:
            self._counter.add(receipts_unknown=1)
            log.debug("receipt for an unknown case", case_id=receipt.case_id, state=receipt.state)
        elif receipt.state == "stored":
            self._delivered(receipt.case_id)

    def _refuse(self, upload: _Upload, reason: str) -> None:
        self._counter.add(cases_refused=1)
        log.warning("case refused", case_id=upload.case_id, reason=reason)
        self._not_before_s.pop(upload.case_id, None)
        if upload.is_audit and self._audit is not None:
            self._audit.passed(upload.case_id)
        else:
            self._spool.done(upload.case_id)
        self._forget(upload)

    def _postpone(self, upload: _Upload, delay_s: float, *, whole: bool) -> None:
        until_s = self._clock.monotonic_s() + delay_s
        if whole:  # the cloud wants nothing at all for now
            self._paused_until_s = until_s
            return
        self._not_before_s[upload.case_id] = until_s
        self._forget(upload)

    def _begin_again(self, upload: _Upload) -> None:
        """Offer a case anew: where the cloud wants it from is not known any more."""
        for _, chunk in upload.chunks:
            self.path.lost(chunk.size)
        upload.chunks.clear()
        upload.is_offered = upload.is_accepted = upload.is_answered = False
        upload.sent = upload.covered = 0

    def _forget(self, upload: _Upload) -> None:
        self._begin_again(upload)
        self._uploads.pop(upload.case_id, None)
        self._ordered = None
        if upload.case_id not in self._spool:
            self._offered.discard(upload.case_id)
            self._ended.append(upload.case_id)
