"""Where crafts connect: one ROUTER socket, CURVE with ZAP, one `CraftSession` per craft.

Every message passes the same gate, cheapest check first: is its key enrolled *now*, is it a message at all,
does it come on the connection that said Hello last. Only then does the craft's session see it. The craft is the
`User-Id` that ZAP confirmed; the routing id is an address and proves nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import structlog
import zmq
import zmq.asyncio

from cloud.access import Access, start_zap, user_id
from cloud.admission import Admission, AdmissionSettings
from cloud.craft_session import CraftSession
from cloud.deliveries import Deliveries
from cloud.desk import Desk
from cloud.errors import CloudError, StoreError
from cloud.gateway_settings import CraftLive, GatewaySettings, GatewayStats
from cloud.router import Router
from cloud.store import CaseStore
from cloud.uploads import GroupCommit, Stored, Uploads
from edge.clock import Clock, SystemClock
from edge.endpoints import check_endpoint
from edge.keys import KeyPair
from protocols.errors import MessageError
from protocols.limits import MAX_OPEN_BYTES
from protocols.messages import AnyMessage, Hello, Problem, decode, encode
from protocols.values import Interpretation

__all__ = ["Gateway", "GatewaySettings", "GatewayStats"]

log = structlog.get_logger()

_YIELD_EVERY = 32
"""Messages after which the sessions get a turn, however many more wait on the socket."""

_PROBLEM_INTERVAL_S = 0.1
"""Least pause between two Problems to a craft that has no session."""

_AUTO_ROUTE_BYTES = 5
"""Routing ids that libzmq makes are 5 bytes and start with 0; they count up from a random number."""


class Gateway:
    """The cloud's end of the wire.

    Attributes:
        on_cases_stored: called in the event loop with cases that became durable.
        admission: says which new cases are taken.
        stats: counters, for metrics.
        access: who may speak; counts handshakes.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        store: CaseStore,
        keys: KeyPair,
        *,
        clock: Clock | None = None,
        admission: Admission | None = None,
    ) -> None:
        """Open nothing yet; see `start`.

        Args:
            settings: see `GatewaySettings`.
            store: where everything is kept.
            keys: the cloud's.
            clock: for pauses and stamps.
            admission: refuses cases that could not be answered; by default none until very many wait.
        """
        self.on_cases_stored: Callable[[list[Stored]], None] | None = None
        self.stats = GatewayStats()
        self.access = Access(store)
        self._settings, self._store, self._keys = settings, store, keys
        self._clock = clock or SystemClock()
        self.admission = admission or Admission(AdmissionSettings(), self._clock)
        self._live: defaultdict[str, CraftLive] = defaultdict(CraftLive)
        self._sessions: dict[str, CraftSession] = {}
        self._tasks: dict[CraftSession, asyncio.Task[None]] = {}
        self._problem_s: dict[str, float] = {}  # by craft

    @property
    def endpoint(self) -> str:
        """Where crafts can connect, with the port that was really bound."""
        return self._router.endpoint

    async def start(self) -> None:
        """Guard, bind and take messages from now on.

        Raises:
            ConfigError: `bind` is not an endpoint.
            CloudError: it cannot be bound, because another program has it or the address is not ours.
        """
        check_endpoint(self._settings.bind)
        self._context = zmq.asyncio.Context()
        self._router = Router(self._context, self._keys)
        self._zap = start_zap(self._context, self.access)  # before bind: without it every key gets in
        try:
            self._router.bind(self._settings.bind)
        except CloudError:
            await self._shut()
            raise
        self._loop = asyncio.get_running_loop()
        self._desk = self._make_desk()
        self._committing = asyncio.create_task(self._desk.commits.run())
        self._delivering = asyncio.create_task(self._desk.deliveries.run(self._desk.ask))
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
        self._desk.deliveries.close()
        await self._delivering
        self._desk_executor.shutdown(wait=True)
        await self._shut()
        log.info("gateway down")

    def live(self) -> dict[str, CraftLive]:
        """What each craft that was connected was last heard to be; from any thread."""
        return {craft: replace(live) for craft, live in list(self._live.items())}

    def notify(self, craft: str) -> None:
        """Say from any thread that the store has news for a craft: a bank revision or an interpretation."""
        self._loop.call_soon_threadsafe(self._notify, craft)

    def deliver(self, craft: str, answer: Interpretation) -> None:
        """Send a craft the answer to a case, which is durable; in the event loop. Who is not there asks later."""
        session = self._sessions.get(craft)
        if session is not None:
            session.deliver(answer)

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
            uploads=Uploads(
                self._clock,
                max_bytes=settings.max_partial_bytes,
                max_per_craft=settings.max_partials,
                max_craft_bytes=MAX_OPEN_BYTES,
            ),
            commits=GroupCommit(self._store, self._cases_stored),
            deliveries=Deliveries(self._store),
            admission=self.admission,
            clock=self._clock,
        )

    def _cases_stored(self, cases: list[Stored]) -> None:
        if self.on_cases_stored is not None:
            self.on_cases_stored(cases)

    async def _receive(self) -> None:
        while True:
            await self._router.wait()
            for _ in range(_YIELD_EVERY):
                try:
                    if (frames := self._router.take()) is None:
                        break
                    await self._take(frames)
                except Exception:  # the top loop of this task: the next message is another one
                    self.stats.faults += 1
                    log.exception("gateway fault")
                    await asyncio.sleep(0.1)
            await asyncio.sleep(0)

    async def _take(self, frames: list[zmq.Frame]) -> None:
        size = sum(len(frame.buffer) for frame in frames[1:])
        self.stats.bytes_received += size
        key = user_id(frames[-1])
        craft = self._craft_of(key)
        if craft is None:  # not even a Problem: who is not enrolled gets nothing
            self.stats.not_enrolled += 1
            self._shut_out(key)
            return
        live = self._live[craft]
        live.heard_s, live.bytes_received = self._clock.wall_s(), live.bytes_received + size
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
        session.live = self._live[craft]
        self._sessions[craft] = session
        task = asyncio.create_task(session.run())
        self._tasks[session] = task
        task.add_done_callback(lambda _: self._forget(session))
        return session

    def _forget(self, session: CraftSession) -> None:
        self._tasks.pop(session, None)
        if self._sessions.get(session.craft) is session:
            del self._sessions[session.craft]
            self._live[session.craft].is_online = False

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
            self._send(route, encode(Problem.from_error(error)))

    async def _transmit(self, session: CraftSession, frames: list[bytes]) -> bool:
        if self._craft_of(session.key) != session.craft:
            session.end("not enrolled any more")
            return False
        sent = self._send(session.route, frames)
        if sent is None:
            session.end("gone")
        elif sent:
            self._live[session.craft].bytes_sent += sum(map(len, frames))
        return bool(sent)

    def _send(self, route: bytes, frames: list[bytes]) -> bool | None:
        """See `Router.send`."""
        sent = self._router.send(route, frames)
        if sent is None:
            self.stats.unreachable += 1
        elif sent:
            self.stats.bytes_sent += sum(map(len, frames))
        return sent

    async def _shut(self) -> None:
        self._zap.stop()
        self._router.close()
        await asyncio.get_running_loop().run_in_executor(None, self._context.term)
