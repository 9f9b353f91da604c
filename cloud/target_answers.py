"""Where a craft's target is in a case's picture, as the teacher says: exemplar matching over the whole picture.

The teacher looks for what the target's chips show. A place counts for more the nearer it is to where the craft believes
the target and the more it is of its size, and where the teacher or a prompt of the craft names it as the target is
called. The best place is the answer where it is good, and clearly better than the next: the better, the surer the craft
is of another one. Where nothing is like the target at all it is not there, unless the teacher does not know it by one
chip in another, either. In between the teacher does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cloud.case_images import CaseImage
from cloud.config import TargetAnswerSettings
from cloud.errors import TeacherError
from cloud.evidence import Evidence
from cloud.teachers.finding import exemplar_of
from cloud.teachers.teacher import Exemplar, Places, Teacher
from edge.student import Student
from edge.target_looks import embedding_at
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_iou
from protocols.limits import MAX_NEGATIVES
from protocols.target_questions import TargetAnswer, TargetQuestion
from protocols.values import Case, Vectors

_APART_IOU, _OTHER_COSINE = 0.1, 0.5
"""What overlaps the target less is something else, and what is less like it need not be told; as in the edge's
`target_looks`."""


_LOST = 4.0
"""How much farther a lost target may be: with the usual reach that is most of a question's picture."""


@dataclass(frozen=True)
class Told:
    """An answer about one frame.

    Attributes:
        verdict: see `TargetAnswer`.
        box_xyxy: pixels of the full frame, with `here` alone.
        confidence: 0..1.
    """

    verdict: Literal["here", "gone", "unknown"]
    box_xyxy: tuple[float, float, float, float] | None
    confidence: float


def find_target(
    teacher: Teacher, case: Case, image: CaseImage, settings: TargetAnswerSettings, prompted_xyxy: Boxes | None = None
) -> Told:
    """What a teacher says of a question.

    Args:
        teacher: any that can look for exemplars.
        case: asks about a target.
        image: its picture, as it was sent.
        settings: how places are weighed.
        prompted_xyxy: (N, 4) full-frame pixels of what the craft's prompts of that label match; None without any.

    Raises:
        TeacherError: the case asks about no target, no chip can be read, or the teacher fails.
    """
    question = case.target
    if question is None:
        raise TeacherError(f"case {case.case_id}: asks about no target; interpret it")
    chips = _exemplars(question, image)
    places = teacher.find(chips, [image.image])[0]
    believed = _believed(question, image)
    if not (_of_its_size(places, believed, settings) >= settings.nothing).any():
        knows = _recognises(teacher, chips, settings)
        return Told("gone", None, 1.0) if knows else Told("unknown", None, 0.0)
    scores = weigh_places(places, believed, settings, is_lost=question.why == "lost")
    scores = scores * _names(teacher, question, image, places.boxes_xyxy, settings)
    scores = _agreed(places.boxes_xyxy, scores, image, prompted_xyxy, settings)
    least = settings.likely + (settings.surely - settings.likely) * question.presence
    return _verdict(places.boxes_xyxy, scores, image, (least, settings))


def _recognises(teacher: Teacher, chips: Sequence[Exemplar], settings: TargetAnswerSettings) -> bool:
    """Whether the teacher finds the target's newest look by the others: who cannot must not say that it is gone."""
    if len(chips) < 2:
        return False
    newest = chips[-1]
    places = teacher.find(chips[:-1], [newest.image])[0]
    is_found = box_iou(places.boxes_xyxy, newest.box_xyxy[None].astype(np.float32))[:, 0] >= settings.named_iou
    return bool((places.scores[is_found] >= settings.surely).any())


def weigh_places(
    places: Places, believed_xyxy: FloatArray, settings: TargetAnswerSettings, *, is_lost: bool
) -> FloatArray:
    """(N,) scores of places, less where the target would have jumped there, or grown.

    Args:
        places: of the picture.
        believed_xyxy: (4,) pixels of the picture.
        settings: see there.
        is_lost: whether the believed place means little.
    """
    boxes = places.boxes_xyxy
    size = _sizes(believed_xyxy[None])[0]
    apart = (boxes[:, :2] + boxes[:, 2:] - believed_xyxy[:2] - believed_xyxy[2:]) / 2
    distance = np.hypot(*apart.T) / (size * settings.reach * (_LOST if is_lost else 1))
    return np.asarray(_of_its_size(places, believed_xyxy, settings) * np.exp(-(distance**2) / 2), dtype=np.float32)


