"""The link to the cloud: its own threads, its own socket, never in the way of the frame loop.

`Link` finds a way (`edge/dialing.py`), speaks through a `LinkSession` until the connection is lost, and dials again.
Everything the rest of the craft sees is the spool (cases go in), the bank (prompts come out), the orders (targets to
follow), `stats()` and `path()`.
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace

import structlog
import zmq
from pydantic import Field, ValidationError

from edge.bank import BankStore
from edge.bell import Bell
from edge.clock import Clock, SystemClock, this_boot
from edge.config import Settings, first_problem
from edge.dialing import Connection, Dialer, DialSettings
from edge.endpoints import is_loopback, split_endpoints
from edge.errors import ConfigError, SpoolError
from edge.flood_guard import FloodGuard
from edge.keys import KeyPair
from edge.link_stats import LinkCounter, LinkStats
from edge.path_estimate import PathEstimate, PathState
from edge.receipt_audit import AUDIT_SHARE, ReceiptAudit
from edge.refinements import Refinements
from edge.session import HelloProfile, LinkSession, OnBank, OnInterpretation, Ports, first_message
from edge.spool import Spool
from edge.target_orders import TargetOrders
from edge.updates import Updates
from edge.uploader import Uploader
from protocols.values import Interpretation

__all__ = ["HelloProfile", "Link", "LinkSettings", "LinkStats", "PathState"]

log = structlog.get_logger()

_STEP_MS = 20
"""How soon it is noticed that something is due; an arriving message or a new case wakes the thread at once."""

_LOOK_S = 0.1
"""How soon the spool's writer notices that it is to end, or that a case has expired; a new case wakes it at once."""

_LINGER_S = 0.05
"""A case younger than this is not written yet: on a good link it has left by then, and costs the disk nothing. About
a frame or two of a camera, so what power loss may take is what it takes of the scene anyway."""

_MOST_ANSWERS = 64
"""About targets; an older one is about a frame long gone."""

_NOBLOCK, _MORE = int(zmq.NOBLOCK), int(zmq.SNDMORE)
"""Plain numbers: to combine pyzmq's own takes longer than the call they are for."""

_MAX_READ = 32
"""Messages taken in a row before something is sent."""


class LinkSettings(Settings):
    """Settings of the link.

    Attributes:
        endpoint: of the cloud, `tcp://HOST:PORT`; several ways to it with commas between, the preferred one first.
        connect_timeout_s: for TCP, until the round trip time is known, and then it follows that.
        liveness_s: a connection that brought no byte for so long is given up (at least 2.8 of the cloud's heartbeats,
            or round trips).
        retry_first_s: while nobody answers, attempts begin at random from half of this to this apart.
        retry_most_s: where the cloud answers and does not let the craft in, pauses are random up to a bound that
            doubles from the first to this.
        return_s: with another than the first endpoint in use, how often the better ones are tried.
        receipt_patience_s: without any receipt for so long, a case is offered again.
        recheck_share: of delivered cases, kept for a minute and then asked about again.
        send_queue: messages libzmq may hold; small, for the spool is the buffer.
        plaintext: no encryption and no identity; only on loopback.
    """

    endpoint: str = "tcp://127.0.0.1:7600"
    connect_timeout_s: float = Field(default=5.0, gt=0, le=600)
    liveness_s: float = Field(default=2.8, gt=0, le=3600)
    retry_first_s: float = Field(default=0.5, gt=0, le=600)
    retry_most_s: float = Field(default=15.0, gt=0, le=3600)
    return_s: float = Field(default=30.0, gt=0, le=86400)
    receipt_patience_s: float = Field(default=20.0, gt=0, le=3600)
    recheck_share: float = Field(default=AUDIT_SHARE, ge=0, le=1)
    send_queue: int = Field(default=4, ge=1, le=64)
    plaintext: bool = False


