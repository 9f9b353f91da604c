"""Asking the cloud where a target is, and heeding what it answers.

A question is a case: a picture of where the target is believed to be with much around it, and with it what the craft
remembers of the target. Asked is when its presence falls, when it is lost, when something like it is near, and, so that
errors nobody noticed do not stay, when it was long ago that anybody looked. Few questions are earned with each frame,
and each must fit the byte budget of all cases.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

import cv2
import numpy as np
import structlog
from pydantic import Field

from edge.config import Settings
from edge.errors import TargetError
from edge.fairness import class_of
from edge.followed_target import Target
from edge.recent_frames import RecentFrame, RecentFrames
from edge.student import Perception
from edge.target_looks import embedding_at
from edge.target_memory import TargetMemory
from edge.targets import TargetTracker
from protocols.arrays import FloatArray, ImageArray
from protocols.boxes import box_iou
from protocols.chips import Chip
from protocols.imagery import encode_image
from protocols.limits import MAX_TARGET_CHIPS
from protocols.target_questions import TargetQuestion
from protocols.values import Case, Detection, FrameHeader, Interpretation, new_case_id

log = structlog.get_logger()

_ALIGN_PX = 32
_APART_IOU = 0.1
"""What overlaps a target less is something else; as in `edge.target_looks`."""
_RIVAL_REACH = 4.0
"""Distance, in units of the target's size, within which something else could be taken for it in the next frames."""


class QuestionSettings(Settings):
    """When to ask about targets, and how much a question shows.

    Attributes:
        per_100_frames: questions that are earned, for all targets together; 0 never asks.
        unspent: most questions that may be saved up.
        advance: share of one that may be spent before it is earned where presence fell: a target that is lost early is
            asked about after 25 frames, not after 50. Half of one, as whole questions are asked, leaves as many on
            average as are earned.
        presence_below: presence under which to ask.
        rival_cosine: likeness from which something near a target competes with it.
        audit_frames: after so many since the last answer, ask although all seems well.
        patience_s: a question that nobody answered for so long may be asked again.
        picture_px: longest side of the picture.
        target_px: side of the target in the picture, where the frame shows it larger: the smaller it is shown, the
            farther the picture reaches.
        jpeg_quality: of the picture.
        chips: looks of the target that go with it, at most.
        ttl_s: after which an answer is of no use any more.
    """

    per_100_frames: float = Field(default=2.0, ge=0, le=100)
    unspent: float = Field(default=2.0, ge=1, le=100)
    advance: float = Field(default=0.5, ge=0, le=1)
    presence_below: float = Field(default=0.5, ge=0, le=1)
    rival_cosine: float = Field(default=0.8, ge=-1, le=1)
    audit_frames: int = Field(default=50, ge=1)
    patience_s: float = Field(default=30.0, gt=0)
    picture_px: int = Field(default=384, ge=64, le=4096)
    target_px: float = Field(default=24.0, ge=4)
    jpeg_quality: int = Field(default=75, ge=1, le=100)
    chips: int = Field(default=3, ge=1, le=MAX_TARGET_CHIPS)
    ttl_s: float = Field(default=60.0, gt=0)


class Budget(Protocol):
    """What all cases of a craft share; see `edge.scheduler.CasePace`."""

    def affords(self, now_s: float, name: str = "") -> bool:
        """Whether there is anything left to spend for a class or target."""
        ...

    def charge(self, payload_bytes: int, name: str = "") -> None:
        """Spend."""
        ...


@dataclass(frozen=True)
class Question:
    """A question ready for the spool."""

    case: Case
    payload: bytes


@dataclass
class _Memory:
    """What is remembered of one target.

    Attributes:
        looks: for whoever is asked.
        confirmed: index of the frame of the newest answer; of the first frame before there is one.
        case_id: of the question that is on its way, asked at `asked_s`.
    """

    looks: TargetMemory
    confirmed: int
    case_id: str | None = None
    asked_s: float = 0.0


@dataclass
class _Sent:
    """A question that may be answered: by the teacher, and later by a person, who knows better.

    Attributes:
        target_id: about which target.
        index: of the frame it is about.
        told: who has answered, and when; answers are repeated at every connect until the cloud knows that they came.
    """

    target_id: int
    index: int
    told: set[tuple[str, float]] = field(default_factory=set)


@dataclass(frozen=True)
class Surroundings:
    """What else is known of the newest frame.

    Attributes:
        header: of it.
        seen: what the student saw in it; None where it did not look.
        stride_px: of the student's maps.
        space: space_id and variant of the student.
    """

    header: FrameHeader
    seen: Perception | None = None
    stride_px: int = 4
    space: tuple[str, str] = ("none", "none")


