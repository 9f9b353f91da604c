"""A slow, far, broken link: a TCP proxy on loopback between the real edge and the real cloud.

It runs in a thread of its own. While the link is down its port refuses connections, and those there were are cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np
from typing_extensions import Self

from sim.errors import ProcessError
from sim.processes import LOOPBACK
from sim.record import BytesSeen
from sim.relay import Relay, small_socket
from sim.scenario.conditions import LinkProfile
from sim.scenario.intervals import Span

ALWAYS: tuple[Span, ...] = ((0.0, math.inf),)
_SAMPLE_S = 0.25
_PATIENCE_S = 5.0


class LinkProxy:
    """A link to one port of this machine; use as a context manager.

    Attributes:
        port: where the edge connects.
    """

    def __init__(
        self, profile: LinkProfile, target_port: int, rng: np.random.Generator, up: Sequence[Span] = ALWAYS
    ) -> None:
        """Take a port of loopback.

        Args:
            profile: rates, latency and jitter; its windows count only as far as they are in `up`.
            target_port: the cloud's.
            rng: draws the jitter.
            up: when the link is up, in seconds since `begin`, in order and without overlap.
        """
        self._up = tuple(up)
        self._relay = Relay(profile, target_port, rng)
        # Bound but not listening: nobody else gets the port, and who connects while the link is down is refused.
        self._reserved = _bound(0)
        self.port: int = self._reserved.getsockname()[1]
        self._begin_s: float | None = None
        self._samples: list[tuple[float, int, int]] = []
        self._loop = asyncio.new_event_loop()
        self._begun, self._stopped, self._ready = asyncio.Event(), asyncio.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"link-{self.port}", daemon=True)

    @property
    def is_up(self) -> bool:
        """Whether connections are let through now."""
        return self._relay.is_open

    @property
    def edge_to_cloud_bytes(self) -> int:
        """Bytes delivered so far, encryption included."""
        return self._relay.delivered["edge_to_cloud"]

    @property
    def cloud_to_edge_bytes(self) -> int:
        """Bytes delivered so far, encryption included."""
        return self._relay.delivered["cloud_to_edge"]

    def __enter__(self) -> Self:
        """The link as it is at second 0; its clock does not run yet.

        Raises:
            ProcessError: its thread did not start.
        """
        self._thread.start()
        if not self._ready.wait(_PATIENCE_S):
            self.__exit__(None, None, None)
            raise ProcessError(f"the link's proxy did not start within {_PATIENCE_S:.0f} s; is the machine overloaded?")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut all connections and give the port back."""
        self._call(self._stopped.set)
        self._thread.join(_PATIENCE_S)
        self._reserved.close()

    def begin(self) -> None:
        """Let the clock run: this moment is second 0."""
        self._begin_s = time.monotonic()
        self._call(self._begun.set)

    def traffic(self) -> list[BytesSeen]:
        """Bytes delivered over time since `begin`, looked at four times a second."""
        begin_s = self._begin_s
        if begin_s is None:
            return []
        samples = [*self._samples, (time.monotonic(), self.edge_to_cloud_bytes, self.cloud_to_edge_bytes)]
        return [BytesSeen(max(at_s - begin_s, 0.0), up, down) for at_s, up, down in samples]

    def _call(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
            self._loop.call_soon_threadsafe(what)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._live())
        finally:
            self._loop.close()

    async def _live(self) -> None:
        """Keep the schedule and count, until stopped; then nothing of the loop's is left."""
        self._works = [asyncio.create_task(work) for work in (self._keep_schedule(), self._count())]
        await self._stopped.wait()
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports close their sockets

    async def _keep_schedule(self) -> None:
        for start_s, end_s in self._up:
            await self._reach(start_s)
            await self._open_until(end_s)
        self._ready.set()

    async def _open_until(self, end_s: float) -> None:
        """Let connections through up to a moment, then cut them."""
        self._relay.open(_bound(self.port))
        try:
            await self._reach(end_s)
        finally:
            self._relay.close()

    async def _reach(self, at_s: float) -> None:
        """Return at a second of the schedule; second 0 is there before the clock runs."""
        if at_s <= 0:
            return
        self._ready.set()
        await self._begun.wait()
        assert self._begin_s is not None
        if math.isinf(at_s):
            await asyncio.Event().wait()
        await asyncio.sleep(max(self._begin_s + at_s - time.monotonic(), 0.0))

    async def _count(self) -> None:
        while True:
            self._samples.append((time.monotonic(), self.edge_to_cloud_bytes, self.cloud_to_edge_bytes))
            await asyncio.sleep(_SAMPLE_S)


def _bound(port: int) -> socket.socket:
    """A socket on a port of loopback, which another one may share as long as neither listens."""
    sock = small_socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((LOOPBACK, port))
    return sock
