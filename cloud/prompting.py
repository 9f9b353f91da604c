"""Prompts: what the twin's embeddings under some boxes tell a craft about a thing it does not know.

A prompt is made of the embeddings of the very candidates the craft would have to recognise and of the background's, in
one of two forms (`cloud/prompt_forms.py`). The threshold lies between what the background reaches and what another view
of the thing reaches, and the prompt is replayed on its own case before it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cloud.chips import make_chips, with_vectors
from cloud.config import PromptSettings
from cloud.errors import PromptRefused
from cloud.evidence import Evidence, background_rows, pool_things, true_rows, vary
from cloud.prompt_forms import Lesson, keep_rate, learn, prototypes_of
from cloud.review_shelf import Scope
from cloud.vector_sets import best_cosine
from edge.prompting import PromptMatcher
from edge.student import Student
from protocols import limits
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_iou, boxes_area, clip_boxes
from protocols.values import Prompt, PromptBank, Vectors, bank_bytes

SIZE_WIDENING = 1.5
"""The same kind of thing comes in other sizes, and the craft flies at other heights."""

_MIN_SIDE_PX = 2.0
_FOUND_IOU = 0.3


@dataclass(frozen=True)
class Finding:
    """What a teacher or a person says is in an image.

    Attributes:
        label: what it is.
        boxes_xyxy: (B, 4) float32, pixels of the evidence's image; every one of the kind that can be seen.
        ignore_xyxy: (I, 4) places that may or may not be of the kind: neither positive nor negative.
        origin: who says so.
        confidence: 0..1.
        scope: who may use the prompt.
        case_id: where it was seen.
        masks: (B, H, W) bool, the pixels of the thing in each box, on whatever raster covers the evidence's image; None
            where nobody drew them.
        negatives_xyxy: (H, 4) hard negatives: what looks like it and is none, as a person says.
        said_at_s: wall time of a person's answer, by which its prompt is known again; None stamps it with now.
    """

    label: str
    boxes_xyxy: Boxes
    ignore_xyxy: Boxes
    origin: Literal["teacher", "person"]
    confidence: float
    scope: Scope
    case_id: str
    masks: NDArray[np.bool_] | None = None
    negatives_xyxy: Boxes = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    said_at_s: float | None = None


@dataclass(frozen=True)
class Replay:
    """What a prompt bank finds in the image that a finding is about.

    Attributes:
        found: (B,) for each of the finding's boxes whether it is found.
        relevant: how many matches have to do with one of the boxes, however loosely they lie on it.
        false_rows: candidates that match although nothing of the label is there.
        fooled: (H,) for each hard negative whether it is found, too.
    """

    found: NDArray[np.bool_]
    relevant: int
    false_rows: NDArray[np.int64]
    fooled: NDArray[np.bool_]

    @property
    def is_perfect(self) -> bool:
        """Every box and nothing else."""
        return bool(self.found.all()) and not self.false_rows.size


def build_prompt(
    twin: Student,
    evidence: Evidence,
    finding: Finding,
    background: Sequence[FloatArray],
    identity: tuple[str, float],
    settings: PromptSettings,
) -> Prompt:
    """The prompt that lets a craft find what a finding shows.

    Args:
        twin: the craft's student.
        evidence: what it sees in the case.
        finding: what is where.
        background: (K, D) embeddings of background candidates for each of some other cases of the craft.
        identity: prompt_id, and the wall time of issue.
        settings: how form and threshold are chosen.

    Raises:
        PromptRefused: a prompt would find nothing, or too much.
    """
    boxes, _ = _usable_boxes(evidence, finding)
    lesson = _lesson(twin, evidence, finding, background, settings)
    if finding.origin == "person":  # knows what is there: better a strict prompt than none
        settings = settings.model_copy(update={"min_separation": -2.0})
    known = keep_rate(learn(lesson, settings), lesson, settings, is_certain=finding.origin == "person")
    prompt = Prompt(
        prompt_id=identity[0],
        label=finding.label,
        space_id=twin.manifest.space_id,
        variant=twin.bundle.variant,
        positives=Vectors.from_array(known.positives),
        negatives=Vectors.from_array(known.negatives),
        threshold=known.threshold,
        temperature=known.temperature,
        direction_cases=known.direction_cases,
        size_px=size_range(evidence.image.to_frame(boxes)),
        size_m=None if evidence.gsd_m is None else size_range(evidence.image.to_frame(boxes), evidence.gsd_m),
        chips=with_vectors(twin, make_chips(evidence.image, boxes, twin.manifest.multiple_px)),
        scope=finding.scope,
        issued_at_s=identity[1],
        origin=finding.origin,
        confidence=finding.confidence,
        case_id=finding.case_id,
    )
    _check_replay(prompt, evidence, finding, settings.false_per_box)
    return fit_bytes(prompt, settings.max_bytes)


def replay(prompts: tuple[Prompt, ...], evidence: Evidence, finding: Finding) -> Replay:
    """What prompts would have found in an image, by the craft's own matching.

    Args:
        prompts: as the craft would hold them, all of the finding's label.
        evidence: what the twin sees.
        finding: what is really there.
    """
    if not prompts:
        none = np.zeros(len(finding.boxes_xyxy), bool), np.zeros(len(finding.negatives_xyxy), bool)
        return Replay(none[0], 0, np.zeros(0, np.int64), none[1])
    matcher = PromptMatcher(PromptBank(epoch="replay", revision=0, prompts=prompts), prompts[0].space_id)
    match = matcher.match(evidence.seen, max(p.issued_at_s for p in prompts), evidence.gsd_m, evidence.known)
    match = match.only(match.sure)  # a faint match needs a track, and one image has none
    matched = evidence.seen.boxes_xyxy[match.rows]
    found, fooled = (
        np.asarray((box_iou(boxes, matched) >= _FOUND_IOU).any(axis=1), dtype=np.bool_)
        for boxes in (finding.boxes_xyxy, finding.negatives_xyxy)
    )
    false = np.intersect1d(match.rows, false_rows(evidence, finding))
    return Replay(found, len(match.rows) - len(false), false.astype(np.int64), fooled)


def false_rows(evidence: Evidence, finding: Finding) -> NDArray[np.int64]:
    """Candidates that would be false alarms if they matched: strong enough, and away from all of the kind."""
    far = background_rows(evidence.seen, np.concatenate([finding.boxes_xyxy, finding.ignore_xyxy]))
    return far[evidence.seen.is_object[far]]


def negative_views(twin: Student, evidence: Evidence, finding: Finding) -> FloatArray:
    """(K, D) unit vectors of a finding's hard negatives: of the candidates that show them, and of their cells."""
    height, width = evidence.image.image.shape[:2]
    boxes = clip_boxes(finding.negatives_xyxy, width, height)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= _MIN_SIDE_PX).all(axis=1)]
    if not len(boxes):
        return evidence.seen.embeddings[:0]
    shown = evidence.seen.embeddings[true_rows(evidence.seen, boxes) >= 0]
    return np.concatenate([shown, pool_things(evidence, boxes, None, twin.manifest.stride_px)])


