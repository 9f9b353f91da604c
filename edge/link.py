"""The link to the cloud: its own thread, its own socket, never in the way of the frame loop.

`Link` connects, speaks through a `LinkSession` until the connection is lost, and tries again after a random
pause that grows. Everything the rest of the craft sees is the spool (cases go in), the bank (prompts come out),
the orders (targets to follow) and `stats()`.
"""

from __future__ import annotations

import contextlib
import random
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
import zmq
from pydantic import Field, ValidationError
from zmq.utils.monitor import parse_monitor_message

from edge.bank import BankStore
from edge.clock import Clock, SystemClock
from edge.config import Settings, first_problem
from edge.endpoints import check_endpoint, is_loopback
from edge.errors import ConfigError, SpoolError
from edge.keys import KeyPair
from edge.link_stats import LinkCounter, LinkStats
from edge.session import HelloProfile, LinkSession, OnBank, OnInterpretation, Ports, first_message
from edge.spool import Spool
from edge.target_orders import TargetOrders
from edge.uploader import Uploader
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.values import Interpretation

__all__ = ["HelloProfile", "Link", "LinkSettings", "LinkStats"]

log = structlog.get_logger()

_STEP_MS = 20
"""How soon a new case in the spool is noticed; an arriving message wakes the thread at once."""

_MOST_ANSWERS = 64
"""About targets; an older one is about a frame long gone."""

_MAX_READ = 32
"""Messages taken in a row before something is sent."""

_ENDINGS: dict[int, str] = {
    zmq.EVENT_CLOSED: "nobody answers there",
    zmq.EVENT_DISCONNECTED: "disconnected",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the cloud refuses this key: enrol it there with `skyloop-cloud enroll`",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the handshake failed: is the pinned server key this cloud's?",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed: is the pinned server key this cloud's?",
}
_EVENTS = sum(_ENDINGS)


class LinkSettings(Settings):
    """Settings of the link.

    Attributes:
        endpoint: of the cloud, `tcp://HOST:PORT`.
        connect_timeout_s: for TCP and for the handshake; a geostationary link needs seconds.
        liveness_s: a connection that brought nothing for so long is given up (at least four of the cloud's
            heartbeats); includes the wait for Welcome.
        retry_first_s, retry_most_s: pauses between attempts are random up to a bound that doubles from the
            first to the most.
        receipt_patience_s: without any receipt for so long, a case is offered again.
        send_queue: messages libzmq may hold; small, for the spool is the buffer.
        plaintext: no encryption and no identity; only on loopback.
    """

    endpoint: str = "tcp://127.0.0.1:7600"
    connect_timeout_s: float = Field(default=5.0, gt=0, le=600)
    liveness_s: float = Field(default=5.0, gt=0, le=3600)
    retry_first_s: float = Field(default=0.5, gt=0, le=600)
    retry_most_s: float = Field(default=15.0, gt=0, le=3600)
    receipt_patience_s: float = Field(default=20.0, gt=0, le=3600)
    send_queue: int = Field(default=4, ge=1, le=64)
    plaintext: bool = False


