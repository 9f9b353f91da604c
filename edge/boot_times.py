"""Moments that outlive a restart: how long ago something was, whatever the clock on the wall did meanwhile.

Within one boot the monotonic clock knows. Across boots only true time does, and a craft without a battery for its
clock wakes up in 1970: so the cloud's time is asked (`Welcome.wall_time_s`), and what it says about a boot is kept in a
small file, so that every moment noted in that boot can be dated later, those from before the cloud was heard included.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from edge.clock import Clock
from edge.durable import write_durably
from protocols.limits import MAX_DURATION_S

log = structlog.get_logger()

_JUMP_S = 1.0
"""More than this off is a jump; less matters to no deadline."""

_SLEW = 0.001
"""What a clock that is pulled right gradually may gain or lose: twice the 500 ppm of adjtime(3) and ntpd."""

_MAX_BOOTS = 64
"""Boots remembered: far more than the cases of a spool come from; the oldest is forgotten first."""


@dataclass(frozen=True)
class Moment:
    """When something was, so that another boot can tell how long ago.

    Attributes:
        boot_id: of the boot.
        monotonic_s: of that boot's clock.
        wall_s: what the craft took for Unix time.
    """

    boot_id: str
    monotonic_s: float
    wall_s: float


@dataclass(frozen=True)
class ClockJumps:
    """Jumps seen; none of them moved a deadline.

    Attributes:
        wall: the craft's own clock against its monotonic one.
        cloud: what the cloud said against what it had said before.
    """

    wall: int = 0
    cloud: int = 0


class BootTimes:
    """Dates moments of this boot and of earlier ones; may be called from any thread."""

    def __init__(self, path: Path, clock: Clock, boot_id: str) -> None:
        """Take in what earlier boots learned.

        Args:
            path: the file; its folder exists. A damaged one is as good as none.
            clock: this boot's.
            boot_id: of this boot.
        """
        self._path, self._clock, self._boot_id = path, clock, boot_id
        self._lock = threading.Lock()
        self._true_at_0_s = _read(path)  # by boot: Unix time when its monotonic clock stood at 0
        self._seen = (clock.monotonic_s(), clock.wall_s())
        self._jumps = ClockJumps()

    @property
    def jumps(self) -> ClockJumps:
        """How often a clock jumped since this was made."""
        return self._jumps

    def now(self) -> Moment:
        """This moment."""
        with self._lock:
            monotonic_s, wall_s = self._look()
        return Moment(self._boot_id, monotonic_s, wall_s)

    def age_s(self, moment: Moment) -> float | None:
        """How long ago a moment was, at least 0.

        Returns:
            Seconds; None where nobody can tell: it was in another boot, and the cloud has not said in this one what
            time it is, or what it said would put the moment into the future or further back than any case may live.
        """
        now_s = self._clock.monotonic_s()
        if moment.boot_id == self._boot_id:
            return max(now_s - moment.monotonic_s, 0.0)
        with self._lock:
            here, there = self._true_at_0_s.get(self._boot_id), self._true_at_0_s.get(moment.boot_id)
        if here is None:
            return None
        was_s = moment.wall_s if there is None else there + moment.monotonic_s
        age_s = here + now_s - was_s
        return age_s if -_JUMP_S <= age_s <= MAX_DURATION_S else None

    def hear(self, true_s: float) -> None:
        """Take the cloud's word for what time it is now.

        Args:
            true_s: Unix seconds.
        """
        with self._lock:
            monotonic_s, _ = self._look()
            old_s, new_s = self._true_at_0_s.get(self._boot_id), true_s - monotonic_s
            if old_s is not None and abs(new_s - old_s) <= _JUMP_S:
                return
            if old_s is not None:
                self._jumps = ClockJumps(self._jumps.wall, self._jumps.cloud + 1)
                log.warning("the cloud's clock jumped", by_s=round(new_s - old_s, 1))
            self._true_at_0_s.pop(self._boot_id, None)
            kept = list(self._true_at_0_s.items())[1 - _MAX_BOOTS :]
            self._true_at_0_s = {**dict(kept), self._boot_id: new_s}
            text = json.dumps(self._true_at_0_s)
        try:
            write_durably(self._path, text.encode())
        except OSError as exc:  # this boot knows all the same, and asks the cloud again at the next connect
            log.warning("the time of this boot is not kept", path=str(self._path), reason=str(exc.strerror))

    def _look(self) -> tuple[float, float]:
        """Both clocks now, noting whether the one on the wall jumped since the last look."""
        monotonic_s, wall_s = self._clock.monotonic_s(), self._clock.wall_s()
        passed_s = monotonic_s - self._seen[0]
        by_s = wall_s - self._seen[1] - passed_s
        if abs(by_s) > _JUMP_S + _SLEW * passed_s:
            self._jumps = ClockJumps(self._jumps.wall + 1, self._jumps.cloud)
            log.warning("the wall clock jumped; deadlines stay", by_s=round(by_s, 1), **asdict(self._jumps))
        self._seen = (monotonic_s, wall_s)
        return self._seen


def _read(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_bytes())
        return {str(boot): float(true_s) for boot, true_s in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as exc:
        log.warning("the times of earlier boots cannot be read; the cloud will tell", path=str(path), reason=str(exc))
        return {}
