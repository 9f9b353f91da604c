"""Wakes a thread that waits in a poll."""

from __future__ import annotations

import contextlib
import socket


class Bell:
    """Rung by any thread, heard by one: poll it for input, then `silence` it."""

    def __init__(self) -> None:
        self._is_ringing = False
        self._far, self._near = socket.socketpair()
        self._far.setblocking(False)
        self._near.setblocking(False)

    def fileno(self) -> int:
        """What to poll."""
        return self._near.fileno()

    def ring(self) -> None:
        """Wake who waits; ringing again before it is heard changes nothing."""
        if self._is_ringing:
            return
        self._is_ringing = True
        with contextlib.suppress(OSError):  # closed: nobody waits
            self._far.send(b".")

    def silence(self) -> None:
        """Note that it was heard, once a poll says so; rung from now on, it rings again."""
        with contextlib.suppress(OSError):
            self._near.recv(4096)
        self._is_ringing = False  # who rang in between changed nothing: what it is about is looked at after this

    def close(self) -> None:
        """Give the sockets back."""
        self._far.close()
        self._near.close()