class Link:
    """The edge's end of the wire; see `start`, `close` and `stats`.

    Attributes:
        orders: the targets that the cloud wants followed, for the frame loop.
        answers: what came about targets and the frame loop has not yet taken; the oldest give way.
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
    ) -> None:
        """Check everything that can be checked without a network.

        Args:
            settings: see `LinkSettings`.
            keys: the craft's; None only with `plaintext`.
            server_key: the cloud's pinned public key; None only with `plaintext`.
            spool: where cases come from; the link's thread also flushes it.
            bank: where prompts go.
            hello: who we are.
            clock: for pauses and deadlines.
            on_interpretation: called in the link's thread; the receipt is sent once it returns, so it keeps
                the interpretation durably if that matters.
            on_bank: called in the link's thread with (bank, change, monotonic time) once a bank is in force.

        Raises:
            ConfigError: the endpoint, the keys or the profile cannot work.
        """
        check_security(settings, keys, server_key)
        self._settings, self._keys, self._server_key = settings, keys, server_key
        self._spool, self._counter = spool, LinkCounter()
        self.answers: deque[Interpretation] = deque(maxlen=_MOST_ANSWERS)
        self._on_interpretation = on_interpretation
        clock = clock or SystemClock()
        self.orders = TargetOrders(clock)
        self._ports = Ports(
            spool=spool,
            bank=bank,
            hello=hello,
            boot_id=_boot_id(),
            clock=clock,
            counter=self._counter,
            uploader=Uploader(spool, clock, self._counter, patience_s=settings.receipt_patience_s),
            liveness_s=settings.liveness_s,
            on_interpretation=self._take,
            on_bank=on_bank,
            orders=self.orders,
        )
        try:
            first_message(self._ports)
        except ValidationError as exc:
            raise ConfigError(f"the student's profile cannot be sent: {first_problem(exc)}") from exc
        self._random = random.Random()  # noqa: S311 - spreads reconnects, hides nothing
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="skyloop-link", daemon=True)
        self._last_ending = ""

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> bool:
        """Stop; what is not delivered stays in the spool.

        Args:
            timeout: longest wait for the thread, seconds.

        Returns:
            Whether the thread has ended.
        """
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._flush_spool()
        return not self._thread.is_alive()

    def stats(self) -> LinkStats:
        """The counters as they are now."""
        return self._counter.stats

    def _take(self, interpretation: Interpretation) -> None:
        if self._on_interpretation is not None:
            self._on_interpretation(interpretation)
        if interpretation.target is not None:
            self.answers.append(interpretation)

    def _run(self) -> None:
        context = zmq.Context()
        failures = 0
        try:
            while not self._closing.is_set():
                failures = 0 if self._converse_once(context) else failures + 1
                self._pause(failures)
        finally:
            context.destroy(linger=0)

    def _converse_once(self, context: zmq.Context[zmq.Socket[bytes]]) -> bool:
        """Whether one whole connection, from connect to its loss, was welcomed and not turned away."""
        try:
            with self._connected(context) as (socket, monitor):
                session = LinkSession(self._ports, lambda frames: _send(socket, frames))
                self._converse(session, socket, monitor)
        except Exception:  # the top loop of this thread: whatever it is, the craft flies on
            self._counter.add(faults=1)
            log.exception("link fault")
            return False
        finally:
            self._counter.mark_connected(False)
        self._report(session)
        return session.is_welcome and not session.is_turned_away

    def _converse(self, session: LinkSession, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(monitor, zmq.POLLIN)
        while session.ended is None and not self._closing.is_set():
            poller.register(socket, zmq.POLLIN if session.wants_input else 0)
            ready = dict(poller.poll(_STEP_MS))
            if socket in ready:
                _read(session, socket)
            if monitor in ready:
                session.ended = session.ended or _ending(monitor)
            self._flush_spool()
            session.pump()

    @contextlib.contextmanager
    def _connected(
        self, context: zmq.Context[zmq.Socket[bytes]]
    ) -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
        """A socket that connects once (`RECONNECT_IVL` -1): every connection is ours to begin with Hello."""
        settings = self._settings
        socket = context.socket(zmq.DEALER)
        monitor = socket.get_monitor_socket(_EVENTS)
        try:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.IMMEDIATE, 1)
            socket.setsockopt(zmq.RECONNECT_IVL, -1)
            socket.setsockopt(zmq.SNDHWM, settings.send_queue)
            socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
            socket.setsockopt(zmq.CONNECT_TIMEOUT, round(settings.connect_timeout_s * 1000))
            socket.setsockopt(zmq.HANDSHAKE_IVL, round(settings.connect_timeout_s * 1000))
            if self._keys is not None and self._server_key is not None:
                socket.curve_publickey, socket.curve_secretkey = self._keys.public, self._keys.secret
                socket.curve_serverkey = self._server_key
            socket.connect(settings.endpoint)
            yield socket, monitor
        finally:
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close()

    def _pause(self, failures: int) -> None:
        """Wait before the next attempt: full jitter (Brooker, "Exponential backoff and jitter", AWS 2015)."""
        most_s = min(self._settings.retry_most_s, self._settings.retry_first_s * 2.0 ** min(failures, 30))
        until_s = self._ports.clock.monotonic_s() + self._random.uniform(0, most_s)
        while not self._closing.is_set() and (left_s := until_s - self._ports.clock.monotonic_s()) > 0:
            self._closing.wait(min(left_s, 5 * _STEP_MS / 1000))
            self._flush_spool()
        if not self._closing.is_set():
            self._counter.add(reconnects=1)

    def _flush_spool(self) -> None:
        try:
            self._spool.flush()
        except SpoolError as exc:
            self._counter.add(spool_errors=1)
            log.warning("case lost", reason=str(exc))

    def _report(self, session: LinkSession) -> None:
        ending = session.ended or "closed"
        if session.is_welcome or ending != self._last_ending:
            level = "info" if ending == "closed" else "warning"
            getattr(log, level)("link down", endpoint=self._settings.endpoint, reason=ending)
        self._last_ending = ending


def check_security(settings: LinkSettings, keys: KeyPair | None, server_key: bytes | None) -> None:
    """Refuse a link that cannot work or would be open to strangers.

    Raises:
        ConfigError: the endpoint is malformed, a key is missing, or it would go in plaintext beyond loopback.
    """
    check_endpoint(settings.endpoint)
    if not settings.plaintext:
        if keys is None or server_key is None:
            raise ConfigError(
                "the link needs the craft's keys and the cloud's public key; see `skyloop-edge keys new` and `trust`"
            )
    elif not is_loopback(settings.endpoint):
        raise ConfigError(f"plaintext to {settings.endpoint} is refused: only loopback goes without encryption")
    elif keys is not None:
        raise ConfigError("plaintext and keys exclude each other: leave one out")


def _boot_id() -> str:
    """The kernel's id of this boot; where there is none, one of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return uuid.uuid4().hex


def _send(socket: zmq.Socket[bytes], frames: Sequence[bytes]) -> bool:
    try:
        socket.send_multipart(frames, zmq.NOBLOCK)
    except zmq.Again:  # not connected yet, or the queue is full
        return False
    return True


def _read(session: LinkSession, socket: zmq.Socket[bytes]) -> None:
    for _ in range(_MAX_READ):
        if not session.wants_input:
            return
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        session.receive(frames)


def _ending(monitor: zmq.Socket[bytes]) -> str:
    event = parse_monitor_message(monitor.recv_multipart())["event"]
    return _ENDINGS.get(event, "disconnected")
