"""From what a teacher says about an image to what the craft is told, what becomes a prompt, and what is left open."""

from __future__ import annotations

import numpy as np

from cloud.case_images import CaseImage
from cloud.config import CloudSettings
from cloud.evidence import Evidence
from cloud.prompting import Finding
from cloud.teachers.teacher import TeacherAnswer
from protocols import limits
from protocols.arrays import Boxes
from protocols.boxes import box_iou
from protocols.values import Detection, Interpretation, best_detections


def interpretation_of(
    case_id: str, answer: TeacherAnswer, image: CaseImage, interpreter: str, now_s: float
) -> Interpretation:
    """The answer to a case, in full-frame pixels; its confidence is the highest score, 0 when nothing is there."""
    detections = (
        Detection(box_xyxy=tuple(box), label=label, score=min(max(score, 0.0), 1.0), provenance="cloud")
        for box, label, score in zip(
            image.to_frame(answer.boxes_xyxy).tolist(), answer.labels, answer.scores.tolist(), strict=True
        )
    )
    best = best_detections(detections)
    return Interpretation(
        case_id=case_id,
        detections=best,
        confidence=best[0].score if best else 0.0,
        by="teacher",
        interpreter=interpreter[: limits.MAX_TEXT_CHARS],
        made_at_s=now_s,
    )


def findings_of(
    answer: TeacherAnswer, boxes_xyxy: Boxes, known_labels: tuple[str, ...], case_id: str, min_score: float
) -> list[Finding]:
    """What the craft's student cannot name and the teacher can: one finding for each such label.

    Args:
        answer: the teacher's.
        boxes_xyxy: its boxes in pixels of the evidence's image.
        known_labels: of the craft's student.
        case_id: where it was seen.
        min_score: detections below neither make a prompt nor count as background.
    """
    names = np.asarray(answer.labels, dtype=object)
    findings = []
    for label in dict.fromkeys(answer.labels):
        sure = (names == label) & (answer.scores >= min_score)
        if label in known_labels or not sure.any():
            continue
        findings.append(
            Finding(
                label=label,
                boxes_xyxy=boxes_xyxy[sure],
                ignore_xyxy=boxes_xyxy[(names == label) & ~sure],
                origin="teacher",
                confidence=float(answer.scores[sure].max()),
                scope="craft",
                case_id=case_id,
                masks=None if answer.masks is None else answer.masks[sure],
            )
        )
    return findings


def open_question(interpretation: Interpretation, evidence: Evidence | None, settings: CloudSettings) -> str:
    """Why a person should look at a case, in words; empty when the teacher's answer will do."""
    if interpretation.confidence < settings.unsure_below:
        return f"the teacher's best score is {interpretation.confidence:.2f}, below {settings.unsure_below:.2f}"
    if evidence is None:
        return ""
    named = np.asarray([d.box_xyxy for d in interpretation.detections], np.float32).reshape(-1, 4)
    seen = evidence.seen
    there = np.setdiff1d(np.flatnonzero(seen.objectness >= settings.unexplained_objectness), evidence.known.rows)
    overlap = box_iou(seen.boxes_xyxy[there], evidence.image.from_frame(named)).max(axis=1, initial=0.0)
    count = int((overlap < settings.unexplained_overlap).sum())
    if count == 1:
        return "one thing is there that the teacher does not name"
    return f"{count} things are there that the teacher does not name" if count else ""
