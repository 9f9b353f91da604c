"""A person's wish to have something followed, checked and turned into the order that travels."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from cloud.asking import box_text, check_shown
from cloud.errors import RequestError
from cloud.store import StoredCase
from edge.config import first_problem
from edge.target_requests import TargetRequest, parse_target
from protocols.messages import TrackTarget
from protocols.values import FrameRef

PLACE_LIFE_S, LABEL_LIFE_S = 60.0, 3600.0
"""What stands at a place is elsewhere a minute later; a label may be seen any time in a flight."""

KEY_DIGITS = 12
"""Of the cloud's name for a target."""


def parse_place(box: str | None, point: str | None, label: str | None) -> TargetRequest:
    """What a person typed.

    Args:
        box: X,Y,W,H in full-frame pixels, or X1:Y1:X2:Y2 in shares of the frame.
        point: X,Y or X:Y likewise.
        label: what to call it; without a place also what to wait for.

    Raises:
        ConfigError: a place is malformed.
        RequestError: there is nothing to go by, or two places.
    """
    given = [(option, text) for option, text in (("--box", box), ("--point", point)) if text is not None]
    if len(given) > 1 or not (given or label):
        raise RequestError("give one of --box X,Y,W,H, --point X,Y and --label LABEL; a label may go with either place")
    if not given:
        return TargetRequest(label=label or "")
    ((option, text),) = given
    request = parse_target(text, option)
    if (request.box_xywh if option == "--box" else request.point_xy) is None:
        raise RequestError(f"{option} {text!r} is not {'X,Y,W,H' if option == '--box' else 'X,Y'}; see --help")
    if request.radius > 0:
        raise RequestError(f"{option} {text!r}: a radius does not travel; give the point alone, or --box")
    return replace(request, label=label or request.label)


def order_of(key: str, request: TargetRequest, seen: StoredCase | None) -> TrackTarget:
    """The order to follow what a person asks for.

    Args:
        key: the cloud's name for the target.
        request: of `parse_place`.
        seen: the case in whose picture it was seen. A point in it means the smallest thing that the craft detected
            there, if any.

    Raises:
        RequestError: the place is not in the case's picture, or the label is not printable.
    """
    request, seen_in = (request, None) if seen is None else _in_case(request, seen)
    box = None
    if request.box_xywh is not None:
        x, y, width, height = request.box_xywh
        box = (x, y, x + width, y + height)
    try:
        return TrackTarget(
            target_key=key,
            action="start",
            label=request.label,
            box_xyxy=box,
            point_xy=request.point_xy,
            is_normalised=request.is_normalised,
            seen_in=seen_in,
        )
    except ValidationError as exc:
        raise RequestError(first_problem(exc)) from exc


def _in_case(request: TargetRequest, seen: StoredCase) -> tuple[TargetRequest, FrameRef]:
    """A request in pixels of a case's frame, and that frame."""
    frame = seen.case.frame
    across, down = (frame.width, frame.height) if request.is_normalised else (1, 1)
    if request.box_xywh is not None:
        x, y, width, height = request.box_xywh
        request = replace(request, box_xywh=(x * across, y * down, width * across, height * down))
    elif request.point_xy is not None:
        request = _at_point(request, (request.point_xy[0] * across, request.point_xy[1] * down), seen)
    else:
        raise RequestError("--case says in which picture the target was seen; give its place there with --box")
    if request.box_xywh is not None:
        x, y, width, height = request.box_xywh
        check_shown((x, y, x + width, y + height), seen)
    reference = FrameRef(
        source_id=frame.source_id, index=frame.index, captured_at_s=frame.captured_at_s, case_id=seen.case.case_id
    )
    return replace(request, is_normalised=False), reference


def _at_point(request: TargetRequest, point: tuple[float, float], seen: StoredCase) -> TargetRequest:
    """The request for what was detected at a point of a case, else for the point."""
    regions = [part.region_xyxy for part in seen.case.parts]
    if not any(left <= point[0] <= right and top <= point[1] <= bottom for left, top, right, bottom in regions):
        shown = " and ".join(map(box_text, regions))
        raise RequestError(f"--point {point[0]:g},{point[1]:g} is outside the picture, which shows {shown} (x,y,w,h)")
    sizes = [(d.box_xyxy[2] - d.box_xyxy[0], d.box_xyxy[3] - d.box_xyxy[1]) for d in seen.case.detections]
    there = [
        (width * height, (d.box_xyxy[0], d.box_xyxy[1], width, height))
        for d, (width, height) in zip(seen.case.detections, sizes, strict=True)
        if 0 <= point[0] - d.box_xyxy[0] <= width and 0 <= point[1] - d.box_xyxy[1] <= height
    ]
    return replace(request, point_xy=None, box_xywh=min(there)[1]) if there else replace(request, point_xy=point)
