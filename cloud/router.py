"""The gateway's ROUTER socket in the event loop: messages taken in bursts, and sent without ever waiting.

pyzmq's own asyncio socket makes a future for every message; of large ones in quick succession that is most of the work.
"""

from __future__ import annotations

import asyncio

import zmq
import zmq.asyncio

from cloud.access import ZAP_DOMAIN
from cloud.errors import CloudError
from edge.keys import KeyPair
from protocols.limits import MAX_CLOUD_MESSAGE_BYTES

_SEND_QUEUE = 16
_RECEIVE_QUEUE = 32
"""Messages libzmq holds per craft and direction; 8 MiB of what comes in at most, and of imagery half of that."""

_NOBLOCK, _MORE, _IN = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.POLLIN)
"""Plain numbers: to combine pyzmq's own takes longer than the call they are for."""


class Router:
    """One socket; everything in the thread of its event loop."""

    def __init__(self, context: zmq.asyncio.Context, keys: KeyPair) -> None:
        """Open it; nobody can connect before `bind`.

        Args:
            context: that the ZAP handler answers.
            keys: the cloud's.
        """
        self._socket: zmq.Socket[bytes] = zmq.Socket(context, zmq.ROUTER)
        self._socket.curve_publickey, self._socket.curve_secretkey = keys.public, keys.secret
        self._socket.curve_server = True
        for option, value in (
            (zmq.ZAP_ENFORCE_DOMAIN, 1),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.MAXMSGSIZE, MAX_CLOUD_MESSAGE_BYTES),
            (zmq.SNDHWM, _SEND_QUEUE),
            (zmq.RCVHWM, _RECEIVE_QUEUE),
            (zmq.HANDSHAKE_IVL, 10_000),
            (zmq.TCP_KEEPALIVE, 1),
        ):
            self._socket.setsockopt(option, value)
        self._socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._ready.set)

    @property
    def endpoint(self) -> str:
        """Where crafts can connect, with the port that was really bound."""
        return str(self._socket.getsockopt(zmq.LAST_ENDPOINT).decode())  # type: ignore[union-attr]

    def bind(self, endpoint: str) -> None:
        """Take connections from now on.

        Raises:
            CloudError: it cannot be bound, because another program has it or the address is not ours.
        """
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as exc:
            raise CloudError(_bind_advice(endpoint, exc)) from exc

    async def wait(self) -> None:
        """Return when there may be a message."""
        await self._ready.wait()

    def take(self) -> list[zmq.Frame] | None:
        """The frames of a message, the first its route; None where there is none: then `wait`."""
        try:
            frames = [self._socket.recv(_NOBLOCK, copy=False)]
        except zmq.Again:
            self._ready.clear()
            return None
        while frames[-1].more:
            frames.append(self._socket.recv(_NOBLOCK, copy=False))
        return frames

    def send(self, route: bytes, frames: list[bytes]) -> bool | None:
        """Whether a message went out; None when nobody is at the route. Never waits for a slow craft."""
        try:
            for part in (route, *frames[:-1]):
                self._socket.send(part, _NOBLOCK | _MORE)
            self._socket.send(frames[-1], _NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as exc:
            if exc.errno != zmq.EHOSTUNREACH:
                raise
            return None
        finally:
            # Whatever is done with the socket may swallow the one sign of a message that has come meanwhile.
            if int(self._socket.getsockopt(zmq.EVENTS)) & _IN:
                self._ready.set()
        return True

    def close(self) -> None:
        """Close it, giving the last receipts a moment to leave."""
        self._loop.remove_reader(self._socket)
        self._socket.close(linger=200)


def _bind_advice(bind: str, error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"{bind}: another program has this port; stop it or give another --bind"
    return f"{bind}: cannot be bound ({error.strerror}); give an address of this machine with --bind"
