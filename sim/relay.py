"""Connections passed on slowly: what goes in at one end comes out at the other at the link's pace, or never."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from sim.delay_line import DelayLine, LineSettings
from sim.link_schedule import LinkState
from sim.scenario.conditions import LinkProfile

BUFFER_BYTES = 32_768
"""Of each socket and each stream: the sender is to feel the link's pace, not that of a buffer."""

_PIECES = 256
_CONNECT_S = 5.0
_FIRST_CONNECT_TIMEOUT_S = 1.0
"""Before TCP's first packet of a connection is sent again (RFC 6298, section 2.1)."""

Piece = tuple[float, bytes]
End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """What the link did to one connection.

    Attributes:
        is_forgotten: both ends wait for each other for ever.
        has_lost: bytes of it were swallowed, so that it can never be right again.
    """

    def __init__(self) -> None:
        self.is_forgotten = self.has_lost = False


class Relay:
    """All connections of one link; lives in one event loop.

    Attributes:
        delivered: bytes by direction, `edge_to_cloud` and `cloud_to_edge`.
        state: of the link.
    """

    def __init__(
        self, profile: LinkProfile, target: tuple[str, int], rng: np.random.Generator, bind: Callable[[], socket.socket]
    ) -> None:
        """No connection yet, and cut.

        Args:
            profile: rates, latency, jitter and errors.
            target: host and port where connections are passed on to.
            rng: seeds the jitter, the losses and the flips of each direction.
            bind: a socket on the link's port that does not listen yet; called whenever the link stops being cut.
        """
        self.delivered: Counter[str] = Counter()
        self.state: LinkState = "cut"
        self._bind, self._target = bind, target
        self._listener: socket.socket | None = None
        self._lines = {
            name: DelayLine(settings, int(rng.integers(2**32))) for name, settings in _settings_of(profile).items()
        }
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._changed = asyncio.Event()

    def change(self, state: LinkState, profile: LinkProfile) -> None:
        """Be another link from now on; see `LinkState`."""
        for name, settings in _settings_of(profile).items():
            self._lines[name].change(settings)
        before, self.state = self.state, state
        if state == "cut":
            self._close()
        elif self._listener is None:
            self._open()
        if state == "half-open" and before != "half-open":
            for connection in self._connections.values():
                connection.is_forgotten = True
        self._changed.set()
        self._changed = asyncio.Event()

    def _open(self) -> None:
        self._listener = self._bind()
        self._listener.listen()
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _close(self) -> None:
        """Refuse new connections and cut those there are; what is under way is lost."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for task in self._connections:
            task.cancel()

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:  # gone again
            return
        sock.setblocking(False)
        connection = _Connection()
        task = asyncio.create_task(self._serve(sock, connection))
        self._connections[task] = connection
        task.add_done_callback(lambda done: self._connections.pop(done, None))
        task.add_done_callback(lambda _: sock.close())  # also where the task was cancelled before it began

    async def _serve(self, sock: socket.socket, connection: _Connection) -> None:
        """Pass one connection on until either end closes it, or the link breaks it."""
        ends = []
        try:
            ends.append(await _streams(sock))
            await self._reach_the_path(ends[0][0])
            ends.append(await asyncio.wait_for(_connect(self._target), _CONNECT_S))
            await self._pass_on(ends[0], ends[1], connection)
        except (OSError, asyncio.TimeoutError):  # the target is down: the one who connects is cut too
            pass
        finally:
            for _, writer in ends:
                writer.transport.abort()

    async def _reach_the_path(self, reader: asyncio.StreamReader) -> None:
        """Return once a new connection's first packet gets through.

        Raises:
            ConnectionError: it ended in a black hole.
        """
        if self.state == "black-hole":
            while self.state == "black-hole":
                swallowing = asyncio.ensure_future(_swallow(reader))
                await self._until_changed_or(swallowing)
            raise ConnectionAbortedError("swallowed")
        if self.state == "outage":
            begin_s = time.monotonic()
            await self._until_not("outage")
            line = self._lines["edge_to_cloud"]
            await asyncio.sleep(line.retry_after_s(time.monotonic() - begin_s, _FIRST_CONNECT_TIMEOUT_S))

    async def _until_changed_or(self, work: asyncio.Future[None]) -> None:
        """Return once the link is another one; the work, which may end before, is cancelled."""
        try:
            await self._changed.wait()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _until_not(self, state: LinkState) -> None:
        while self.state == state:
            await self._changed.wait()

    async def _pass_on(self, edge: End, cloud: End, connection: _Connection) -> None:
        """Return once one end has closed and what it sent before is delivered, or the connection is broken."""
        up: asyncio.Queue[Piece] = asyncio.Queue(_PIECES)
        down: asyncio.Queue[Piece] = asyncio.Queue(_PIECES)
        works = (
            _take(edge[0], self._lines["edge_to_cloud"], up),
            _take(cloud[0], self._lines["cloud_to_edge"], down),
            self._deliver(up, cloud[1], "edge_to_cloud", connection),
            self._deliver(down, edge[1], "cloud_to_edge", connection),
        )
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if connection.is_forgotten:  # what one end does now, the other never hears
                await asyncio.Event().wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(
        self, pieces: asyncio.Queue[Piece], writer: asyncio.StreamWriter, direction: str, connection: _Connection
    ) -> None:
        """Write each piece at its time; returns after the empty one that stands for the end, or where it is broken."""
        while True:
            arrives_s, data = await pieces.get()
            await _sleep_until(arrives_s)
            await self._outlast_outage(self._lines[direction])
            if connection.is_forgotten or self.state == "black-hole":
                connection.has_lost = True
                continue
            if not data or connection.has_lost:
                return
            writer.write(data)
            await writer.drain()
            self.delivered[direction] += len(data)

    async def _outlast_outage(self, line: DelayLine) -> None:
        while self.state == "outage":
            begin_s = time.monotonic()
            await self._until_not("outage")
            await asyncio.sleep(line.retry_after_s(time.monotonic() - begin_s))


def _settings_of(profile: LinkProfile) -> dict[str, LineSettings]:
    rest = (profile.latency_ms, profile.jitter_ms, profile.loss, profile.bit_error_rate)
    rates = {"edge_to_cloud": profile.edge_to_cloud_bps, "cloud_to_edge": profile.cloud_to_edge_bps}
    return {name: LineSettings(rate_bps, *rest) for name, rate_bps in rates.items()}


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(BUFFER_BYTES):
        pass


async def _take(reader: asyncio.StreamReader, line: DelayLine, pieces: asyncio.Queue[Piece]) -> None:
    """Read no faster than the line; never returns unless the connection breaks."""
    while True:
        data = await reader.read(line.piece_bytes)
        passage = line.send(data, time.monotonic())
        await _sleep_until(passage.left_s)
        await pieces.put((passage.arrives_s, passage.data))
        if not data:
            await asyncio.Event().wait()


async def _connect(target: tuple[str, int]) -> End:
    sock = small_socket()
    try:
        await asyncio.get_running_loop().sock_connect(sock, target)
        return await _streams(sock)
    except BaseException:
        sock.close()
        raise


async def _streams(sock: socket.socket) -> End:
    reader, writer = await asyncio.open_connection(sock=sock, limit=BUFFER_BYTES)
    writer.transport.set_write_buffer_limits(high=BUFFER_BYTES)
    return reader, writer


def small_socket() -> socket.socket:
    """A TCP socket with small buffers, which those that it accepts inherit; it does not block."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return sock


async def _sleep_until(at_s: float) -> None:
    left_s = at_s - time.monotonic()
    if left_s > 0:
        await asyncio.sleep(left_s)
