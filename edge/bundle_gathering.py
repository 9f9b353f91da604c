"""An offer's signed metadata and archive, from the first byte to a verified bundle on the disk.

The metadata comes first and is checked before a byte of the archive is asked for: what is not rightly signed costs a
few kilobytes. What was gathered of an archive outlives the connection, the program and the power.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path

import structlog

from edge.bundle_fetch import BundleFetch
from edge.clock import Clock, this_boot
from edge.errors import NotNow, UpdateError
from edge.installed_bundles import Installed, InstalledBundles
from edge.trust import SignedBundle, TrustStore
from protocols.messages import BundleChunk, BundleOffer

log = structlog.get_logger()

_SYNC_BYTES = 256 * 1024
"""How much of an archive power loss may take: eight seconds at 256 kbit/s."""

_SPARE_BYTES = 8 * 2**20
_READ_BYTES = 2**20


class Gathering:
    """What the updates' thread does with what is fetched.

    Attributes:
        fetched_bytes: in this run.
    """

    def __init__(
        self,
        installed: InstalledBundles,
        trust: TrustStore,
        fetch: BundleFetch,
        lock: threading.Lock,
        clock: Clock,
    ) -> None:
        """Gather nothing yet.

        Args:
            installed: what is on the disk.
            trust: whom the craft believes.
            fetch: asks for bytes; only touched with the lock.
            lock: see `fetch`.
            clock: says whether metadata has expired.
        """
        self.fetched_bytes = 0
        self._installed, self._trust, self._fetch, self._lock, self._clock = installed, trust, fetch, lock, clock
        self._boot = this_boot()
        self._metadata = bytearray()
        self._signed: SignedBundle | None = None
        self._signed_in = ""  # digest of the metadata that it was read from
        self._synced = 0
        self._is_resumed = False

    def begin(self, offer: BundleOffer) -> Installed | None:
        """Take up an offer; returns the bundle where all of it is here already.

        Raises:
            UpdateError: the disk fails.
        """
        self._installed.take_offer(offer, self._boot)
        is_known = self._signed is not None and self._signed.bundle_id == offer.bundle_id
        if self._signed is not None and is_known and self._signed_in == offer.metadata_sha256:
            return self._begin_archive(offer, self._signed)
        self._metadata.clear()
        self._signed = None
        with self._lock:
            self._fetch.begin(offer.offer_id, "metadata", 0, offer.metadata_bytes)
        return None

    def write(self, chunk: BundleChunk, blob: bytes) -> Installed | None:
        """Take a slice that the fetch has let through; returns the bundle once it is whole, verified and unpacked.

        Raises:
            UpdateError: it is not rightly signed, not what was signed, too old or too large for the disk.
        """
        offer = self._installed.state.offer
        if offer is None or offer.offer_id != chunk.offer_id:
            return None
        self.fetched_bytes += len(blob)
        if chunk.part == "metadata":
            if chunk.offset != len(self._metadata):  # let through before the offer was repeated
                return None
            self._metadata += blob
            return self._on_metadata(offer) if len(self._metadata) == offer.metadata_bytes else None
        held = self._append(chunk.offset, blob)
        if self._signed is not None and held == self._signed.archive_bytes:
            return self._on_archive(offer, self._signed)
        return None

    def _on_metadata(self, offer: BundleOffer) -> Installed | None:
        packed = bytes(self._metadata)
        if hashlib.sha256(packed).hexdigest() != offer.metadata_sha256:
            raise UpdateError("the signed metadata is not what was offered: its digest differs")
        signed = self._trust.admit(packed, offer.bundle_id, self._clock.wall_s())
        self._check(offer, signed)
        log.info("bundle rightly signed", bundle_id=signed.bundle_id, release=signed.release)
        self._signed, self._signed_in = signed, offer.metadata_sha256
        return self._begin_archive(offer, signed)

    def _check(self, offer: BundleOffer, signed: SignedBundle) -> None:
        """Refuse before a byte of the archive is fetched."""
        current = self._installed.state.current
        if current is not None and signed.release <= current.release:
            raise UpdateError(
                f"{signed.bundle_id} is release {signed.release}, and release {current.release} is flown: older ones "
                "are not taken; publish it anew to fly it again"
            )
        if (signed.archive_bytes, signed.archive_sha256) != (offer.archive_bytes, offer.archive_sha256):
            raise UpdateError("the archive that is offered is not the one that was signed: length or digest differs")
        free, wanted = shutil.disk_usage(self._installed.folder).free, 2 * signed.archive_bytes + _SPARE_BYTES
        if free < wanted:
            raise NotNow(f"{free} bytes are free on the disk, the bundle needs {wanted}: free some space")

    def _begin_archive(self, offer: BundleOffer, signed: SignedBundle) -> Installed | None:
        held = min(self._installed.resume_offset(self._boot), signed.archive_bytes)
        self._is_resumed, self._synced = held > 0, held
        if held == signed.archive_bytes:
            return self._on_archive(offer, signed)
        with self._lock:
            self._fetch.begin(offer.offer_id, "archive", held, signed.archive_bytes)
        return None

    def _append(self, offset: int, blob: bytes) -> int:
        """Write a slice; returns how much is held. Now and then it is made sure that the disk has it."""
        path, held = self._installed.archive, offset + len(blob)
        if offset > (path.stat().st_size if path.exists() else 0):  # let through before it was begun anew
            return offset
        is_due = held - self._synced >= _SYNC_BYTES
        try:
            with path.open("r+b" if offset else "wb") as file:
                file.truncate(offset)
                file.seek(offset)
                file.write(blob)
                if is_due:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as exc:
            raise NotNow(f"{path}: cannot be written ({exc.strerror}); free some space") from exc
        if is_due:
            self._installed.note_fetched(held, self._boot)
            self._synced = held
        with self._lock:
            self._fetch.wrote(held)
        return held

    def _on_archive(self, offer: BundleOffer, signed: SignedBundle) -> Installed | None:
        if _sha256_of(self._installed.archive) != signed.archive_sha256:
            if not self._is_resumed:
                raise UpdateError("the archive is not the one that was signed: its digest differs")
            # What was held from before a power cut may be damaged through nobody's fault: once more from the beginning.
            log.warning("what was held of the archive is damaged; fetching it anew")
            self._installed.drop_archive()
            return self._begin_archive(offer, signed)
        bundle = Installed(
            bundle_id=signed.bundle_id,
            release=signed.release,
            archive_sha256=signed.archive_sha256,
            offer_id=offer.offer_id,
        )
        self._installed.unpack(bundle)
        log.info("bundle verified", bundle_id=bundle.bundle_id)
        return bundle


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()
