"""What a server needs, checked before it serves: keys, ports, disk, database, clock, runtime, teacher, students."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sqlite3
import stat
import time
from collections.abc import Callable
from importlib.metadata import packages_distributions, version
from pathlib import Path

import zmq

from cloud.account_shelf import ROLES
from cloud.config import CloudSettings
from cloud.data_lock import is_served
from cloud.registry import Registry
from cloud.schema import HEAD
from cloud.store import CaseStore
from edge.bundle import bundled_student, load_bundle
from edge.checks import Check, check_clock, check_disk, check_keys, check_onnxruntime, problem_of
from edge.errors import EdgeError
from edge.keys import CLOUD_NAME
from protocols.arrays import ImageArray
from protocols.errors import SkyloopError

_WANTED_BYTES = 5 * 2**30
"""What a few days of cases take."""

_SOON_DAYS = 7.0
"""What is signed for less is a warning: somebody has to fetch the keys."""

_REFRESH = "run `skyloop-cloud bundles refresh`"
_SIGN_ANEW = {
    "root": "make new keys and run `skyloop-cloud bundles rotate`",
    "targets": "publish a bundle, which signs the list of them anew",
    "snapshot": _REFRESH,
    "timestamp": _REFRESH,
}
"""What puts off the end of each role."""

_STORE_NAME = "skyloop.sqlite"
_OF_THE_CONSOLE = ("fastapi", "uvicorn", "jinja2", "python_multipart", "argon2")


def examine(settings: CloudSettings, picture: ImageArray) -> list[Check]:
    """Every check of a server's settings on this machine; nothing is changed, and one that fails loses no others.

    Args:
        settings: as `serve` would take them.
        picture: what the teacher is tried on, (H, W, 3) uint8.
    """
    database = _database(settings.data / _STORE_NAME)
    return [
        *check_keys(settings.keys_folder, CLOUD_NAME),
        _data_folder(settings.data),
        check_disk(settings.data, _WANTED_BYTES, "the case store"),
        database,
        *_tried("people", lambda: _people(settings.data, database)),
        *_tried("ports", lambda: _ports(settings)),
        *_tried("bundles", lambda: _bundles(settings.data)),
        check_clock(time.time()),
        check_onnxruntime({name: version(name) for name in sorted(set(packages_distributions()["onnxruntime"]))}),
        _teacher(settings, picture),
        *_students(settings),
        _console(),
    ]


def _tried(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    try:
        return check()
    except SkyloopError as exc:
        return [problem_of(name, exc)]


def _data_folder(folder: Path) -> Check:
    if not folder.is_dir():
        return Check("data", "ok", f"{folder} is not there yet and will be made")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o007:
        cure = f"run `chmod o-rwx {folder}`"
        return Check("data", "warning", f"{folder} has mode {mode:04o}: everybody here may look at the imagery", cure)
    return Check("data", "ok", f"{folder}, closed to others")


def _database(path: Path) -> Check:
    """Opened to read alone, also while a server writes."""
    if not path.is_file():
        return Check("database", "ok", f"{path} is not there yet and will be made")
    try:
        with _reading(path) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            revision = _revision(connection)
    except sqlite3.Error as exc:
        return Check("database", "problem", f"{path}: {exc}", "restore a backup")
    if found != "ok":
        return Check("database", "problem", f"{path}: damaged ({found})", "restore a backup")
    if revision > HEAD:
        cure = "use the version that wrote it"
        return Check("database", "problem", f"{path}: schema {revision}, this software reads up to {HEAD}", cure)
    older = "" if revision == HEAD else f", brought to {HEAD} by the next start"
    return Check("database", "ok", f"{path}: sound, schema {revision}{older}")


def _reading(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10))


def _revision(connection: sqlite3.Connection) -> str:
    """Of the schema; files of before alembic have the same number as a pragma."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").fetchone()[0]
    if tables:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    return f"{int(connection.execute('PRAGMA user_version').fetchone()[0]):04}"


