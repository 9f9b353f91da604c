"""One connected craft: its messages in order, its receipts, prompts, answers and targets.

A session is one task. The gateway puts messages into its inbox and never waits for it, so a craft whose store
work takes long, or whose link is slow, keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from cloud.bank_sender import BankSender
from cloud.bundle_sender import BundleSender
from cloud.case_intake import CaseIntake
from cloud.desk import Desk
from cloud.errors import CloudError, StoreError
from cloud.gateway_settings import CraftLive
from cloud.news import Token
from cloud.refine_sender import RefineSender
from cloud.target_sender import TargetSender
from protocols.errors import MessageError
from protocols.limits import MAX_CHUNK_BYTES
from protocols.messages import (
    KINDS,
    AnyMessage,
    BundleReceipt,
    CaseChunk,
    CaseOffer,
    Heartbeat,
    Hello,
    InterpretationMessage,
    InterpretationReceipt,
    Problem,
    PromptReceipt,
    TargetStatus,
    Welcome,
    encode,
)
from protocols.values import Interpretation, PromptBank

log = structlog.get_logger()

MAX_INBOX = 256
"""Messages of one craft waiting for its session; more are refused with `busy`."""

MAX_OUTBOX = 256
"""Messages waiting for one craft's socket; a craft that reads so little is cut off."""

_STEP_S = 0.02
"""How soon a full socket is tried again; also the pace of update slices."""

_LEAST_PAUSE_S = 0.001
"""A pause that ends a little too early is taken again; no less than this, so that it is not taken for ever."""

_NO_NEWS: Token = (0, 0, 0, 0)

_LIVENESS_HEARTBEATS = 6
_PROBLEMS_PER_S = 10.0


_Sent: TypeAlias = tuple[str, float]  # who made the answer that is on its way, and when

Transmit = Callable[["CraftSession", list[bytes]], Awaitable[bool]]