@dataclass
class TargetQuestions:
    """Decides frame by frame; at most one question is on its way for each target.

    Attributes:
        settings: see there.
        asked: questions so far.
        answered: answers that were heeded.
        late: answers about frames that are no longer held, of which only the looks were of use.
    """

    settings: QuestionSettings = field(default_factory=QuestionSettings)
    asked: int = 0
    answered: int = 0
    late: int = 0
    _earned: float = 0.0
    _index: int | None = None
    _memories: dict[int, _Memory] = field(default_factory=dict)
    _sent: OrderedDict[str, _Sent] = field(default_factory=OrderedDict)

    def consider(
        self, tracker: TargetTracker, frames: RecentFrames, around: Surroundings, budget: Budget
    ) -> Question | None:
        """A question about the newest frame, or None; call it once for each frame with targets, in order.

        Args:
            tracker: has seen the newest frame.
            frames: the newest of them is that frame.
            around: what else is known of it.
            budget: what cases may cost.
        """
        settings, newest = self.settings, frames.newest
        # The first frame earns nothing: never more are asked than so many in 100, however short the video.
        since = 0 if self._index is None else max(newest.index - self._index, 0)
        self._index = newest.index
        self._earned = min(self._earned + since * settings.per_100_frames / 100, settings.unspent)
        targets = [target for target in tracker.targets if not tracker.is_catching_up(target.target_id)]
        self._forget({target.target_id for target in tracker.targets})
        self._remember(targets, newest)
        if not budget.affords(newest.captured_s):
            return None
        urgent = [(why, target) for target in targets if (why := self._why(target, newest, around)) is not None]
        urgent = [(why, target) for why, target in urgent if self._earned >= self._price(why)]
        if not urgent:
            return None
        why, target = min(
            urgent, key=lambda item: (_URGENCY.index(item[0]), self._memories[item[1].target_id].confirmed)
        )
        name = class_of({}, (), target.target_id)
        if not budget.affords(newest.captured_s, name):
            return None
        question = self._ask(why, target, newest, around)
        asked = question.case.target
        budget.charge(len(question.payload) + sum(len(chip.jpeg) for chip in (asked.chips if asked else ())), name)
        return question

    def first_look(self, target_id: int) -> Chip | None:
        """The chip of a target's first look, where one was cut."""
        memory = self._memories.get(target_id)
        return memory.looks.chips[0] if memory is not None and memory.looks.chips else None

    def heed(self, interpretation: Interpretation, tracker: TargetTracker, frames: RecentFrames) -> bool:
        """Use an answer, of a teacher or a person, at the frame it is about.

        Args:
            interpretation: of any case.
            tracker: follows the target.
            frames: the newest of them is the frame that the tracker has seen last.

        Returns:
            Whether the target is put right.
        """
        sent, answer = self._sent.get(interpretation.case_id), interpretation.target
        memory = None if sent is None else self._memories.get(sent.target_id)
        told = interpretation.by, interpretation.made_at_s
        if sent is None or memory is None or answer is None or told in sent.told:
            return False
        sent.told.add(told)
        target_id, index = sent.target_id, sent.index
        if memory.case_id == interpretation.case_id:
            memory.case_id = None
        if answer.verdict == "unknown" or answer.target_id != target_id:
            return False
        box = None if answer.box_xyxy is None else np.array(answer.box_xyxy, np.float32)
        try:
            tracker.teach(target_id, answer)
            frame = frames.at(index)
            changed = tracker.correct(target_id, frames, index, box, is_exact=interpretation.by == "person")
        except TargetError as exc:
            self.late += 1
            log.warning("answer about a target comes too late or fits nothing: looks alone", reason=str(exc))
            return False
        self.answered += 1
        memory.confirmed = index
        if box is not None:
            memory.looks.show(index, frame.image, box)
        return changed

    def _forget(self, followed: set[int]) -> None:
        for target_id in self._memories.keys() - followed:
            del self._memories[target_id]

    def _remember(self, targets: Sequence[Target], newest: RecentFrame) -> None:
        """Look at every target."""
        image: ImageArray | None = None
        for target in targets:
            memory = self._memories.setdefault(
                target.target_id, _Memory(TargetMemory(self.settings.chips - 1), newest.index)
            )
            image = newest.image if image is None else image
            is_sure = target.state == "tracked" and target.presence > _SURE
            memory.looks.learn(newest.index, image, target.box_xyxy, is_sure=is_sure)

    def _price(self, why: str) -> float:
        """What must be earned to ask."""
        return 1 - _ROUNDING - (self.settings.advance if why in _HURRY else 0.0)

    def _why(self, target: Target, newest: RecentFrame, around: Surroundings) -> str | None:
        """The reason to ask about a target now, if there is one."""
        memory = self._memories[target.target_id]
        if memory.case_id is not None and newest.captured_s - memory.asked_s < self.settings.patience_s:
            return None
        if not memory.looks.chips or not _is_within_reach(target.box_xyxy, newest.image):
            return None
        if target.state == "lost":
            return "lost"
        if target.presence < self.settings.presence_below:
            return "presence"
        if self._has_rival(target, around):
            return "rivals"
        return "audit" if newest.index - memory.confirmed >= self.settings.audit_frames else None

    def _has_rival(self, target: Target, around: Surroundings) -> bool:
        """Whether the student sees something like the target near it."""
        seen = around.seen
        own = None if seen is None else embedding_at(seen, target.box_xyxy, around.stride_px)
        if seen is None or own is None or not len(seen.embeddings):
            return False
        apart = (seen.boxes_xyxy[:, :2] + seen.boxes_xyxy[:, 2:] - target.box_xyxy[:2] - target.box_xyxy[2:]) / 2
        is_near = np.hypot(*apart.T) < _RIVAL_REACH * np.sqrt(np.prod(target.box_xyxy[2:] - target.box_xyxy[:2]))
        is_other = box_iou(seen.boxes_xyxy, target.box_xyxy[None])[:, 0] < _APART_IOU
        rivals = seen.embeddings[is_near & is_other & seen.is_object]
        return bool(len(rivals)) and float((rivals @ own).max()) >= self.settings.rival_cosine

    def _ask(self, why: str, target: Target, newest: RecentFrame, around: Surroundings) -> Question:
        settings, memory = self.settings, self._memories[target.target_id]
        size = (around.header.width, around.header.height)
        region, scale = choose_view(target.box_xyxy, size, settings, reach=2.0 if target.state == "lost" else 1.0)
        x1, y1, x2, y2 = target.box_xyxy.tolist()
        box = (x1, y1, x2, y2)
        payload = encode_image(_view(newest.image, region, scale), "image/jpeg", settings.jpeg_quality)
        case = Case(
            case_id=new_case_id(),
            frame=around.header,
            region_xyxy=region,
            image_scale=scale,
            detections=(Detection(box_xyxy=box, label=target.label, score=target.presence),),
            reasons={why: 1.0},
            hardness=1.0 - target.presence,
            space_id=around.space[0],
            variant=around.space[1],
            media_type="image/jpeg",
            payload_bytes=len(payload),
            payload_sha256=sha256(payload).hexdigest(),
            ttl_s=settings.ttl_s,
            target=TargetQuestion(
                target_id=target.target_id,
                label=target.label,
                box_xyxy=box,
                presence=target.presence,
                why=why,
                chips=memory.looks.chips,
            ),
        )
        memory.case_id, memory.asked_s = case.case_id, newest.captured_s
        self._sent[case.case_id] = _Sent(target.target_id, newest.index)
        while len(self._sent) > _MOST_SENT:
            self._sent.popitem(last=False)
        self._earned -= 1
        self.asked += 1
        return Question(case, payload)


