"""Where crafts connect: one ROUTER socket, CURVE with ZAP, one `CraftSession` per craft.

Every message passes the same gate, cheapest check first: is its key enrolled *now*, is it a message at all,
does it come on the connection that said Hello last. Only then does the craft's session see it. The craft is the
`User-Id` that ZAP confirmed; the routing id is an address and proves nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from cloud.access import ZAP_DOMAIN, Access, start_zap, user_id
from cloud.craft_session import CraftSession
from cloud.desk import Desk
from cloud.errors import CloudError, StoreError
from cloud.gateway_settings import GatewaySettings, GatewayStats
from cloud.store import CaseStore
from cloud.uploads import GroupCommit, Uploads
from edge.clock import Clock, SystemClock
from edge.endpoints import check_endpoint
from edge.keys import KeyPair
from protocols.errors import MessageError
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages import AnyMessage, Hello, Problem, decode, encode

__all__ = ["Gateway", "GatewaySettings", "GatewayStats"]

log = structlog.get_logger()

_SEND_QUEUE, _RECEIVE_QUEUE = 16, 64
"""Messages libzmq holds per craft and direction; each at most 64 KiB."""

_YIELD_EVERY = 32
"""Messages after which the sessions get a turn, however many more wait on the socket."""

_PROBLEM_INTERVAL_S = 0.1
"""Least pause between two Problems to a craft that has no session."""

_AUTO_ROUTE_BYTES = 5
"""Routing ids that libzmq makes are 5 bytes and start with 0; they count up from a random number."""


class Gateway:
    """The cloud's end of the wire.

    Attributes:
        on_case_stored: called in the event loop after new cases became durable.
        stats: counters, for metrics.
        access: who may speak; counts handshakes.
    """

    def __init__(
        self, settings: GatewaySettings, store: CaseStore, keys: KeyPair, *, clock: Clock | None = None
    ) -> None:
        """Open nothing yet; see `start`.

        Args:
            settings: see `GatewaySettings`.
            store: where everything is kept.
            keys: the cloud's.
            clock: for pauses and stamps.
        """
        self.on_case_stored: Callable[[], None] | None = None
        self.stats = GatewayStats()
        self.access = Access(store)
        self._settings, self._store, self._keys = settings, store, keys
        self._clock = clock or SystemClock()
        self._sessions: dict[str, CraftSession] = {}
        self._tasks: dict[CraftSession, asyncio.Task[None]] = {}
        self._problem_s: dict[str, float] = {}  # by craft

    @property
    def endpoint(self) -> str:
        """Where crafts can connect, with the port that was really bound."""
        return str(self._socket.getsockopt(zmq.LAST_ENDPOINT).decode())  # type: ignore[union-attr]

    async def start(self) -> None:
        """Guard, bind and take messages from now on.

        Raises:
            ConfigError: `bind` is not an endpoint.
            CloudError: it cannot be bound, because another program has it or the address is not ours.
        """
        check_endpoint(self._settings.bind)
        self._context = zmq.asyncio.Context()
        self._socket = _router(self._context, self._keys)
        self._zap = start_zap(self._context, self.access)  # before bind: without it every key gets in
        try:
            self._socket.bind(self._settings.bind)
        except zmq.ZMQError as exc:
            await _shut(self._context, self._socket, self._zap)
            raise CloudError(_bind_advice(self._settings.bind, exc)) from exc
        self._loop = asyncio.get_running_loop()
        self._desk = self._make_desk()
        self._committing = asyncio.create_task(self._desk.commits.run())
        self._receiving = asyncio.create_task(self._receive())
        log.info("gateway up", endpoint=self.endpoint)

    async def stop(self) -> None:
        """Take no more messages, finish what is being committed with its receipts, close."""
        self._receiving.cancel()
        await asyncio.gather(self._receiving, return_exceptions=True)
        self._desk.commits.close()
        await self._committing
        sessions = list(self._tasks)
        await asyncio.gather(*(session.finish() for session in sessions), return_exceptions=True)
        for session, task in list(self._tasks.items()):
            session.end("the gateway stops")
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._desk_executor.shutdown(wait=True)
        await _shut(self._context, self._socket, self._zap)
        log.info("gateway down")

    def notify(self, craft: str) -> None:
        """Say from any thread that the store has news for a craft: a bank revision or an interpretation."""
        self._loop.call_soon_threadsafe(self._notify, craft)

    def _notify(self, craft: str) -> None:
        session = self._sessions.get(craft)
        if session is not None:
            session.notify()

    def _make_desk(self) -> Desk:
        settings = self._settings
        self._desk_executor = ThreadPoolExecutor(2, "skyloop-store")
        return Desk(
            settings=settings,
            stats=self.stats,
            store=self._store,
            executor=self._desk_executor,
            uploads=Uploads(self._clock, max_bytes=settings.max_partial_bytes, max_per_craft=settings.max_partials),
            commits=GroupCommit(self._store, self._case_stored),
            clock=self._clock,
        )

    def _case_stored(self) -> None:
        if self.on_case_stored is not None:
            self.on_case_stored()

    async def _receive(self) -> None:
        for count in itertools.count(1):
            try:
                frames = await self._socket.recv_multipart(copy=False)
                await self._take(frames)
            except Exception:  # the top loop of this task: the next message is another one
                self.stats.faults += 1
                log.exception("gateway fault")
                await asyncio.sleep(0.1)
            if count % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _take(self, frames: list[zmq.Frame]) -> None:
        self.stats.bytes_received += sum(len(frame.buffer) for frame in frames[1:])
        key = user_id(frames[-1])
        craft = self._craft_of(key)
        if craft is None:  # not even a Problem: who is not enrolled gets nothing
            self.stats.not_enrolled += 1
            self._shut_out(key)
            return
        route = frames[0].bytes
        session = self._sessions.get(craft)
        session = session if session is not None and session.route == route else None
        try:
            message, blob = decode([frame.buffer for frame in frames[1:]])
            self.stats.messages["edge_to_cloud", message.kind] += 1
            session = session or self._greet(craft, key, route, message)
            session.put(message, blob)
        except MessageError as exc:
            await self._complain(exc, craft, route, session)

    def _craft_of(self, key: str) -> str | None:
        try:
            return self.access.craft_of(key) if key else None
        except StoreError as exc:
            log.warning("message refused, the store cannot be asked", reason=str(exc))
            return None

    def _greet(self, craft: str, key: str, route: bytes, message: AnyMessage) -> CraftSession:
        """A new session for a craft that says Hello; it takes the place of an older one."""
        if not isinstance(message, Hello):
            raise MessageError(f"{message.kind} before Hello: begin again", code="not_welcome")
        if len(route) != _AUTO_ROUTE_BYTES or route[0] != 0:
            # Two crafts could choose the same in turn, and one would get what was meant for the other.
            raise MessageError("a routing id of its own choice: leave ZMQ_ROUTING_ID unset", code="bad_value")
        if craft not in self._sessions and len(self._sessions) >= self._settings.max_crafts:
            raise MessageError(f"{len(self._sessions)} crafts are connected: try again later", code="busy")
        old = self._sessions.get(craft)
        if old is not None:
            old.end("connected again")
        session = CraftSession(self._desk, craft, key, route, self._transmit)
        self._sessions[craft] = session
        task = asyncio.create_task(session.run())
        self._tasks[session] = task
        task.add_done_callback(lambda _: self._forget(session))
        return session

    def _forget(self, session: CraftSession) -> None:
        self._tasks.pop(session, None)
        if self._sessions.get(session.craft) is session:
            del self._sessions[session.craft]

    def _shut_out(self, key: str) -> None:
        for session in self._sessions.values():
            if session.key == key:
                session.end("not enrolled any more")

    async def _complain(self, error: MessageError, craft: str, route: bytes, session: CraftSession | None) -> None:
        if session is not None:
            await session.complain(error)
            return
        self.stats.refused[error.code] += 1
        now_s = self._clock.monotonic_s()
        if now_s - self._problem_s.get(craft, float("-inf")) >= _PROBLEM_INTERVAL_S:
            self._problem_s[craft] = now_s
            await self._send(route, encode(Problem.from_error(error)))

    async def _transmit(self, session: CraftSession, frames: list[bytes]) -> bool:
        if self._craft_of(session.key) != session.craft:
            session.end("not enrolled any more")
            return False
        sent = await self._send(session.route, frames)
        if sent is None:
            session.end("gone")
        return bool(sent)

    async def _send(self, route: bytes, frames: list[bytes]) -> bool | None:
        """Whether a message went out; None when nobody is at the route. Never waits for a slow craft."""
        try:
            await self._socket.send_multipart([route, *frames], flags=zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as exc:
            if exc.errno != zmq.EHOSTUNREACH:
                raise
            self.stats.unreachable += 1
            return None
        self.stats.bytes_sent += sum(map(len, frames))
        return True


def _router(context: zmq.asyncio.Context, keys: KeyPair) -> zmq.asyncio.Socket:
    socket = context.socket(zmq.ROUTER)
    socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
    socket.curve_server = True
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.SNDHWM, _SEND_QUEUE)
    socket.setsockopt(zmq.RCVHWM, _RECEIVE_QUEUE)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    return socket


async def _shut(context: zmq.asyncio.Context, socket: zmq.asyncio.Socket, zap: AsyncioAuthenticator) -> None:
    """Close all, giving the last receipts a moment to leave."""
    zap.stop()
    socket.close(linger=200)
    await asyncio.get_running_loop().run_in_executor(None, context.term)


def _bind_advice(bind: str, error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"{bind}: another program has this port; stop it or give another --bind"
    return f"{bind}: cannot be bound ({error.strerror}); give an address of this machine with --bind"
