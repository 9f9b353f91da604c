"""What the cloud wants to see again, better: from the link's thread to the frame loop, and what became of it back.

A frame can be shown again while `edge.recent_frames` holds it and the byte budget pays for it. Both sides only put down
and pick up under a lock that nobody holds for long: neither waits for the other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import structlog

from edge.errors import TargetError
from edge.recent_frames import RecentFrame, RecentFrames
from edge.regions import Region
from edge.scheduler import CasePace, PlannedCase
from edge.student import as_picture
from protocols.arrays import ImageArray
from protocols.errors import ImageryError, MessageError
from protocols.imagery import encode_image
from protocols.limits import MAX_CASE_BYTES, MAX_REFINEMENTS
from protocols.messages import Problem, RefineRequest
from protocols.values import Case, CasePart, check_region, new_case_id

log = structlog.get_logger()

MAX_WAITING = 16
"""Requests that wait for the frame loop or the byte budget; the cloud is told to come again with more."""

REMEMBERED = 256
"""Cases that may be asked for again, and requests that are known again when they are repeated."""

_RETRY_S = 1.0
_VALUE = 1.0
"""In the spool: as much as the hardest case, for a teacher or a person waits."""


@dataclass
class _Shown:
    """A case of this run.

    Attributes:
        case: as it was made.
        captured_s: of its frame, monotonic: an index alone may be another source's.
        again: times that it was shown again.
    """

    case: Case
    captured_s: float
    again: int = 0


@dataclass(frozen=True)
class Refined:
    """A case that shows a frame again.

    Attributes:
        request: what asked for it.
        planned: the case.
        captured_s: of its frame, monotonic.
    """

    request: RefineRequest
    planned: PlannedCase
    captured_s: float


class Refinements:
    """Requests of one program. `receive` and `due` are for the link's thread, the others for the frame loop.

    Attributes:
        asked: requests that came, repeated ones apart.
        answered: with a case.
        refused: with a Problem.
    """

    def __init__(self) -> None:
        """Know of no case yet."""
        self.asked = self.answered = self.refused = 0
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, RefineRequest] = OrderedDict()
        self._settled: OrderedDict[str, Problem | None] = OrderedDict()
        self._problems: deque[Problem] = deque()
        self._shown: OrderedDict[str, _Shown] = OrderedDict()

    @property
    def counts(self) -> dict[str, int]:
        """For the summary of a run."""
        return {"asked": self.asked, "answered": self.answered, "refused": self.refused}

    def receive(self, request: RefineRequest) -> None:
        """Take a request; a case or a Problem follows, once."""
        with self._lock:
            if request.request_id in self._waiting:
                return
            if request.request_id in self._settled:
                problem = self._settled[request.request_id]
                self._problems.extend([problem] if problem is not None else [])
                return
            self.asked += 1
            if len(self._waiting) < MAX_WAITING:
                self._waiting[request.request_id] = request
                return
            self._tell_busy(request, f"{MAX_WAITING} requests wait already: ask again later")

    def due(self, most: int) -> list[Problem]:
        """At most so many refusals that are to be sent now."""
        with self._lock:
            return [self._problems.popleft() for _ in range(min(most, len(self._problems)))]

    def note(self, case: Case, captured_s: float) -> None:
        """Remember a case of a frame: it may be asked for again."""
        if case.refines is not None or case.target is not None:
            return
        self._shown[case.case_id] = _Shown(case, captured_s)
        while len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)

    def answer(self, frames: RecentFrames, pace: CasePace, now_s: float) -> Refined | None:
        """A case that shows again what was asked for; what the budget does not pay yet waits while its frame is held.

        At most one: to open a frame that is kept as a JPEG, and to code it anew, takes some milliseconds of the loop.
        Say next, by `settle`, whether it was kept.

        Args:
            frames: those that are held.
            pace: the byte budget, which pays.
            now_s: of the newest frame, monotonic.
        """
        with self._lock:
            waiting = list(self._waiting.values())
        for request in waiting:
            try:
                shown = self._find(request)
                held = _frame_of(shown, frames)
            except MessageError as exc:
                self._refuse(request, exc)
                continue
            if pace.affords(now_s):
                return self._again(request, shown, held, pace)
        return None

    def _again(self, request: RefineRequest, shown: _Shown, held: RecentFrame, pace: CasePace) -> Refined | None:
        """A case that is paid for, or None where it will never be one."""
        try:
            planned = _show(request, shown.case, held.image)
        except MessageError as exc:
            self._refuse(request, exc)
            return None
        except ImageryError as exc:
            self._refuse(request, MessageError(str(exc), code="bad_value"))
            return None
        pace.charge(len(planned.payload))
        return Refined(request, planned, shown.captured_s)

    def settle(self, refined: Refined, *, is_kept: bool) -> None:
        """Note whether the spool took a case that `answer` gave; the cloud is told to ask again where it did not."""
        if not is_kept:
            self._put_off(refined.request)
            return
        if (shown := self._shown.get(refined.request.case_id)) is not None:
            shown.again += 1
        self._settle(refined.request, None)

    def _put_off(self, request: RefineRequest) -> None:
        with self._lock:
            del self._waiting[request.request_id]
            self._tell_busy(request, "no room for one more case: ask again later")

    def _tell_busy(self, request: RefineRequest, reason: str) -> None:
        """Refuse for now: the same request is looked at again when it comes again."""
        self._problems.append(Problem(code="busy", detail=reason, about=request.request_id, retry_after_s=_RETRY_S))
        self.refused += 1

    def _refuse(self, request: RefineRequest, error: MessageError) -> None:
        log.warning("case not shown again", case_id=request.case_id, reason=str(error))
        self._settle(request, Problem.from_error(error, request.request_id))

    def _find(self, request: RefineRequest) -> _Shown:
        shown = self._shown.get(request.case_id)
        if shown is None:
            raise MessageError(
                f"case {request.case_id}: is none of this run's newest {REMEMBERED} that can be shown again; "
                "ask for the first one about its frame",
                code="unknown_case",
            )
        if shown.again >= MAX_REFINEMENTS:
            raise MessageError(
                f"case {request.case_id}: was shown again {shown.again} times, at most {MAX_REFINEMENTS}; use those",
                code="bad_value",
            )
        return shown

    def _settle(self, request: RefineRequest, problem: Problem | None) -> None:
        with self._lock:
            del self._waiting[request.request_id]
            self._settled[request.request_id] = problem
            while len(self._settled) > REMEMBERED:
                self._settled.popitem(last=False)
            if problem is None:
                self.answered += 1
            else:
                self.refused += 1
                self._problems.append(problem)


def _frame_of(shown: _Shown, frames: RecentFrames) -> RecentFrame:
    try:
        held = frames.at(shown.case.frame.index)
    except TargetError as exc:
        raise MessageError(str(exc), code="frame_gone") from exc
    if held.captured_s != shown.captured_s:
        raise MessageError(f"frame {shown.case.frame.index}: is another source's by now; ask sooner", code="frame_gone")
    return held


def _show(request: RefineRequest, case: Case, image: ImageArray) -> PlannedCase:
    """The case that answers a request."""
    regions = [_whole_pixels(request, case)] if request.region_xyxy else [_region(part) for part in case.parts]
    pictures = [encode_image(_crop(image, region), "image/jpeg", request.quality) for region in regions]
    payload = b"".join(pictures)
    if len(payload) > MAX_CASE_BYTES:
        raise MessageError(
            f"quality {request.quality} takes {len(payload)} bytes, at most {MAX_CASE_BYTES}: ask for less",
            code="too_large",
        )
    again = {
        "case_id": new_case_id(),
        "refines": case.case_id,
        "region_xyxy": regions[0],
        "further": tuple(
            CasePart(region_xyxy=region, payload_bytes=len(data))
            for region, data in zip(regions[1:], pictures[1:], strict=True)
        ),
        "image_scale": 1.0,
        "media_type": "image/jpeg",
        "quality": request.quality,
        "payload_bytes": len(payload),
        "payload_sha256": sha256(payload).hexdigest(),
    }
    return PlannedCase(case.model_copy(update=again), payload, _VALUE)


def _whole_pixels(request: RefineRequest, case: Case) -> Region:
    assert request.region_xyxy is not None
    try:
        check_region(request.region_xyxy, case.frame)
    except ValueError as exc:
        raise MessageError(f"{exc}: give a part of it", code="bad_value") from exc
    (x1, y1), (x2, y2) = np.floor(request.region_xyxy[:2]), np.ceil(request.region_xyxy[2:])
    return int(x1), int(y1), int(x2), int(y2)


def _region(part: CasePart) -> Region:
    x1, y1, x2, y2 = (int(value) for value in part.region_xyxy)
    return x1, y1, x2, y2


def _crop(image: ImageArray, region: Region) -> ImageArray:
    x1, y1, x2, y2 = region
    crop: ImageArray = np.ascontiguousarray(image[y1:y2, x1:x2])
    return crop if crop.ndim == 2 else as_picture(crop)