_URGENCY = ("lost", "presence", "rivals", "audit")
_HURRY = ("lost", "presence")
_SURE = 0.8
"""Presence above which a look is shown to others."""
_MOST_SENT = 64
_ROUNDING = 1e-6
"""Fifty times 0.02 is a little less than 1."""


def choose_view(
    box_xyxy: FloatArray, frame_size: tuple[int, int], settings: QuestionSettings, reach: float = 1.0
) -> tuple[tuple[int, int, int, int], float]:
    """What part of a frame to show around a target, and how small.

    Args:
        box_xyxy: (4,) where the target is believed.
        frame_size: width and height.
        settings: sides of the picture and of the target in it.
        reach: how much farther to look than usual.

    Returns:
        Corners x1, y1, x2, y2 in whole pixels, and picture pixels per frame pixel, at most 1.
    """
    size = max(float(np.sqrt(np.prod(np.maximum(box_xyxy[2:] - box_xyxy[:2], 1)))), 1.0)
    scale = min(1.0, max(settings.target_px / size / reach, settings.picture_px / max(frame_size)))
    side = settings.picture_px / scale
    middle = (box_xyxy[:2] + box_xyxy[2:]) / 2
    (x1, x2), (y1, y2) = (_span(float(c), side, limit) for c, limit in zip(middle, frame_size, strict=True))
    return (x1, y1, x2, y2), scale


def _is_within_reach(box_xyxy: FloatArray, image: ImageArray) -> bool:
    """Whether a picture could show what is around a box: its middle is no more than a frame's side outside."""
    middle, size = (box_xyxy[:2] + box_xyxy[2:]) / 2, np.array(image.shape[1::-1], np.float32)
    return bool(((middle > -size) & (middle < 2 * size)).all())  # nan is not


def _span(centre: float, side: float, limit: int) -> tuple[int, int]:
    low = min(max(centre - side / 2, 0.0), max(limit - side, 0.0))
    return int(low) // _ALIGN_PX * _ALIGN_PX, min(limit, int(np.ceil(low + side)))


def _view(image: ImageArray, region: tuple[int, int, int, int], scale: float) -> ImageArray:
    x1, y1, x2, y2 = region
    crop = np.ascontiguousarray(image[y1:y2, x1:x2])
    if scale >= 1:
        return crop
    size = (max(round((x2 - x1) * scale), 1), max(round((y2 - y1) * scale), 1))
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
