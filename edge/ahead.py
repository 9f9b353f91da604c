"""Work one step ahead in a thread: decode while inference runs, run inference while the last frame is tracked."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_POLL_S = 0.2


class _End:
    """The last thing in the queue: nothing more, or the error that ended the work."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


def run_ahead(items: Iterable[Item], depth: int, stop: threading.Event, name: str) -> Iterator[Item]:
    """The same items, made by a thread that is at most `depth` items ahead.

    Args:
        items: iterated in the thread; an error there is raised here.
        depth: bound of the queue; the thread waits when it is full.
        stop: ends both sides soon after it is set.
        name: of the thread.
    """
    ready: queue.Queue[Item | _End] = queue.Queue(depth)
    threading.Thread(target=_fill, args=(items, ready, stop), name=name, daemon=True).start()
    while not stop.is_set():
        try:
            item = ready.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item


def _fill(items: Iterable[Item], ready: queue.Queue[Item | _End], stop: threading.Event) -> None:
    try:
        for item in items:
            if not _offer(ready, item, stop):
                return
        _offer(ready, _End(), stop)
    except Exception as exc:  # noqa: BLE001 - handed to the reader, which raises it
        _offer(ready, _End(exc), stop)


def _offer(ready: queue.Queue[Item | _End], item: Item | _End, stop: threading.Event) -> bool:
    """Put an item as soon as there is room; False when stopped instead."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=_POLL_S)
            return True
        except queue.Full:
            continue
    return False
