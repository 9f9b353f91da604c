"""Whom the craft believes about bundles: signed metadata, checked by python-tuf, and what was believed before.

The pinned root comes by hand (`skyloop-edge trust-updates`). What a check accepts is kept in one file, whole or not at
all, so that nothing older is accepted later. `tuf` is imported where it is used: a craft without updates needs none.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgpack
import structlog

from edge.durable import make_folder, write_durably
from edge.errors import ConfigError, KeyFileError, NotNow, UpdateError
from edge.signed_metadata import MAX_ROOTS, SignedMetadata
from protocols.limits import MAX_BUNDLE_BYTES, MAX_BUNDLE_METADATA_BYTES

if TYPE_CHECKING:
    from tuf.ngclient import FetcherInterface, TargetFile, Updater

log = structlog.get_logger()

PINNED_NAME = "updates-root.json"
"""In the craft's key folder."""

ARCHIVE_SUFFIX = ".tar"
TRUSTED_NAME = "trusted.skyloop"
_NOTED_EVERY_S = 60.0
_ROLES = ("root", "timestamp", "snapshot", "targets")
_URL = "link:/"
"""Nothing is fetched from anywhere; python-tuf only wants to build addresses."""


@dataclass(frozen=True)
class SignedBundle:
    """What the signers say about a bundle.

    Attributes:
        bundle_id: its name.
        release: counts what was published; a larger one is newer.
        archive_bytes, archive_sha256: of its archive.
    """

    bundle_id: str
    release: int
    archive_bytes: int
    archive_sha256: str


class TrustStore:
    """The root a craft was given, and the newest metadata it has checked since."""

    def __init__(self, folder: Path, pinned_root: bytes) -> None:
        """Begin with a pinned root, or go on where it was pinned before.

        Args:
            folder: for what was checked.
            pinned_root: see `read_pinned`.

        Raises:
            UpdateError: the folder cannot be made or read, or tuf is not installed.
        """
        _require_tuf()
        self._path, self._pinned = folder / TRUSTED_NAME, pinned_root
        try:
            make_folder(folder)
            self._files, self._newest_s = _kept(self._path, pinned_root)
        except OSError as exc:
            raise UpdateError(f"{folder}: cannot be opened ({exc.strerror}); check the folder") from exc

    def admit(self, packed: bytes, bundle_id: str, now_s: float | None = None) -> SignedBundle:
        """What is rightly signed about a bundle.

        Args:
            packed: see `SignedMetadata`, from anywhere.
            bundle_id: the bundle.
            now_s: wall time; None asks this machine's clock.

        Raises:
            UpdateError: the metadata is older than what was seen before, expired, not rightly signed or does not know
                the bundle. Whatever of it was newer and right is remembered all the same.
        """
        received = SignedMetadata.unpack(packed)
        with TemporaryDirectory(dir=self._path.parent, prefix="check-") as name:
            scratch = Path(name)
            for role, content in self._files.items():
                (scratch / f"{role}.json").write_bytes(content)
            try:
                target = _refreshed(scratch, self._files.get("root", self._pinned), received, bundle_id)
            finally:
                self._keep(scratch)
        now_s = max(time.time() if now_s is None else now_s, self._newest_s)
        self._check_expiry(now_s)
        # Never a time at which something would have expired: a clock that ran wild once must not shut all out for ever.
        if now_s - self._newest_s >= _NOTED_EVERY_S:
            self._write(self._files, now_s)
        return _signed_bundle(target, bundle_id)

    def _keep(self, scratch: Path) -> None:
        """Remember what was checked, before anything is made of it."""
        files = dict(self._files)
        for role in _ROLES:
            with suppress(FileNotFoundError):
                files[role] = (scratch / f"{role}.json").read_bytes()
        if files != self._files:
            self._write(files, self._newest_s)

    def _write(self, files: dict[str, bytes], newest_s: float) -> None:
        content = msgpack.packb(
            {"pinned_sha256": hashlib.sha256(self._pinned).hexdigest(), "newest_s": newest_s, "files": files}
        )
        try:
            write_durably(self._path, hashlib.sha256(content).digest(), content)
        except OSError as exc:
            raise NotNow(f"{self._path}: not written ({exc.strerror}); free some space") from exc
        self._files, self._newest_s = files, newest_s

    def _check_expiry(self, now_s: float) -> None:
        """Refuse by the newest time this craft has ever known: a clock that was put back brings nothing back."""
        from tuf.api.metadata import Metadata

        for role in _ROLES:
            expires: datetime = Metadata.from_bytes(self._files[role]).signed.expires
            if expires.timestamp() <= now_s:
                now = datetime.fromtimestamp(now_s, timezone.utc)
                raise NotNow(
                    f"{role}.json expired at {expires:%Y-%m-%d %H:%M} UTC and it is {now:%Y-%m-%d %H:%M}: sign it anew "
                    "with `skyloop-cloud bundles refresh`, or set this craft's clock"
                )


