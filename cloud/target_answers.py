"""Where a craft's target is in a case's picture, as the teacher says: exemplar matching over the whole picture.

The teacher looks for what the target's chips show. A place counts for more the nearer it is to where the craft believes
the target and the more it is of its size, and where the teacher or a prompt of the craft names it as the target is
called. The best place is the answer where it is good, and clearly better than the next; where nothing is like the
target at all it is not there; in between the teacher does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cloud.case_images import CaseImage
from cloud.errors import TeacherError
from cloud.teachers.finding import exemplar_of
from cloud.teachers.teacher import Exemplar, Places, Teacher
from edge.config import Settings
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_iou
from protocols.target_questions import TargetQuestion
from protocols.values import Case


class AnswerSettings(Settings):
    """How places are weighed; chosen on rendered sequences (docs/tracking.md).

    Attributes:
        reach: standard deviation of the distance from the believed place, in units of the target's size; twice that for
            a target that is lost.
        growth: standard deviation of the logarithm of its size.
        named_iou: overlap with a detection from which that names a place.
        other_name: factor of a place that the teacher names otherwise than the craft.
        surely: least weighed score of an answer.
        clearly: how much better than the next place it must be, as a share of its score.
        nothing: weighed score under which nothing there is like the target.
    """

    reach: float = 3.0
    growth: float = 0.4
    named_iou: float = 0.4
    other_name: float = 0.5
    surely: float = 0.25
    clearly: float = 0.2
    nothing: float = 0.02


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


def find_target(teacher: Teacher, case: Case, image: CaseImage, settings: AnswerSettings) -> Told:
    """What a teacher says of a question.

    Args:
        teacher: any that can look for exemplars.
        case: asks about a target.
        image: its picture, as it was sent.
        settings: how places are weighed.

    Raises:
        TeacherError: the case asks about no target, no chip can be read, or the teacher fails.
    """
    question = case.target
    if question is None:
        raise TeacherError(f"case {case.case_id}: asks about no target; interpret it")
    places = teacher.find(_exemplars(question, image), [image.image])[0]
    scores = weigh_places(places, _believed(question, image), settings, is_lost=question.why == "lost")
    scores = scores * _names(teacher, question, image, places.boxes_xyxy, settings)
    return _verdict(places.boxes_xyxy, scores, image, settings)


def weigh_places(places: Places, believed_xyxy: FloatArray, settings: AnswerSettings, *, is_lost: bool) -> FloatArray:
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
    distance = np.hypot(*apart.T) / (size * settings.reach * (2 if is_lost else 1))
    growth = np.log(_sizes(boxes) / size) / settings.growth
    return np.asarray(places.scores * np.exp(-(distance**2 + growth**2) / 2), dtype=np.float32)


def _sizes(boxes: Boxes) -> FloatArray:
    return np.asarray(np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1), axis=1)), dtype=np.float32)


def _believed(question: TargetQuestion, image: CaseImage) -> FloatArray:
    return np.asarray(image.from_frame(np.array([question.box_xyxy], np.float32))[0], dtype=np.float32)


def _exemplars(question: TargetQuestion, image: CaseImage) -> list[Exemplar]:
    """The chips, in as many pixels as the picture would show them."""
    scale = float(np.mean(image.scale_xy))
    return [exemplar_of(chip.model_copy(update={"scale": chip.scale / scale})) for chip in question.chips]


def _names(
    teacher: Teacher, question: TargetQuestion, image: CaseImage, boxes: Boxes, settings: AnswerSettings
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


def _verdict(boxes: Boxes, scores: FloatArray, image: CaseImage, settings: AnswerSettings) -> Told:
    order = np.argsort(-scores, kind="stable")
    best = float(scores[order[0]]) if len(order) else 0.0
    if best < settings.nothing:
        return Told("gone", None, 1.0 - best)
    following = float(scores[order[1]]) if len(order) > 1 else 0.0
    if best < settings.surely or following > best * (1 - settings.clearly):
        return Told("unknown", None, min(best, 1.0))
    x1, y1, x2, y2 = image.to_frame(boxes[order[:1]])[0].tolist()
    return Told("here", (x1, y1, x2, y2), min(best, 1.0))