def _people(data: Path, database: Check) -> list[Check]:
    """Crafts that may come, and people who may let others in; only where opening the store changes nothing."""
    if database.state == "problem" or not (data / _STORE_NAME).is_file():
        return []
    with _reading(data / _STORE_NAME) as connection:
        if _revision(connection) != HEAD:
            return []
    with contextlib.closing(CaseStore(data)) as store:
        crafts = [craft for craft in store.crafts() if not craft.is_revoked]
        admins = [user for user in store.users() if user.role == ROLES[-1] and not user.is_disabled]
    cure = f"run `skyloop-cloud enroll edge.pub --name NAME --data {data}`"
    enrolled = Check("crafts", "ok", f"{len(crafts)} enrolled") if crafts else Check("crafts", "warning", "none", cure)
    cure = f"run `skyloop-cloud users add NAME --role {ROLES[-1]} --data {data}`"
    people = Check("people", "ok", f"{len(admins)} may administer the console")
    return [enrolled, people if admins else Check("people", "warning", "nobody may administer the console", cure)]


def _bundles(data: Path) -> list[Check]:
    """Until when crafts believe what is signed of bundles, where some were published."""
    registry = Registry(data)
    if not registry.timestamp_path.is_file():
        return []
    role, end_s = min(registry.ends_s().items(), key=lambda item: item[1])
    days = (end_s - time.time()) / 86_400
    left = f"{role} counts for {days:.0f} more days" if days > 0 else f"{role} expired {-days:.0f} days ago"
    told = f"{len(registry.bundles())} published; {left}"
    cure = _SIGN_ANEW[role]
    return [Check("bundles", "ok", told) if days > _SOON_DAYS else Check("bundles", "warning", told, cure)]


def _ports(settings: CloudSettings) -> list[Check]:
    checks, is_running = [], is_served(settings.data)
    for name, address, reason in (
        ("crafts' port", settings.bind, _zmq_refusal(settings.bind)),
        ("web port", settings.http, _tcp_refusal(settings.http)),
    ):
        if reason is None:
            checks.append(Check(name, "ok", f"{address} is free"))
        elif is_running:
            checks.append(Check(name, "ok", f"{address} is in use; a server of this data folder runs"))
        else:
            cure = "stop what uses it, or choose another port"
            checks.append(Check(name, "problem", f"{address}: {reason}", cure))
    return checks


def _zmq_refusal(endpoint: str) -> str | None:
    """Why nobody could listen there; None where somebody could."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as probe:
        try:
            probe.bind(endpoint)
        except zmq.ZMQError as exc:
            return str(exc)
    return None


def _tcp_refusal(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except (OSError, ValueError, OverflowError) as exc:
        return exc.strerror or str(exc) if isinstance(exc, OSError) else "not HOST:PORT"
    return None


def _teacher(settings: CloudSettings, picture: ImageArray) -> Check:
    from cloud.teachers import open_teacher  # the networks

    try:
        teacher = open_teacher(settings.teacher, threads=settings.threads)
        begin_s = time.perf_counter()
        teacher.interpret([picture])
    except SkyloopError as exc:
        return problem_of("teacher", exc)
    took_ms = 1000 * (time.perf_counter() - begin_s)
    shape = f"{picture.shape[1]} x {picture.shape[0]}"
    return Check("teacher", "ok", f"{teacher.name}: {', '.join(teacher.labels)}; {took_ms:.0f} ms for {shape}")


def _students(settings: CloudSettings) -> list[Check]:
    checks = []
    for folder in (bundled_student(), *settings.students):
        try:
            manifest = load_bundle(folder).manifest
            checks.append(Check("student", "ok", f"{manifest.name}, space {manifest.space_id[:12]}…"))
        except EdgeError as exc:
            checks.append(problem_of("student", exc))
    return checks


def _console() -> Check:
    missing = [name for name in _OF_THE_CONSOLE if importlib.util.find_spec(name) is None]
    if missing:
        found = f"{', '.join(missing)} cannot be imported"
        return Check("console", "problem", found, "install the extra: pip install 'skyloop[cloud]'")
    return Check("console", "ok", "its packages are there")
