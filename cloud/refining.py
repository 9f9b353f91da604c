"""When a better picture of a case is worth its bytes, and how its answer is joined with the first one's."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import numpy as np

from cloud.config import RefineSettings
from cloud.store import StoredCase
from edge.regions import choose_regions
from protocols.arrays import Boxes
from protocols.boxes import box_inside
from protocols.messages import RefineRequest
from protocols.values import Case, Detection, Interpretation, best_detections

_CUT_PX = 4.0
"""A box that comes so near to the border of its picture may go on beyond it."""

_ID_DIGITS = 12


def better_picture(
    stored: StoredCase, answer: Interpretation, unsure_below: float, settings: RefineSettings, now_s: float
) -> RefineRequest | None:
    """What to ask the craft for, where the teacher is unsure and the picture may be why.

    It may be where it was coded coarsely, shrunk, or ends at the thing in question.

    Args:
        stored: the case; one that refines another, asks about a target or is of the audit is never asked for again.
        answer: the teacher's, down to its own floor.
        unsure_below: of a detection's score.
        settings: when to ask.
        now_s: wall time.
    """
    case = stored.case
    # The audit is a sample of how far cloud and craft agree on pictures that are all alike: it stays as it is.
    is_other = case.refines is not None or case.target is not None or "audit" in case.reasons
    if is_other or now_s - stored.received_at_s > settings.fresh_s:
        return None
    doubtful = [d for d in answer.detections if settings.floor <= d.score < unsure_below]
    if not doubtful or answer.confidence >= unsure_below or not (_is_coarse(case, settings) or _is_cut(case, doubtful)):
        return None
    (region,) = choose_regions(_boxes(doubtful), (case.frame.width, case.frame.height), settings.side_px, 1)
    return RefineRequest(
        request_id=uuid.uuid4().hex[:_ID_DIGITS], case_id=case.case_id, region_xyxy=region, quality=settings.quality
    )


def joined(answer: Interpretation, case: Case, first: Interpretation | None) -> Interpretation:
    """An answer to a case that refines another, made to speak for the first one's whole frame.

    Args:
        answer: to `case`.
        case: it `refines` another.
        first: the answer to that.
    """
    regions = np.asarray([part.region_xyxy for part in case.parts], np.float32)
    before = first.detections if first is not None else ()
    elsewhere = [d for d in before if box_inside(_boxes([d]), regions).max() < 0.5]
    both = best_detections([*answer.detections, *elsewhere])
    return answer.model_copy(
        update={"detections": both, "supersedes": case.refines, "confidence": both[0].score if both else 0.0}
    )


def shows_same_frame(case: Case, first: Case) -> bool:
    """Whether a case can be a better picture of another: the frames are one."""
    return (case.frame.source_id, case.frame.index) == (first.frame.source_id, first.frame.index)


def _is_coarse(case: Case, settings: RefineSettings) -> bool:
    return (case.quality or 100) < settings.coarse_below or any(part.image_scale < 1 for part in case.parts)


def _is_cut(case: Case, doubtful: Iterable[Detection]) -> bool:
    """Whether a thing reaches a border of its picture that is none of the frame's."""
    frame = (0.0, 0.0, case.frame.width, case.frame.height)
    for part in case.parts:
        for detection in doubtful:
            if box_inside(_boxes([detection]), np.asarray([part.region_xyxy], np.float32)).max() < 0.5:
                continue
            gaps = zip(detection.box_xyxy, part.region_xyxy, frame, strict=True)
            if any(abs(side - border) < _CUT_PX and border != end for side, border, end in gaps):
                return True
    return False


def _boxes(detections: Iterable[Detection]) -> Boxes:
    return np.asarray([d.box_xyxy for d in detections], np.float32).reshape(-1, 4)
