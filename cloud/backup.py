"""A copy of a data folder that is whole, made while the server goes on: rows first, then the imagery they speak of.

The rows are one consistent state (SQLite's online backup within one read transaction, which no writer can make begin
again), and retention takes nothing away meanwhile, so that every file a row speaks of is there to be copied. Each is
checked against the digest that the craft sent. The copy is a folder, or one `.tar`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol

from cloud.data_lock import LOCK_NAMES, keeping
from cloud.errors import CloudError, RequestError, StoreError
from cloud.options import opened_store
from cloud.registry import Registry
from edge.durable import sync_folder

DATABASE, MANIFEST, IMAGERY = "skyloop.sqlite", "backup.json", "imagery"

_HELD = "FROM cases WHERE imagery_bytes > 0"

FORMAT = 1
"""Of the manifest; a reader refuses more."""

_PAGES = 1000
"""Of the database at a time: 4 MB between two movements of the progress bar."""

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        format: see `FORMAT`.
        made_at_s: wall time.
        data: the folder it was made of.
        cases: with imagery.
        imagery_bytes: of these.
        sha256: of every other file, by its name in the backup.
        left_out: one line for each case of which the imagery was gone or damaged; its row is in the backup.
    """

    format: int
    made_at_s: float
    data: str
    cases: int
    imagery_bytes: int
    sha256: dict[str, str]
    left_out: tuple[str, ...] = ()


class _Sink(Protocol):
    """Where a backup goes."""

    def add(self, source: Path, name: str) -> None:
        """Copy a file to a name in the backup."""
        ...

    def write(self, content: bytes, name: str) -> None:
        """Write a small file."""
        ...


