"""What somebody asks to have followed: a box in the newest frame, or the first thing that answers to a label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.errors import ConfigError, TargetError
from edge.raster import Picture, RasterImage
from edge.short_term import SMALLEST_PX
from edge.student import Perception, as_picture
from edge.targets import Answering, TargetTracker
from protocols.arrays import ImageArray
from protocols.boxes import box_iou

_SAME_IOU = 0.3
"""A detection that overlaps a followed target by more is that target: one label may be asked for twice."""


@dataclass(frozen=True)
class TargetRequest:
    """One target to begin with.

    Attributes:
        box_xywh: left, top, width and height in pixels of the next frame; None waits for what answers to the label.
        label: what to call it.
    """

    box_xywh: tuple[float, float, float, float] | None
    label: str = "target"


def parse_target(text: str) -> TargetRequest:
    """A value of `--target`: X,Y,W,H in pixels of the first frame, or the label of a prompt or known class.

    Raises:
        ConfigError: neither, or a box that no frame could hold.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and parts[0] and not _is_number(parts[0]):
        return TargetRequest(None, parts[0])
    if len(parts) != 4 or not all(map(_is_number, parts)):
        raise ConfigError(
            f"--target {text!r}: is neither X,Y,W,H in pixels nor a label; give one, for example 10,20,40,30"
        )
    x, y, width, height = (float(part) for part in parts)
    if min(width, height) < SMALLEST_PX:
        raise ConfigError(f"--target {text}: a side is under {SMALLEST_PX:g} px; choose a larger one, or come nearer")
    return TargetRequest((x, y, width, height))


def begin(
    requests: list[TargetRequest], tracker: TargetTracker, image: ImageArray, seen: Perception, answering: Answering
) -> list[TargetRequest]:
    """Begin what can be begun in a frame, and return the requests that wait for a later one.

    Args:
        requests: what is asked for.
        tracker: what is to follow it; has seen this frame already.
        image: the frame.
        seen: what the student saw in it.
        answering: see `edge.targets`.

    Raises:
        TargetError: a box is outside the frame.
    """
    waiting = []
    for request in requests:
        if request.box_xywh is not None:
            x, y, width, height = request.box_xywh
            tracker.start(image, np.array([x, y, x + width, y + height], np.float32), request.label, seen)
        elif not _begin_labelled(request.label, tracker, image, seen, answering):
            waiting.append(request)
    return waiting


def followable(image: Picture) -> ImageArray:
    """A frame as short-term trackers take it: gray or BGR.

    Raises:
        TargetError: it is too large to be held.
    """
    if isinstance(image, RasterImage):
        raise TargetError(f"{image.path}: is too large to follow a target in; cut it, or leave --target out")
    return image if image.ndim == 2 else as_picture(image)


def _begin_labelled(
    label: str, tracker: TargetTracker, image: ImageArray, seen: Perception, answering: Answering
) -> bool:
    """Begin at the first candidate, best first, that answers to a label and can be followed."""
    taken = np.array([target.box_xyxy for target in tracker.targets], np.float32).reshape(-1, 4)
    for row in answering.get(label, ()):
        box = seen.boxes_xyxy[row]
        if min(box[2:] - box[:2]) >= SMALLEST_PX and not (box_iou(box[None], taken) > _SAME_IOU).any():
            tracker.start(image, box, label, seen)
            return True
    return False


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