class CraftSession:
    """The conversation with one craft on one connection, from its Hello on.

    Attributes:
        craft: its name.
        key: the key it proved, z85.
        route: routing id of the connection; an address, never an identity.
        live: what is told of the craft elsewhere.
        ended: why the session is over; None while it is not.
    """

    def __init__(self, desk: Desk, craft: str, key: str, route: bytes, transmit: Transmit) -> None:
        """Begin; the Hello is the first message to `put`.

        Args:
            desk: see `Desk`.
            craft: see the class.
            key: see the class.
            route: see the class.
            transmit: sends both frames of a message to this craft; False when there is no room, or when it is
                gone or not enrolled any more (then the session has been ended).
        """
        self.craft, self.key, self.route = craft, key, route
        self.ended: str | None = None
        self.live = CraftLive()
        self._desk, self._transmit_frames = desk, transmit
        self._wake = asyncio.Event()
        self._cases = CaseIntake(
            desk,
            craft,
            send=self._send,
            refuse=self._refuse,
            on_duplicate=self.notify,
            on_verdict=self._wake.set,
        )
        self._targets, self._better = TargetSender(desk, craft, self._send), RefineSender(desk, craft, self._send)
        self._bundles = BundleSender(desk, craft, self._send)
        self._inbox: deque[tuple[AnyMessage, bytes]] = deque()
        self._inbox_bytes = 0
        self._outbox: deque[list[bytes]] = deque()
        self._banks: BankSender | None = None  # from Hello on
        self._unreceipted: dict[str, _Sent] = {}  # by case_id
        self._received_s = self._sent_s = self._looked_s = desk.clock.monotonic_s()
        self._seen: Token = _NO_NEWS
        self._is_news = True
        self._fresh: deque[Interpretation] = deque()  # answers just made, to be sent without asking the store
        self._has_more = False  # the store has answers that found no room, or wait for the one to their case before
        self._problems_left, self._problems_s = _PROBLEMS_PER_S, self._sent_s
        self._seq = 0

    def put(self, message: AnyMessage, blob: bytes) -> None:
        """Take a message of this craft.

        Raises:
            MessageError: `busy` when it sends faster than its credit and the inbox allow.
        """
        if len(self._inbox) >= MAX_INBOX or self._inbox_bytes + len(blob) > self._desk.settings.credit_bytes:
            raise MessageError("more than the credit allows is on its way: wait for receipts", code="busy")
        self._received_s = self._desk.clock.monotonic_s()
        self._inbox.append((message, blob))
        self._inbox_bytes += len(blob)
        self._wake.set()

    def notify(self) -> None:
        """Look at the store again soon: there is news for this craft."""
        self._is_news = True
        self._looked_s = float("-inf")
        self._wake.set()

    def deliver(self, answer: Interpretation) -> None:
        """Send an answer that has just been kept; where too many are on their way, the store is asked for it later."""
        if self._banks is None:
            return
        is_full = len(self._unreceipted) >= self._desk.settings.max_unreceipted
        if is_full or answer.case_id in self._unreceipted:
            self._has_more = True
            return
        self._unreceipted[answer.case_id] = _sent(answer)
        self._fresh.append(answer)
        self._wake.set()

    def end(self, reason: str) -> None:
        """Stop speaking with this connection."""
        self.ended = self.ended or reason
        self._wake.set()

    async def run(self) -> None:
        """Serve the craft until it is gone."""
        try:
            while self.ended is None:
                await self._wait()
                while self._inbox and self.ended is None:
                    message, blob = self._inbox.popleft()
                    self._inbox_bytes -= len(blob)
                    await self._handle(message, blob)
                await self._cases.send_receipts()
                await self._send_fresh()
                await self._look()
                await self._send_slice()
                await self._keep_alive()
                await self._drain()
        except Exception:  # the top loop of this task: other crafts go on, this one starts again with Hello
            self._desk.stats.faults += 1
            log.exception("craft session fault", craft=self.craft)
            self.ended = self.ended or "fault"
        finally:
            if self._banks is not None:
                self._desk.stats.crafts_online -= 1
            log.info("craft offline", craft=self.craft, reason=self.ended or "stopped")

    async def finish(self) -> None:
        """Wait for the receipts of cases that are being committed."""
        await self._cases.finish()
        await self._drain()

    async def complain(self, error: MessageError, about: str | None = None) -> None:
        """Answer with a Problem, unless this craft has been told too many already.

        Args:
            error: what is wrong.
            about: the message.
        """
        now_s = self._desk.clock.monotonic_s()
        refill = (now_s - self._problems_s) * _PROBLEMS_PER_S
        self._problems_left, self._problems_s = min(_PROBLEMS_PER_S, self._problems_left + refill), now_s
        if self._problems_left < 1:
            self._desk.stats.refused[error.code] += 1
            return
        self._problems_left -= 1
        await self._refuse(error, about)

    async def _refuse(self, error: MessageError, about: str | None, retry_after_s: float | None = None) -> None:
        """Answer with a Problem in any case: an offer waits for its answer, and gets one and no more."""
        self._desk.stats.refused[error.code] += 1
        problem = Problem.from_error(error, about)
        if error.code == "busy":
            after_s = self._desk.settings.retry_after_s if retry_after_s is None else retry_after_s
            problem = problem.model_copy(update={"retry_after_s": after_s})
        await self._send(problem)

    async def _wait(self) -> None:
        """Return when a message came, or something is due."""
        timer = asyncio.get_running_loop().call_later(self._pause_s(), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()

    def _pause_s(self) -> float:
        """Until something is due: a heartbeat, or a look at the store."""
        heartbeat_s = self._desk.settings.heartbeat_s
        if self._banks is None:
            return heartbeat_s / 2
        if self._outbox or self._banks.is_sending or self._bundles.is_sending:
            return _STEP_S
        due_s = min(self._sent_s, self._looked_s) + heartbeat_s - self._desk.clock.monotonic_s()
        return min(max(due_s, _LEAST_PAUSE_S), heartbeat_s)

    async def _handle(self, message: AnyMessage, blob: bytes) -> None:
        answer = self._refuse if isinstance(message, CaseOffer) else self.complain
        try:
            if isinstance(message, Hello):
                await self._on_hello(message)
            elif self._banks is None:  # the store could not be asked when Hello came
                raise MessageError(f"{message.kind} before Welcome: begin again", code="not_welcome")
            else:
                await self._take(message, blob)
        except MessageError as exc:
            await answer(exc, _about(message))
        except CloudError as exc:
            log.warning("store error", craft=self.craft, reason=str(exc))
            await answer(MessageError(str(exc), code="busy"), _about(message))

    async def _take(self, message: AnyMessage, blob: bytes) -> None:
        if isinstance(message, CaseOffer):
            await self._cases.on_offer(message.case, blob)
        elif isinstance(message, CaseChunk):
            self._cases.on_chunk(message, blob)
        elif isinstance(message, PromptReceipt):
            self._on_prompt_receipt(message)
        elif isinstance(message, InterpretationReceipt):
            self._on_interpretation_receipt(message)
        elif isinstance(message, TargetStatus):
            await self._targets.on_status(message)
        elif isinstance(message, Problem):
            await self._better.on_problem(message)
        elif isinstance(message, BundleReceipt):
            await self._on_bundle_receipt(message)
        elif isinstance(message, Heartbeat):
            self.live.spool_cases, self.live.spool_bytes = message.spool_cases, message.spool_bytes
        else:
            raise MessageError(f"{message.kind} is for the edge", code="bad_value")

    async def _on_hello(self, hello: Hello) -> None:
        desk = self._desk
        if Heartbeat.model_fields["kind"].default not in hello.kinds:
            await self._welcome(hello, await desk.ask(desk.store.bank, self.craft))
            return
        await desk.ask(desk.store.set_craft_profile, self.craft, hello.space_id, hello.variant, list(hello.labels))
        bank = await desk.ask(desk.store.bank, self.craft)
        if hello.bank.epoch == bank.epoch and hello.bank.revision > bank.revision:
            log.warning("craft is ahead of the store", craft=self.craft, held=hello.bank.revision, own=bank.revision)
            bank = await desk.ask(desk.store.begin_epoch, self.craft)
        if self._banks is None:
            desk.stats.crafts_online += 1
            log.info("craft online", craft=self.craft, software=hello.craft_software, variant=hello.variant)
        self._banks = BankSender(hello.bank, desk.clock, patience_s=desk.settings.receipt_patience_s)
        self.live.greet(hello, desk.clock.wall_s())
        self._unreceipted.clear()
        self._fresh.clear()
        self._targets.greet(hello)
        self._better.greet(hello)
        await self._bundles.greet(hello)
        await self._welcome(hello, bank)
        self.notify()

    async def _welcome(self, hello: Hello, bank: PromptBank) -> None:
        """Let the craft in; for one that only asks whether it would be let in, this is all."""
        desk = self._desk
        welcome = Welcome(
            server_software=desk.software,
            session_id=hello.session_id,
            kinds=KINDS,
            credit_bytes=desk.settings.credit_bytes,
            heartbeat_s=desk.settings.heartbeat_s,
            wall_time_s=desk.clock.wall_s(),
            bank=bank.ref,
            chunk_bytes=min(MAX_CHUNK_BYTES, desk.settings.credit_bytes),
            open_cases=desk.settings.max_partials,
        )
        await self._send(welcome)

    async def _on_bundle_receipt(self, receipt: BundleReceipt) -> None:
        if self.live.hello is not None and receipt.state != "fetching":
            flown = {name: getattr(receipt, name) for name in ("bundle_id", "space_id", "variant", "labels")}
            self.live.hello = self.live.hello.model_copy(update=flown)
        if await self._bundles.on_receipt(receipt):
            self.notify()

    def _on_prompt_receipt(self, receipt: PromptReceipt) -> None:
        assert self._banks is not None
        self._desk.stats.prompts["applied" if receipt.applied else "refused"] += 1
        if not receipt.applied:
            log.warning("prompt update refused", craft=self.craft, reason=receipt.reason)
        self._banks.on_receipt(receipt)
        self.live.bank = receipt.bank
        self.notify()

    def _on_interpretation_receipt(self, receipt: InterpretationReceipt) -> None:
        sent = self._unreceipted.get(receipt.case_id)
        if sent is not None:
            on_noted = functools.partial(self._note_delivered, receipt.case_id, sent)
            self._desk.deliveries.add((self.craft, receipt.case_id, *sent), on_noted)

    def _note_delivered(self, case_id: str, sent: _Sent) -> None:
        """An answer is known to be with the craft: there is room for another one."""
        if self._unreceipted.get(case_id) != sent:
            return  # greeted anew meanwhile, or receipted twice
        del self._unreceipted[case_id]
        self._desk.stats.interpretations_delivered += 1
        if self._has_more:
            self.notify()

    async def _look(self) -> None:
        """Start what the store has for this craft; asks at most once a heartbeat unless notified."""
        desk, banks = self._desk, self._banks
        now_s = desk.clock.monotonic_s()
        if self.ended or banks is None or now_s - self._looked_s < desk.settings.heartbeat_s:
            return
        self._looked_s = now_s
        if banks.give_up_unanswered():
            desk.stats.prompts["unanswered"] += 1
            self._is_news = True
        try:
            seen = await desk.news.of(self.craft) or _NO_NEWS
            is_news, before = self._is_news, self._seen
            self._is_news, self._seen = False, seen
            if is_news or seen[0] != before[0]:
                await self._look_for_bank(banks)
            # Answers that were sent as they were made are on their way, and no news.
            if is_news or self._has_more or seen[2] > len(self._unreceipted):
                await self._look_for_answers()
            if is_news or seen[3] != before[3]:
                await self._targets.look()
            if is_news or seen[3] != before[3] or self._better.is_due or self._bundles.is_due:
                await self._better.look()
                await self._bundles.look()
        except StoreError as exc:
            self._is_news = True
            log.warning("store error", craft=self.craft, reason=str(exc))

    async def _look_for_bank(self, banks: BankSender) -> None:
        desk = self._desk
        bank = await desk.ask(desk.store.bank, self.craft)
        if banks.wants(bank):
            held = banks.held
            base = await desk.ask(desk.store.bank_at, self.craft, held) if banks.wants_delta(bank) else None
            banks.start(bank, base)

    async def _look_for_answers(self) -> None:
        desk = self._desk
        limit = desk.settings.max_unreceipted
        found = await desk.ask(desk.store.undelivered, self.craft, limit)
        self._has_more = len(found) >= limit
        for answer in found:
            before = self._unreceipted.get(answer.case_id)
            if before is not None or len(self._unreceipted) >= limit:
                self._has_more = self._has_more or before != _sent(answer)
                continue
            self._unreceipted[answer.case_id] = _sent(answer)
            await self._send_answer(answer)

    async def _send_fresh(self) -> None:
        while self._fresh and self.ended is None:
            await self._send_answer(self._fresh.popleft())

    async def _send_answer(self, answer: Interpretation) -> None:
        self._desk.stats.interpretations_sent += 1
        await self._send(InterpretationMessage(interpretation=answer))

    async def _send_slice(self) -> None:
        """Send one slice of an update, after everything small."""
        if self._banks is None or self._outbox or self.ended:
            return
        item = self._banks.next_slice()
        if item is not None:
            if await self._transmit(encode(*item)):
                self._desk.stats.messages["cloud_to_edge", item[0].kind] += 1
                self._banks.sent(item[1])
        elif not self._inbox:
            await self._send_bundle_slice()

    async def _send_bundle_slice(self) -> None:
        """Send one slice of a bundle, after everything else."""
        try:
            slice_ = await self._bundles.next_slice()
        except OSError as exc:
            log.warning("a published archive cannot be read", craft=self.craft, reason=str(exc))
            return
        if slice_ is not None and not self._outbox and await self._transmit(encode(*slice_)):
            self._desk.stats.messages["cloud_to_edge", slice_[0].kind] += 1
            self._bundles.sent(slice_[1])

    async def _keep_alive(self) -> None:
        now_s, settings = self._desk.clock.monotonic_s(), self._desk.settings
        silence_s = max(settings.liveness_s, _LIVENESS_HEARTBEATS * settings.heartbeat_s)
        if now_s - self._received_s > silence_s:
            self.end(f"nothing received for {silence_s:.1f} s")
        elif self._banks is not None and now_s - self._sent_s >= settings.heartbeat_s:
            self._seq += 1
            await self._send(Heartbeat(seq=self._seq, wall_time_s=self._desk.clock.wall_s()))

    async def _send(self, message: AnyMessage) -> None:
        try:
            frames = encode(message)
        except MessageError as exc:
            log.warning("message cannot be sent", craft=self.craft, kind=message.kind, reason=str(exc))
            return
        self._desk.stats.messages["cloud_to_edge", message.kind] += 1
        if self._outbox or not await self._transmit(frames):
            self._outbox.append(frames)
            if len(self._outbox) > MAX_OUTBOX:
                self.end("does not read what it is sent")

    async def _drain(self) -> None:
        while self._outbox and await self._transmit(self._outbox[0]):
            self._outbox.popleft()

    async def _transmit(self, frames: list[bytes]) -> bool:
        if self.ended is not None or not await self._transmit_frames(self, frames):
            return False
        self._sent_s = self._desk.clock.monotonic_s()
        return True


def _sent(answer: Interpretation) -> _Sent:
    return answer.by, answer.made_at_s


def _about(message: AnyMessage) -> str:
    if isinstance(message, CaseOffer):
        return message.case.case_id
    if isinstance(message, CaseChunk | InterpretationReceipt):
        return message.case_id
    return message.kind
