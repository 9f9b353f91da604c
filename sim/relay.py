"""Connections passed on slowly: what goes in at one end comes out at the other at the link's pace."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter

import numpy as np

from sim.delay_line import DelayLine
from sim.processes import LOOPBACK
from sim.scenario.conditions import LinkProfile

BUFFER_BYTES = 32_768
"""Of each socket and each stream: the sender is to feel the link's pace, not that of a buffer."""

_PIECES = 256
_CONNECT_S = 5.0

Piece = tuple[float, bytes]
End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """All connections of one link; lives in one event loop.

    Attributes:
        delivered: bytes by direction, `edge_to_cloud` and `cloud_to_edge`.
    """

    def __init__(self, profile: LinkProfile, target_port: int, rng: np.random.Generator) -> None:
        """No connection yet.

        Args:
            profile: rates, latency and jitter.
            target_port: on loopback, where connections are passed on to.
            rng: draws the jitter.
        """
        self.delivered: Counter[str] = Counter()
        self._listener: socket.socket | None = None
        self._target_port = target_port
        delays = (profile.latency_ms, profile.jitter_ms)
        self._lines = {
            "edge_to_cloud": DelayLine(profile.edge_to_cloud_bps, *delays, rng),
            "cloud_to_edge": DelayLine(profile.cloud_to_edge_bps, *delays, rng),
        }
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether connections are let in."""
        return self._listener is not None

    def open(self, listener: socket.socket) -> None:
        """Let connections in; the listener is ours until `close`."""
        self._listener = listener
        listener.listen()
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def close(self) -> None:
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
        task = asyncio.create_task(self._serve(sock))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: sock.close())  # also where the task was cancelled before it began

    async def _serve(self, sock: socket.socket) -> None:
        """Pass one connection on until either end closes it."""
        ends = []
        try:
            ends.append(await _streams(sock))
            ends.append(await asyncio.wait_for(_connect(self._target_port), _CONNECT_S))
            await self._pass_on(*ends)
        except (OSError, asyncio.TimeoutError):  # the target is down: the one who connects is cut too
            pass
        finally:
            for _, writer in ends:
                writer.transport.abort()

    async def _pass_on(self, edge: End, cloud: End) -> None:
        """Return once one end has closed and what it sent before is delivered."""
        up: asyncio.Queue[Piece] = asyncio.Queue(_PIECES)
        down: asyncio.Queue[Piece] = asyncio.Queue(_PIECES)
        works = (
            _take(edge[0], self._lines["edge_to_cloud"], up),
            _take(cloud[0], self._lines["cloud_to_edge"], down),
            self._deliver(up, cloud[1], "edge_to_cloud"),
            self._deliver(down, edge[1], "cloud_to_edge"),
        )
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, pieces: asyncio.Queue[Piece], writer: asyncio.StreamWriter, direction: str) -> None:
        """Write each piece at its time; returns after the empty one that stands for the end."""
        while True:
            arrives_s, data = await pieces.get()
            await _sleep_until(arrives_s)
            if not data:
                return
            writer.write(data)
            await writer.drain()
            self.delivered[direction] += len(data)


async def _take(reader: asyncio.StreamReader, line: DelayLine, pieces: asyncio.Queue[Piece]) -> None:
    """Read no faster than the line; never returns unless the connection breaks."""
    while True:
        data = await reader.read(line.piece_bytes)
        left_s, arrives_s = line.send(len(data), time.monotonic())
        await _sleep_until(left_s)
        await pieces.put((arrives_s, data))
        if not data:
            await asyncio.Event().wait()


async def _connect(port: int) -> End:
    sock = small_socket()
    try:
        await asyncio.get_running_loop().sock_connect(sock, (LOOPBACK, port))
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
