"""Between two frames: another student takes over, is watched, and gives way again where it does not do well.

`look` is called by the thread that perceives, once for each frame, and never waits; `hand_over` by whoever has opened a
student and looked at all the prompts' chips with it. The student before stays open until the trial is over: where the
new one fails in a frame, that very frame is looked at by the old one.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import structlog
from pydantic import Field

from edge.chip_check import ChipCheck
from edge.config import Settings
from edge.raster import Picture
from edge.student import Perception, Student
from protocols.errors import ShapeError
from protocols.values import PromptBank

log = structlog.get_logger()

_TIMED = 64
_WARM_UP = 3
"""Frames of a new student that say nothing about its pace: runtimes set themselves up in the first."""

_LEAST_TIMED = 10


class TrialSettings(Settings):
    """When a new bundle has proven itself.

    Attributes:
        frames, seconds: it must have flown for both.
        slower: how many times as long as the one before it may take for a frame, in the median.
    """

    frames: int = Field(default=50, ge=1)
    seconds: float = Field(default=20.0, ge=0)
    slower: float = Field(default=3.0, gt=1)


@dataclass(frozen=True)
class InUse:
    """A student with the prompts as it flies them.

    Attributes:
        student: what looks at frames.
        chips: what it made of the prompts.
        bank: the bank whose chips it has all looked at.
        bundle_id: of the published bundle; None is the one given by hand.
    """

    student: Student
    chips: ChipCheck
    bank: PromptBank
    bundle_id: str | None = None

    @classmethod
    def prepare(cls, student: Student, bank: PromptBank, bundle_id: str | None) -> InUse:
        """Look at every chip of a bank with a student, so that no frame will have to."""
        chips = ChipCheck(student, bank)
        chips.embed_all()
        return cls(student, chips, bank, bundle_id)


Outcome: TypeAlias = Literal["taken", "stale", "passed", "failed"]
OnOutcome: TypeAlias = Callable[[Outcome, InUse, str], None]


class BundleSwap:
    """The student in use, and the one that is to follow.

    Attributes:
        in_use: what the newest frame was looked at with.
        bank: the prompt bank in force.
        on_outcome: called by the perceiving thread with what became of a student that was handed over, which, and why:
            it was `taken`; or not, for it is `stale`: the prompts have changed since it looked at their chips; it
            `passed` its trial, or `failed` it and has been replaced already. Must not wait.
    """

    def __init__(self, in_use: InUse, bank: Callable[[], PromptBank], settings: TrialSettings | None = None) -> None:
        """Begin with one that is beyond doubt.

        Args:
            in_use: see the class.
            bank: the prompt bank in force.
            settings: of trials.
        """
        self.in_use = in_use
        self.on_outcome: OnOutcome = lambda outcome, in_use, reason: None
        self.bank, self._settings = bank, settings or TrialSettings()
        self._lock = threading.Lock()
        self._ready: tuple[InUse, InUse | None, bool] | None = None
        self._before: InUse | None = None  # while on trial
        self._frames, self._begin_s = 0, 0.0
        self._usual_s: deque[float] = deque(maxlen=_TIMED)
        self._own_s: deque[float] = deque(maxlen=_TIMED)

    def hand_over(self, new: InUse, *, is_on_trial: bool = True, at_once: bool = False) -> None:
        """Use another student from the next frame on.

        Args:
            new: the student.
            is_on_trial: whether to go back where it does not do well.
            at_once: also where the prompts have changed since; their chips are looked at one a frame then.
        """
        with self._lock:
            self._ready = (new, self.in_use if is_on_trial else None, at_once)

    def begin_on_trial(self, before: InUse) -> None:
        """The one in use since the start of the program is on trial: go back to this one where it fails."""
        self._begin(before)

    def look(self, image: Picture) -> tuple[Perception, InUse]:
        """What the student to be used for this frame sees in it, and which one that is.

        Raises:
            SkyloopError: as the student's; of one on trial only where the one before fails likewise.
        """
        self._take_ready()
        begin_s = time.perf_counter()
        seen = self._perceive(image)
        self._own_s.append(time.perf_counter() - begin_s)
        if self._before is not None:
            self._judge()
        self.in_use.chips.embed_next()
        return seen, self.in_use

    def _take_ready(self) -> None:
        with self._lock:
            ready, self._ready = self._ready, None
        if ready is None:
            return
        new, before, at_once = ready
        if new.bank is not self.bank() and not at_once:
            self.on_outcome("stale", new, "")
            return
        log.info("bundle in use", bundle_id=new.bundle_id, space_id=new.student.manifest.space_id)
        self.in_use = new
        self._begin(before)
        self.on_outcome("taken", new, "")

    def _begin(self, before: InUse | None) -> None:
        self._before = before
        self._frames, self._begin_s = 0, time.monotonic()
        self._usual_s, self._own_s = self._own_s, deque(maxlen=_TIMED)

    def _perceive(self, image: Picture) -> Perception:
        if self._before is None:
            return self.in_use.student.perceive(image)
        try:
            seen = self.in_use.student.perceive(image)
        except ShapeError:  # the picture's fault
            raise
        except Exception as exc:  # noqa: BLE001 - every runtime raises its own classes, and the craft flies on
            self._go_back(f"it fails on a frame ({type(exc).__name__}: {exc})")
            return self.in_use.student.perceive(image)
        if not (np.isfinite(seen.embeddings).all() and np.isfinite(seen.class_scores).all()):
            self._go_back("it gives numbers that are not finite")
            return self.in_use.student.perceive(image)
        return seen

    def _judge(self) -> None:
        self._frames += 1
        if self._frames <= _WARM_UP:
            self._own_s.clear()
            return
        if min(len(self._own_s), len(self._usual_s)) >= _LEAST_TIMED:
            own_s, usual_s = statistics.median(self._own_s), statistics.median(self._usual_s)
            if own_s > self._settings.slower * usual_s:
                self._go_back(f"it takes {1000 * own_s:.0f} ms a frame, the one before took {1000 * usual_s:.0f} ms")
                return
        is_long = time.monotonic() - self._begin_s >= self._settings.seconds
        if self._frames >= self._settings.frames and is_long:
            self._before = None
            self.on_outcome("passed", self.in_use, "")

    def _go_back(self, reason: str) -> None:
        assert self._before is not None
        failed, self.in_use, self._before = self.in_use, self._before, None
        self._own_s.clear()
        self.on_outcome("failed", failed, reason)
