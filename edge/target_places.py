"""From what is asked for to targets that are followed: where a box, a point or a label lies in a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge.errors import TargetError
from edge.followed_target import JUST_BEGUN, Answering, Target
from edge.raster import Picture, RasterImage
from edge.recent_frames import RecentFrames
from edge.short_term import SMALLEST_PX, checked_target
from edge.student import Perception, as_picture
from edge.target_requests import TargetRequest
from edge.targets import TargetTracker
from protocols.arrays import Boxes, FloatArray, ImageArray
from protocols.boxes import box_iou
from protocols.values import FrameHeader, FrameRef

_SAME_TIME_S = 1e-3
"""Frames of one index whose wall times differ by more are of two flights."""

_SAME_IOU = 0.3
"""A detection that overlaps a followed target by more is that target: one label may be asked for twice."""

_MISS_PX = 4.0
"""A point so far beside a candidate still means it: the student's maps are no finer than their stride."""

_POINT_SHARE = 1 / 16
"""Of the frame's shorter side: a box around a point where the student sees nothing at all. Half of the 307 things in
`skyloop-sim render --mix teacher --frames 24 --seed 41` have sides between 1/24 and 1/8 of it, 1/15 in the median."""

_POINT_LEAST_PX = 16.0
"""The least side of a box around a point: under it short-term trackers see too few of their cells of 4 px."""


class Beginning(NamedTuple):
    """What became of a request.

    Attributes:
        request: which.
        target_id: of the target that begins; None where it is refused.
        reason: why not, or how the target's box was found.
    """

    request: TargetRequest
    target_id: int | None
    reason: str


@dataclass(frozen=True)
class Present:
    """The newest frame, and those before it, as requests need them.

    Attributes:
        header, image: of the newest frame.
        seen: what the student saw in it.
        answering: see `edge.followed_target`.
        recent: the newest frames, this one the last.
        captured_at_s: wall times of those by index, to tell them from another flight's.
    """

    header: FrameHeader
    image: ImageArray
    seen: Perception
    answering: Answering
    recent: RecentFrames
    captured_at_s: Mapping[int, float]


def begin(
    requests: Sequence[TargetRequest], tracker: TargetTracker, present: Present
) -> tuple[list[TargetRequest], list[Beginning]]:
    """Begin what can be begun in a frame; what cannot is refused without harm to the others.

    Args:
        requests: what is asked for.
        tracker: what is to follow it; has seen this frame already.
        present: this frame.

    Returns:
        The requests that wait for a later frame, and what became of the others.
    """
    waiting, begun = [], []
    for request in requests:
        try:
            started = _begin(request, tracker, present)
        except TargetError as exc:
            begun.append(Beginning(request, None, str(exc)))
            continue
        if started is None:
            waiting.append(request)
        else:
            target, how = started
            begun.append(Beginning(request, target.target_id, f"{target.reason}{how}"))
    return waiting, begun


def check_requests(requests: Sequence[TargetRequest], first: Picture, most: int) -> None:
    """Refuse what cannot be followed from the first frame on.

    Args:
        requests: what is asked for.
        first: that frame.
        most: targets at one time.

    Raises:
        TargetError: there are too many, the frame is too large to be held, a box or point is outside it or too small.
    """
    if len(requests) > most:
        raise TargetError(f"{len(requests)} targets are asked for, at most {most}; leave some out")
    image = followable(first)
    for request in requests:
        if request.box_xywh is not None:
            checked_target(image, _box(request, image))
        elif request.point_xy is not None:
            _point(request, image)


def followable(image: Picture) -> ImageArray:
    """A frame as short-term trackers take it: gray or BGR.

    Raises:
        TargetError: it is too large to be held.
    """
    if isinstance(image, RasterImage):
        raise TargetError(f"{image.path}: is too large to follow a target in; cut it, or leave --target out")
    return image if image.ndim == 2 else as_picture(image)


def _begin(request: TargetRequest, tracker: TargetTracker, present: Present) -> tuple[Target, str] | None:
    """The target that begins, and what its reason leaves out; None where its label is not seen."""
    if request.box_xywh is None and request.point_xy is None:
        labelled = _begin_labelled(request.label, tracker, present)
        return None if labelled is None else (labelled, "")
    index = _seen_index(request.seen_in, present)
    if index != present.header.index:
        box, how = _place(request, present.recent.at(index).image, None)
        return tracker.start_at(present.recent, index, box, request.label), how
    box, how = _place(request, present.image, present.seen)
    return tracker.start(present.image, box, request.label, present.seen, reason=f"{JUST_BEGUN}{how}"), ""


