"""Which frames are asked about: policies that can be chosen, and the audit that sends a few frames whatever they say.

`threshold`, the default, is `edge.scheduler`'s: a hardness that stays above a number, crops of what nobody can name.
The others judge whole frames: `reward` those from which most is expected per byte, `budget-quantile` the hardest, both
as many as the budget pays; `random` a share, `all` every frame and `none` no frame. The byte budget binds all of them.
A frame of the audit always travels in one quality, the others in what their bytes are worth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

from edge.audit import Audit
from edge.capture import Frame
from edge.coding import CODINGS, WEBP_PIXELS, encode_as
from edge.hardness import Hardness
from edge.pipeline import FrameResult
from edge.raster import RasterImage
from edge.scheduler import FIRST_GUESS_BYTES, PlannedCase, Scheduler, SchedulerSettings, class_of_frame, describe_case
from edge.student import as_picture
from protocols.arrays import ImageArray

_AUDIT_CODING, _LARGE_AUDIT_CODING = (
    next(coding for coding in CODINGS if (coding.media_type, coding.quality) == wanted)
    for wanted in (("image/webp", 20), ("image/jpeg", 40))
)
"""WebP 20 recovered the most of the gap per byte on HIT-UAV dev of 10 to 60, and than JPEG of any quality; at JPEG 40
the teacher keeps 99 % of what it reaches on raw frames there (docs/hardness.md)."""

_WINDOW = 256
_LEAST_SEEN = 16
"""Frames before a quantile means anything."""


class Policy(Protocol):
    """Says of every frame, in order, whether it should be sent."""

    def wants(self, hardness: Hardness, now_s: float) -> bool:
        """Whether this frame, captured at a monotonic time, is worth a case."""
        ...

    def worth(self, hardness: Hardness) -> float:
        """What a frame it wanted is worth, in units of the least valuable one that it wants; at least 1."""
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

    def worth(self, hardness: Hardness) -> float:
        """Chance makes all alike."""
        return 1.0

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
        self._case_bytes, self._least = FIRST_GUESS_BYTES, 0.0

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
        self._least = float(np.quantile([seen for _, seen in self._seen], 1 - max(share, 0.0)))
        return share > 0 and value >= self._least

    def worth(self, hardness: Hardness) -> float:
        """By its value over that of the quantile."""
        return max(self._value_of(hardness) / max(self._least, 1e-6), 1.0)

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
        self._policy = make_policy(settings)

    def use_student(self, space_id: str, variant: str) -> None:
        """Another student looks from now on; see `Scheduler.use_student`."""
        super().use_student(space_id, variant)
        self.audit.begin_anew()

    def consider(self, frame: Frame, result: FrameResult) -> PlannedCase | None:
        """A case for this frame, or None when it is not worth it or not affordable now."""
        is_audit, image = self.audit.is_due(), frame.image
        is_wanted = self._policy is not None and self._policy.wants(result.hardness, frame.captured_s)
        # A scene of a satellite is too large for one case; what stands out in it goes as crops.
        if (is_audit or is_wanted) and not isinstance(image, RasterImage):
            value, name = (1.0, "") if is_audit else (result.hardness.score, class_of_frame(result))
            if not self.pace.affords(frame.captured_s, name):
                self.pace.deferred += 1
            elif self.is_in_time(value):
                return self._whole(frame, result, as_picture(image), is_audit=is_audit)
        return super().consider(frame, result) if self._policy is None else None

    def _whole(self, frame: Frame, result: FrameResult, image: ImageArray, *, is_audit: bool) -> PlannedCase:
        """The whole frame as a case; one of the audit is worth most, or it would only ever see an idle link."""
        if is_audit or self._policy is None:  # how far the cloud agrees must not depend on the link
            is_small = frame.header.width * frame.header.height <= WEBP_PIXELS
            coding = _AUDIT_CODING if is_small else _LARGE_AUDIT_CODING
            payload = encode_as(image, coding)
        else:
            coding, (payload,) = self._encode([image], result.hardness.score, self._policy.worth(result.hardness))
        self.pace.charge(len(payload), "" if is_audit else class_of_frame(result))
        self._made(len(payload))
        pictures = [((0, 0, frame.header.width, frame.header.height), payload)]
        case, _ = describe_case(frame, result, pictures, self._space, coding, self.settings.ttl_s)
        if is_audit:
            case = case.model_copy(update={"reasons": result.hardness.reasons | {"audit": 1.0}})
        if self._policy is not None:
            self._policy.sent(len(payload))
        if is_audit:
            self.audit.asked(case, result.hardness.features)
        return PlannedCase(case, payload, 1.0 if is_audit else result.hardness.score)