class Link:
    """The edge's end of the wire; see `start`, `close` and `stats`.

    Attributes:
        orders: the targets that the cloud wants followed, for the frame loop.
        refinements: the frames that it wants to see again, likewise.
        answers: what came and the frame loop has not yet taken; the oldest give way.
    """

    def __init__(  # noqa: PLR0913 - the parts of a link; the optional ones are keywords
        self,
        settings: LinkSettings,
        keys: KeyPair | None,
        server_key: bytes | None,
        spool: Spool,
        bank: BankStore,
        hello: HelloProfile,
        *,
        clock: Clock | None = None,
        on_interpretation: OnInterpretation | None = None,
        on_bank: OnBank | None = None,
        updates: Updates | None = None,
    ) -> None:
        """Check everything that can be checked without a network.

        Args:
            settings: see `LinkSettings`.
            keys: the craft's; None only with `plaintext`.
            server_key: the cloud's pinned public key; None only with `plaintext`.
            spool: where cases come from; a thread of the link's also flushes it.
            bank: where prompts go.
            hello: who we are.
            clock: for pauses and deadlines.
            on_interpretation: called in the link's thread; the receipt is sent once it returns, so it keeps
                the interpretation durably if that matters.
            on_bank: called in the link's thread with (bank, change, monotonic time) once a bank is in force.
            updates: where bundles go; None speaks of none.

        Raises:
            ConfigError: the endpoint, the keys or the profile cannot work.
        """
        check_security(settings, keys, server_key)
        self._settings, self._spool, self._counter = settings, spool, LinkCounter()
        self._clock = clock or SystemClock()
        self.answers: deque[Interpretation] = deque(maxlen=_MOST_ANSWERS)
        self._on_interpretation = on_interpretation
        self.orders, self.refinements = TargetOrders(self._clock), Refinements()
        self._uploader = self._new_uploader()
        self._ports = self._new_ports(bank, hello, on_bank, updates)
        self._paths: dict[str, PathEstimate] = defaultdict(PathEstimate)  # by endpoint
        self._path = PathState()
        self._keys = (keys, server_key) if keys is not None and server_key is not None else None
        self._closing = threading.Event()
        self._bell: Bell | None = None  # from `start` on
        self._thread = threading.Thread(target=self._run, name="skyloop-link", daemon=True)
        self._writer = threading.Thread(target=self._write_spool, name="skyloop-spool", daemon=True)
        self._attempts = 0
        self._told: dict[str, str] = {}  # by endpoint, the newest reason why it is not connected

    def _new_uploader(self) -> Uploader:
        settings = self._settings
        audit = ReceiptAudit(self._spool, settings.recheck_share) if settings.recheck_share else None
        patience_s = settings.receipt_patience_s
        return Uploader(self._spool, self._clock, self._counter, patience_s=patience_s, audit=audit)

    def _new_ports(
        self, bank: BankStore, hello: HelloProfile, on_bank: OnBank | None, updates: Updates | None
    ) -> Ports:
        ports = Ports(
            spool=self._spool,
            bank=bank,
            hello=hello,
            boot_id=this_boot(),
            clock=self._clock,
            counter=self._counter,
            uploader=self._uploader,
            liveness_s=self._settings.liveness_s,
            on_interpretation=self._take,
            on_bank=on_bank,
            orders=self.orders,
            refinements=self.refinements,
            updates=updates,
        )
        try:
            first_message(ports)
        except ValidationError as exc:
            raise ConfigError(f"the student's profile cannot be sent: {first_problem(exc)}") from exc
        return ports

    def start(self) -> None:
        """Begin to connect, and to write the spool, in the background."""
        self._bell = Bell()
        self._spool.on_put = self._bell.ring
        self._thread.start()
        self._writer.start()

    def close(self, timeout: float = 5.0) -> bool:
        """Stop; what is not delivered stays in the spool.

        Args:
            timeout: longest wait for each of the two threads, seconds.

        Returns:
            Whether they have ended.
        """
        self._closing.set()
        for thread in (self._thread, self._writer):
            if thread.is_alive():
                thread.join(timeout)
        try:
            while not self._flush_spool():  # each time that the disk refuses, a case less waits
                pass
        finally:
            self._spool.on_put = None
            if self._bell is not None:
                self._bell.close()
        return not (self._thread.is_alive() or self._writer.is_alive())

    def stats(self) -> LinkStats:
        """The counters as they are now."""
        return self._counter.stats

    def _take(self, interpretation: Interpretation) -> None:
        if self._on_interpretation is not None:
            self._on_interpretation(interpretation)
        self.answers.append(interpretation)

    def path(self) -> PathState:
        """What is known of the way to the cloud; for whoever decides what to send."""
        return replace(self._path, connected=self._counter.connected)

    def _run(self) -> None:
        dialer = self._dialer()
        try:
            while not self._closing.is_set():
                try:
                    self._fly(dialer)
                except Exception:  # the top loop of this thread: whatever it is, the craft flies on
                    self._counter.add(faults=1)
                    log.exception("link fault")
                    self._closing.wait(self._settings.retry_first_s)
        finally:
            dialer.close()

    def _dialer(self) -> Dialer:
        chosen = self._settings
        settings = DialSettings(
            endpoints=split_endpoints(chosen.endpoint),
            connect_timeout_s=chosen.connect_timeout_s,
            retry_first_s=chosen.retry_first_s,
            retry_most_s=chosen.retry_most_s,
            return_s=chosen.return_s,
            send_queue=chosen.send_queue,
        )
        return Dialer(
            settings,
            keys=self._keys,
            clock=self._clock,
            rng=random.Random(),  # noqa: S311 - spreads reconnects, hides nothing
            rtt_s=lambda endpoint: self._paths[endpoint].rtt_s,
            on_attempt=self._on_attempt,
        )

    def _fly(self, dialer: Dialer) -> None:
        """One connection after the other, until closed."""
        connection: Connection | None = None
        while not self._closing.is_set():
            connection = self._converse(dialer, connection) if connection else self._dial(dialer)

    def _dial(self, dialer: Dialer) -> Connection | None:
        dialer.begin()
        while not self._closing.is_set():
            if (connection := dialer.step(_STEP_MS)) is not None:
                return connection
        return None

    def _converse(self, dialer: Dialer, connection: Connection) -> Connection | None:
        """Speak on a connection until it ends; returns a better one where that is why it ended."""
        session: LinkSession | None = None
        dialer.stay(connection)
        try:
            self._uploader.path = self._paths[connection.endpoint]
            wire = connection.wire
            session = LinkSession(
                self._ports,
                lambda frames: _send(connection.socket, frames),
                heard_bytes=wire.received_bytes if wire is not None else None,
                patience_s=dialer.welcome_patience_s(connection),
            )
            return self._speak(dialer, connection, session)
        finally:
            self._counter.mark_connected(False)
            connection.close()
            was_welcome = session is not None and session.is_welcome and not session.is_turned_away
            dialer.lost(connection, was_welcome=was_welcome)
            self._tell(connection.endpoint, (session and session.ended) or "closed", was_up=was_welcome)

    def _speak(self, dialer: Dialer, connection: Connection, session: LinkSession) -> Connection | None:
        assert self._bell is not None
        poller, guard = zmq.Poller(), FloodGuard(self._clock.monotonic_s())
        poller.register(connection.monitor, zmq.POLLIN)
        poller.register(self._bell, zmq.POLLIN)
        while session.ended is None and not self._closing.is_set():
            may_read = session.wants_input and guard.allows(self._clock.monotonic_s())
            poller.register(connection.socket, zmq.POLLIN * may_read | zmq.POLLOUT * session.is_blocked)
            ready = dict(poller.poll(_STEP_MS))
            if ready.get(connection.socket, 0) & zmq.POLLIN:
                self._read(session, connection.socket, guard)
            if connection.monitor in ready:
                session.ended = session.ended or connection.ending()
            if self._bell.fileno() in ready:
                self._bell.silence()
            for _ in range(session.pump()):
                guard.note_sent()
            self._path = self._uploader.path.state(self._clock.monotonic_s())
            if (better := dialer.step(0, below=connection.index)) is not None:
                session.ended = f"{better.endpoint} is back"
                return better
        return None

    def _read(self, session: LinkSession, socket: zmq.Socket[bytes], guard: FloodGuard) -> None:
        for _ in range(_MAX_READ):
            if not session.wants_input or not guard.allows(self._clock.monotonic_s()):
                return
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            session.receive(frames)
            if guard.note_read():
                self._counter.add(floods=1)
                log.warning("the cloud sends more than anything here asks for; it has to wait")

    def _write_spool(self) -> None:
        """Make cases durable as they come; a thread of its own, for a disk takes longer than many messages."""
        while not self._closing.is_set():
            try:
                self._flush_spool(_LINGER_S)
            except Exception:  # the top loop of this thread, as of the other: the next case may be written
                self._counter.add(faults=1)
                log.exception("spool fault")
                self._closing.wait(self._settings.retry_first_s)
            if self._spool.wait(_LOOK_S):
                self._closing.wait(_LINGER_S)

    def _flush_spool(self, min_age_s: float = 0.0) -> bool:
        """Whether all that is due was written; where not, the disk refused a case, and others may wait still."""
        try:
            self._spool.flush(min_age_s)
        except SpoolError as exc:
            self._counter.add(spool_errors=1)
            log.warning("case lost", reason=str(exc))
            return False
        return True

    def _on_attempt(self, endpoint: str, failure: str | None) -> None:
        if failure is not None:
            self._tell(endpoint, failure, was_up=False)
            return
        self._attempts += 1
        if self._attempts > 1:
            self._counter.add(reconnects=1)

    def _tell(self, endpoint: str, reason: str, *, was_up: bool) -> None:
        """Log that an endpoint is not connected, once for each reason."""
        if was_up or self._told.get(endpoint) != reason:
            level = "info" if reason == "closed" else "warning"
            getattr(log, level)("link down", endpoint=endpoint, reason=reason)
        self._told[endpoint] = reason


def check_security(settings: LinkSettings, keys: KeyPair | None, server_key: bytes | None) -> None:
    """Refuse a link that cannot work or would be open to strangers.

    Raises:
        ConfigError: the endpoint is malformed, a key is missing, or it would go in plaintext beyond loopback.
    """
    endpoints = split_endpoints(settings.endpoint)
    if not settings.plaintext:
        if keys is None or server_key is None:
            raise ConfigError(
                "the link needs the craft's keys and the cloud's public key; see `skyloop-edge keys new` and `trust`"
            )
    elif not all(map(is_loopback, endpoints)):
        raise ConfigError(f"plaintext to {settings.endpoint} is refused: only loopback goes without encryption")
    elif keys is not None:
        raise ConfigError("plaintext and keys exclude each other: leave one out")


def _send(socket: zmq.Socket[bytes], frames: Sequence[bytes]) -> bool:
    try:
        for frame in frames[:-1]:
            socket.send(frame, _NOBLOCK | _MORE)
        socket.send(frames[-1], _NOBLOCK)
    except zmq.Again:  # not connected yet, or the queue is full
        return False
    return True