def _seen_index(seen_in: FrameRef | None, present: Present) -> int:
    """Index of the frame that a request speaks of.

    Raises:
        TargetError: it is of another source or flight, or not held any more.
    """
    newest = present.header
    if seen_in is None:
        return newest.index
    at_s = present.captured_at_s.get(seen_in.index)
    is_other = at_s is not None and abs(at_s - seen_in.captured_at_s) > _SAME_TIME_S
    if seen_in.source_id != newest.source_id or is_other or seen_in.index > newest.index:
        raise TargetError(
            f"frame {seen_in.index}: is of another flight or source; show the target in a newer picture, or review the "
            "case and give its label"
        )
    if at_s is None:
        raise TargetError(
            f"frame {seen_in.index}: is no longer held, {newest.index} is the newest; show the target in a newer "
            "picture, or review the case and give its label"
        )
    return seen_in.index


def _begin_labelled(label: str, tracker: TargetTracker, present: Present) -> Target | None:
    """Begin at the first candidate, best first, that answers to a label and can be followed."""
    seen = present.seen
    taken = np.array([target.box_xyxy for target in tracker.targets], np.float32).reshape(-1, 4)
    for row in present.answering.get(label, ()):
        box = seen.boxes_xyxy[row]
        if min(box[2:] - box[:2]) >= SMALLEST_PX and not (box_iou(box[None], taken) > _SAME_IOU).any():
            return tracker.start(present.image, box, label, seen)
    return None


def _place(request: TargetRequest, image: ImageArray, seen: Perception | None) -> tuple[FloatArray, str]:
    """(4,) the box of a request in a frame, and what to say of it."""
    return (_box(request, image), "") if request.box_xywh is not None else _around_point(request, image, seen)


def _box(request: TargetRequest, image: ImageArray) -> FloatArray:
    """(4,) edges of the box of a request, in pixels of a frame."""
    assert request.box_xywh is not None
    x, y, width, height = request.box_xywh
    edges = np.array([x, y, x + width, y + height], np.float32)
    return edges * np.tile(_size(image), 2) if request.is_normalised else edges


def _point(request: TargetRequest, image: ImageArray) -> FloatArray:
    """(2,) pixels of the point of a request.

    Raises:
        TargetError: it is outside the frame.
    """
    size = _size(image)
    point = np.asarray(request.point_xy, np.float32) * (size if request.is_normalised else 1)
    if not ((point >= 0) & (point <= size)).all():
        raise TargetError(
            f"target at {point[0]:g},{point[1]:g}: is outside the frame of {size[0]:g}x{size[1]:g}; choose one within"
        )
    return np.asarray(point, np.float32)


def _around_point(request: TargetRequest, image: ImageArray, seen: Perception | None) -> tuple[FloatArray, str]:
    """A box about the point of a request, and where it comes from; what the student saw in the past nobody knows."""
    size, point = _size(image), _point(request, image)
    things = np.zeros((0, 4), np.float32) if seen is None else seen.boxes_xyxy[seen.is_object]
    things = things[(things[:, 2:] - things[:, :2]).min(axis=1, initial=np.inf) >= SMALLEST_PX]
    nearest = _candidate_at(point, things)
    if nearest is not None:
        return nearest, ", the student's candidate at the point"
    radius = request.radius * float(size[0]) if request.is_normalised else request.radius
    if radius > 0:
        half, told = radius, "as large as was asked for"
    elif len(things):
        half = float(np.sqrt(np.median(np.prod(things[:, 2:] - things[:, :2], axis=1)))) / 2
        told = "as large as what the student sees elsewhere"
    else:
        half, told = _POINT_SHARE * float(size.min()) / 2, "of a size that is usual"
    half = max(half, _POINT_LEAST_PX / 2)
    return np.concatenate([point - half, point + half]), f", a box of {2 * half:.0f} px around the point, {told}"


def _candidate_at(point: FloatArray, things_xyxy: Boxes) -> FloatArray | None:
    """The candidate in whose middle a point lies most, measured in its own size; None where there is none."""
    if not len(things_xyxy):
        return None
    half = (things_xyxy[:, 2:] - things_xyxy[:, :2]) / 2
    away = np.abs(point - (things_xyxy[:, :2] + things_xyxy[:, 2:]) / 2)
    is_there = (away <= half + _MISS_PX).all(axis=1)
    if not is_there.any():
        return None
    eccentric = np.where(is_there, (away / half).max(axis=1), np.inf)
    return np.asarray(things_xyxy[int(eccentric.argmin())], np.float32)


def _size(image: ImageArray) -> FloatArray:
    """(2,) width and height."""
    return np.array([image.shape[1], image.shape[0]], np.float32)
