"""When a camera that never waits takes its frames."""

from __future__ import annotations

import time


class CameraClock:
    """A camera that began at a moment: frame n is captured n intervals later, whoever looks.

    Imported by the peers' environment too: the standard library alone.
    """

    def __init__(self, begin_s: float, fps: float) -> None:
        """Begin.

        Args:
            begin_s: monotonic time of this machine.
            fps: frames a second.
        """
        self._begin_s, self._fps = begin_s, fps
        self._last = -1

    def captured_s(self, index: int) -> float:
        """When a frame was captured, monotonic."""
        return self._begin_s + index / self._fps

    def newest(self) -> int:
        """The newest frame that was not given before; waits for it, and leaves out those that were missed."""
        wait_s = self.captured_s(self._last + 1) - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        self._last = max(int((time.monotonic() - self._begin_s) * self._fps), self._last + 1)
        return self._last
