"""One thread beside the service for what people look at: bounded, and of what one person asks the newest counts.

Neither the event loop nor the teacher's thread waits for it, and it waits for neither.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from cloud.errors import RequestError

T = TypeVar("T")

MOST_WAITING = 16
"""Requests of all people together; more are refused."""


class Superseded(RequestError):
    """The same person asked again before this was begun."""


class Sideline:
    """Runs what is asked one after the other."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sideline")
        self._lock = threading.Lock()
        self._newest: dict[str, object] = {}
        self._waiting = 0

    def submit(self, who: str, job: Callable[[], T]) -> Future[T]:
        """Have something done; the future raises `Superseded` where `who` asked anew before it was begun.

        Args:
            who: whose request, and about what: only the newest of these is carried out.
            job: what to do.

        Raises:
            RequestError: too many requests wait.
        """
        token = object()
        with self._lock:
            if self._waiting >= MOST_WAITING:
                raise RequestError(f"{self._waiting} previews wait already; try again in a few seconds")
            self._waiting += 1
            self._newest[who] = token
        future = self._pool.submit(self._run, who, token, job)
        future.add_done_callback(lambda _: self._leave(who, token))  # one that is cancelled is never run
        return future

    def close(self) -> None:
        """Finish what is being done, and nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, who: str, token: object, job: Callable[[], T]) -> T:
        if self._newest.get(who) is not token:
            raise Superseded("a newer request took the place of this one")
        return job()

    def _leave(self, who: str, token: object) -> None:
        with self._lock:
            self._waiting -= 1
            if self._newest.get(who) is token:
                del self._newest[who]