def updates_folder(out: Path) -> Path:
    """Where a craft whose results go to `out` keeps what came over the air, and what it believes."""
    return out / "state" / "updates"


def pin_root(file: Path, keys: Path) -> int:
    """Pin the first root that a craft believes; return its version.

    Args:
        file: `root.json` of the signers, brought by hand.
        keys: the craft's key folder.

    Raises:
        KeyFileError: it is no root that is signed by itself, or another one is pinned.
        ConfigError: tuf is not installed.
    """
    try:
        content = _read_limited(file)
    except OSError as exc:
        raise KeyFileError(f"{file}: cannot be read ({exc.strerror}); give the signers' root.json") from exc
    version = _checked_root(content, file)
    path = keys / PINNED_NAME
    if path.exists() and path.read_bytes() != content:
        raise KeyFileError(f"{path} pins another root; remove it first if the signers really changed")
    try:
        make_folder(keys)
        write_durably(path, content)
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be written ({exc.strerror}); check the folder") from exc
    return version


def root_in_force(keys: Path, folder: Path) -> tuple[int, float] | None:
    """Version of the newest root that a craft believes, and the wall time until which it counts; changes nothing.

    Args:
        keys: the craft's key folder.
        folder: of its `TrustStore`, where it ever made one.

    Returns:
        None where no root is pinned.

    Raises:
        KeyFileError: the pinned one cannot be read.
        UpdateError: tuf is not installed, or the folder cannot be read.
    """
    if (pinned := read_pinned(keys)) is None:
        return None
    _require_tuf()
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata

    try:
        files, _ = _kept(folder / TRUSTED_NAME, pinned)
        signed = Metadata.from_bytes(files.get("root", pinned)).signed
    except OSError as exc:
        raise UpdateError(f"{folder}: cannot be read ({exc.strerror}); check its rights") from exc
    except (RepositoryError, ValueError, TypeError) as exc:
        raise KeyFileError(f"{keys / PINNED_NAME}: is no root ({exc}); give the signers' root.json") from exc
    return int(signed.version), float(signed.expires.timestamp())


def _kept(path: Path, pinned: bytes) -> tuple[dict[str, bytes], float]:
    """The metadata that was checked last, by role, and the newest time that is known; nothing under another root."""
    if not path.exists():
        return {}, 0.0
    data = path.read_bytes()
    try:
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            raise ValueError("its digest does not match")
        kept = msgpack.unpackb(data[32:])
        if kept["pinned_sha256"] != hashlib.sha256(pinned).hexdigest():
            log.info("another root is pinned than before: what the last one vouched for does not count")
            return {}, 0.0
        return dict(kept["files"]), float(kept["newest_s"])
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as exc:
        log.warning("trusted metadata damaged, beginning with the pinned root", reason=str(exc))
        return {}, 0.0


def read_pinned(keys: Path) -> bytes | None:
    """The pinned root of a key folder; None where there is none.

    Raises:
        KeyFileError: it cannot be read.
    """
    path = keys / PINNED_NAME
    try:
        return _read_limited(path) if path.exists() else None
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be read ({exc.strerror}); check its rights") from exc


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_BUNDLE_METADATA_BYTES + 1)
    if len(content) > MAX_BUNDLE_METADATA_BYTES:
        raise KeyFileError(
            f"{path}: is over {MAX_BUNDLE_METADATA_BYTES} bytes, so no root; give the signers' root.json"
        )
    return content


