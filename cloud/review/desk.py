"""What the console's pages share while the service runs: drafts beside the service, and names to choose from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from fastapi import Request

from cloud.backend import Backend
from cloud.preview import Previewer
from cloud.published_twins import PublishedTwins
from cloud.registry import Registry
from cloud.sideline import Sideline
from cloud.twins import Twins, student_folders

T = TypeVar("T")

_LABELS_KEPT_S = 10.0


class ReviewDesk:
    """One for each console."""

    def __init__(self, backend: Backend) -> None:
        """Open nothing yet: a service whose console nobody visits pays nothing for it."""
        self._backend, self._sideline = backend, Sideline()
        self._previewer: Previewer | None = None
        self._published: PublishedTwins | None = None
        self._labels: tuple[float, list[str]] = (float("-inf"), [])
        self._lock = threading.Lock()

    def draft(self, who: str, job: Callable[[Previewer], T]) -> Future[T]:
        """Have something looked at by students of its own; see `Sideline.submit`."""

        def look() -> T:
            if self._previewer is None:
                self._open()
            assert self._previewer is not None
            assert self._published is not None
            self._published.look()
            return job(self._previewer)

        return self._sideline.submit(who, look)

    def case_labels(self) -> list[str]:
        """Every name in any case, as of some seconds ago."""
        now_s = self._backend.clock.monotonic_s()
        with self._lock:
            if now_s - self._labels[0] > _LABELS_KEPT_S:
                self._labels = now_s, self._backend.store.case_labels()
            return self._labels[1]

    def close(self) -> None:
        """Finish what is being looked at."""
        self._sideline.close()

    def _open(self) -> None:
        settings = self._backend.settings
        # Of its own: a network that answers a person must not wait for the one that answers crafts.
        twins = Twins(student_folders(settings.students), threads=1)
        self._published = PublishedTwins(Registry(settings.data), twins)
        self._previewer = Previewer(self._backend.store, twins, settings.prompts, self._backend.clock)


def desk_of(request: Request) -> ReviewDesk:
    """The desk that the console was made with."""
    desk = request.app.state.review_desk
    assert isinstance(desk, ReviewDesk)
    return desk