def _of_its_size(places: Places, believed_xyxy: FloatArray, settings: TargetAnswerSettings) -> FloatArray:
    """(N,) scores of places, less where the target would have grown or shrunk there."""
    growth = np.log(_sizes(places.boxes_xyxy) / _sizes(believed_xyxy[None])[0]) / settings.growth
    return np.asarray(places.scores * np.exp(-(growth**2) / 2), dtype=np.float32)


def _sizes(boxes: Boxes) -> FloatArray:
    return np.asarray(np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1), axis=1)), dtype=np.float32)


def _believed(question: TargetQuestion, image: CaseImage) -> FloatArray:
    return np.asarray(image.from_frame(np.array([question.box_xyxy], np.float32))[0], dtype=np.float32)


def _exemplars(question: TargetQuestion, image: CaseImage) -> list[Exemplar]:
    """The chips, in as many pixels as the picture would show them."""
    scale = float(np.mean(image.scale_xy))
    return [exemplar_of(chip.model_copy(update={"scale": chip.scale / scale})) for chip in question.chips]


def _names(
    teacher: Teacher, question: TargetQuestion, image: CaseImage, boxes: Boxes, settings: TargetAnswerSettings
) -> FloatArray:
    """(N,) 1, or less where the teacher knows the target's label and calls what is there otherwise."""
    factors = np.ones(len(boxes), np.float32)
    if question.label not in teacher.labels or not len(boxes):
        return factors
    answer = teacher.interpret([image.image])[0]
    is_other = np.array([label != question.label for label in answer.labels], np.bool_)
    overlap = box_iou(boxes, answer.boxes_xyxy) >= settings.named_iou
    factors[overlap[:, is_other].any(axis=1) & ~overlap[:, ~is_other].any(axis=1)] = settings.other_name
    return factors


def _agreed(
    boxes: Boxes, scores: FloatArray, image: CaseImage, prompted_xyxy: Boxes | None, settings: TargetAnswerSettings
) -> FloatArray:
    """The scores, more where a prompt matches, too: another look at the same thing by other means."""
    if prompted_xyxy is None or not len(prompted_xyxy) or not len(boxes):
        return scores
    is_prompted = (box_iou(boxes, image.from_frame(prompted_xyxy)) >= settings.named_iou).any(axis=1)
    return np.asarray(np.where(is_prompted, np.minimum(scores * settings.prompted, 1), scores), dtype=np.float32)


def _verdict(boxes: Boxes, scores: FloatArray, image: CaseImage, wanted: tuple[float, TargetAnswerSettings]) -> Told:
    least, settings = wanted
    order = np.argsort(-scores, kind="stable")
    best = float(scores[order[0]]) if len(order) else 0.0
    following = float(scores[order[1]]) if len(order) > 1 else 0.0
    if best < least or following > best * (1 - settings.clearly):
        return Told("unknown", None, min(best, 1.0))
    x1, y1, x2, y2 = image.to_frame(boxes[order[:1]])[0].tolist()
    return Told("here", (x1, y1, x2, y2), min(best, 1.0))


def answer_of(question: TargetQuestion, told: Told, twin: Student | None, evidence: Evidence | None) -> TargetAnswer:
    """An answer for the wire, with what the craft's own student sees there.

    Args:
        question: that is answered.
        told: by a teacher or a person.
        twin: the craft's student; None where there is none here, and no vectors then.
        evidence: what it sees in the picture.
    """
    answer = TargetAnswer(target_id=question.target_id, verdict=told.verdict, box_xyxy=told.box_xyxy)
    if twin is None or evidence is None or told.box_xyxy is None:
        return answer
    box = evidence.image.from_frame(np.array([told.box_xyxy], np.float32))[0]
    own = embedding_at(evidence.seen, box, twin.manifest.stride_px)
    if own is None:
        return answer
    seen = evidence.seen
    is_other = (box_iou(seen.boxes_xyxy, box[None])[:, 0] < _APART_IOU) & seen.is_object
    others = seen.embeddings[is_other]
    likeness = others @ own
    nearest = np.argsort(-likeness, kind="stable")[:MAX_NEGATIVES]
    return answer.model_copy(
        update={
            "space_id": twin.manifest.space_id,
            "variant": twin.bundle.variant,
            "positives": Vectors.from_array(own[None]),
            "negatives": Vectors.from_array(others[nearest[likeness[nearest] > _OTHER_COSINE]]),
        }
    )
