"""How many bytes have come over a TCP connection of libzmq's, part of a message included.

Any byte proves that the other side lives, but libzmq shows whole messages only, and one of 16 KiB takes a minute on a
2,400 bit/s link. The kernel knows better (`tcpi_bytes_received`, Linux 4.1, linux/tcp.h).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys

_RECEIVED = struct.Struct("=Q")
_RECEIVED_AT = 128
_LENGTH = _RECEIVED_AT + _RECEIVED.size


class TcpWire:
    """A second handle on a connection; close it with the connection, or the peer never hears that it ended."""

    def __init__(self, handle: int, endpoint: str) -> None:
        """Look at a connection that libzmq's monitor told of.

        Args:
            handle: the file descriptor, libzmq's own.
            endpoint: what it is connected to.
        """
        self._socket = _duplicate(handle, endpoint)

    def received_bytes(self) -> int | None:
        """Bytes received so far; None where this cannot be known, or not any more."""
        if self._socket is None:
            return None
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
        except OSError:
            return None
        return int(_RECEIVED.unpack_from(info, _RECEIVED_AT)[0]) if len(info) == _LENGTH else None

    def close(self) -> None:
        """Give the handle back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _duplicate(handle: int, endpoint: str) -> socket.socket | None:
    if sys.platform != "linux" or not endpoint.startswith("tcp://"):
        return None
    try:
        copied = os.dup(handle)
    except OSError:
        return None
    try:
        copy = socket.socket(fileno=copied)
    except OSError:  # closed, and given to another file since
        os.close(copied)
        return None
    with contextlib.suppress(OSError, ValueError):
        if copy.type == socket.SOCK_STREAM and copy.getpeername()[1] == int(endpoint.rpartition(":")[2]):
            return copy
    copy.close()  # given to another connection
    return None
