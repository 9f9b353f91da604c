"""Which cases are worth their bytes: a byte budget, a threshold on hardness, and patience.

A thing must stay unexplained for a few frames before it is asked about, and the same thing is not asked about twice
within the cooldown; "the same" is judged by its embedding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge.capture import Frame
from edge.coding import Coding, encode_as, encode_worthily
from edge.config import Settings
from edge.hardness import surprise_of
from edge.pipeline import FrameResult
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


class SchedulerSettings(Settings):
    """What a case may cost and when one is made.

    Attributes:
        budget_bytes_per_s: long-run mean of imagery bytes.
        burst_bytes: how much unspent budget may pile up.
        min_hardness: frames below are never sent.
        patience_frames: consecutive hard frames before the first case.
        min_interval_s: between two cases.
        cooldown_s: how long one unexplained thing is not asked about again.
        same_cosine: embeddings closer than this are the same thing.
        region_side_px: least side of a region crop.
        max_regions: crops in one case, where several things nobody can name lie far apart.
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
    max_regions: int = Field(default=4, ge=1, le=MAX_CASE_PARTS)
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)
    ttl_s: float | None = 3600.0
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


class CasePace:
    """When a case may be made: hardness, patience, the interval between two, and the byte budget; knows no images.

    Attributes:
        deferred: frames worth a case that the budget could not afford.
    """

    def __init__(self, settings: SchedulerSettings) -> None:
        """Start with a full budget."""
        self.settings = settings
        self.deferred = 0
        self._tokens = settings.burst_bytes
        self._last_s: float | None = None
        self._last_case_s = float("-inf")
        self._streak = 0

    def allows(self, now_s: float, hardness: float, is_new: bool) -> bool:
        """Whether this frame may become a case; call it once for each frame, in order.

        Args:
            now_s: capture time on the monotonic clock.
            hardness: of the frame, 0 to 1.
            is_new: False where everything strange in it was asked about within the cooldown.
        """
        can_pay = self.affords(now_s)
        is_worth = hardness >= self.settings.min_hardness and is_new
        self._streak = self._streak + 1 if is_worth else 0
        if self._streak < self.settings.patience_frames or now_s - self._last_case_s < self.settings.min_interval_s:
            return False
        if not can_pay:
            self.deferred += 1
        return can_pay

    def affords(self, now_s: float) -> bool:
        """Whether anything of the byte budget is left at a capture time."""
        self._refill(now_s)
        return self._tokens > 0

    @property
    def scarcity(self) -> float:
        """How dear bytes are: 0 while the budget is full, 1 where nothing is left."""
        return min(max(1 - self._tokens / max(self.settings.burst_bytes, 1.0), 0.0), 1.0)

    @property
    def left_bytes(self) -> float:
        """What is left of the byte budget, at the time it was asked about last; below 0 where it is overdrawn."""
        return self._tokens

    def charge(self, payload_bytes: int) -> None:
        """Take what was sent off the byte budget."""
        self._tokens -= payload_bytes

    def spend(self, now_s: float, payload_bytes: int) -> None:
        """Note that a case was made of the frame that was just allowed."""
        self.charge(payload_bytes)
        self._last_case_s, self._streak = now_s, 0

    def _refill(self, now_s: float) -> None:
        elapsed_s = 0.0 if self._last_s is None else max(now_s - self._last_s, 0.0)
        self._last_s = now_s
        earned = elapsed_s * self.settings.budget_bytes_per_s
        self._tokens = min(self._tokens + earned, self.settings.burst_bytes)


class Scheduler:
    """Decides frame by frame; time is the frame's capture time on the monotonic clock.

    Attributes:
        pace: the byte budget, which questions about targets share (`edge/target_questions.py`).
    """

    def __init__(self, settings: SchedulerSettings, space_id: str, variant: str) -> None:
        self.settings = settings
        self.pace = CasePace(settings)
        self._space = (space_id, variant)
        self._asked: deque[tuple[float, FloatArray]] = deque(maxlen=_REMEMBERED)

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
        return self._plan(frame, result, fresh) if self.pace.allows(now_s, result.hardness.score, is_new) else None

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
        self.pace.spend(frame.captured_s, len(payload))
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
        worth = result.hardness.score / max(self.settings.min_hardness, 1e-3)
        coding, encoded = self._encode([_crop(frame, region) for region in regions], worth)
        left = min(self.pace.left_bytes, float(MAX_CASE_BYTES))
        paid = np.cumsum([len(data) for data in encoded]) <= left
        pictures = list(zip(regions, encoded, strict=True))
        return coding, [picture for number, picture in enumerate(pictures) if number == 0 or paid[number]]

    def _encode(self, images: Sequence[ImageArray], worth: float) -> tuple[Coding, list[bytes]]:
        """Pictures of one case, in the quality that the settings want or bytes are worth now.

        Args:
            images: (H, W) or (H, W, 3) uint8.
            worth: of the case, in units of the least valuable one that is sent.
        """
        if self.settings.jpeg_quality is None:
            return encode_worthily(images, max(worth, 1.0), self.pace.scarcity)
        coding = Coding("image/jpeg", self.settings.jpeg_quality, 1.0, 1.0)
        return coding, [encode_as(image, coding) for image in images]


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
