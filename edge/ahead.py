"""Work one step ahead in a thread: decode while inference runs, run inference while the last frame is tracked."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

_POLL_S = 0.2
_JOIN_S = 5.0


class _End:
    """The last thing in the queue: nothing more, or the error that ended the work."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


def run_ahead(items: Iterable[Item], depth: int, stop: threading.Event, name: str) -> Generator[Item, None, None]:
    """The same items, made by a thread that is at most `depth` items ahead; closing it ends and joins the thread.

    Args:
        items: iterated in the thread; an error there is raised here.
        depth: bound of the queue; the thread waits when it is full.
        stop: ends both sides soon after it is set.
        name: of the thread.
    """
    ready: queue.Queue[Item | _End] = queue.Queue(depth)
    left = threading.Event()

    def is_over() -> bool:
        return stop.is_set() or left.is_set()

    thread = threading.Thread(target=_fill, args=(items, ready, is_over), name=name, daemon=True)
    thread.start()
    try:
        yield from _taken(ready, is_over)
    finally:
        # An inference that is still running when the interpreter ends would abort the process.
        left.set()
        thread.join(_JOIN_S)


def _taken(ready: queue.Queue[Item | _End], is_over: Callable[[], bool]) -> Generator[Item, None, None]:
    while not is_over():
        try:
            item = ready.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item


def _fill(items: Iterable[Item], ready: queue.Queue[Item | _End], is_over: Callable[[], bool]) -> None:
    try:
        for item in items:
            if not _offer(ready, item, is_over):
                return
        _offer(ready, _End(), is_over)
    except Exception as exc:  # noqa: BLE001 - handed to the reader, which raises it
        _offer(ready, _End(exc), is_over)


def _offer(ready: queue.Queue[Item | _End], item: Item | _End, is_over: Callable[[], bool]) -> bool:
    """Put an item as soon as there is room; False when stopped instead."""
    while not is_over():
        try:
            ready.put(item, timeout=_POLL_S)
            return True
        except queue.Full:
            continue
    return False
