"""From what a teacher says about an image to what the craft is told, what becomes a prompt, and what is left open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from cloud.case_images import CaseImage
from cloud.config import CloudSettings
from cloud.evidence import Evidence
from cloud.prompting import Finding
from cloud.teachers.teacher import TeacherAnswer
from protocols import limits
from protocols.arrays import Boxes
from protocols.boxes import box_iou, nms
from protocols.values import Detection, Interpretation, best_detections

Seen: TypeAlias = Sequence[tuple[CaseImage, TeacherAnswer]]
"""The pictures of a case, each with what the teacher says of it."""

_SAME_IOU = 0.5
"""Overlap of two boxes of one label in different pictures of a frame from which they show one thing."""


def interpretation_of(case_id: str, seen: Seen, interpreter: str, now_s: float) -> Interpretation:
    """The answer to a case, in full-frame pixels; its confidence is the highest score, 0 when nothing is there."""
    best = best_detections(_once(seen))
    return Interpretation(
        case_id=case_id,
        detections=best,
        confidence=best[0].score if best else 0.0,
        by="teacher",
        interpreter=interpreter[: limits.MAX_TEXT_CHARS],
        made_at_s=now_s,
    )


def _once(seen: Seen) -> list[Detection]:
    """Everything found, once where pictures overlap."""
    boxes = np.concatenate([image.to_frame(answer.boxes_xyxy) for image, answer in seen])
    labels = [label for _, answer in seen for label in answer.labels]
    scores = np.concatenate([answer.scores for _, answer in seen]).astype(np.float32)
    kept = range(len(labels))
    if len(seen) > 1:
        _, classes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
        kept = nms(boxes, scores, _SAME_IOU, classes).tolist()
    return [
        Detection(
            box_xyxy=tuple(boxes[row].tolist()),
            label=labels[row],
            score=min(max(float(scores[row]), 0.0), 1.0),
            provenance="cloud",
        )
        for row in kept
    ]


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


def open_question(interpretation: Interpretation, views: Sequence[Evidence], settings: CloudSettings) -> str:
    """Why a person should look at a case, in words; empty when the teacher's answer will do.

    Args:
        interpretation: the teacher's.
        views: what the twin sees in the case's pictures; none where there is no twin.
        settings: what is sure, and what counts as something.
    """
    if interpretation.confidence < settings.unsure_below:
        return f"the teacher's best score is {interpretation.confidence:.2f}, below {settings.unsure_below:.2f}"
    named = np.asarray([d.box_xyxy for d in interpretation.detections], np.float32).reshape(-1, 4)
    count = sum(_nameless(evidence, named, settings) for evidence in views)
    if count == 1:
        return "one thing is there that the teacher does not name"
    return f"{count} things are there that the teacher does not name" if count else ""


def _nameless(evidence: Evidence, named_xyxy: Boxes, settings: CloudSettings) -> int:
    """How many things the twin sees that no box of the answer, in full-frame pixels, names."""
    seen = evidence.seen
    there = np.setdiff1d(np.flatnonzero(seen.objectness >= settings.unexplained_objectness), evidence.known.rows)
    overlap = box_iou(seen.boxes_xyxy[there], evidence.image.from_frame(named_xyxy)).max(axis=1, initial=0.0)
    return int((overlap < settings.unexplained_overlap).sum())
