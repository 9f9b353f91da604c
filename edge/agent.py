"""The edge agent: frames in, detections out, hard cases to the spool. Start reading here.

The loop below never waits for the cloud: cases go to the spool and prompts come from the bank, both shared with the
link's own thread.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
import onnxruntime
import structlog

from edge.ahead import run_ahead
from edge.bank import BankStore
from edge.bundle_swap import BundleSwap, InUse
from edge.capture import Frame, Source
from edge.chip_check import ChipCheck
from edge.config import Settings
from edge.errors import SpoolError, TargetError
from edge.link import Link
from edge.outputs import RunOutputs
from edge.pipeline import FramePipeline, FrameResult, PipelineSettings
from edge.policies import PolicyScheduler
from edge.scheduler import FIRST_GUESS_BYTES, Outlook, PlannedCase, SchedulerSettings
from edge.spool import Spool
from edge.student import Perception, Student
from protocols.values import PromptBank

log = structlog.get_logger()

_REMEMBERED_CASES = 1024
_QUESTION_VALUE = 1.0
"""Of a question about a target, in the spool: as much as of the hardest case, for its answer ages fastest."""


class AgentSettings(Settings):
    """Settings of the agent; the link's own stand beside it in the command line's file.

    Attributes:
        pipeline, scheduler: see those modules.
        linger_s: after the last frame of a file, how long to go on delivering spooled cases.
    """

    pipeline: PipelineSettings = PipelineSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    linger_s: float = 0.0


@dataclass
class LoopStatistics:
    """What one run counted; all of it bounded (`loops`: case and milliseconds of the newest 4,096)."""

    frames: int = 0
    busy_s: float = 0.0
    started_s: float | None = None
    ended_s: float = 0.0
    cases_planned: int = 0
    cases_refused: int = 0
    detections: dict[str, int] = field(default_factory=dict)
    loops: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=4096))


class Agent:
    """One craft's perception loop."""

    def __init__(
        self,
        *,
        student: Student | BundleSwap,
        bank: BankStore,
        spool: Spool | None = None,
        link: Link | None = None,
        outputs: RunOutputs | None = None,
        settings: AgentSettings | None = None,
    ) -> None:
        """Put a craft together.

        Args:
            student: what looks at every frame; or a swap that may bring another one between two.
            bank: the durable prompt bank.
            spool: where cases wait; None never makes a case.
            link: delivers them; None flies alone.
            outputs: where results are written; None only counts.
            settings: see `AgentSettings`.
        """
        self.settings = settings or AgentSettings()
        self._bank_store, self._spool, self._link, self._outputs = bank, spool, link, outputs
        self._swap = student if isinstance(student, BundleSwap) else self._only(student)
        self._in_use = self._swap.in_use
        student = self._in_use.student
        self.pipeline = FramePipeline(student, self.settings.pipeline)
        self.pipeline.remembers = link is not None
        self.scheduler = PolicyScheduler(self.settings.scheduler, student.manifest.space_id, student.bundle.variant)
        self.statistics = LoopStatistics()
        self._bank: PromptBank | None = None
        self._flown: PromptBank | None = None  # what is matched: the bank, or with prompts rebuilt
        self._captured_s: OrderedDict[str, float] = OrderedDict()

    def run(
        self,
        source: Source,
        *,
        max_frames: int | None = None,
        on_frame: Callable[[Frame, FrameResult], bool] | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Fly until the source ends and return the summary; inference runs one frame ahead of the rest.

        Args:
            source: where frames come from; closed at the end.
            max_frames: stop after this many.
            on_frame: called with every result; returning False stops the run.
            on_wait: called again and again while cases are delivered after the last frame.
        """
        try:
            with closing(run_ahead(self._perceive(source), 1, source.stopped, "perceive")) as perceived:
                for frame, seen, in_use in perceived:
                    self._fly(in_use)
                    result = self.step(frame, seen)
                    if on_frame is not None and not on_frame(frame, result):
                        break
                    if max_frames is not None and self.statistics.frames >= max_frames:
                        break
        finally:
            source.close()
        self._deliver(on_wait)
        return self.summary(source)

    def _perceive(self, source: Source) -> Iterator[tuple[Frame, Perception, InUse]]:
        """Each frame with what the student sees in it, and which student that was."""
        # A decoder that is still running when the interpreter ends would abort the process: an error here ends it, too.
        with closing(iter(source)) as frames:
            for frame in frames:
                yield (frame, *self._swap.look(frame.image))

    def _look(self, frame: Frame) -> Perception:
        """What the student sees in a frame, by the thread of the loop itself."""
        seen, in_use = self._swap.look(frame.image)
        self._fly(in_use)
        return seen

    def _fly(self, in_use: InUse) -> None:
        """Go on with the student that looked at the next frame, if that is another one."""
        if in_use is self._in_use:
            return
        self._in_use = in_use
        self._bank = self._bank_store.current
        in_use.chips.use(self._bank)
        self._flown = in_use.chips.flown
        self.pipeline.use_student(in_use.student, self._flown)
        self.scheduler.use_student(in_use.student.manifest.space_id, in_use.student.bundle.variant)
        log.info("student in use", bundle_id=in_use.bundle_id, space_id=in_use.student.manifest.space_id)

    def _only(self, student: Student) -> BundleSwap:
        """A swap that brings nobody else."""
        bank = self._bank_store
        return BundleSwap(InUse(student, ChipCheck(student, bank.current), bank.current), lambda: bank.current)

    def step(self, frame: Frame, seen: Perception | None = None) -> FrameResult:
        """One frame: newest bank, perception (unless made ahead), perhaps a case, one line of output.

        Raises:
            TargetError: a target that was asked for at the start of the program cannot be followed in the first frame.
        """
        begin_s = time.perf_counter()
        if self.statistics.started_s is None:
            self.statistics.started_s = frame.captured_s
        clock_s = frame.captured_s - self.statistics.started_s
        self._take_bank()
        self._take_answers()
        if self._link is not None:
            self._link.orders.give(self.pipeline)
        result = self.pipeline.process(frame, seen or self._look(frame))
        self._tell(result, frame)
        self._look_out()
        can_ask = self._spool is not None and self._hears_in_time()
        asked = self.pipeline.ask(frame, result, self.scheduler.pace) if can_ask else None
        planned = self.scheduler.consider(frame, result) if self._spool is not None else None
        extra: dict[str, Any] = {
            "clock_s": round(clock_s, 3),
            "bank_revision": self._bank.revision if self._bank else 0,
            "hardness": round(result.hardness.score, 4),
        }
        if planned is not None and self._keep(planned, frame.captured_s):
            regions = [list(part.region_xyxy) for part in planned.case.parts]
            extra |= {"case_id": planned.case.case_id, "region_xyxy": regions[0]}
            extra |= {"further_xyxy": regions[1:]} if len(regions) > 1 else {}
        if asked is not None and self._keep(PlannedCase(asked.case, asked.payload, _QUESTION_VALUE), frame.captured_s):
            extra |= {"question_id": asked.case.case_id, "question_xyxy": list(asked.case.region_xyxy)}
        if self._outputs is not None:
            self._outputs.write(frame, result.detections, extra, result.targets)
        self._show_again(frame.captured_s)
        self._count(result, begin_s, frame.captured_s)
        return result

    def _look_out(self) -> None:
        """Tell the scheduler what lies between a new case and the cloud."""
        path = self._link.path() if self._link is not None else None
        rate_bps = path.edge_to_cloud_bps if path is not None and path.connected and not path.is_bps_floor else None
        if self._spool is None or rate_bps is None:
            self.scheduler.outlook = Outlook()
        else:
            self.scheduler.outlook = Outlook(rate_bps / 8, self._spool.bytes_before)

    def _hears_in_time(self) -> bool:
        """Whether a question about a target could be through before its answer is of no use any more."""
        wait_s = self.scheduler.outlook.wait_s(_QUESTION_VALUE, FIRST_GUESS_BYTES)
        return wait_s <= self.pipeline.questions.settings.ttl_s

    def _show_again(self, now_s: float) -> None:
        """Make a case that the cloud asked for, of a frame that is held."""
        if self._link is None or self._spool is None:
            return
        refined = self._link.refinements.answer(self.pipeline.recent, self.scheduler.pace, now_s)
        if refined is None:
            return
        is_kept = self._keep(refined.planned, refined.captured_s)
        self._link.refinements.settle(refined, is_kept=is_kept)
        if is_kept and self._outputs is not None:
            self._outputs.write_case(refined.planned.case)

    def _tell(self, result: FrameResult, frame: Frame) -> None:
        """Say what became of requests and targets."""
        for request, target_id, reason in result.begun:
            if target_id is not None:
                log.info("target begun", target_id=target_id, label=request.label, how=reason)
            elif request.key or self.statistics.frames:
                log.warning("target refused", target_key=request.key or None, label=request.label, reason=reason)
            else:
                raise TargetError(reason)
        if self._link is not None:
            self._link.orders.note(result, frame.header)

    def _take_answers(self) -> None:
        """Heed what the cloud said since the last frame: about targets, and about what the audit sent."""
        while self._link is not None and self._link.answers:
            interpretation = self._link.answers.popleft()
            self.scheduler.audit.answered(interpretation, self.pipeline.worth)
            if (lesson := self.scheduler.audit.lesson()) is not None:
                self.pipeline.learn_rewards(*lesson)
            if interpretation.target is not None:
                changed, verdict = self.pipeline.heed(interpretation), interpretation.target.verdict
                log.info("target answered", case_id=interpretation.case_id, verdict=verdict, changed=changed)

    def _take_bank(self) -> None:
        """Use the newest applied bank from now on, and note how long the loop took for new prompts.

        The loop ends now, not when this frame was captured: perception runs ahead, so that was earlier.
        """
        now_s = time.monotonic()
        if self._bank_store.current is not self._bank:
            self._bank = self._bank_store.current
            self._in_use.chips.use(self._bank)
            for prompt in self._bank.prompts:
                captured_s = self._captured_s.pop(prompt.case_id, None) if prompt.case_id else None
                if captured_s is not None:
                    self.statistics.loops.append((prompt.case_id or "", (now_s - captured_s) * 1000))
            log.info("prompt bank in use", revision=self._bank.revision, prompts=len(self._bank.prompts))
        if self._in_use.chips.flown is not self._flown:
            self._flown = self._in_use.chips.flown
            self.pipeline.use_bank(self._flown)
            for prompt_id, reason in self.pipeline.matcher.silenced.items():
                log.warning("prompt silent", prompt_id=prompt_id, reason=reason)

    def _keep(self, planned: PlannedCase, captured_s: float) -> bool:
        assert self._spool is not None
        try:
            kept = self._spool.put(planned.case, planned.payload, planned.value)
        except SpoolError as exc:
            log.warning("case not kept", reason=str(exc))
            kept = False
        if not kept:
            self.statistics.cases_refused += 1
            return False
        self.statistics.cases_planned += 1
        self._captured_s[planned.case.case_id] = captured_s
        if self._link is not None:
            self._link.refinements.note(planned.case, captured_s)
        while len(self._captured_s) > _REMEMBERED_CASES:
            self._captured_s.popitem(last=False)
        return True

    def _count(self, result: FrameResult, begin_s: float, captured_s: float) -> None:
        statistics = self.statistics
        statistics.frames += 1
        statistics.busy_s += time.perf_counter() - begin_s
        statistics.ended_s = captured_s
        for detection in result.detections:
            key = f"{detection.provenance.split(':')[0]}/{detection.label}"
            statistics.detections[key] = statistics.detections.get(key, 0) + 1

    def _deliver(self, on_wait: Callable[[], None]) -> None:
        """Give the link some time to empty the spool after a recording's last frame, and note what it answers."""
        deadline_s = time.monotonic() + self.settings.linger_s
        while self._spool is not None and self._link is not None and len(self._spool) and time.monotonic() < deadline_s:
            time.sleep(0.05)
            on_wait()
            self._take_answers()
            self._take_bank()
            self._show_again(time.monotonic())
        self._take_answers()
        self._take_bank()

    def summary(self, source: Source) -> dict[str, Any]:
        """Counts of the run so far, as `summary.json` holds them; durations in seconds or ms as named.

        `busy_ms_per_frame` leaves out perception that `run` makes ahead in its own thread.
        """
        s = self.statistics
        span_s = s.ended_s - (s.started_s or 0.0)
        student = self.pipeline.student
        return {
            "frames": s.frames,
            "fps": round((s.frames - 1) / span_s, 2) if s.frames > 1 and span_s > 0 else None,
            "busy_ms_per_frame": round(1000 * s.busy_s / max(s.frames, 1), 2),
            "frames_undecodable": source.counts.undecodable,
            "frames_dropped": source.counts.dropped,
            "detections": dict(sorted(s.detections.items())),
            "cases": {
                "planned": s.cases_planned,
                "refused": s.cases_refused,
                "deferred": self.scheduler.deferred,
                "too_late": self.scheduler.too_late,
            },
            "audit": asdict(self.scheduler.audit.report()),
            "spool": asdict(self._spool.stats) if self._spool is not None else None,
            "link": asdict(self._link.stats()) if self._link else None,
            "questions": {
                "asked": self.pipeline.questions.asked,
                "answered": self.pipeline.questions.answered,
                "late": self.pipeline.questions.late,
            },
            "refinements": self._link.refinements.counts if self._link else None,
            "loop_ms": _loop_ms([ms for _, ms in s.loops]),
            "loops": [{"case_id": case_id, "ms": round(ms, 1)} for case_id, ms in s.loops],
            "bank": {
                "revision": self._bank.revision,
                "prompts": len(self._bank.prompts),
                "silent": len(self.pipeline.matcher.silenced),
            }
            if self._bank
            else None,
            "chips": asdict(self._in_use.chips.counts),
            "bundle": {
                "name": student.manifest.name,
                "space_id": student.manifest.space_id,
                "variant": student.bundle.variant,
                "backend": student.backend.name,
                "bundle_id": self._in_use.bundle_id,
            },
            "versions": _versions(),
            "settings": self.settings.model_dump(mode="json"),
        }


def _loop_ms(times_ms: list[float]) -> dict[str, float | None]:
    """How many cases came back answered, and how soon."""
    middle, late = (round(float(q), 1) for q in np.percentile(times_ms, (50, 99))) if times_ms else (None, None)
    return {"count": len(times_ms), "p50": middle, "p99": late}


def _versions() -> dict[str, str]:
    """By module: the package that brings it is also called onnxruntime-gpu, -openvino or comes with the system."""
    return {
        "skyloop": version("skyloop"),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "opencv-python": cv2.__version__,
    }
