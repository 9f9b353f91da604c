"""Which cases are worth their bytes: a byte budget, a threshold on hardness, patience, and the way to the cloud.

A thing must stay unexplained for a few frames before it is asked about, and the same thing is not asked about twice
within the cooldown; "the same" is judged by its embedding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from edge.byte_budget import ByteBudget, ContactWindow, in_order
from edge.capture import Frame
from edge.clock import Clock
from edge.coding import Coding, encode_as, encode_worthily
from edge.config import Settings
from edge.fairness import class_of
from edge.hardness import surprise_of
from edge.pipeline import FrameResult
from edge.ranking import worth_per_byte
from edge.raster import RasterImage
from edge.regions import Region, are_shown, choose_regions
from edge.student import as_picture
from protocols.arrays import FloatArray, ImageArray
from protocols.limits import MAX_CASE_BYTES, MAX_CASE_PARTS
from protocols.values import Case, CasePart, best_detections, new_case_id

PolicyName: TypeAlias = Literal["threshold", "reward", "budget-quantile", "random", "all", "none"]

Picture: TypeAlias = tuple[Region, bytes]
"""A region of a frame, and what it looks like, encoded."""

_REMEMBERED = 64

FIRST_GUESS_BYTES = 8000.0
"""Of a case, until one has been made: a whole frame of 640 x 512 px in WebP 20."""


class SchedulerSettings(Settings):
    """What a case may cost and when one is made.

    Attributes:
        budget_bytes_per_s: long-run mean of imagery bytes.
        contacts: planned times with the ground, whose bytes are spent over the time until each closes, beside the
            budget by the second.
        soon_s: a case that waits longer for its way to the cloud travels in the quality with most per byte.
        burst_bytes: how much unspent budget may pile up.
        min_hardness: frames below are never sent.
        patience_frames: consecutive hard frames before the first case.
        min_interval_s: between two cases.
        cooldown_s: how long one unexplained thing is not asked about again.
        same_cosine: embeddings closer than this are the same thing.
        region_side_px: least side of a region crop.
        max_regions: crops in one case, where several things nobody can name lie far apart; together they show no more
            pixels than so many of the least side.
        jpeg_quality: of the imagery; None weighs codec and quality against bytes (`edge/coding.py`).
        ttl_s: a case older than this is worth nothing to a live mission; None keeps it for ever.
        policy, random_share, audit_share, seed: see `edge.policies`.
    """

    budget_bytes_per_s: float = 20_000
    burst_bytes: float = 120_000
    min_hardness: float = 0.35
    patience_frames: int = 4
    min_interval_s: float = 0.5
    cooldown_s: float = 20.0
    same_cosine: float = 0.8
    region_side_px: int = 320
    max_regions: int = Field(default=2, ge=1, le=MAX_CASE_PARTS)
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)
    ttl_s: float | None = 3600.0
    contacts: Annotated[tuple[ContactWindow, ...], AfterValidator(in_order)] = ()
    soon_s: float = Field(default=10.0, gt=0)
    policy: PolicyName = "threshold"
    random_share: float = Field(default=0.1, ge=0, le=1)
    audit_share: float = Field(default=0.01, ge=0, le=1)
    seed: int = 0


@dataclass(frozen=True)
class PlannedCase:
    """A case ready for the spool: what it is, its encoded imagery and its worth."""

    case: Case
    payload: bytes
    value: float


@dataclass(frozen=True)
class Outlook:
    """What lies between a new case and the cloud.

    Attributes:
        bytes_per_s: what the way takes; None where it is unknown, or there is none.
        bytes_before: imagery that goes before a case of a worth for a byte.
    """

    bytes_per_s: float | None = None
    bytes_before: Callable[[float], int] = lambda worth: 0

    def wait_s(self, value: float, payload_bytes: float) -> float:
        """Until a new case is through; 0 where nobody knows."""
        if self.bytes_per_s is None:
            return 0.0
        ahead = self.bytes_before(worth_per_byte(value, int(payload_bytes)))
        return (ahead + payload_bytes) / max(self.bytes_per_s, 1.0)


class CasePace:
    """When a case may be made: hardness, patience, the interval between two, and the byte budget; knows no images.

    Attributes:
        budget: what cases may cost.
        deferred: frames worth a case that the budget could not afford.
    """

    def __init__(self, settings: SchedulerSettings, clock: Clock | None = None) -> None:
        """Start with a full budget; the clock tells when contacts are."""
        self.settings = settings
        self.budget = ByteBudget(settings.budget_bytes_per_s, settings.burst_bytes, settings.contacts, clock)
        self.deferred = 0
        self._last_case_s = float("-inf")
        self._streak = 0

    def allows(self, now_s: float, hardness: float, is_new: bool, name: str = "") -> bool:
        """Whether this frame may become a case; call it once for each frame, in order.

        Args:
            now_s: capture time on the monotonic clock.
            hardness: of the frame, 0 to 1.
            is_new: False where everything strange in it was asked about within the cooldown.
            name: of the class that the case would be for.
        """
        self.budget.affords(now_s)
        is_worth = hardness >= self.settings.min_hardness and is_new
        self._streak = self._streak + 1 if is_worth else 0
        if self._streak < self.settings.patience_frames or now_s - self._last_case_s < self.settings.min_interval_s:
            return False
        can_pay = self.affords(now_s, name)
        self.deferred += not can_pay
        return can_pay

    def affords(self, now_s: float, name: str = "") -> bool:
        """Whether anything of the byte budget is left for a class at a capture time; see `ByteBudget`."""
        return self.budget.affords(now_s, name)

    @property
    def left_bytes(self) -> float:
        """What is left of the byte budget, at the time it was asked about last; below 0 where it is overdrawn."""
        return self.budget.left_bytes

    def charge(self, payload_bytes: int, name: str = "") -> None:
        """Take what was sent off the byte budget."""
        self.budget.charge(payload_bytes, name)

    def spend(self, now_s: float, payload_bytes: int, name: str = "") -> None:
        """Note that a case was made of the frame that was just allowed."""
        self.charge(payload_bytes, name)
        self._last_case_s, self._streak = now_s, 0


class Scheduler:
    """Decides frame by frame; time is the frame's capture time on the monotonic clock.

    Attributes:
        pace: the byte budget, which questions about targets share (`edge/target_questions.py`).
        outlook: what lies between a new case and the cloud; whoever knows it says so before each frame.
        too_late: frames worth a case that could not have been through within its time to live.
    """

    def __init__(self, settings: SchedulerSettings, space_id: str, variant: str) -> None:
        self.settings = settings
        self.pace = CasePace(settings)
        self.outlook = Outlook()
        self.too_late = 0
        self._case_bytes = FIRST_GUESS_BYTES
        self._space = (space_id, variant)
        self._asked: deque[tuple[float, FloatArray]] = deque(maxlen=_REMEMBERED)

    def use_student(self, space_id: str, variant: str) -> None:
        """Another student looks from now on; what was asked about is forgotten, for it sees that otherwise."""
        self._space = (space_id, variant)
        self._asked.clear()

    @property
    def deferred(self) -> int:
        """Frames worth a case that the budget could not afford."""
        return self.pace.deferred

    def consider(self, frame: Frame, result: FrameResult) -> PlannedCase | None:
        """A case for this frame, or None when it is not worth it or not affordable now."""
        now_s = frame.captured_s
        fresh = self._fresh(result, now_s)
        # Where nothing stands out, the whole frame is the case; a scene of a satellite is too large for one.
        is_new = len(fresh) > 0 or not (len(result.hardness.rows) or isinstance(frame.image, RasterImage))
        hardness = result.hardness.score
        if not self.pace.allows(now_s, hardness, is_new, class_of_frame(result)) or not self.is_in_time(hardness):
            return None
        return self._plan(frame, result, fresh)

    def is_in_time(self, value: float, payload_bytes: float | None = None, ttl_s: float | None = None) -> bool:
        """Whether a new case could be through within its time to live, by what is known of the way.

        Args:
            value: of the case.
            payload_bytes: of its imagery; None is as much as usual.
            ttl_s: None is that of the settings.
        """
        ttl_s = self.settings.ttl_s if ttl_s is None else ttl_s
        is_in_time = ttl_s is None or self.outlook.wait_s(value, payload_bytes or self._case_bytes) <= ttl_s
        self.too_late += not is_in_time
        return is_in_time

    def _made(self, payload_bytes: int) -> None:
        """Learn what a case takes."""
        self._case_bytes += 0.2 * (payload_bytes - self._case_bytes)

    def _fresh(self, result: FrameResult, now_s: float) -> NDArray[np.int64]:
        """Unexplained candidates that were not asked about lately."""
        rows = result.hardness.rows
        recent = [vector for asked_s, vector in self._asked if now_s - asked_s < self.settings.cooldown_s]
        if not recent or not len(rows):
            return rows
        likeness = result.seen.embeddings[rows] @ np.stack(recent).T
        return np.asarray(rows[likeness.max(axis=1) < self.settings.same_cosine], dtype=np.int64)

    def _plan(self, frame: Frame, result: FrameResult, fresh: NDArray[np.int64]) -> PlannedCase:
        hardness, (coding, pictures) = result.hardness, self._pictures(frame, result, fresh)
        case, payload = describe_case(frame, result, pictures, self._space, coding, self.settings.ttl_s)
        self.pace.spend(frame.captured_s, len(payload), class_of_frame(result))
        self._made(len(payload))
        shown = are_shown(result.seen.boxes_xyxy[hardness.rows], [region for region, _ in pictures])
        self._asked.extend((frame.captured_s, vector) for vector in result.seen.embeddings[hardness.rows[shown]])
        return PlannedCase(case, payload, hardness.score)

    def _pictures(self, frame: Frame, result: FrameResult, fresh: NDArray[np.int64]) -> tuple[Coding, list[Picture]]:
        """Crops of what is fresh, the strongest first; after the first one, none beyond the byte budget.

        What would not be worth a case of its own gets no crop, but may lie in one.
        """
        is_worth = surprise_of(result.seen)[fresh] >= self.settings.min_hardness
        boxes = result.seen.boxes_xyxy[fresh[is_worth] if is_worth.any() else fresh[:1]]
        size = (frame.header.width, frame.header.height)
        regions = choose_regions(boxes, size, self.settings.region_side_px, self.settings.max_regions)
        value = result.hardness.score
        worth = value / max(self.settings.min_hardness, 1e-3)
        coding, encoded = self._encode([_crop(frame, region) for region in regions], value, worth)
        left = min(self.pace.left_bytes, float(MAX_CASE_BYTES))
        paid = np.cumsum([len(data) for data in encoded]) <= left
        pictures = list(zip(regions, encoded, strict=True))
        return coding, [picture for number, picture in enumerate(pictures) if number == 0 or paid[number]]

    def _encode(self, images: Sequence[ImageArray], value: float, worth: float) -> tuple[Coding, list[bytes]]:
        """Pictures of one case, in the quality that the settings want or bytes are worth now.

        Args:
            images: (H, W) or (H, W, 3) uint8.
            value: of the case.
            worth: the same in units of the least valuable one that is sent.
        """
        if self.settings.jpeg_quality is None:
            wait_s = self.outlook.wait_s(value, self._case_bytes)
            scarcity = max(self.pace.budget.scarcity, min(wait_s / self.settings.soon_s, 1.0))
            return encode_worthily(images, max(worth, 1.0), scarcity)
        coding = Coding("image/jpeg", self.settings.jpeg_quality, 1.0, 1.0)
        return coding, [encode_as(image, coding) for image in images]


def class_of_frame(result: FrameResult) -> str:
    """The class that a case of a frame is for; see `edge.fairness.class_of`."""
    return class_of(result.hardness.reasons, result.detections)


def _crop(frame: Frame, region: Region) -> ImageArray:
    x1, y1, x2, y2 = region
    crop: ImageArray = np.ascontiguousarray(frame.image[y1:y2, x1:x2])
    return crop if frame.header.bands in (1, 3) else as_picture(crop)


def describe_case(
    frame: Frame,
    result: FrameResult,
    pictures: Sequence[Picture],
    space: tuple[str, str],
    coding: Coding,
    ttl_s: float | None,
) -> tuple[Case, bytes]:
    """The case that tells the cloud about some regions of a frame, and its imagery."""
    payload = b"".join(data for _, data in pictures)
    case = Case(
        case_id=new_case_id(),
        frame=frame.header,
        region_xyxy=pictures[0][0],
        detections=best_detections(result.detections),
        reasons=result.hardness.reasons,
        hardness=result.hardness.score,
        space_id=space[0],
        variant=space[1],
        media_type=coding.media_type,
        quality=coding.quality,
        payload_bytes=len(payload),
        payload_sha256=sha256(payload).hexdigest(),
        ttl_s=ttl_s,
        further=tuple(CasePart(region_xyxy=region, payload_bytes=len(data)) for region, data in pictures[1:]),
    )
    return case, payload
