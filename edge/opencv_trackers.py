"""Short-term trackers with OpenCV's interface, `init(image, box)` and `update(image)`, and those of `--tracker`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np

from edge.correlation import CorrelationTracker
from edge.errors import ConfigError, ModelError
from edge.nanotrack import NanoNetwork, only_file
from edge.paired import PairedTracker
from edge.short_term import ShortTermTracker, Sighting, checked_target
from protocols.arrays import FloatArray, ImageArray

_FOLLOWED = 0.5
"""Displacement of the expected place, in units of the target's size, that such a tracker finds by itself: all of them
search at least twice the target's size around its last place."""

Rect = tuple[int, int, int, int]


class OpenCvInterface(Protocol):
    """What `cv2.Tracker` and its kind can do; boxes are x, y, width, height."""

    def init(self, image: ImageArray, box: Rect, /) -> object:
        """Start at a box of whole pixels."""

    def update(self, image: ImageArray, /) -> tuple[bool, Any]:
        """Whether the target was found in the next frame, and its box."""


class OpenCvTracker:
    """Makes a short-term tracker of one with OpenCV's interface.

    Such a tracker looks around its own last box. To make it look elsewhere, it is shown the frame moved, so that the
    expected place lies where it looks; its answer is moved back. What it learns, and when, is its own affair.
    """

    def __init__(self, make: Callable[[], OpenCvInterface]) -> None:
        """Knows no target yet.

        Args:
            make: a new tracker, once for each start.
        """
        self._make = make

    def start(self, image: ImageArray, box_xyxy: FloatArray) -> None:
        """See `ShortTermTracker.start`."""
        box = checked_target(image, box_xyxy)
        self._tracker = self._make()
        self._offset = np.zeros(2, np.int64)
        self._inner = box
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        self._tracker.init(image, (x1, y1, x2 - x1, y2 - y1))

    def look(self, image: ImageArray, around_xyxy: FloatArray) -> Sighting:
        """See `ShortTermTracker.look`."""
        here = self._inner + np.tile(self._offset, 2)
        apart = (around_xyxy[:2] + around_xyxy[2:] - here[:2] - here[2:]) / 2
        if np.hypot(*apart) > _FOLLOWED * np.sqrt(np.prod(here[2:] - here[:2])):
            self._offset = self._offset + np.round(apart).astype(np.int64)
        is_found, box = self._tracker.update(self._moved(image))
        if is_found and min(box[2:]) > 0:
            x, y, width, height = (float(v) for v in box)
            self._inner = np.array([x, y, x + width, y + height], np.float32)
        found = np.asarray(self._inner + np.tile(self._offset, 2), dtype=np.float32)
        score = getattr(self._tracker, "getTrackingScore", None)
        return Sighting(found, float(score()) if callable(score) else float(is_found))

    def learn(self, image: ImageArray, sighting: Sighting) -> None:
        """Nothing: such trackers learn for themselves, while they look."""

    def restarted(self, image: ImageArray, box_xyxy: FloatArray) -> OpenCvTracker:
        """See `ShortTermTracker.restarted`; such trackers tell nobody what they know: it knows the box alone."""
        other = OpenCvTracker(self._make)
        other.start(image, box_xyxy)
        return other

    def copied(self) -> None:
        """OpenCV's trackers cannot be copied."""

    def _moved(self, image: ImageArray) -> ImageArray:
        """The frame as the tracker is to see it: what is at `_offset` comes first, edges go on."""
        if not self._offset.any():
            return image
        matrix = np.array([[1, 0, -self._offset[0]], [0, 1, -self._offset[1]]], np.float64)
        size = (image.shape[1], image.shape[0])
        moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, dtype=np.uint8)


def open_short_term(spec: str) -> Callable[[], ShortTermTracker]:
    """What makes the short-term trackers of `--tracker`.

    Args:
        spec: `correlation` (ours), `nano:DIR` (NanoTrack's two ONNX files, ours beside it), `vit:FILE`, `mil`, `csrt`
            and `kcf` where OpenCV has them.

    Raises:
        ConfigError: no such tracker, or this OpenCV lacks it.
        ModelError: its weights are missing or damaged.
    """
    name, _, where = spec.partition(":")
    if name == "correlation":
        return CorrelationTracker
    if name == "nano":
        network = NanoNetwork(Path(where))
        return lambda: PairedTracker(network)
    kinds: dict[str, Callable[[], OpenCvInterface]] = {
        "vit": lambda: _vit(Path(where)),
        **{kind: lambda kind=kind: _plain(kind) for kind in ("csrt", "kcf", "mil")},  # type: ignore[misc]
    }
    if name not in kinds:
        raise ConfigError(f"tracker {spec!r}: is none of correlation, nano, {', '.join(kinds)}; choose one of them")
    make = kinds[name]
    make()  # weights that are missing are told now, not when the first target appears
    return lambda: OpenCvTracker(make)


def _vit(file: Path) -> OpenCvInterface:
    parameters = cv2.TrackerVit_Params()  # type: ignore[attr-defined]
    parameters.net = str(only_file(file.parent, file.name))
    try:
        return cast(OpenCvInterface, cv2.TrackerVit_create(parameters))  # type: ignore[attr-defined]
    except cv2.error as exc:
        raise ModelError(f"{file}: OpenCV cannot read these weights of VitTrack; fetch them again") from exc


def _plain(kind: str) -> OpenCvInterface:
    create = getattr(cv2, f"Tracker{kind.upper()}_create", None)
    if create is None:
        raise ConfigError(f"tracker {kind}: this OpenCV lacks it; it comes with opencv-contrib-python alone")
    return cast(OpenCvInterface, create())
