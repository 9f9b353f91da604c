"""One craft's end of the link: cases out, prompts in, both at once and only during a pass.

It keeps the real uploader's ways: one case at a time, offered and accepted (one round trip), sent in chunks, and let
go on its receipt (another round trip). When a pass ends the cloud keeps whole chunks; the next pass goes on from there.
A prompt update is one message: a pass that ends within it loses it, and it is sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from protocols.limits import CHUNK_BYTES
from sim.mission.agenda import Agenda
from sim.mission.events import EventLog
from sim.mission.passes import Pass
from sim.mission.spool import MissionCase, MissionSpool

CHUNK_HEADER_BYTES = 80
"""Header of one `CaseChunk` before encryption, to the next ten."""

OFFER_BYTES = 800
"""Header of a `CaseOffer` with one or two detections before encryption, to the next hundred."""


@dataclass(frozen=True)
class PromptOnItsWay:
    """A prompt update for one craft.

    Attributes:
        case: that it answers.
        kind: of strange thing that it explains.
        update_bytes: on the wire.
        pass_number: of the pass in which the cloud got the case.
    """

    case: MissionCase
    kind: int
    update_bytes: int
    pass_number: int


@dataclass
class RadioCounts:
    """What the radio has done.

    Attributes:
        passes: there were.
        used_passes: of them, with at least one byte of a case or prompt.
        sent_bytes: from the craft, headers and what was lost at the end of a pass too.
        received_bytes: of prompt updates.
        delivered: cases the cloud has.
    """

    passes: int = 0
    used_passes: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    delivered: int = 0


@dataclass(frozen=True)
class _Upload:
    case: MissionCase
    data_start_s: float
    data_end_s: float
    wire_bytes: int


class Radio:
    """The link of one craft.

    Attributes:
        counts: see `RadioCounts`.
        on_stored: called when the cloud has a case whole.
        on_prompt: called when the craft has a prompt.
    """

    def __init__(self, craft: str, agenda: Agenda, log: EventLog, spool: MissionSpool) -> None:
        self.counts = RadioCounts()
        self.on_stored: Callable[[MissionCase, float], None] = lambda case, now_s: None
        self.on_prompt: Callable[[PromptOnItsWay, float], None] = lambda prompt, now_s: None
        self._craft, self._agenda, self._log, self._spool = craft, agenda, log, spool
        self._pass: Pass | None = None
        self._is_ready = self._is_used = self._is_receiving = False
        self._upload: _Upload | None = None
        self._prompts: deque[PromptOnItsWay] = deque()

    @property
    def pass_number(self) -> int:
        """Which pass this is, or was the last; from 1."""
        return self.counts.passes

    def open(self, found: Pass, now_s: float) -> None:
        """Begin a pass, which lasts until `close`; cases and prompts go after a handshake of one round trip."""
        self.counts.passes += 1
        self._pass, self._is_used = found, False
        self._log.add(
            now_s, self._craft, "window_opened", station=found.station, end_s=found.end_s,
            max_elevation_deg=found.max_elevation_deg,
        )  # fmt: skip
        number = self.pass_number
        self._agenda.at(now_s + 2 * found.link.latency_s, lambda at_s: self._begin(number, at_s))

    def close(self, now_s: float) -> None:
        """End the pass, if there is one; what is half sent waits for the next."""
        if self._pass is None:
            return
        if self._upload is not None:
            self._pause(self._upload, self._pass, now_s)
        self.counts.used_passes += self._is_used
        self._log.add(now_s, self._craft, "window_closed", station=self._pass.station, is_used=self._is_used)
        self._pass = self._upload = self._spool.on_its_way = None
        self._is_ready = self._is_receiving = False

    def queue_prompt(self, prompt: PromptOnItsWay, now_s: float) -> None:
        """Send a prompt as soon as the link allows."""
        self._prompts.append(prompt)
        self._next_prompt(now_s)

    def next_case(self, now_s: float) -> None:
        """Offer the best case in the spool, if the link is free."""
        if self._pass is None or not self._is_ready or self._upload is not None:
            return
        for late in self._spool.expire(now_s):
            self._log.add(now_s, self._craft, "case_expired", case_id=late.case_id)
        case = self._spool.best()
        if case is not None:
            self._spool.on_its_way = case
            self._start(case, self._pass, now_s)

    def _begin(self, number: int, now_s: float) -> None:
        if self._pass is not None and self.pass_number == number:
            self._is_ready = True
            self.next_case(now_s)
            self._next_prompt(now_s)

    def _start(self, case: MissionCase, link_pass: Pass, now_s: float) -> None:
        link, number = link_pass.link, self.pass_number
        left = 0 if case.is_stored else case.payload_bytes - case.offset
        wire_bytes = left + -(-left // CHUNK_BYTES) * CHUNK_HEADER_BYTES
        offered_s = now_s + 8 * OFFER_BYTES / link.edge_to_cloud_bps
        start_s = offered_s + 2 * link.latency_s
        end_s = start_s + 8 * wire_bytes / link.edge_to_cloud_bps
        self._upload = _Upload(case, start_s, end_s, wire_bytes)
        self.counts.sent_bytes += OFFER_BYTES
        self._is_used = True
        if end_s >= link_pass.end_s:
            return
        if left:
            self._agenda.at(end_s + link.latency_s, lambda at_s: self._stored(case, wire_bytes, at_s))
        receipt_s = end_s + (2 * link.latency_s if left else 0.0)
        self._agenda.at(receipt_s, lambda at_s: self._receipt(case, number, at_s))

    def _stored(self, case: MissionCase, wire_bytes: int, now_s: float) -> None:
        case.is_stored, case.offset = True, case.payload_bytes
        self.counts.sent_bytes += wire_bytes
        self.counts.delivered += 1
        self.on_stored(case, now_s)

    def _receipt(self, case: MissionCase, number: int, now_s: float) -> None:
        if self._pass is None or self.pass_number != number:
            return  # the receipt came too late: the case is offered again and found stored
        self._spool.on_its_way = self._upload = None
        self._spool.done(case)
        self.next_case(now_s)

    def _pause(self, upload: _Upload, link_pass: Pass, now_s: float) -> None:
        case = upload.case
        if upload.data_end_s < link_pass.end_s or case.is_stored:
            case.is_stored = True  # all of it is out and will arrive; only the receipt is missing
            return
        sent = int(max(now_s - upload.data_start_s, 0.0) * link_pass.link.edge_to_cloud_bps / 8)
        whole = sent // (CHUNK_BYTES + CHUNK_HEADER_BYTES) * CHUNK_BYTES
        case.offset = min(case.offset + whole, case.payload_bytes)
        self.counts.sent_bytes += sent
        self._log.add(now_s, self._craft, "case_paused", case_id=case.case_id, offset=case.offset)

    def _next_prompt(self, now_s: float) -> None:
        if self._pass is None or not self._is_ready or self._is_receiving or not self._prompts:
            return
        prompt, link, number = self._prompts[0], self._pass.link, self.pass_number
        end_s = now_s + link.latency_s + 8 * prompt.update_bytes / link.cloud_to_edge_bps
        if end_s < self._pass.end_s:
            self._is_receiving = self._is_used = True
            self._agenda.at(end_s, lambda at_s: self._received(number, at_s))

    def _received(self, number: int, now_s: float) -> None:
        if self._pass is None or self.pass_number != number:
            return
        self._is_receiving = False
        prompt = self._prompts.popleft()
        self.counts.received_bytes += prompt.update_bytes
        self.on_prompt(prompt, now_s)
        self._next_prompt(now_s)
