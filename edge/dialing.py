"""Finding a way to the cloud: attempts to connect, side by side, to one or several endpoints.

An attempt that began while the path was down is of no use once it is back: its SYN is lost, and the kernel repeats it
seconds later. So a new attempt begins a fraction of a second after the last one, whether that one has failed or still
waits, and the first that is through wins (the idea of RFC 8305, over time). How long an attempt may wait then matters
to nobody and follows the round trip time. Where somebody answers and does not let us in, it is another matter: the
pauses grow, at random, so that a thousand craft do not hold down a gateway that has just come back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq
from zmq.utils.monitor import parse_monitor_message

from edge.clock import Clock
from edge.keys import KeyPair
from edge.tcp_wire import TcpWire
from protocols.limits import MAX_MESSAGE_BYTES

_UNWILLING = "the handshake failed: is the pinned server key this cloud's?"
_ENDINGS: dict[int, str] = {
    zmq.EVENT_CLOSED: "nobody answers there",
    zmq.EVENT_DISCONNECTED: "disconnected",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the cloud refuses this key: enrol it there with `skyloop-cloud enroll`",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: _UNWILLING,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: _UNWILLING,
}
_EVENTS = sum(_ENDINGS) + zmq.EVENT_CONNECTED + zmq.EVENT_HANDSHAKE_SUCCEEDED

_MAX_ATTEMPTS = 16
"""To one endpoint at a time; with the usual pauses and timeouts there are ten."""

_RECEIVE_QUEUE = 64
"""Messages libzmq holds of a cloud that sends more than is read: 8 MiB at most."""

_RTTS = 4.0
_PATIENCE_S = 1.0
"""A TCP connection or a step of the handshake is overdue after a second (one lost SYN) and four round trips."""

_GREETING_S = 0.25
"""libzmq greets at once, in a thread of its own: after this and four round trips nobody is behind the listener."""

_FREE_TRIES = 2
"""Refusals in a row before the pauses grow: a handshake may also fail because a bit flipped or the path broke."""

_SIGNATURE_BYTES = 10
"""What a ZMTP greeting begins with (RFC 37); Linux counts the end of a connection as a byte received."""

_FAR_S = 0.6
"""A round trip over a geostationary satellite: taken for granted while nothing is known, for a thin link would be
filled with the handshakes of attempts that only seem to hang."""

_DOUBTS = 3
"""Attempts without an answer after which the round trip time known is that of another path."""


@dataclass(frozen=True)
class DialSettings:
    """Whom to dial, and how.

    Attributes:
        endpoints: the preferred one first; they all lead to one cloud.
        connect_timeout_s: while the round trip time is not known.
        retry_first_s: pauses while nobody answers are random, from half of it to it; after a loss from 0 to it.
        retry_most_s: where the cloud answers and does not let us in, pauses are random up to a bound that doubles from
            retry_first_s to this.
        return_s: with a less preferred endpoint in use, how often the better ones are tried.
        send_queue: messages libzmq may hold.
    """

    endpoints: tuple[str, ...]
    connect_timeout_s: float
    retry_first_s: float
    retry_most_s: float
    return_s: float
    send_queue: int


@dataclass
class Connection:
    """An open connection, past the handshake.

    Attributes:
        index: of its endpoint in the order of preference.
        endpoint: the endpoint.
        socket, monitor: of libzmq.
        wire: the kernel's side of it.
    """

    index: int
    endpoint: str
    socket: zmq.Socket[bytes]
    monitor: zmq.Socket[bytes]
    wire: TcpWire | None = None

    def ending(self) -> str | None:
        """Why it is over, as the monitor tells; None while it is not."""
        while self.monitor.poll(0):
            event = parse_monitor_message(self.monitor.recv_multipart())["event"]
            if event in _ENDINGS:
                return _ENDINGS[event]
        return None

    def close(self) -> None:
        """Close everything at once."""
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=0)
        if self.wire is not None:
            self.wire.close()


@dataclass
class _Attempt:
    connection: Connection
    until_s: float  # nothing comes of it after this
    connected_s: float | None = None  # when TCP was
    is_through: bool = False
    failure: str | None = None
    was_answered: bool = False  # with a greeting; a proxy with nothing behind it connects, and says nothing


@dataclass
class _Line:
    """One endpoint and how it is faring."""

    index: int
    endpoint: str
    next_s: float = 0.0
    return_s: float = 0.0  # when to see whether it is back, while another is in use
    silences: int = 0  # attempts in a row that nobody answered
    refusals: int = 0  # times in a row that somebody did, and did not let us in
    attempts: list[_Attempt] = field(default_factory=list)


class Dialer:
    """Dials until somebody lets us in; `begin`, then `step` again and again."""

    def __init__(
        self,
        settings: DialSettings,
        *,
        keys: tuple[KeyPair, bytes] | None,
        clock: Clock,
        rng: random.Random,
        rtt_s: Callable[[str], float | None],
        on_attempt: Callable[[str, str | None], None],
    ) -> None:
        """Open nothing yet.

        Args:
            settings: see `DialSettings`.
            keys: the craft's, and the cloud's public key; None is plaintext.
            clock: for pauses.
            rng: draws them.
            rtt_s: the round trip time to an endpoint, where it is known.
            on_attempt: called with (endpoint, None) when an attempt begins and (endpoint, reason) when one fails.
        """
        self._settings, self._keys, self._clock, self._random = settings, keys, clock, rng
        self._rtt_s, self._on_attempt = rtt_s, on_attempt
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._lines = [_Line(index, endpoint) for index, endpoint in enumerate(settings.endpoints)]

    def close(self) -> None:
        """Drop all attempts; every connection must be closed by then."""
        self._drop_attempts()
        self._context.destroy(linger=0)

    def begin(self) -> None:
        """Dial every endpoint from now on, each later than the better ones."""
        now_s, head_start_s = self._clock.monotonic_s(), 0.0
        for line in self._lines:
            line.next_s = max(line.next_s, now_s + head_start_s)
            head_start_s += self._patience_s(line)

    def stay(self, connection: Connection) -> None:
        """Dial only what is better than a connection in use, now and then."""
        now_s = self._clock.monotonic_s()
        self._drop_attempts()
        for line in self._lines[: connection.index]:
            line.return_s = now_s + self._settings.return_s * self._random.uniform(0.5, 1.0)

    def lost(self, connection: Connection, *, was_welcome: bool) -> None:
        """Note how a connection ended: well received and lost, or not wanted."""
        line = self._lines[connection.index]
        line.refusals = 0 if was_welcome else line.refusals + 1
        line.next_s = self._clock.monotonic_s() + self._pause_s(line)

    def step(self, wait_ms: int, below: int | None = None) -> Connection | None:
        """A connection, once there is one; begins what is due and drops what failed.

        Args:
            wait_ms: longest wait for something to happen.
            below: only endpoints better than this index; None is all.
        """
        lines = self._lines[:below]
        for line in lines:
            if self._is_due(line, is_return=below is not None):
                self._start(line)
        monitors = [attempt.connection.monitor for line in lines for attempt in line.attempts]
        if wait_ms and monitors:
            poller = zmq.Poller()
            for monitor in monitors:
                poller.register(monitor, zmq.POLLIN)
            poller.poll(wait_ms)
        elif wait_ms:  # polling nothing would return at once
            time.sleep(wait_ms / 1000)
        for line in lines:
            if (connection := self._look(line)) is not None:
                return connection
        return None

    def welcome_patience_s(self, connection: Connection) -> float:
        """Least wait for Welcome: a gateway that is new to us, or did not come to it last time, is given more."""
        line = self._lines[connection.index]
        is_known = self._rtt_s(line.endpoint) is not None and line.refusals == 0
        return 0.0 if is_known else self.timeouts_ms(line.endpoint)[1] / 1000

    def timeouts_ms(self, endpoint: str, silences: int = 0) -> tuple[int, int]:
        """Longest waits for TCP and for the handshake, milliseconds, by what is known of an endpoint."""
        usual_s, rtt_s = self._settings.connect_timeout_s, self._rtt_s(endpoint)
        connect_s = usual_s if rtt_s is None or silences >= _DOUBTS else _PATIENCE_S + _RTTS * rtt_s
        return round(1000 * connect_s), round(1000 * max(usual_s, 3 * _RTTS * (rtt_s or 0.0)))

    def _patience_s(self, line: _Line) -> float:
        return _PATIENCE_S + _RTTS * (self._rtt_s(line.endpoint) or 0.0)

    def _is_due(self, line: _Line, *, is_return: bool) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s < (line.return_s if is_return else line.next_s) or len(line.attempts) >= _MAX_ATTEMPTS:
            return False
        return all(self._has_stalled(attempt, now_s) for attempt in line.attempts)

    def _has_stalled(self, attempt: _Attempt, now_s: float) -> bool:
        """Whether an attempt is no reason to wait; who answers is given time, lest a busy gateway be kept busier."""
        if attempt.connected_s is None:
            return True
        patience_s = _PATIENCE_S if attempt.was_answered else _GREETING_S
        rtt_s = self._rtt_s(attempt.connection.endpoint)
        return now_s - attempt.connected_s > patience_s + _RTTS * (_FAR_S if rtt_s is None else rtt_s)

    def _start(self, line: _Line) -> None:
        now_s = self._clock.monotonic_s()
        share = self._random.uniform(0.5, 1.0)
        line.next_s = now_s + share * self._settings.retry_first_s
        line.return_s = now_s + share * self._settings.return_s
        self._on_attempt(line.endpoint, None)
        timeouts_ms = self.timeouts_ms(line.endpoint, line.silences)
        line.attempts.append(_Attempt(self._open(line, *timeouts_ms), now_s + sum(timeouts_ms) / 1000))

    def _open(self, line: _Line, connect_ms: int, handshake_ms: int) -> Connection:
        """A socket that connects once (`RECONNECT_IVL` -1): every connection is ours to begin with Hello."""
        sock = self._context.socket(zmq.DEALER)
        monitor = sock.get_monitor_socket(_EVENTS)
        connection = Connection(line.index, line.endpoint, sock, monitor)
        sock.setsockopt(zmq.LINGER, 0)
        sock.setsockopt(zmq.IMMEDIATE, 1)
        sock.setsockopt(zmq.RECONNECT_IVL, -1)
        sock.setsockopt(zmq.SNDHWM, self._settings.send_queue)
        sock.setsockopt(zmq.RCVHWM, _RECEIVE_QUEUE)
        sock.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        sock.setsockopt(zmq.CONNECT_TIMEOUT, connect_ms)
        sock.setsockopt(zmq.HANDSHAKE_IVL, handshake_ms)
        if self._keys is not None:
            pair, sock.curve_serverkey = self._keys
            sock.curve_publickey, sock.curve_secretkey = pair.public, pair.secret
        try:
            sock.connect(line.endpoint)
        except zmq.ZMQError:
            connection.close()
            raise
        return connection

    def _look(self, line: _Line) -> Connection | None:
        """Read the monitors of a line's attempts; the first that is through is taken out and returned."""
        now_s = self._clock.monotonic_s()
        for attempt in list(line.attempts):
            _read_events(attempt, now_s)
            if now_s > attempt.until_s and not attempt.is_through:
                attempt.failure = attempt.failure or "its name or its answer does not come"
            if attempt.failure is not None:
                self._drop(line, attempt)
            elif attempt.is_through:
                line.attempts.remove(attempt)
                line.silences = 0
                return attempt.connection
        return None

    def _drop(self, line: _Line, attempt: _Attempt) -> None:
        assert attempt.failure is not None
        line.attempts.remove(attempt)
        if attempt.was_answered:
            line.refusals += 1
            line.next_s = self._clock.monotonic_s() + self._pause_s(line)
        else:
            line.silences += 1
        attempt.connection.close()
        self._on_attempt(line.endpoint, attempt.failure)

    def _pause_s(self, line: _Line) -> float:
        """Full jitter (Brooker, "Exponential backoff and jitter", AWS 2015); growing only where we are not wanted."""
        doublings = min(max(line.refusals - _FREE_TRIES, 0), 30)
        most_s = min(self._settings.retry_most_s, self._settings.retry_first_s * 2.0**doublings)
        return self._random.uniform(0, most_s)

    def _drop_attempts(self) -> None:
        for line in self._lines:
            for attempt in line.attempts:
                attempt.connection.close()
            line.attempts.clear()


def _read_events(attempt: _Attempt, now_s: float) -> None:
    connection = attempt.connection
    while attempt.failure is None and connection.monitor.poll(0):
        told = parse_monitor_message(connection.monitor.recv_multipart())
        event = told["event"]
        if event == zmq.EVENT_CONNECTED:
            attempt.connected_s = now_s
            connection.wire = TcpWire(told["value"], connection.endpoint)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            attempt.is_through = True
        else:
            attempt.failure = _ENDINGS.get(event, "disconnected")
    if not attempt.was_answered and connection.wire is not None:
        attempt.was_answered = (connection.wire.received_bytes() or 0) >= _SIGNATURE_BYTES