def size_range(boxes_xyxy: Boxes, unit: float = 1.0) -> tuple[float, float]:
    """(smallest, largest) sqrt(area) of boxes, widened; `unit` is metres per pixel for a range in metres."""
    sizes = np.sqrt(boxes_area(boxes_xyxy)) * unit
    low, high = float(sizes.min()) / SIZE_WIDENING, float(sizes.max()) * SIZE_WIDENING
    return min(max(low, 1e-3), limits.MAX_COORD_PX), min(max(high, 1e-3), limits.MAX_COORD_PX)


def fit_bytes(prompt: Prompt, max_bytes: int) -> Prompt:
    """The prompt with as many of its chips as fit; its vectors always stay."""
    while prompt.chips and bank_bytes([prompt]) > max_bytes:
        prompt = prompt.model_copy(update={"chips": prompt.chips[:-1]})
    return prompt


def _usable_boxes(evidence: Evidence, finding: Finding) -> tuple[Boxes, NDArray[np.bool_] | None]:
    """The finding's boxes that its image shows, and their masks."""
    height, width = evidence.image.image.shape[:2]
    boxes = clip_boxes(finding.boxes_xyxy, width, height)
    usable = ((boxes[:, 2:] - boxes[:, :2]) >= _MIN_SIDE_PX).all(axis=1)
    if not usable.any():
        raise PromptRefused("no box lies within the case's image: box what its picture shows")
    return boxes[usable], None if finding.masks is None else finding.masks[usable]


def _lesson(
    twin: Student, evidence: Evidence, finding: Finding, background: Sequence[FloatArray], settings: PromptSettings
) -> Lesson:
    """What a case teaches; what looks just like the thing in another case may be one nobody has pointed out there."""
    boxes, masks = _usable_boxes(evidence, finding)
    owner = true_rows(evidence.seen, boxes)
    varied = vary(twin, evidence.image.image, boxes)
    pooled = pool_things(evidence, boxes, masks, twin.manifest.stride_px)
    lesson = Lesson(
        own=evidence.seen.embeddings[owner >= 0],
        owner=owner[owner >= 0],
        pooled=pooled,
        varied=varied,
        near=evidence.seen.embeddings[false_rows(evidence, finding)],
        recent=pooled[:0],
        images=1 + len(background),
        expected=_expected_likeness(evidence.seen.embeddings, owner, varied, pooled, settings),
    )
    recent = np.concatenate([pooled[:0], *background])
    return replace(lesson, recent=recent[best_cosine(recent, prototypes_of(lesson)) < lesson.expected])


def _expected_likeness(
    embeddings: FloatArray, owner: NDArray[np.int64], varied: FloatArray, pooled: FloatArray, settings: PromptSettings
) -> float:
    """The cosine that another instance, or another view of this one, still reaches with the positives."""
    rows = np.flatnonzero(owner >= 0)
    own = embeddings[rows] if rows.size else pooled
    across = embeddings[rows] @ embeddings[rows].T
    across[owner[rows][:, None] == owner[rows][None]] = -1.0  # its own box says nothing about others
    samples = [best_cosine(varied, own)]
    if len(np.unique(owner[rows])) > 1:
        samples.append(across.max(axis=1))
    values = np.concatenate(samples)
    return float(np.quantile(values, settings.positive_quantile)) if len(values) else settings.ceiling


def _check_replay(prompt: Prompt, evidence: Evidence, finding: Finding, false_per_box: int) -> None:
    result = replay((prompt,), evidence, finding)
    hits, false = int(result.found.sum()), len(result.false_rows)
    seen = true_rows(evidence.seen, finding.boxes_xyxy) >= 0
    if seen.any() and not result.relevant:
        is_object = bool(evidence.seen.is_object[seen].any())
        cure = "box it more tightly" if is_object else "the craft sees no object there, box it where it is larger"
        raise PromptRefused(f"replayed on its own case the prompt finds nothing: {cure}")
    if false > false_per_box * max(hits, 1):
        cure = "box every such thing in the picture, and mark what only looks like it as hard negatives"
        raise PromptRefused(f"replayed on its own case the prompt finds {hits} and {false} false ones: {cure}")
