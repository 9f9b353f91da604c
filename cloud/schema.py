"""Which schema a database file has, and the way from an older one to today's: the alembic revisions in `migrations/`.

To change a table: change `tables.py`, write the next `migrations/versions/v000N_….py`, raise `HEAD`. A test compares
what the revisions make with what `tables.py` says, and another brings files of every earlier schema up to date.
"""

from __future__ import annotations

from pathlib import Path

import structlog
from sqlalchemy import Connection

from cloud.errors import StoreError
from cloud.tables import Base

log = structlog.get_logger()

HEAD = "0009"
"""The newest revision."""

MIGRATIONS = Path(__file__).parent / "migrations"

_REVISED = 5
"""SQLite's `user_version` of a file whose revision stands in the table `alembic_version`; less is a schema of before,
of the same number as its revision, and the software of before refuses more."""


def prepare(connection: Connection, name: str) -> None:
    """Make the tables of an empty file, or bring an older one up to date, within the caller's transaction.

    Args:
        connection: in a transaction that may write; an error must undo it.
        name: what to call the file.

    Raises:
        StoreError: the file was written by newer software, or not by this one.
    """
    found = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if found == 0 and not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        Base.metadata.create_all(connection)
        _stamp(connection, HEAD)
        return
    if not 0 < found <= _REVISED:
        raise StoreError(
            f"{name}: has schema version {found}, this software reads 1 to {_REVISED}; "
            "use the version that wrote it, or another data folder"
        )
    if found < _REVISED:
        _stamp(connection, f"{found:04}")
    revision = str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())
    if revision != HEAD:
        _upgrade(connection, revision, name)


def _stamp(connection: Connection, revision: str) -> None:
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    connection.exec_driver_sql("DELETE FROM alembic_version")
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (revision,))
    connection.exec_driver_sql(f"PRAGMA user_version = {_REVISED}")


def _upgrade(connection: Connection, revision: str, name: str) -> None:
    from alembic import command  # takes longer to import than most commands run, and is hardly ever needed
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as exc:
        raise StoreError(
            f"{name}: has schema revision {revision}, this software reads up to {HEAD}; "
            "use the version that wrote it, or another data folder"
        ) from exc
    log.info("store brought up to date", store=name, before=revision, now=HEAD)
