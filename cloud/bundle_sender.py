"""The bundles of one connected craft: offers out, slices as far as its receipts allow, its words about them in.

Slices go out one at a time and only when nothing else waits for this craft. How many is the craft's to say: it knows
its link and its byte budget.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from cloud.bundle_shelf import OVER, CraftBundle, DueOffer
from cloud.desk import Desk
from cloud.errors import CloudError, RequestError
from cloud.registry import PublishedBundle, Registry
from edge.errors import UpdateError
from protocols.bundle_messages import NOT_NOW
from protocols.limits import CHUNK_BYTES
from protocols.messages import AnyMessage, BundleChunk, BundleOffer, BundleReceipt, Hello

log = structlog.get_logger()

KIND = "BundleOffer"

_NOTED_EVERY_S = 2.0
"""How often progress is written into the store; changes of state are written at once."""

_LEAST_SLICE_BYTES = 2048
"""Slices are quarters of the craft's window: it feels the queue by when each comes, and a prompt goes between them."""

_AGAIN_S = 600.0
"""What a craft refused for a reason that passes is offered again so much later, and at its next connect."""

_LOOK_AGAIN_S = 30.0
"""So often it is tried whether what could not be offered can be by now."""

_STALLED_S = 5.0
"""A receipt that asks again for what was sent so long ago says that it got lost."""


@dataclass
class _Sending:
    """One offer on its way in this connection."""

    due: DueOffer
    bundle: PublishedBundle
    metadata: bytes
    archive: Path
    receipt: BundleReceipt | None = None
    sent: int = 0  # of the receipt's part
    sent_s: float = 0.0

    @property
    def total(self) -> int:
        """Bytes of the part that the craft asks for."""
        is_metadata = self.receipt is not None and self.receipt.part == "metadata"
        return len(self.metadata) if is_metadata else self.bundle.archive_bytes


