"""From a backup to a data folder: checked whole before anything is put in place, and nothing that was there is lost."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from pydantic import TypeAdapter, ValidationError

from cloud.backup import DATABASE, FORMAT, MANIFEST, Manifest, check_database, digest_of, imagery_name
from cloud.data_lock import serving
from cloud.database import BUSY_TIMEOUT_MS
from cloud.errors import CloudError, RequestError
from cloud.registry import FOLDER as REGISTRY
from cloud.registry import Registry
from cloud.store import CaseStore
from edge.config import first_problem
from edge.durable import sync_folder

_MOST_MANIFEST_BYTES = 64 * 2**20
_BLOCK_BYTES = 1 << 20

Advance = Callable[[int, int], None]


class _Source(Protocol):
    """A backup's files, by their names."""

    def names(self) -> list[str]:
        """Every file, in the order in which reading is quick."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """One of them."""
        ...


def verify_backup(backup: Path, advance: Advance = lambda done, of: None) -> Manifest:
    """Read a whole backup and check it: rows, their schema, and every file against its digest.

    Args:
        backup: of `make_backup`.
        advance: told of how many files, of how many, are done.

    Raises:
        RequestError: it is no backup, is damaged, lacks a file or holds one too many.
    """
    with _opened(backup) as source, tempfile.TemporaryDirectory(prefix="skyloop-verify-") as scratch:
        manifest = _manifest(backup, source)
        rows = Path(scratch) / DATABASE
        with source.open(DATABASE) as read, rows.open("wb") as written:
            shutil.copyfileobj(read, written, _BLOCK_BYTES)
        _check(backup, source, manifest, rows, advance)
        CaseStore(Path(scratch)).close()  # brings the copied rows up to date, or says that it cannot
        for name in source.names():
            if name.startswith(f"{REGISTRY}/metadata/"):
                _copy_one(source, name, Path(scratch))
        _check_registry(backup, Path(scratch), source.names())
    return manifest


def restore_backup(
    backup: Path, data: Path, *, replace: bool = False, advance: Advance = lambda done, of: None
) -> tuple[Manifest, Path | None]:
    """Make a data folder of a backup.

    The registry's next release is by the clock, above all that were given since the backup. Every craft's prompts begin
    a new epoch, since the folder will issue numbers again that a craft may hold; who was
    logged in has to log in again.

    Args:
        backup: of `make_backup`.
        data: a folder that is not there yet, or is empty.
        replace: it may be there, if no server holds it; it is moved beside, not deleted.
        advance: told of how many files, of how many, are done.

    Returns:
        What was restored, and where the folder of before is now.

    Raises:
        RequestError: see `verify_backup`; or there is a folder already, or a mount point.
        CloudError: a server holds it, or the disk is full; all is as it was.
    """
    is_there = data.is_dir() and any(data.iterdir())
    if data.exists() and not (is_there and replace) and (is_there or not data.is_dir()):
        raise RequestError(f"{data}: is there already; give a new folder, or --replace to move it out of the way")
    if data.is_mount():
        raise RequestError(f"{data}: is a mount point, which nothing can take the place of; give a folder inside it")
    partial = data.with_name(f".{data.name}.restored")
    with ExitStack() as stack:
        if is_there:
            stack.enter_context(serving(data))
        source = stack.enter_context(_opened(backup))
        try:
            manifest = _manifest(backup, source)
            _copy(source, partial, advance)
            _check(backup, _FolderSource(partial), manifest, partial / DATABASE, lambda *_: None)
            _check_registry(backup, partial, source.names())
            (partial / MANIFEST).unlink()
            _begin_anew(partial)
            os.sync()
            return manifest, _put_in_place(partial, data, is_there)
        except OSError as exc:
            raise CloudError(f"{data}: cannot be restored ({exc.strerror or exc}); free some space") from exc
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, data: Path, is_there: bool) -> Path | None:
    before = None
    if is_there:
        before = data.with_name(f"{data.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        data.rename(before)
    elif data.is_dir():
        data.rmdir()
    try:
        partial.rename(data)
    except OSError:
        if before is not None:
            before.rename(data)
        raise
    sync_folder(data.parent)
    return before


def _begin_anew(folder: Path) -> None:
    Registry(folder).skip_releases()
    with closing(CaseStore(folder)) as store:
        for craft in store.bank_revisions():
            store.begin_epoch(craft)
        store.close_logins()
        store.note_event("skyloop-cloud", "restored from a backup")


def _check(backup: Path, source: _Source, manifest: Manifest, rows: Path, advance: Advance) -> None:
    """Every file against its digest: imagery against the rows', the others against the manifest's."""
    check_database(rows)
    expected = dict(manifest.sha256) | _imagery(rows)
    names = [name for name in source.names() if name != MANIFEST]
    for done, name in enumerate(names, 1):
        if name not in expected:
            raise RequestError(f"{backup}: holds {name}, which it does not know of; take another backup")
        with source.open(name) as file:
            if digest_of(file) != expected.pop(name):
                raise RequestError(f"{backup}: {name} is damaged; take another backup")
        advance(done, len(names))
    if expected:
        raise RequestError(
            f"{backup}: lacks {next(iter(expected))} and {len(expected) - 1} others; take another backup"
        )


def _check_registry(backup: Path, folder: Path, names: Sequence[str]) -> None:
    """Open the signed metadata of the registry in a folder, and look for every archive that it names."""
    registry = Registry(folder)
    if not any(name.startswith(f"{REGISTRY}/metadata/") for name in names):
        return
    try:
        bundles = registry.bundles()
        if registry.timestamp_path.is_file():
            registry.signed()
    except CloudError as exc:
        raise RequestError(f"{backup}: its registry cannot be read ({exc}); take another backup") from exc
    for bundle in bundles:
        if (name := str(registry.archive_path(bundle).relative_to(folder))) not in names:
            raise RequestError(f"{backup}: lacks {name}, which its registry names; take another backup")


def _imagery(rows: Path) -> dict[str, str]:
    """Digest of each case's imagery, by its name in the backup."""
    with closing(sqlite3.connect(rows, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
        query = "SELECT craft, case_id, payload_sha256 FROM cases WHERE imagery_bytes > 0"
        return {imagery_name(craft, case_id): digest for craft, case_id, digest in connection.execute(query)}


def _manifest(backup: Path, source: _Source) -> Manifest:
    try:
        with source.open(MANIFEST) as file:
            text = file.read(_MOST_MANIFEST_BYTES + 1)
        manifest = TypeAdapter(Manifest).validate_python(json.loads(text))
    except ValidationError as exc:
        raise RequestError(f"{backup}: {MANIFEST}: {first_problem(exc)}; take another backup") from exc
    except (OSError, KeyError, ValueError) as exc:
        raise RequestError(f"{backup}: is no backup, it has no readable {MANIFEST}; give another --from") from exc
    if manifest.format > FORMAT:
        raise RequestError(f"{backup}: is of format {manifest.format}, this software reads {FORMAT}; use a newer one")
    if not all(map(_is_inside, manifest.sha256)) or DATABASE not in manifest.sha256:
        raise RequestError(f"{backup}: {MANIFEST} names files outside the backup, or no {DATABASE}; do not use it")
    return manifest


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _copy(source: _Source, folder: Path, advance: Advance) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    names = source.names()
    for done, name in enumerate(names, 1):
        _copy_one(source, name, folder)
        advance(done, len(names))


def _copy_one(source: _Source, name: str, folder: Path) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    is_secret = name.endswith(".key")
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if is_secret else 0o644)
    with source.open(name) as read, os.fdopen(descriptor, "wb") as written:
        shutil.copyfileobj(read, written, _BLOCK_BYTES)


class _FolderSource:
    """A backup that is a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """See `_Source`."""
        found = (path for path in self._folder.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(str(path.relative_to(self._folder)) for path in found)

    def open(self, name: str) -> IO[bytes]:
        """See `_Source`."""
        return (self._folder / name).open("rb")


class _TarSource:
    """A backup that is one file; only plain files with names inside it are seen."""

    def __init__(self, path: Path, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {}
        for member in archive:
            if not member.isfile() or not _is_inside(member.name):
                raise RequestError(f"{path}: holds {member.name[:80]!r}, which no backup does; do not use it")
            self._members[member.name] = member

    def names(self) -> list[str]:
        """See `_Source`."""
        return list(self._members)

    def open(self, name: str) -> IO[bytes]:
        """See `_Source`."""
        file = self._archive.extractfile(self._members[name])
        assert file is not None
        return file


@contextmanager
def _opened(backup: Path) -> Iterator[_Source]:
    if backup.is_dir():
        yield _FolderSource(backup)
        return
    try:
        with tarfile.open(backup, "r:") as archive:
            yield _TarSource(backup, archive)
    except tarfile.TarError as exc:
        raise RequestError(f"{backup}: is no backup, or a truncated one ({exc}); give another --from") from exc
    except FileNotFoundError as exc:
        raise RequestError(f"{backup}: is not there; give the folder or .tar of `skyloop-cloud backup`") from exc
