"""Who may speak to the cloud: CURVE keys enrolled in the store, asked at every handshake and every message.

With CURVE alone, and nobody answering ZAP requests, libzmq lets every key in: `start_zap` comes before bind.
"""

from __future__ import annotations

from collections import Counter

import structlog
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from cloud.errors import StoreError
from cloud.store import CaseStore
from edge.clock import Clock, SystemClock

log = structlog.get_logger()

ZAP_DOMAIN = "skyloop"

_FRESH_S = 0.001
"""How long an answer of the store counts: messages come in bursts of some hundred microseconds."""


class Access:
    """Which craft a key belongs to.

    All enrolled keys are read at once, and again when anybody, in this process or another, has written to the store.
    That is looked at no more than once in a millisecond: so a revoked key is out from then on, and asking costs next to
    nothing however many messages come.

    Attributes:
        handshakes: `accepted` and `refused` ones.
    """

    def __init__(self, store: CaseStore, clock: Clock | None = None) -> None:
        self.handshakes: Counter[str] = Counter()
        self._store, self._clock = store, clock or SystemClock()
        self._looked_s = float("-inf")
        self._version: int | None = None
        self._crafts: dict[str, str] = {}

    def craft_of(self, public_key_z85: str) -> str | None:
        """Name of the enrolled craft with this key, else None.

        Raises:
            StoreError: the store cannot be asked.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s >= _FRESH_S:
            version = self._store.data_version()
            if version != self._version:
                self._crafts = self._store.enrolled()
                self._version = version
            self._looked_s = now_s
        return self._crafts.get(public_key_z85)

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a key may connect; the name and the signature are pyzmq's.

        Args:
            domain: ZAP domain of the socket.
            key: z85.
        """
        self._looked_s = float("-inf")  # a handshake is always looked at anew
        try:
            craft = self.craft_of(key.decode("ascii"))
        except StoreError as exc:  # must not leave: it would end the ZAP handler, and nobody could connect
            log.warning("handshake refused, the store cannot be asked", reason=str(exc))
            craft = None
        self.handshakes["refused" if craft is None else "accepted"] += 1
        return craft is not None and domain == ZAP_DOMAIN


def start_zap(context: zmq.asyncio.Context, access: Access) -> AsyncioAuthenticator:
    """Answer libzmq's questions about keys in a running event loop; the `User-Id` becomes the key in z85.

    Args:
        context: the one whose sockets are guarded.
        access: who may connect.

    Returns:
        The handler; `stop` it before the context ends.
    """
    authenticator = AsyncioAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve_callback(domain=ZAP_DOMAIN, credentials_provider=access)
    return authenticator


def user_id(frame: zmq.Frame) -> str:
    """The CURVE key a frame came with, as ZAP confirmed it; empty when there is none."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""
