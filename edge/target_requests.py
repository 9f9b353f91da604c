"""What somebody asks to have followed: a box or a point of a frame, or the first thing that answers to a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.errors import ConfigError
from edge.short_term import SMALLEST_PX
from protocols.values import FrameRef

_FORMS = "X,Y,W,H or X,Y in pixels, X1:Y1:X2:Y2 or X:Y in shares of the frame, nor a label; give one of these"


@dataclass(frozen=True)
class TargetRequest:
    """One target to begin with; without box and point it waits for what answers to the label.

    Attributes:
        box_xywh: left, top, width and height.
        label: what to call it.
        point_xy: a place on the thing; the student, or `radius`, says how large it is.
        radius: half a side of the box around a point where the student sees nothing; 0 leaves that to us.
        is_normalised: box and point are shares of the frame's width and height, and the radius of its width; else
            pixels of the full frame.
        key: whose order it is; empty for one that was given with the start of the program.
        seen_in: the frame of box and point, perhaps one of the past; None is the newest.
    """

    box_xywh: tuple[float, float, float, float] | None = None
    label: str = "target"
    point_xy: tuple[float, float] | None = None
    radius: float = 0.0
    is_normalised: bool = False
    key: str = ""
    seen_in: FrameRef | None = None


def parse_target(text: str, option: str = "--target") -> TargetRequest:
    """What a person types.

    Args:
        text: X,Y,W,H or X,Y in pixels; X1:Y1:X2:Y2 (corners), X:Y or X:Y:RADIUS in shares of the frame, as in MAVLink;
            or the label of a prompt or known class.
        option: of the command line, for messages.

    Raises:
        ConfigError: none of these, or a place that no frame could hold.
    """
    separator = ":" if ":" in text else ","
    parts = [part.strip() for part in text.split(separator)]
    numbers = [number for part in parts if (number := _number(part)) is not None]
    if not numbers and text.strip() and "," not in text:
        return TargetRequest(label=text.strip())
    if len(numbers) == len(parts) and len(parts) in ((2, 4) if separator == "," else (2, 3, 4)):
        return _in_shares(numbers, f"{option} {text}") if separator == ":" else _in_pixels(numbers, f"{option} {text}")
    raise ConfigError(f"{option} {text!r}: is neither {_FORMS}")


def request_at_point(x: float, y: float, radius: float = 0.0, *, label: str = "target", told: str) -> TargetRequest:
    """A target at a point in shares of the frame.

    Args:
        x: 0 left to 1 right.
        y: 0 top to 1 bottom.
        radius: share of the frame's width, 0 for unknown.
        label: what to call it.
        told: who says so, for messages.

    Raises:
        ConfigError: a share is not between 0 and 1.
    """
    _check_shares((x, y, radius), told)
    return TargetRequest(label=label, point_xy=(x, y), radius=radius, is_normalised=True)


def request_in_rectangle(corners: Sequence[float], *, label: str = "target", told: str) -> TargetRequest:
    """A target in a rectangle in shares of the frame.

    Args:
        corners: x and y of the upper left one, then of the lower right one; 0 left or top to 1 right or bottom.
        label: what to call it.
        told: who says so, for messages.

    Raises:
        ConfigError: a share is not between 0 and 1, or the corners leave no area.
    """
    _check_shares(corners, told)
    x1, y1, x2, y2 = corners
    if not (x2 > x1 and y2 > y1):
        raise ConfigError(f"{told}: has no area; give the upper left corner first, then the lower right one")
    return TargetRequest((x1, y1, x2 - x1, y2 - y1), label, is_normalised=True)


def _in_shares(numbers: Sequence[float], told: str) -> TargetRequest:
    return request_in_rectangle(numbers, told=told) if len(numbers) == 4 else request_at_point(*numbers, told=told)


def _in_pixels(numbers: Sequence[float], told: str) -> TargetRequest:
    if len(numbers) == 2:
        return TargetRequest(point_xy=(numbers[0], numbers[1]))
    x, y, width, height = numbers
    if min(width, height) < SMALLEST_PX:
        raise ConfigError(f"{told}: a side is under {SMALLEST_PX:g} px; choose a larger one, or come nearer")
    return TargetRequest((x, y, width, height))


def _check_shares(shares: Sequence[float], told: str) -> None:
    if not all(0 <= share <= 1 for share in shares):  # nor nan
        raise ConfigError(f"{told}: is not in shares of the frame, 0 to 1; give pixels with commas: X,Y,W,H or X,Y")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
