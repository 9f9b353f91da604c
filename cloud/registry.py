"""Published bundles and who signed them: a TUF repository in the data folder, which the server only reads.

`metadata/` holds the signed files by version, `timestamp.json` names the newest of them and is written last, so that a
reader never sees half of a change; `targets/` the archives, `flown/` the same unpacked, for the twins. All changes come
from the command line of somebody who has the keys.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cloud.errors import CloudError, NotThere, RequestError
from cloud.signing_keys import ROLES, Signers, expiry
from edge.bundle import Manifest
from edge.bundle_archive import pack_files, unpack_files
from edge.durable import make_folder, sync_folder, write_durably
from edge.errors import UpdateError
from edge.signed_metadata import SignedMetadata
from edge.trust import ARCHIVE_SUFFIX

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

FOLDER = "registry"
_EVERY_TIME = ("targets", "snapshot", "timestamp")
Found = TypeVar("Found")

PARTIAL_PREFIX = "."
_FLOOR_NAME = "releases-above"
_RELEASES = "x-skyloop-releases"
"""Counts, in the signed targets, every bundle that was ever published: a number is never given twice."""


@dataclass(frozen=True)
class PublishedBundle:
    """One bundle of the registry, as signed.

    Attributes:
        bundle_id: its name and release.
        release: larger is newer.
        name, space_id, labels, variants: of its manifest.
        archive_bytes, archive_sha256: of what travels.
        published_at_s: wall time.
        note: of whoever published it.
    """

    bundle_id: str
    release: int
    name: str
    space_id: str
    labels: tuple[str, ...]
    variants: tuple[str, ...]
    archive_bytes: int
    archive_sha256: str
    published_at_s: float
    note: str


class Registry:
    """The registry of a data folder."""

    def __init__(self, data: Path, above: int = 0) -> None:
        """Look at a data folder; it may hold no registry yet.

        Args:
            data: the folder.
            above: a release that was given already, though this registry, of an older copy, may not know of it.
        """
        self._above = above
        self._folder = data / FOLDER
        self._metadata = self._folder / "metadata"

    @property
    def timestamp_path(self) -> Path:
        """Changes with every change of the registry."""
        return self._metadata / "timestamp.json"

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Let nobody change the registry meanwhile, where there is one: for a backup.

        Raises:
            CloudError: its lock cannot be opened.
        """
        if not self._folder.is_dir():
            yield
            return
        with self._locked():
            yield

    def bundles(self) -> list[PublishedBundle]:
        """Every published bundle that is not withdrawn, newest first; none without a registry.

        Raises:
            CloudError: a file is missing or damaged.
        """
        if not self.timestamp_path.is_file():
            return []
        targets = self._read()[2].signed.targets
        found = [_published(path, target) for path, target in targets.items()]
        return sorted(found, key=lambda bundle: -bundle.release)

    def bundle(self, bundle_id: str) -> PublishedBundle:
        """One published bundle.

        Raises:
            RequestError: there is none of that name.
        """
        found = self.bundles()
        for bundle in found:
            if bundle.bundle_id == bundle_id:
                return bundle
        known = ", ".join(bundle.bundle_id for bundle in found[:8]) or "none"
        raise NotThere(f"no bundle {bundle_id[:70]!r} is published; there are: {known}")

    def signed(self) -> SignedMetadata:
        """What crafts are sent.

        Raises:
            CloudError: a file is missing or damaged.
        """
        timestamp, snapshot, targets = self._read()
        roots = [path.read_bytes() for path in self._roots()[1:]]
        versions = (snapshot.signed.version, targets.signed.version)
        names = (f"{versions[0]}.snapshot.json", f"{versions[1]}.targets.json")
        files = [(self._metadata / name).read_bytes() for name in names]
        return SignedMetadata(tuple(roots), timestamp.to_bytes(), *files)

    def expires_at_s(self) -> float:
        """When the first of what crafts are sent expires, wall time; until then it must be signed anew."""
        return min(self.ends_s().values())

    def ends_s(self) -> dict[str, float]:
        """When what each role has signed expires, wall time: `refresh` puts off snapshot and timestamp alone."""
        signed = (self._root(), *self._read())
        return {str(metadata.signed.type): metadata.signed.expires.timestamp() for metadata in signed}

    def archive_path(self, bundle: PublishedBundle) -> Path:
        """Where a bundle's archive lies."""
        return self._folder / "targets" / f"{bundle.archive_sha256}.{bundle.bundle_id}{ARCHIVE_SUFFIX}"

    def flown_folders(self) -> list[Path]:
        """Every bundle that was ever published, unpacked."""
        folder = self._folder / "flown"
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return [path for path in found if not path.name.startswith(PARTIAL_PREFIX)]

    def flown_folder(self, bundle: PublishedBundle) -> Path:
        """Where a bundle lies unpacked."""
        return self._folder / "flown" / bundle.bundle_id

    def publish(
        self, files: Mapping[str, bytes], manifest: Manifest, signers: Signers, note: str = ""
    ) -> PublishedBundle:
        """Sign a bundle and put it into the registry; nobody flies it before a rollout.

        Args:
            files: what flies, see `edge.bundle_archive.flown_files`, and its canaries.
            manifest: of the bundle.
            signers: keys of targets, snapshot and timestamp.
            note: for people.

        Raises:
            RequestError: keys are missing, or there is no registry yet: `begin` it.
            CloudError: the disk fails.
        """
        from tuf.api.metadata import TargetFile

        archive = pack_files(files)
        with self._changing() as (root, timestamp, snapshot, targets):
            signers.require(root.signed, *_EVERY_TIME)
            release = max(int(targets.signed.unrecognized_fields.get(_RELEASES, 0)), self._above, self._floor()) + 1
            bundle_id = f"{_plain(manifest.name)}-{release}"
            custom = {
                "release": release,
                "name": manifest.name,
                "space_id": manifest.space_id,
                "labels": list(manifest.labels),
                "variants": list(manifest.variants),
                "published_at_s": int(time.time()),  # canonical JSON knows no fractions
                "note": note[:500],
            }
            digest = hashlib.sha256(archive).hexdigest()
            target = TargetFile(len(archive), {"sha256": digest}, bundle_id + ARCHIVE_SUFFIX, {"custom": custom})
            bundle = _published(target.path, target)
            targets.signed.targets[target.path] = target
            targets.signed.unrecognized_fields[_RELEASES] = release
            self._keep_archive(bundle, archive)
            self._sign(root, timestamp, snapshot, targets, signers)
        return bundle

    def skip_releases(self) -> None:
        """Give none of the numbers again that may have been given since this copy was made: for a restored registry.

        The next release is by the clock, as versions of metadata are.

        Raises:
            CloudError: it cannot be written.
        """
        if self.timestamp_path.is_file():
            with self._locked(), _disk_errors(self._folder):
                write_durably(self._folder / _FLOOR_NAME, str(int(time.time())).encode())

    def _floor(self) -> int:
        path = self._folder / _FLOOR_NAME
        return self._checked(lambda: int(path.read_text())) if path.exists() else 0

    def withdraw(self, bundle_id: str, signers: Signers) -> None:
        """Sign that a bundle is not to be flown by anybody who does not fly it.

        Raises:
            RequestError: there is none of that name, or keys are missing.
        """
        with self._changing() as (root, timestamp, snapshot, targets):
            if targets.signed.targets.pop(bundle_id + ARCHIVE_SUFFIX, None) is None:
                raise NotThere(f"no bundle {bundle_id[:70]!r} is published")
            self._sign(root, timestamp, snapshot, targets, signers)

    def refresh(self, signers: Signers, days: int | None = None) -> None:
        """Sign anew what is newest, so that it counts longer; keys of snapshot and timestamp are enough.

        Raises:
            RequestError: keys are missing, or there is nothing to sign.
        """
        with self._changing() as (root, timestamp, snapshot, _):
            self._sign_newest(root, timestamp, snapshot, signers, days)

    def begin(self, first_root: bytes, signers: Signers) -> None:
        """Make an empty registry under a root.

        Raises:
            RequestError: keys are missing.
            CloudError: it cannot be written.
        """
        from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

        with self._locked():
            if self.timestamp_path.exists():
                return
            signers.require(Metadata[Root].from_bytes(first_root).signed, *_EVERY_TIME)
            self._write("1.root.json", first_root)
            targets = Metadata(Targets(version=1, expires=expiry("targets")))
            snapshot = Metadata(Snapshot(version=1, expires=expiry("snapshot")))
            timestamp = Metadata(Timestamp(version=1, expires=expiry("timestamp")))
            self._sign(self._root(), timestamp, snapshot, targets, signers)

    def rotate(self, new_root: bytes, old: Signers, new: Signers) -> int:
        """Go over to the keys that another root names, and sign everything with them; return the root's version.

        Args:
            new_root: `root.json` beside the new keys.
            old: enough of the root keys of before.
            new: keys of all roles.

        Raises:
            RequestError: keys are missing.
        """
        from tuf.api.metadata import Metadata, Root

        with self._changing() as (root, timestamp, snapshot, targets):
            fresh = Metadata[Root].from_bytes(new_root)
            fresh.signed.version = root.signed.version + 1
            fresh.signatures.clear()
            new.require(fresh.signed, *ROLES)
            old.sign(fresh, root.signed)
            content = new.sign(fresh, fresh.signed)
            self._write(f"{fresh.signed.version}.root.json", content)
            self._sign(fresh, timestamp, snapshot, targets, new)
            return int(fresh.signed.version)

    def _sign(
        self,
        root: Metadata[Root],
        timestamp: Metadata[Timestamp],
        snapshot: Metadata[Snapshot],
        targets: Metadata[Targets],
        signers: Signers,
    ) -> None:
        """Sign all but the root as the next version of each, and write them; the timestamp last."""
        from tuf.api.metadata import MetaFile

        targets.signed.version = _next(targets.signed.version)
        targets.signed.expires = expiry("targets")
        targets.signatures.clear()
        content = signers.sign(targets, root.signed)
        name = f"{targets.signed.version}.targets.json"
        snapshot.signed.meta["targets.json"] = MetaFile.from_data(targets.signed.version, content, ["sha256"])
        self._sign_newest(root, timestamp, snapshot, signers, None, {name: content})

    def _sign_newest(
        self,
        root: Metadata[Root],
        timestamp: Metadata[Timestamp],
        snapshot: Metadata[Snapshot],
        signers: Signers,
        days: int | None,
        files: dict[str, bytes] | None = None,
    ) -> None:
        from tuf.api.metadata import MetaFile

        snapshot.signed.version = _next(snapshot.signed.version)
        snapshot.signed.expires = expiry("snapshot", days)
        snapshot.signatures.clear()
        content = signers.sign(snapshot, root.signed)
        timestamp.signed.version = _next(timestamp.signed.version)
        timestamp.signed.expires = expiry("timestamp", days)
        timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, content, ["sha256"])
        timestamp.signatures.clear()
        newest = signers.sign(timestamp, root.signed)
        for name, data in {**(files or {}), f"{snapshot.signed.version}.snapshot.json": content}.items():
            self._write(name, data)
        self._write(self.timestamp_path.name, newest)
        self._prune("snapshot")
        self._prune("targets")

    def _prune(self, role: str) -> None:
        """Let go of versions that nobody reads any more; the one before may still be being read."""
        for path in self._versions(role)[:-2]:
            path.unlink(missing_ok=True)

    def _keep_archive(self, bundle: PublishedBundle, archive: bytes) -> None:
        path, flown = self.archive_path(bundle), self.flown_folder(bundle)
        with _disk_errors(self._folder):
            make_folder(path.parent)
            write_durably(path, archive)
            partial = flown.with_name(PARTIAL_PREFIX + flown.name)
            for leftover in (partial, flown):  # of a publication that was not signed to its end
                shutil.rmtree(leftover, ignore_errors=True)
            unpack_files(path, partial)
            partial.rename(flown)
            sync_folder(flown.parent)

    @contextmanager
    def _changing(self) -> Iterator[tuple[Metadata[Root], Metadata[Timestamp], Metadata[Snapshot], Metadata[Targets]]]:
        """The newest of each role, to be changed and signed; nobody else changes anything meanwhile."""
        if not self.timestamp_path.exists():
            raise RequestError(f"{self._folder}: holds no registry; publish a bundle first")
        with self._locked():
            yield self._root(), *self._read()

    def _read(self) -> tuple[Metadata[Timestamp], Metadata[Snapshot], Metadata[Targets]]:
        from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

        def read() -> tuple[Metadata[Timestamp], Metadata[Snapshot], Metadata[Targets]]:
            timestamp = Metadata[Timestamp].from_bytes(self.timestamp_path.read_bytes())
            snapshot_name = f"{timestamp.signed.snapshot_meta.version}.snapshot.json"
            snapshot = Metadata[Snapshot].from_bytes((self._metadata / snapshot_name).read_bytes())
            targets_name = f"{snapshot.signed.meta['targets.json'].version}.targets.json"
            return timestamp, snapshot, Metadata[Targets].from_bytes((self._metadata / targets_name).read_bytes())

        return self._checked(read)

    def _root(self) -> Metadata[Root]:
        from tuf.api.metadata import Metadata, Root

        return self._checked(lambda: Metadata[Root].from_bytes(self._roots()[-1].read_bytes()))

    def _roots(self) -> list[Path]:
        return self._versions("root")

    def _versions(self, role: str) -> list[Path]:
        """Files of a role, oldest first."""
        return sorted(self._metadata.glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))

    def _checked(self, read: Callable[[], Found]) -> Found:
        from tuf.api.exceptions import RepositoryError

        try:
            return read()
        except (OSError, RepositoryError, ValueError, KeyError, IndexError) as exc:
            raise CloudError(f"{self._metadata}: damaged ({exc}); restore it from a backup") from exc

    def _write(self, name: str, content: bytes) -> None:
        with _disk_errors(self._metadata):
            make_folder(self._metadata)
            write_durably(self._metadata / name, content)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _disk_errors(self._folder):
            make_folder(self._folder)
            lock = (self._folder / "lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise CloudError(f"{folder}: cannot be written ({exc.strerror}); check space and rights") from exc
    except UpdateError as exc:
        raise CloudError(str(exc)) from exc


def _next(version: int) -> int:
    """A version above the last one, and by the clock: a registry restored from an old copy is not behind its crafts."""
    return max(version + 1, int(time.time()))


def _published(path: str, target: TargetFile) -> PublishedBundle:
    custom = target.custom or {}
    return PublishedBundle(
        bundle_id=path.removesuffix(ARCHIVE_SUFFIX),
        release=int(custom["release"]),
        name=str(custom["name"]),
        space_id=str(custom["space_id"]),
        labels=tuple(custom["labels"]),
        variants=tuple(custom["variants"]),
        archive_bytes=target.length,
        archive_sha256=target.hashes["sha256"],
        published_at_s=float(custom["published_at_s"]),
        note=str(custom["note"]),
    )


def _plain(name: str) -> str:
    """A manifest's name as a part of an id and of a file name."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:40] or "bundle"
