"""Passwords, and who somebody is to the cloud's pages and its HTTP API."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cloud.account_shelf import ROLES, Role
from cloud.errors import RequestError
from cloud.store import CaseStore

LEAST_PASSWORD_CHARS, MOST_PASSWORD_CHARS = 10, 128
"""NIST SP 800-63B, 5.1.1.2: length counts, composition rules do not. Hashing longer ones would be a way to stall us."""

TRIES, _TRIES_S = 5, 300.0
"""Wrong passwords for a name from one address before it has to wait, and for how long."""

_MOST_WATCHED = 10_000

_AT_ONCE = 4
"""Log-ins in work: each blocks a worker thread, of which all pages share forty, and two hash at a time."""

_hasher = PasswordHasher()  # argon2id with the second recommended parameters of RFC 9106: 64 MiB, 3 passes
_hashing = threading.Semaphore(2)  # each takes those 64 MiB


@dataclass(frozen=True)
class Principal:
    """Who makes a request.

    Attributes:
        name: a person's, or `token:<name>` of a program.
        role: what they may do.
        by: how they proved it: a `login` cookie, a `token`, or the header of a trusted `proxy`.
        csrf: what their forms must repeat; empty for programs, which no foreign page can make speak.
    """

    name: str
    role: Role
    by: Literal["login", "token", "proxy"]
    csrf: str = ""

    def may(self, role: Role) -> bool:
        """Whether they may do what takes a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


def hash_password(password: str) -> str:
    """The argon2id hash to keep of a new password.

    Raises:
        RequestError: it is too short or too long.
    """
    if not LEAST_PASSWORD_CHARS <= len(password) <= MOST_PASSWORD_CHARS:
        raise RequestError(
            f"a password of {len(password)} characters: give {LEAST_PASSWORD_CHARS} to {MOST_PASSWORD_CHARS}, "
            "a few words do well"
        )
    with _hashing:
        return _hasher.hash(password)


class Doorman:
    """Checks names and passwords, and makes who guesses wait."""

    def __init__(self, store: CaseStore, monotonic_s: Callable[[], float]) -> None:
        """Know of no wrong guess yet."""
        self._store, self._monotonic_s = store, monotonic_s
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._lock, self._places = threading.Lock(), threading.BoundedSemaphore(_AT_ONCE)

    @contextlib.contextmanager
    def place(self) -> Iterator[bool]:
        """Whether there is room for one more log-in; who gets none does not wait for it."""
        is_free = self._places.acquire(blocking=False)
        try:
            yield is_free
        finally:
            if is_free:
                self._places.release()

    def wait_s(self, name: str, address: str) -> float:
        """Seconds until a name may be tried again from an address; 0 is now."""
        with self._lock:
            count, since_s = self._failures.get((name, address), (0, 0.0))
        return max(since_s + _TRIES_S - self._monotonic_s(), 0.0) if count >= TRIES else 0.0

    def reserve(self, name: str, address: str) -> int:
        """Which of the tries in a row this one is, from 1 to `TRIES`; 0 where the name has to wait.

        It counts as a wrong one until `admits` finds it right: guesses that come at once do not pass together.
        """
        with self._lock:
            now_s = self._monotonic_s()
            count, since_s = self._failures.get((name, address), (0, now_s))
            if now_s - since_s >= _TRIES_S:
                count, since_s = 0, now_s
            if count >= TRIES:
                return 0
            self._failures[name, address] = (count + 1, since_s if count + 1 < TRIES else now_s)
            self._failures.move_to_end((name, address))
            while len(self._failures) > _MOST_WATCHED:
                self._failures.popitem(last=False)
            return count + 1

    def admits(self, name: str, password: str, address: str) -> bool:
        """Whether a person is who they say; takes as long for a name that nobody has.

        Args:
            name: who they say they are.
            password: what they know.
            address: where they are.
        """
        kept = self._store.password_hash(name)
        is_right = _fits(kept or _hash_of_nobody(), password) and kept is not None
        if is_right:
            with self._lock:
                self._failures.pop((name, address), None)
        return is_right


def _fits(kept: str, password: str) -> bool:
    if len(password) > MOST_PASSWORD_CHARS:
        return False
    with _hashing:
        try:
            return _hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False


@functools.cache
def _hash_of_nobody() -> str:
    """A hash that no password fits, so that an unknown name takes as long to refuse as a known one."""
    return _hasher.hash("nobody has this one, and it is not kept")