class BundleSender:
    """What is to be said on one connection about bundles."""

    def __init__(self, desk: Desk, craft: str, send: Callable[[AnyMessage], Awaitable[None]]) -> None:
        """Wait for the craft's Hello.

        Args:
            desk: see `Desk`.
            craft: its name.
            send: sends a message, or keeps it until there is room.
        """
        self._desk, self._craft, self._send = desk, craft, send
        self._registry = Registry(desk.store.data_dir)
        self._speaks = False
        self._sending: _Sending | None = None
        self._offered: DueOffer | None = None
        self._put_off: tuple[DueOffer, float] | None = None  # what cannot be offered before when, monotonic
        self._noted: tuple[str, float] | None = None  # of which rollout progress was written, and when

    async def greet(self, hello: Hello) -> None:
        """Begin anew: what is not settled is offered again.

        Raises:
            StoreError: the store cannot be asked.
        """
        self._speaks = KIND in hello.kinds
        self._sending = self._offered = self._put_off = None
        await self._desk.ask(self._desk.store.note_flown, self._craft, hello.bundle_id, self._desk.clock.wall_s())

    async def look(self) -> None:
        """Offer what is due, and drop what is not any more.

        Raises:
            StoreError: the store cannot be asked.
        """
        desk = self._desk
        due = await desk.ask(desk.store.due_offer, self._craft)
        is_put_off = self._put_off is not None and self._put_off[0] == due and not self.is_due
        if is_put_off or (due == self._offered and self._put_off is None):
            return
        self._sending = self._offered = self._put_off = None
        if due is not None:
            await self._offer_due(due)

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again at what was put off."""
        return self._put_off is not None and self._desk.clock.monotonic_s() >= self._put_off[1]

    def _put_off_for(self, due: DueOffer, pause_s: float) -> None:
        self._offered, self._put_off = None, (due, self._desk.clock.monotonic_s() + pause_s)

    async def _offer_due(self, due: DueOffer) -> None:
        desk = self._desk
        if due.action == "go_back":
            if self._speaks:
                await self._send(_taken_back(due))
            self._offered = due
            return
        if not self._speaks:
            await self._note(due, "refused", "its software takes no bundles over the air; update it")
            return
        try:
            sending = await desk.ask(self._opened, due)
        except (CloudError, UpdateError, OSError) as exc:
            log.warning("bundle cannot be offered", craft=self._craft, bundle_id=due.bundle_id, reason=str(exc))
            if isinstance(exc, RequestError):  # withdrawn
                await self._note(due, "refused", str(exc))
            else:
                self._put_off_for(due, _LOOK_AGAIN_S)
                await self._note(due, "not_now", str(exc))
            return
        self._sending, self._offered = sending, due
        await self._note(due, "offered", "")
        await self._send(_offer(sending))

    @property
    def is_sending(self) -> bool:
        """Whether a slice may be sent now."""
        sending = self._sending
        if sending is None or sending.receipt is None:
            return False
        until = min(sending.receipt.next_offset + sending.receipt.credit_bytes, sending.total)
        return sending.sent < until

    async def next_slice(self) -> tuple[BundleChunk, bytes] | None:
        """(message, blob) to send now; say `sent` once it is under way."""
        sending = self._sending
        if not self.is_sending or sending is None or sending.receipt is None:
            return None
        receipt = sending.receipt
        size = min(CHUNK_BYTES, max(_LEAST_SLICE_BYTES, receipt.credit_bytes // 4))
        until = min(receipt.next_offset + receipt.credit_bytes, sending.total, sending.sent + size)
        if receipt.part == "metadata":
            blob = sending.metadata[sending.sent : until]
        else:
            blob = await self._desk.ask(_read, sending.archive, sending.sent, until - sending.sent)
        if not blob:
            log.warning("the archive is shorter than published", craft=self._craft, path=str(sending.archive))
            self._sending = None
            return None
        return BundleChunk(offer_id=receipt.offer_id, part=receipt.part, offset=sending.sent), blob

    def sent(self, blob: bytes) -> None:
        """Note that the slice of `next_slice` is under way."""
        assert self._sending is not None
        self._sending.sent += len(blob)
        self._sending.sent_s = self._desk.clock.monotonic_s()

    async def on_receipt(self, receipt: BundleReceipt) -> bool:
        """Keep the craft's word; returns whether there may be another offer for it now.

        Raises:
            StoreError: it cannot be kept; the craft says it again at its next connect.
        """
        desk = self._desk
        self._desk.stats.bundles[receipt.state] += 1
        if receipt.state != "fetching":
            await desk.ask(desk.store.set_craft_profile, self._craft, *_profile(receipt))
        await desk.ask(desk.store.note_flown, self._craft, receipt.bundle_id, desk.clock.wall_s())
        sending = self._sending
        is_this = sending is not None and sending.due.rollout_id == receipt.offer_id
        if receipt.state == "fetching":
            if sending is not None and is_this:
                self._go_on(sending, receipt)
                await self._note_progress(sending, receipt)
            return False
        if sending is not None and is_this:
            sending.receipt = None
        log.info("bundle", craft=self._craft, offer_id=receipt.offer_id, state=receipt.state, reason=receipt.reason)
        total = sending.bundle.archive_bytes if sending is not None and is_this else 0
        fetched = total if receipt.state in ("verified", "on_trial", "in_force") else 0
        is_for_good = not (receipt.state == "refused" and receipt.reason.startswith(NOT_NOW))
        state = receipt.state if is_for_good else "not_now"
        told = self._word(receipt.offer_id, "", state, receipt.reason.removeprefix(NOT_NOW), (fetched, total))
        if not is_for_good and self._offered is not None and self._offered.rollout_id == receipt.offer_id:
            self._put_off_for(self._offered, _AGAIN_S)
        if not await desk.ask(desk.store.note_bundle, told):
            log.warning("word about a bundle that nobody rolled out", craft=self._craft, offer_id=receipt.offer_id)
        return state in OVER

    def _go_on(self, sending: _Sending, receipt: BundleReceipt) -> None:
        """Send from where the craft wants it."""
        before, now_s = sending.receipt, self._desk.clock.monotonic_s()
        is_new = before is None or before.part != receipt.part
        is_lost = sending.sent > receipt.next_offset and now_s - sending.sent_s > _STALLED_S
        if is_new or is_lost or sending.sent < receipt.next_offset:
            sending.sent = receipt.next_offset
        sending.receipt = receipt

    async def _note_progress(self, sending: _Sending, receipt: BundleReceipt) -> None:
        now_s = self._desk.clock.monotonic_s()
        if self._noted is not None and self._noted[0] == receipt.offer_id and now_s - self._noted[1] < _NOTED_EVERY_S:
            return
        self._noted = (receipt.offer_id, now_s)
        held = receipt.next_offset if receipt.part == "archive" else 0
        await self._note(sending.due, "fetching", "", (held, sending.bundle.archive_bytes))

    async def _note(self, due: DueOffer, state: str, reason: str, progress: tuple[int, int] = (0, 0)) -> None:
        told = self._word(due.rollout_id, due.bundle_id, state, reason, progress)
        await self._desk.ask(self._desk.store.note_bundle, told)

    def _word(self, offer_id: str, bundle_id: str, state: str, reason: str, progress: tuple[int, int]) -> CraftBundle:
        now_s = self._desk.clock.wall_s()
        return CraftBundle(self._craft, offer_id, bundle_id, state, reason, *progress, now_s)  # type: ignore[arg-type]

    def _opened(self, due: DueOffer) -> _Sending:
        bundle = self._registry.bundle(due.bundle_id)
        expires_at_s = self._registry.expires_at_s()
        if expires_at_s <= self._desk.clock.wall_s():
            raise CloudError("what crafts are sent has expired: sign it anew with `skyloop-cloud bundles refresh`")
        return _Sending(due, bundle, self._registry.signed().pack(), self._registry.archive_path(bundle))


def _offer(sending: _Sending) -> BundleOffer:
    return BundleOffer(
        offer_id=sending.due.rollout_id,
        bundle_id=sending.bundle.bundle_id,
        metadata_bytes=len(sending.metadata),
        metadata_sha256=hashlib.sha256(sending.metadata).hexdigest(),
        archive_bytes=sending.bundle.archive_bytes,
        archive_sha256=sending.bundle.archive_sha256,
    )


def _taken_back(due: DueOffer) -> BundleOffer:
    """To go back a craft needs nothing that is signed, and the bundle may have been withdrawn."""
    return BundleOffer(
        offer_id=due.rollout_id,
        action="go_back",
        bundle_id=due.bundle_id,
        metadata_bytes=1,
        metadata_sha256="0" * 64,
        archive_bytes=1,
        archive_sha256="0" * 64,
    )


def _profile(receipt: BundleReceipt) -> tuple[str, str, list[str]]:
    return receipt.space_id, receipt.variant, list(receipt.labels)


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
