"""Time as a value that is passed in, so that tests decide what time it is."""

from __future__ import annotations

import time
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
