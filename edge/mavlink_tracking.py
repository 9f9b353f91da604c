"""MAVLink's camera tracking in our words: commands as target requests, a target as a status message's fields.

Written after `common.xml` (https://mavlink.io/en/messages/common.html), which calls these commands work in progress.
Plain values in and out: which MAVLink library carries them is the craft's choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.errors import ConfigError
from edge.followed_target import Target
from edge.target_requests import TargetRequest, request_at_point, request_in_rectangle

TRACK_POINT, TRACK_RECTANGLE, STOP_TRACKING = 2004, 2005, 2010
"""MAV_CMD_CAMERA_TRACK_POINT, _TRACK_RECTANGLE and _STOP_TRACKING."""

# CAMERA_TRACKING_STATUS_FLAGS, CAMERA_TRACKING_MODE and CAMERA_TRACKING_TARGET_DATA
_IDLE, _ACTIVE, _ERROR = 0, 1, 2
_MODE_NONE, _MODE_RECTANGLE = 0, 2
_DATA_NONE, _DATA_IN_STATUS = 0, 4


@dataclass(frozen=True)
class TrackingImageStatus:
    """The fields of CAMERA_TRACKING_IMAGE_STATUS (message 275), under its names; NaN where unknown.

    Attributes:
        tracking_status: 0 idle, 1 active, 2 error (the target is lost).
        tracking_mode: 0 none, 2 rectangle.
        target_data: 0 none, 4 in this message.
        point_x, point_y, radius: of a tracked point; we track rectangles, so NaN.
        rec_top_x, rec_top_y, rec_bottom_x, rec_bottom_y: corners, 0 left or top to 1 right or bottom.
    """

    tracking_status: int = _IDLE
    tracking_mode: int = _MODE_NONE
    target_data: int = _DATA_NONE
    point_x: float = math.nan
    point_y: float = math.nan
    radius: float = math.nan
    rec_top_x: float = math.nan
    rec_top_y: float = math.nan
    rec_bottom_x: float = math.nan
    rec_bottom_y: float = math.nan


def tracking_request(command: int, params: Sequence[float]) -> TargetRequest | None:
    """What a camera tracking command asks for.

    Args:
        command: 2004, 2005 or 2010.
        params: param1 and on. A point: x, y, radius; a rectangle: x and y of its top left corner, then of its bottom
            right one; all 0 (left, top) to 1 (right, bottom), the radius as a share of the image's width, NaN or 0
            where it is not known.

    Returns:
        A request for `FramePipeline.follow`; None for the command that stops all tracking (`FramePipeline.stop_all`).

    Raises:
        ConfigError: another command, too few params, or one out of its range.
    """
    if command == STOP_TRACKING:
        return None
    needed = {TRACK_POINT: 3, TRACK_RECTANGLE: 4}.get(command)
    if needed is None:
        raise ConfigError(f"MAVLink command {command}: is not {TRACK_POINT}, {TRACK_RECTANGLE} or {STOP_TRACKING}")
    told = f"MAVLink command {command}, params {' '.join(f'{value:g}' for value in params)}"
    if len(params) < needed:
        raise ConfigError(f"{told}: has {len(params)} params; {needed} are needed")
    if command == TRACK_POINT:
        x, y, radius = params[:3]
        return request_at_point(x, y, 0.0 if math.isnan(radius) else radius, told=told)
    return request_in_rectangle(params[:4], told=told)


def image_status(target: Target | None, width: int, height: int) -> TrackingImageStatus:
    """What the camera tells of the target it follows.

    Args:
        target: as `FrameResult.targets` has it; None while nothing is followed.
        width: of the frame, pixels.
        height: of the frame, pixels.
    """
    if target is None:
        return TrackingImageStatus()
    if target.state == "lost":
        return TrackingImageStatus(tracking_status=_ERROR, tracking_mode=_MODE_RECTANGLE)
    x1, y1, x2, y2 = (float(edge) for edge in target.box_xyxy)
    return TrackingImageStatus(
        tracking_status=_ACTIVE,
        tracking_mode=_MODE_RECTANGLE,
        target_data=_DATA_IN_STATUS,
        rec_top_x=_share(x1, width),
        rec_top_y=_share(y1, height),
        rec_bottom_x=_share(x2, width),
        rec_bottom_y=_share(y2, height),
    )


def _share(edge: float, side: int) -> float:
    return min(max(edge / side, 0.0), 1.0)
