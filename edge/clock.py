"""Time as a value that is passed in, so that tests decide what time it is."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one to measure with, one to stamp records with."""

    def monotonic_s(self) -> float:
        """Seconds that never jump; only differences mean anything."""
        ...

    def wall_s(self) -> float:
        """Seconds since the Unix epoch; may jump."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def monotonic_s(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Seconds of `time.time`."""
        return time.time()


_PROCESS_ID = uuid.uuid4().hex


def this_boot() -> str:
    """The kernel's id of this boot, within which the monotonic clock goes on; where there is none, of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _PROCESS_ID
