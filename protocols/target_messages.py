"""The messages about targets, and about frames to be shown again; they came within v1."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from protocols.fields import Box, CaseId, Coord, Counter, Duration, Id, Label, Message, Quality, Reason, Unit, WallTime
from protocols.values import FrameRef


class TrackTarget(Message):
    """Cloud to edge: follow a target, follow it no longer, or say how it is. Sent only to who lists this kind in Hello.

    Sending one again is always safe: a `target_key` begins once. Without box and point, what answers to the label is
    waited for.

    Attributes:
        target_key: the cloud's own name for the target, never used again.
        action: `start`; `stop`; `status` only asks.
        label: what to call it; a prompt or known class of that label answers for it.
        box_xyxy: where it is; with `start` alone, and then without a point.
        point_xy: a place on it; likewise without a box.
        is_normalised: box and point are shares of the frame, 0 left or top to 1 right or bottom; else pixels of it.
        seen_in: the frame that box or point are of; None is the newest one.
        ttl_s: from receipt on, how long it may still begin; None is for ever.
    """

    kind: Literal["TrackTarget"] = "TrackTarget"
    target_key: Id
    action: Literal["start", "stop", "status"]
    label: Label = "target"
    box_xyxy: Box | None = None
    point_xy: tuple[Coord, Coord] | None = None
    is_normalised: bool = Field(default=False, strict=True)
    seen_in: FrameRef | None = None
    ttl_s: Duration | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        places = [place for place in (self.box_xyxy, self.point_xy) if place is not None]
        if len(places) > (self.action == "start"):
            raise ValueError(f"{self.action} with {len(places)} places: a start has a box or a point, others neither")
        if self.is_normalised and not all(0 <= share <= 1 for place in places for share in place):
            raise ValueError("a share of the frame is not in 0..1: give pixels, or leave is_normalised out")
        return self


class TargetStatus(Message):
    """Edge to cloud: what has become of a target; the answer to `TrackTarget`, and sent whenever the state changes.

    Attributes:
        target_key: the cloud's name for it.
        state: `waiting` for its label to be seen; `tentative`, `tracked`, `lost`, `re_found` as it is followed;
            and for good `stopped`, `refused`, `expired` before it began, `unknown` to this craft.
        reason: of the state, readable.
        target_id: the craft's own number for it, once it has begun.
        box_xyxy: where it is, or where it was lost, pixels of the full frame.
        presence: how surely it is there, 0..1.
        frame_index: of the frame that this is about.
        captured_at_s: of that frame, by the craft's clock.
    """

    kind: Literal["TargetStatus"] = "TargetStatus"
    target_key: Id
    state: Literal["waiting", "tentative", "tracked", "lost", "re_found", "stopped", "refused", "expired", "unknown"]
    reason: Reason = ""
    target_id: Counter | None = None
    box_xyxy: Box | None = None
    presence: Unit | None = None
    frame_index: Counter | None = None
    captured_at_s: WallTime | None = None


class RefineRequest(Message):
    """Cloud to edge: show the frame of a case again, better. Sent only to who lists this kind in Hello.

    The answer is a new case that `refines` the first, or a Problem about `request_id`. Sending one again is always
    safe: a `request_id` is answered once.

    Attributes:
        request_id: the cloud's own name for the request, never used again.
        case_id: of a case of this craft that is not itself one that refines another.
        region_xyxy: the part of the full frame to show, pixels; None is what the case showed.
        quality: of the JPEG.
    """

    kind: Literal["RefineRequest"] = "RefineRequest"
    request_id: Id
    case_id: CaseId
    region_xyxy: Box | None = None
    quality: Quality = 90
