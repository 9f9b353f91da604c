"""Telling systemd that the agent flies: `Type=notify` and `WatchdogSec=` of a unit. Without systemd nothing is told.

The protocol is that of sd_notify(3): datagrams of lines to the socket that `NOTIFY_SOCKET` names.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import structlog

from edge.clock import Clock, SystemClock

log = structlog.get_logger()

_TELL_S = 1.0
_BEATS = 3
"""In the time after which systemd takes a program for hung."""


class ServiceManager:
    """What started this program, if that was systemd."""

    def __init__(self, environment: Mapping[str, str], clock: Clock | None = None) -> None:
        """Read from the program's environment whether and how often something is to be told."""
        self._clock = clock or SystemClock()
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        is_meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period_us = environment.get("WATCHDOG_USEC", "") if is_meant else ""
        self._pause_s = int(period_us) / 1e6 / _BEATS if period_us.isdigit() else None
        self._told_s = float("-inf")

    def ready(self) -> None:
        """The flight begins."""
        self._tell("READY=1")

    def alive(self) -> None:
        """A frame was flown, or a case waited for; told as often as systemd wants to hear it."""
        if self._pause_s is None or (now_s := self._clock.monotonic_s()) - self._told_s < self._pause_s:
            return
        self._told_s = now_s
        self._tell("WATCHDOG=1")

    def _tell(self, line: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
                told.settimeout(_TELL_S)
                told.sendto(line.encode(), self._address)
        except OSError as exc:  # it restarts the agent if this lasts; a flight does not end over it
            log.warning("systemd cannot be told", line=line, reason=str(exc))
