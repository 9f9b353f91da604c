"""One connection to the cloud as a state machine, without its socket.

The link's thread feeds it what arrives (`receive`) and lets it send what is due (`pump`), in this order: Hello,
receipts, news of targets, heartbeats, then at most one chunk at a time, so that nothing small ever waits behind
imagery.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from edge.bank import BankStore
from edge.clock import Clock
from edge.errors import BankError
from edge.link_stats import LinkCounter
from edge.refinements import Refinements
from edge.spool import Spool
from edge.target_orders import TargetOrders
from edge.updates import Updates
from edge.uploader import MAX_ON_THE_WAY, Uploader
from protocols.errors import MessageError
from protocols.limits import MAX_CHUNK_BYTES, MAX_DETAIL_CHARS, MAX_UPDATE_BYTES, OPEN_CASES
from protocols.messages import (
    KINDS,
    AnyMessage,
    BundleChunk,
    BundleOffer,
    CaseReceipt,
    Heartbeat,
    Hello,
    InterpretationMessage,
    InterpretationReceipt,
    Problem,
    PromptReceipt,
    PromptUpdate,
    RefineRequest,
    TrackTarget,
    Welcome,
    decode,
    encode,
    unpack_change,
)
from protocols.reassembly import Reassembly
from protocols.values import BankChange, Interpretation, PromptBank

log = structlog.get_logger()

MAX_OUTBOX = 64
"""Small messages waiting to be sent; while it is full nothing is read, so the cloud cannot make us grow."""

_PROBLEM_INTERVAL_S = 1.0
_BUNDLE_KINDS = ("BundleOffer", "BundleChunk", "BundleReceipt")
_LIVENESS_BEATS = 2.8
"""Heartbeats, or round trips, without a byte: two are missing and the third is due. A broken link is found within 3."""

_OVERDUE_S, _OVERDUE_RTTS = 0.25, 4.0
"""Silence in which a receipt should have come. Then a heartbeat is sent at once: where something on the way forgot the
connection, it answers that, and not before, by ending it."""

Send = Callable[[Sequence[bytes]], bool]
HeardBytes = Callable[[], "int | None"]
OnInterpretation = Callable[[Interpretation], None]
OnBank = Callable[[PromptBank, BankChange, float], None]


@dataclass(frozen=True)
class HelloProfile:
    """Who the craft says it is at every connect.

    Attributes:
        space_id: embedding space of the student in use.
        variant: its file.
        labels: the classes it knows.
        software: name and version of this program.
    """

    space_id: str
    variant: str
    labels: tuple[str, ...] = ()
    software: str = "skyloop"


@dataclass(frozen=True)
class Ports:
    """What a session works with; outlives any one connection."""

    spool: Spool
    bank: BankStore
    hello: HelloProfile
    boot_id: str
    clock: Clock
    counter: LinkCounter
    uploader: Uploader
    liveness_s: float
    on_interpretation: OnInterpretation | None
    on_bank: OnBank | None
    orders: TargetOrders = field(default_factory=TargetOrders)
    refinements: Refinements = field(default_factory=Refinements)
    updates: Updates | None = None


def first_message(ports: Ports) -> Hello:
    """The Hello of a new connection.

    Raises:
        ValidationError: the profile does not fit the protocol's limits.
    """
    flying = ports.hello if ports.updates is None else ports.updates.flying
    return Hello(
        craft_software=ports.hello.software,
        boot_id=ports.boot_id,
        session_id=uuid.uuid4().hex,
        kinds=KINDS if ports.updates is not None else tuple(kind for kind in KINDS if kind not in _BUNDLE_KINDS),
        space_id=flying.space_id,
        variant=flying.variant,
        labels=flying.labels,
        bundle_id=None if ports.updates is None else ports.updates.flying.bundle_id,
        bank=ports.bank.current.ref,
        wall_time_s=ports.clock.wall_s(),
    )


class LinkSession:
    """The protocol of one connection.

    Attributes:
        ended: why the connection is of no more use; None while it is.
        is_welcome: whether the cloud has answered Hello.
        is_turned_away: whether the cloud refused this connection; trying again at once would not help.
        is_blocked: whether something waits for room to be sent.
    """

    def __init__(
        self, ports: Ports, send: Send, *, heard_bytes: HeardBytes | None = None, patience_s: float = 0.0
    ) -> None:
        """Begin with a Hello in the outbox.

        Args:
            ports: what to work with.
            send: takes both frames of a message; False when there is no room now. Never waits.
            heard_bytes: bytes that have come so far, those of unfinished messages included, where this is known.
            patience_s: least wait for Welcome; later `Ports.liveness_s` rules alone.
        """
        self.ended: str | None = None
        self.is_welcome = self.is_turned_away = self.is_blocked = False
        self._ports, self._send, self._heard_bytes = ports, send, heard_bytes
        self._patience_s, self._bytes = patience_s, 0
        self._hello = first_message(ports)
        self._outbox: deque[AnyMessage] = deque([self._hello])
        self._heartbeat_s, self._seq, self._sent_count = 1.0, 0, 0
        self._sent_s = self._received_s = ports.clock.monotonic_s()
        self._problem_s = float("-inf")
        self._update: tuple[str, Reassembly] | None = None
        self._settled_update = ""  # applied or refused: its further slices are stale
        self._tells_targets = self._tells_bundles = False

    @property
    def wants_input(self) -> bool:
        """Whether there is room for what an arriving message may cause."""
        return self.ended is None and len(self._outbox) < MAX_OUTBOX

    def receive(self, frames: Sequence[bytes]) -> None:
        """Take one message from the cloud, whatever it is."""
        counter = self._ports.counter
        counter.add(messages_received=1, bytes_received=sum(map(len, frames)))
        self._received_s = self._ports.clock.monotonic_s()
        try:
            message, blob = decode(frames)
        except MessageError as exc:
            counter.add(malformed=1)
            self._complain(exc)
            return
        if isinstance(message, Welcome):
            self._on_welcome(message)
        elif isinstance(message, Problem):
            self._on_problem(message)
        elif self.is_welcome:
            self._dispatch(message, blob)

    def pump(self) -> int:
        """Send what is due and fits, and return how many messages; end the session when nothing comes for too long."""
        now_s = self._ports.clock.monotonic_s()
        self.is_blocked = False  # what had no room may be gone by now
        self._hear_bytes(now_s)
        silence_s = self._silence_s()
        if now_s - self._received_s > silence_s:
            self.ended = self.ended or f"nothing received for {silence_s:.1f} s"
        before = self._sent_count
        if self._tells_targets:
            self._outbox.extend(self._ports.orders.due(MAX_OUTBOX - len(self._outbox)))
        if self.is_welcome:
            self._outbox.extend(self._ports.refinements.due(MAX_OUTBOX - len(self._outbox)))
            self._tell_of_bundles()
        if self.ended is None and self._drain():
            if self.is_welcome and now_s - self._sent_s >= self._beat_s(now_s):
                self._outbox.append(self._heartbeat())
            if self._drain():
                self._send_case()
        return self._sent_count - before

    def _tell_of_bundles(self) -> None:
        updates = self._ports.updates
        if updates is not None and self._tells_bundles:
            is_busy = self._ports.uploader.is_waiting or len(self._ports.spool) > 0
            self._outbox.extend(updates.due(MAX_OUTBOX - len(self._outbox), is_busy=is_busy))

    def _beat_s(self, now_s: float) -> float:
        """After what time without a message of ours a heartbeat is due: sooner where a receipt is overdue."""
        rtt_s = self._ports.uploader.path.rtt_s
        overdue_s = max(_OVERDUE_S, _OVERDUE_RTTS * (self._heartbeat_s if rtt_s is None else rtt_s))
        is_overdue = self._ports.uploader.is_waiting and now_s - self._received_s >= overdue_s
        return min(self._heartbeat_s, overdue_s) if is_overdue else self._heartbeat_s

    def _silence_s(self) -> float:
        """Longest time without a byte that a connection may live."""
        beats_s = _LIVENESS_BEATS * max(self._heartbeat_s, self._ports.uploader.path.rtt_s or 0.0)
        return max(self._ports.liveness_s, beats_s, 0.0 if self.is_welcome else self._patience_s)

    def _hear_bytes(self, now_s: float) -> None:
        """Take a part of a message for a sign of life: on a slow link the whole takes long."""
        heard = self._heard_bytes() if self._heard_bytes is not None else None
        if heard is not None and heard != self._bytes:
            self._bytes, self._received_s = heard, now_s

    def _on_welcome(self, welcome: Welcome) -> None:
        if welcome.session_id != self._hello.session_id or self.is_welcome:
            return
        self.is_welcome = True
        self._heartbeat_s = welcome.heartbeat_s
        self._tells_targets = "TargetStatus" in welcome.kinds
        self._tells_bundles = "BundleReceipt" in welcome.kinds
        if self._ports.updates is not None:
            self._ports.updates.connected()
        rtt_s = self._ports.clock.monotonic_s() - self._sent_s
        self._ports.spool.hear_time(welcome.wall_time_s + rtt_s / 2)
        hello_bytes = sum(map(len, encode(self._hello)))
        self._ports.uploader.path.greeted(hello_bytes, rtt_s, self._ports.clock.monotonic_s())
        self._ports.uploader.reset(
            welcome.credit_bytes,
            chunk_bytes=welcome.chunk_bytes and min(welcome.chunk_bytes, MAX_CHUNK_BYTES),
            open_cases=min(welcome.open_cases or OPEN_CASES, MAX_ON_THE_WAY),
        )
        self._ports.counter.add(connects=1)
        self._ports.counter.mark_connected(True)
        log.info("link up", server=welcome.server_software, credit_bytes=welcome.credit_bytes)

    def _on_problem(self, problem: Problem) -> None:
        self._ports.counter.add(problems=1)
        if problem.code in ("not_welcome", "not_enrolled") or not self.is_welcome:
            self.is_turned_away = True
            self.ended = f"{problem.code}: {problem.detail}"
            return
        self._ports.uploader.on_problem(problem)

    def _dispatch(self, message: AnyMessage, blob: bytes) -> None:
        if isinstance(message, CaseReceipt):
            self._ports.uploader.on_receipt(message)
        elif isinstance(message, Heartbeat):
            if message.credit_bytes is not None:
                self._ports.uploader.window_bytes = message.credit_bytes
        elif isinstance(message, InterpretationMessage):
            self._on_interpretation(message.interpretation)
        elif isinstance(message, PromptUpdate):
            self._on_prompt_update(message, blob)
        elif isinstance(message, TrackTarget):
            self._ports.orders.receive(message)
        elif isinstance(message, RefineRequest):
            self._ports.refinements.receive(message)
        elif isinstance(message, BundleOffer | BundleChunk) and self._ports.updates is not None:
            self._ports.updates.receive(message, blob)
        else:  # a kind that only the edge may send
            self._ports.counter.add(malformed=1)

    def _on_interpretation(self, interpretation: Interpretation) -> None:
        if self._ports.on_interpretation is not None:
            try:
                self._ports.on_interpretation(interpretation)
            except OSError as exc:  # without a receipt the cloud sends it again at the next connect
                self._ports.counter.add(interpretations_unkept=1)
                log.warning("interpretation not kept", case_id=interpretation.case_id, reason=str(exc))
                return
        self._ports.counter.add(interpretations=1)
        self._outbox.append(InterpretationReceipt(case_id=interpretation.case_id))

    def _on_prompt_update(self, update: PromptUpdate, blob: bytes) -> None:
        if update.update_id == self._settled_update:
            return
        try:
            packed = self._collect(update, blob)
            if packed is None:
                return
            change = unpack_change(packed)
            if change.target != update.target:
                raise MessageError("the change leads to another bank than announced", code="bank_mismatch")
            before = self._ports.bank.current
            bank = self._ports.bank.apply(change)
        except (MessageError, BankError) as exc:
            self._ports.counter.add(prompts_refused=1)
            log.warning("prompt update refused", update_id=update.update_id, reason=str(exc))
            self._settle(update, reason=str(exc))
            return
        self._ports.counter.add(prompts_applied=int(bank.digest != before.digest))
        log.info("prompt update applied", revision=bank.revision, prompts=len(bank.prompts))
        self._settle(update, reason=None)
        if self._ports.on_bank is not None:
            self._ports.on_bank(bank, change, self._ports.clock.monotonic_s())

    def _collect(self, update: PromptUpdate, blob: bytes) -> bytes | None:
        """The whole packed change once its last slice is here."""
        if self._update is None or self._update[0] != update.update_id:
            parts = Reassembly(update.total_bytes, update.sha256, cap_bytes=MAX_UPDATE_BYTES)
            self._update = (update.update_id, parts)
        parts = self._update[1]
        parts.add(update.offset, blob)
        return parts.finish() if parts.is_complete else None

    def _settle(self, update: PromptUpdate, *, reason: str | None) -> None:
        self._update, self._settled_update = None, update.update_id
        self._outbox.append(
            PromptReceipt(
                update_id=update.update_id,
                bank=self._ports.bank.current.ref,
                applied=reason is None,
                reason=(reason or "")[:MAX_DETAIL_CHARS],
            )
        )

    def _complain(self, error: MessageError) -> None:
        now_s = self._ports.clock.monotonic_s()
        if now_s - self._problem_s >= _PROBLEM_INTERVAL_S:
            self._problem_s = now_s
            self._outbox.append(Problem.from_error(error))

    def _heartbeat(self) -> Heartbeat:
        self._seq += 1
        return Heartbeat(
            seq=self._seq,
            wall_time_s=self._ports.clock.wall_s(),
            spool_cases=len(self._ports.spool),
            spool_bytes=self._ports.spool.total_bytes,
        )

    def _drain(self) -> bool:
        while self._outbox:
            if not self._transmit(encode(self._outbox[0])):
                return False
            self._outbox.popleft()
        return True

    def _send_case(self) -> None:
        """Send chunks while there is room, looking for other business after each."""
        while self.is_welcome and not self._outbox:
            item = self._ports.uploader.next_message()
            if item is None:
                return
            try:
                frames = encode(*item)
            except MessageError as exc:
                self._ports.uploader.give_up(item[0], str(exc))
                continue
            if not self._transmit(frames):
                return
            self._ports.uploader.sent(*item)

    def _transmit(self, frames: list[bytes]) -> bool:
        self.is_blocked = not self._send(frames)
        if self.is_blocked:
            return False
        self._sent_count += 1
        self._ports.counter.add(messages_sent=1, bytes_sent=sum(map(len, frames)))
        self._sent_s = self._ports.clock.monotonic_s()
        return True