def make_backup(
    data: Path,
    out: Path,
    *,
    link: bool = False,
    with_keys: bool = True,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Manifest:
    """Copy a data folder that may be served, and written, meanwhile.

    Args:
        data: the folder.
        out: what is not there yet: a folder, or a file that ends in `.tar`.
        link: hard links instead of copies of imagery: quick, on the same disk, and no help when that disk fails.
        with_keys: whether the server's private key comes along; without it every craft must trust a new one.
        advance: told of how many files, of how many, are done.

    Raises:
        RequestError: `out` is there already or lies in the data folder, or links are wished for in a `.tar`.
        StoreError: the database is damaged.
        CloudError: the disk is full, or another backup is being made; nothing is left of it.
    """
    if out.exists() or out.is_symlink():
        raise RequestError(f"{out}: is there already; give a new name, nothing is overwritten")
    if data.resolve() in out.resolve().parents:
        raise RequestError(f"{out}: lies in the data folder itself; give a place outside {data}")
    if link and out.suffix == ".tar":
        raise RequestError(f"{out}: a .tar holds copies; leave out --link or give a folder")
    with opened_store(data):  # brings an older schema up to date, or says that it cannot be read
        pass
    with keeping(data), _named_when_done(out) as partial, _scratch(partial) as rows:
        copy_database(data / DATABASE, rows)
        check_database(rows)
        with _sink(partial, link) as sink:
            return _fill(sink, data, rows, with_keys, advance)


def _fill(sink: _Sink, data: Path, rows: Path, with_keys: bool, advance: Callable[[int, int], None]) -> Manifest:
    left_out: list[str] = []
    with closing(sqlite3.connect(rows)) as connection:
        count, size = _held(connection)
        total = count + sum(1 for _ in _others(data, with_keys)) + 1
        query = f"SELECT craft, case_id, payload_sha256 {_HELD} ORDER BY case_id"
        for done, (craft, case_id, digest) in enumerate(connection.execute(query).fetchall()):
            fault = _add_imagery(sink, data, imagery_name(craft, case_id), digest)
            if fault:
                left_out.append(f"case {case_id} of {craft}: {fault}")
                connection.execute(
                    "UPDATE cases SET imagery_bytes = 0 WHERE craft = ? AND case_id = ?", (craft, case_id)
                )
            advance(done, total)
        connection.commit()
        count, size = _held(connection)
    digests = {DATABASE: sha256_of(rows)}
    sink.add(rows, DATABASE)
    with Registry(data).unchanged():  # listed and copied as one: its newest file names the others
        for name in _others(data, with_keys):
            digests[name] = sha256_of(data / name)
            sink.add(data / name, name)
    manifest = Manifest(FORMAT, time.time(), str(data), count, size, digests, tuple(left_out))
    sink.write(json.dumps(asdict(manifest), indent=1).encode(), MANIFEST)
    advance(total, total)
    return manifest


def _held(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many cases have imagery, and its bytes."""
    query = f"SELECT count(*), coalesce(sum(imagery_bytes), 0) {_HELD}"
    count, size = connection.execute(query).fetchone()
    return count, size


def _add_imagery(sink: _Sink, data: Path, name: str, digest: str) -> str:
    """Copy a case's imagery; returns why it could not be, empty when it was."""
    try:
        if sha256_of(data / name) != digest:
            return f"{name} is damaged"
    except OSError as exc:
        return f"{name} cannot be read ({exc.strerror})"
    sink.add(data / name, name)
    return ""


def imagery_name(craft: str, case_id: str) -> str:
    """A case's imagery in a data folder and in a backup."""
    return f"{IMAGERY}/{case_id[:2]}/{craft}-{case_id}"


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of a SQLite file that others write meanwhile.

    Raises:
        StoreError: it cannot be read, or the copy not be written.
    """
    try:
        with closing(sqlite3.connect(source, isolation_level=None)) as live, closing(sqlite3.connect(target)) as copy:
            # Held open: else each commit of anybody else would make the copy begin again, for ever under load.
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()
            live.backup(copy, pages=_PAGES)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    except sqlite3.Error as exc:
        raise StoreError(f"{source}: cannot be copied ({exc}); check the disk") from exc


def check_database(path: Path) -> None:
    """Refuse a SQLite file that is damaged.

    Raises:
        StoreError: it is.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
    except sqlite3.Error as exc:
        raise StoreError(f"{path.name}: is no sound database ({exc}); take another backup") from exc
    if found != ["ok"]:
        raise StoreError(f"{path.name}: is damaged ({found[0]}); restore the newest sound backup")


def sha256_of(path: Path) -> str:
    """Digest of a file, lower-case hex."""
    with path.open("rb") as file:
        return digest_of(file)


def digest_of(file: IO[bytes]) -> str:
    """Digest of what is left of an open file, lower-case hex."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _others(data: Path, with_keys: bool) -> Iterator[str]:
    """Everything in a data folder but its rows, imagery and locks, by name."""
    skipped = {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", MANIFEST, IMAGERY, *LOCK_NAMES}
    skipped |= set() if with_keys else {"keys"}
    for top in sorted(data.iterdir()):
        if top.name in skipped or top.is_symlink():
            continue
        files = [top] if top.is_file() else sorted(top.rglob("*"))
        for path in files:
            name = path.relative_to(data)
            is_whole = not any(part.startswith(".") or part.endswith((".part", ".partial")) for part in name.parts)
            if is_whole and path.is_file() and not path.is_symlink():
                yield str(name)


class _FolderSink:
    """A folder."""

    def __init__(self, folder: Path, link: bool) -> None:
        self._folder, self._link = folder, link
        self._made: set[Path] = set()

    def add(self, source: Path, name: str) -> None:
        """See `_Sink`."""
        target = self._folder / name
        if target.parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(target.parent)
        if self._link and name.startswith(IMAGERY):
            os.link(source, target)
        else:
            shutil.copy(source, target)

    def write(self, content: bytes, name: str) -> None:
        """See `_Sink`."""
        (self._folder / name).write_bytes(content)


class _TarSink:
    """One file."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def add(self, source: Path, name: str) -> None:
        """See `_Sink`."""
        self._archive.add(source, name, recursive=False)

    def write(self, content: bytes, name: str) -> None:
        """See `_Sink`."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime = len(content), int(time.time())
        self._archive.addfile(member, io.BytesIO(content))


@contextlib.contextmanager
def _sink(partial: Path, link: bool) -> Iterator[_Sink]:
    if partial.name.endswith(".tar.partial"):
        with partial.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)  # it may hold the server's key
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                yield _TarSink(archive)
    else:
        partial.mkdir(parents=True, mode=0o700)
        yield _FolderSink(partial, link)


@contextlib.contextmanager
def _scratch(partial: Path) -> Iterator[Path]:
    """A place for the copied rows until they are in the backup."""
    rows = partial.with_name(partial.name + ".rows")
    try:
        rows.parent.mkdir(parents=True, exist_ok=True)
        yield rows
    finally:
        for name in (rows.name, f"{rows.name}-journal", f"{rows.name}-wal", f"{rows.name}-shm"):
            rows.with_name(name).unlink(missing_ok=True)


@contextlib.contextmanager
def _named_when_done(out: Path) -> Iterator[Path]:
    """This call's own name beside `out`, which takes its place at the end; what fails leaves nothing."""
    partial = out.with_name(f".{uuid.uuid4().hex[:8]}.{out.name}.partial")
    try:
        yield partial
        os.sync()  # of tens of thousands of files one by one would take many times as long
        if out.exists() or out.is_symlink():
            raise RequestError(f"{out}: was made meanwhile; give a new name, nothing is overwritten")
        partial.rename(out)
        sync_folder(out.parent)
    except OSError as exc:
        raise CloudError(f"{out}: cannot be written ({exc.strerror or exc}); free some space or give another") from exc
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
