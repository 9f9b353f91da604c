"""Which frames are asked about: policies that can be chosen, and the audit that sends a few frames whatever they say.

`threshold`, the default, is `edge.scheduler`'s: a hardness that stays above a number, crops of what nobody can name.
The others judge whole frames: `reward` those from which most is expected per byte, `budget-quantile` the hardest, both
as many as the budget pays; `random` a share, `all` every frame and `none` no frame. The byte budget binds all of them.
A frame sent by one of them, or by the audit, travels in WebP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

from edge.audit import Audit
from edge.capture import Frame
from edge.hardness import Hardness
from edge.pipeline import FrameResult
from edge.raster import RasterImage
from edge.scheduler import PlannedCase, Scheduler, SchedulerSettings, describe_case
from edge.student import as_picture
from protocols.arrays import ImageArray
from protocols.fields import MediaType
from protocols.imagery import encode_image

WHOLE_FRAME_QUALITY = 20
"""WebP; see docs/hardness.md: the most accuracy per byte on HIT-UAV dev of 10 to 60, and of JPEG at any quality."""

_WEBP_PIXELS, _LARGE_FRAME_QUALITY = 2**19, 40
"""Larger frames go as JPEG: one of 1920x1080 took 134 ms as WebP and 6 as JPEG (one core of an AMD EPYC, one trial). At
40 the teacher keeps 99 % of what it reaches on raw frames of HIT-UAV dev."""

_WINDOW = 256
_LEAST_SEEN = 16
"""Frames before a quantile means anything."""

_FIRST_GUESS_BYTES = 8000.0
"""Of a whole frame of 640 x 512 px in WebP 20, until one has been sent."""


class Policy(Protocol):
    """Says of every frame, in order, whether it should be sent."""

    def wants(self, hardness: Hardness, now_s: float) -> bool:
        """Whether this frame, captured at a monotonic time, is worth a case."""
        ...

    def sent(self, payload_bytes: int) -> None:
        """A frame it wanted took so many bytes."""
        ...


class Draw:
    """A random share of the frames; 1 is every frame and 0 none."""

    def __init__(self, share: float, seed: int) -> None:
        self._share, self._rng = share, np.random.default_rng(seed)

    def wants(self, hardness: Hardness, now_s: float) -> bool:
        """By chance alone."""
        return bool(self._rng.random() < self._share)

    def sent(self, payload_bytes: int) -> None:
        """Chance keeps no books."""


class BudgetQuantile:
    """The best of the last frames, as large a share of them as the byte budget pays.

    Prices hardly differ between whole frames of one camera, so that the best per byte are the best.
    """

    def __init__(self, budget_bytes_per_s: float, value_of: Callable[[Hardness], float]) -> None:
        """Begin without a past.

        Args:
            budget_bytes_per_s: long-run mean.
            value_of: what makes a frame better than another; 0 and less is never sent.
        """
        self._budget_bytes_per_s, self._value_of = budget_bytes_per_s, value_of
        self._seen: deque[tuple[float, float]] = deque(maxlen=_WINDOW)  # time, value
        self._case_bytes = _FIRST_GUESS_BYTES

    def wants(self, hardness: Hardness, now_s: float) -> bool:
        """Whether the frame is above the quantile of the last 256."""
        value = self._value_of(hardness)
        self._seen.append((now_s, value))
        if value <= 0 or len(self._seen) < _LEAST_SEEN:
            return False
        span_s = now_s - self._seen[0][0]
        frames = self._budget_bytes_per_s * span_s / self._case_bytes
        share = min(frames / (len(self._seen) - 1), 1.0)
        # A clock that jumped back leaves a negative one: nothing is affordable until the window is past it.
        return share > 0 and bool(value >= np.quantile([seen for _, seen in self._seen], 1 - share))

    def sent(self, payload_bytes: int) -> None:
        """Learn what a frame costs."""
        self._case_bytes += 0.2 * (payload_bytes - self._case_bytes)


def reward_of(hardness: Hardness) -> float:
    """The fitted reward; where none flies, the hardness."""
    return hardness.score if hardness.reward is None else hardness.reward


def make_policy(settings: SchedulerSettings) -> Policy | None:
    """The policy of the settings; None is the threshold that the scheduler itself keeps."""
    if settings.policy == "threshold":
        return None
    if settings.policy == "reward":
        return BudgetQuantile(settings.budget_bytes_per_s, reward_of)
    if settings.policy == "budget-quantile":
        return BudgetQuantile(settings.budget_bytes_per_s, lambda hardness: hardness.score)
    share = {"all": 1.0, "none": 0.0}.get(settings.policy, settings.random_share)
    return Draw(share, settings.seed)


class PolicyScheduler(Scheduler):
    """The scheduler with a policy of choice and the running audit.

    Attributes:
        audit: which frames were sent whatever their hardness, and how far the cloud agreed.
    """

    def __init__(self, settings: SchedulerSettings, space_id: str, variant: str) -> None:
        super().__init__(settings, space_id, variant)
        self.audit = Audit(settings.audit_share, settings.seed)
        self._space = (space_id, variant)
        self._policy = make_policy(settings)

    def consider(self, frame: Frame, result: FrameResult) -> PlannedCase | None:
        """A case for this frame, or None when it is not worth it or not affordable now."""
        is_audit, image = self.audit.is_due(), frame.image
        is_wanted = self._policy is not None and self._policy.wants(result.hardness, frame.captured_s)
        # A scene of a satellite is too large for one case; what stands out in it goes as crops.
        if (is_audit or is_wanted) and not isinstance(image, RasterImage):
            if self.pace.affords(frame.captured_s):
                return self._whole(frame, result, as_picture(image), is_audit=is_audit)
            self.pace.deferred += 1
        return super().consider(frame, result) if self._policy is None else None

    def _whole(self, frame: Frame, result: FrameResult, image: ImageArray, *, is_audit: bool) -> PlannedCase:
        """The whole frame as a case; one of the audit is worth most, or it would only ever see an idle link."""
        # The frame loop waits for this: WebP is smaller, but of large pictures it takes twenty times as long.
        is_small = frame.header.width * frame.header.height <= _WEBP_PIXELS
        media_type: MediaType = "image/webp" if is_small else "image/jpeg"
        quality = WHOLE_FRAME_QUALITY if is_small else _LARGE_FRAME_QUALITY
        payload = encode_image(image, media_type, quality)
        self.pace.charge(len(payload))
        region = (0, 0, frame.header.width, frame.header.height)
        case = describe_case(frame, result, region, payload, self._space, self.settings.ttl_s)
        reasons = result.hardness.reasons | ({"audit": 1.0} if is_audit else {})
        case = case.model_copy(update={"media_type": media_type, "reasons": reasons})
        if self._policy is not None:
            self._policy.sent(len(payload))
        if is_audit:
            self.audit.asked(case, result.hardness.features)
        return PlannedCase(case, payload, 1.0 if is_audit else result.hardness.score)