def _checked_root(content: bytes, file: Path) -> int:
    try:
        _require_tuf()
    except UpdateError as exc:
        raise ConfigError(str(exc)) from exc
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    try:
        root: Metadata[Root] = Metadata.from_bytes(content)
        if not isinstance(root.signed, Root):
            raise KeyFileError(f"{file}: holds {root.signed.type}, not a root; give the signers' root.json")
        root.verify_delegate(Root.type, root)
    except (RepositoryError, ValueError, TypeError) as exc:
        raise KeyFileError(f"{file}: is no root signed by itself ({exc}); give the signers' root.json") from exc
    return int(root.signed.version)


def _require_tuf() -> None:
    try:
        import tuf.ngclient  # noqa: F401
    except ImportError as exc:
        raise UpdateError("updates need python-tuf: pip install 'skyloop[updates]'") from exc


def _refreshed(scratch: Path, root: bytes, received: SignedMetadata, bundle_id: str) -> TargetFile:
    """What the metadata says about a bundle, all of it checked by the rules of TUF."""
    from tuf.api.exceptions import DownloadError, ExpiredMetadataError, RepositoryError

    try:
        updater = _updater(scratch, root, received)
        updater.refresh()
        target = updater.get_targetinfo(bundle_id + ARCHIVE_SUFFIX)
    except ExpiredMetadataError as exc:
        raise NotNow(f"the signed metadata is refused: {_plain(exc)}") from exc
    except (RepositoryError, DownloadError) as exc:
        raise UpdateError(f"the signed metadata is refused: {_plain(exc)}") from exc
    if target is None:
        raise UpdateError(f"nobody has signed a bundle {bundle_id!r}, or it was withdrawn")
    return target


def _updater(scratch: Path, root: bytes, received: SignedMetadata) -> Updater:
    from tuf.ngclient import Updater, UpdaterConfig

    limit = MAX_BUNDLE_METADATA_BYTES
    config = UpdaterConfig(
        max_root_rotations=MAX_ROOTS,
        max_delegations=0,
        root_max_length=limit,
        timestamp_max_length=limit,
        snapshot_max_length=limit,
        targets_max_length=limit,
    )
    return Updater(str(scratch), _URL, fetcher=_received(received), config=config, bootstrap=root)


def _received(files: SignedMetadata) -> FetcherInterface:
    """What python-tuf asks for, from what came over the link."""
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import FetcherInterface

    class Received(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            name = url.removeprefix(_URL).lstrip("/").removesuffix(".json")
            version, _, role = name.rpartition(".")
            found = getattr(files, role, None) if role in _ROLES[1:] else None
            if role == "root" and version.isdigit() and 2 <= int(version) < 2 + len(files.roots):
                found = files.roots[int(version) - 2]
            if not isinstance(found, bytes):
                raise DownloadHTTPError(f"{name} is not among what came", 404)
            return iter((found,))

    return Received()


def _signed_bundle(target: TargetFile, bundle_id: str) -> SignedBundle:
    custom = target.custom
    release = custom.get("release") if isinstance(custom, dict) else None
    sha256 = target.hashes.get("sha256")
    if type(release) is not int or release < 1 or sha256 is None:
        raise UpdateError(f"what was signed about {bundle_id!r} lacks its release or its sha256: publish it anew")
    if not 1 <= target.length <= MAX_BUNDLE_BYTES:
        raise UpdateError(f"{bundle_id!r} is signed with {target.length} bytes; at most {MAX_BUNDLE_BYTES}")
    return SignedBundle(bundle_id, release, target.length, sha256)


def _plain(error: Exception) -> str:
    """One line of a library's error; it may quote what came, so only what can be printed."""
    return "".join(letter if letter.isprintable() else " " for letter in f"{type(error).__name__}: {error}")[:160]
