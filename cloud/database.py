"""One SQLite file shared by threads and processes: durable commits, short write locks, a cheap change counter."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cloud.case_value import expected_value
from cloud.errors import StoreError
from cloud.schema import prepare

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for another process's transaction; ours take milliseconds."""

_BEGIN = "sqlite_begin"


class Database:
    """The store's SQLite file.

    Every transaction says beforehand whether it writes: a reader that turns writer halfway would fail at once when
    another process has written in between, whatever the busy timeout.
    """

    def __init__(self, path: Path) -> None:
        """Open, or create with its tables; an older schema is brought up to date, or stays as it was.

        Raises:
            StoreError: the file cannot be opened, is no database, or was written by newer software.
        """
        self.path = path
        self._write_lock = threading.Lock()
        self._watch_lock = threading.Lock()
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, pool_size=8)
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        self._writer = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        with self._translated():
            self._prepare_schema()
            # It never writes, so that every commit of anybody else, thread or process, moves its data_version.
            self._watcher = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False)

    def _prepare_schema(self) -> None:
        with self._write_lock, self._writer.begin() as connection:
            prepare(connection, str(self.path))

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one consistent state and must not write.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._translated(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that holds the write lock and commits durably on leaving; an exception undoes everything.

        Raises:
            StoreError: the database cannot be written (disk full, locked for too long).
        """
        with (
            self._translated(),
            self._write_lock,
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def data_version(self) -> int:
        """A number that differs from its last value when anybody committed in between; takes microseconds.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._translated(), self._watch_lock:
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def fetch(self, query: str, values: Sequence[str] = ()) -> list[Any]:
        """Rows of a small query, some ten microseconds where a session takes a millisecond.

        Args:
            query: SQL that only reads.
            values: for its question marks.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._translated(), self._watch_lock:
            return self._watcher.execute(query, values).fetchall()

    def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log back into the file."""
        with self._watch_lock:
            self._watcher.close()
        self._engine.dispose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as exc:
            cause = exc.orig if isinstance(exc, DBAPIError) else exc
            raise StoreError(f"{self.path}: {cause}; check disk space and rights of the data folder") from exc


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    # FULL: a commit survives power loss, also in WAL mode (https://sqlite.org/pragma.html#pragma_synchronous).
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("expected_value", 3, expected_value, deterministic=True)


def _on_begin(connection: Connection) -> None:
    options: Any = connection.get_execution_options()
    connection.exec_driver_sql(options.get(_BEGIN, "BEGIN"))
