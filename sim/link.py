"""A slow, far, broken link: a TCP proxy between the real edge and the real cloud.

It runs in a thread of its own and keeps a schedule (`link_schedule.py`); `become` overrides it at any moment. Below it
lie `relay.py` (connections), `delay_line.py` (rate, delay, errors of one direction) and `fates.py` (chance).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType

import numpy as np
from typing_extensions import Self

from sim.errors import OptionError, ProcessError
from sim.link_schedule import LinkState, Stretch
from sim.processes import LOOPBACK
from sim.record import BytesSeen
from sim.relay import Relay, small_socket
from sim.scenario.conditions import LinkProfile

_SAMPLE_S = 0.25
_PATIENCE_S = 5.0


class LinkProxy:
    """A link to one port; use as a context manager.

    Attributes:
        port: where the edge connects.
    """

    def __init__(
        self,
        schedule: Iterable[Stretch],
        target: tuple[str, int],
        rng: np.random.Generator,
        listen: tuple[str, int] = (LOOPBACK, 0),
    ) -> None:
        """Take a port.

        Args:
            schedule: how the link is from when on, in seconds since `begin`; the first from second 0. May be endless.
            target: host and port of the cloud.
            rng: seeds jitter, losses and flips.
            listen: host and port to take; port 0 is any that is free.

        Raises:
            OptionError: that port cannot be taken.
        """
        self._schedule = iter(schedule)
        self._first = next(self._schedule)
        self._host, wanted = listen
        # Bound but not listening: nobody else gets the port, and who connects while the link is cut is refused.
        self._reserved = _bound(self._host, wanted)
        self.port: int = self._reserved.getsockname()[1]
        self._relay = Relay(self._first.profile, target, rng, lambda: _bound(self._host, self.port))
        self._profile = self._first.profile
        self._begin_s: float | None = None
        self._samples: list[tuple[float, int, int]] = []
        self._loop = asyncio.new_event_loop()
        self._begun, self._stopped, self._ready = asyncio.Event(), asyncio.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"link-{self.port}", daemon=True)

    @property
    def is_up(self) -> bool:
        """Whether connections are let through now."""
        return self._relay.state in ("up", "half-open")

    @property
    def state(self) -> LinkState:
        """What the link is like now."""
        return self._relay.state

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

    def become(self, state: LinkState, profile: LinkProfile | None = None) -> None:
        """Change the link now, whatever its schedule says until its next stretch; returns once it is so.

        Args:
            state: see `LinkState`.
            profile: rates, delays and errors; None leaves them.
        """
        done = threading.Event()

        def change() -> None:
            self._change(state, profile or self._profile)
            done.set()

        self._call(change)
        done.wait(_PATIENCE_S)

    def _change(self, state: LinkState, profile: LinkProfile) -> None:
        self._profile = profile
        self._relay.change(state, profile)

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
        try:
            self._change(self._first.state, self._first.profile)
            self._ready.set()
            for stretch in self._schedule:
                await self._reach(stretch.from_s)
                self._change(stretch.state, stretch.profile)
            await asyncio.Event().wait()
        finally:
            self._change("cut", self._profile)

    async def _reach(self, at_s: float) -> None:
        """Return at a second of the schedule."""
        await self._begun.wait()
        assert self._begin_s is not None
        if math.isinf(at_s):
            await asyncio.Event().wait()
        await asyncio.sleep(max(self._begin_s + at_s - time.monotonic(), 0.0))

    async def _count(self) -> None:
        while True:
            self._samples.append((time.monotonic(), self.edge_to_cloud_bytes, self.cloud_to_edge_bytes))
            await asyncio.sleep(_SAMPLE_S)


def _bound(host: str, port: int) -> socket.socket:
    """A socket on a port, which another one may share as long as neither listens."""
    sock = small_socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as exc:
        sock.close()
        raise OptionError(f"{host}:{port}: cannot be taken ({exc.strerror}); give another host or port") from exc
    return sock
