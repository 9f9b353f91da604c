"""NanoTrack as a short-term tracker: a small Siamese network that knows the first picture of its target, and no other.

The network and its constants are NanoTrack's (https://github.com/HonglinChu/SiamTrackers, Apache-2.0), with weights
that the user supplies. Boxes come out of its answers as in `cv2.TrackerNano`, but not rounded to whole pixels; that
class hides where it looks and how sure it is, here both are plain, and ONNX Runtime takes half the time.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_status

from edge.errors import ModelError
from edge.short_term import SMALLEST_PX, Sighting, checked_target
from protocols.arrays import FloatArray, ImageArray

_EXEMPLAR_PX, _SEARCH_PX, _STRIDE_PX, _CELLS = 127, 255, 16, 16
_CONTEXT = 0.5
"""Margin of the exemplar, in units of the sum of the target's sides."""
_WINDOW, _PENALTY, _GAIN = 0.455, 0.055, 0.37
"""Share of the window that prefers places near the expected one, punishment of other shapes and sizes, share of the
newest size: NanoTrack's."""
_ODDS = (-7.8, 1.1)
"""Log odds that a look found the target: constant, and for the network's largest logit; see docs/tracking.md."""

_UNREADABLE = (
    cv2.error,
    ort_status.Fail,
    ort_status.InvalidArgument,
    ort_status.InvalidGraph,
    ort_status.InvalidProtobuf,
    ort_status.NoModel,
    ort_status.NoSuchFile,
    ort_status.NotImplemented,
    ort_status.RuntimeException,
)
"""What OpenCV and ONNX Runtime raise for a file that is no network: the latter's have no class in common."""


class NanoNetwork:
    """The weights, shared by all targets."""

    def __init__(self, folder: Path) -> None:
        """Open backbone and head.

        Raises:
            ModelError: they are missing or damaged.
        """
        backbone, head = (only_file(folder, pattern) for pattern in ("*backbone*.onnx", "*head*.onnx"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            # ONNX Runtime keeps to the size of input in the file; the exemplar is smaller, and seen once.
            self._first = cv2.dnn.readNet(str(backbone))
            self._backbone = ort.InferenceSession(str(backbone), options, providers=["CPUExecutionProvider"])
            self._head = ort.InferenceSession(str(head), options, providers=["CPUExecutionProvider"])
        except _UNREADABLE as exc:
            raise ModelError(f"{folder}: these weights of NanoTrack cannot be read; fetch them again") from exc
        self._input = self._backbone.get_inputs()[0].name
        self._inputs = [value.name for value in self._head.get_inputs()]

    def exemplar(self, picture: ImageArray) -> FloatArray:
        """(1, 48, 8, 8) float32 of a target's first picture, (127, 127, 3) uint8 BGR."""
        self._first.setInput(_blob(picture))
        return np.array(self._first.forward(), np.float32)

    def search(self, exemplar: FloatArray, picture: ImageArray) -> tuple[FloatArray, FloatArray]:
        """(16, 16) logits of the target's presence, and (4, 16, 16) pixels to its left, top, right and bottom edge.

        Args:
            exemplar: of `exemplar`.
            picture: (255, 255, 3) uint8 BGR.
        """
        (features,) = self._backbone.run(None, {self._input: _blob(picture)})
        scores, sides = self._head.run(None, dict(zip(self._inputs, (exemplar, features), strict=True)))
        return np.asarray(scores[0, 1] - scores[0, 0]), np.asarray(sides[0])


class NanoTracker:
    """NanoTrack for one target."""

    def __init__(self, network: NanoNetwork) -> None:
        """Knows no target yet."""
        self._network = network
        steps = (np.arange(_CELLS) - _CELLS // 2) * _STRIDE_PX
        self._x, self._y = np.meshgrid(steps, steps)
        hann = np.hanning(_CELLS)
        self._window = np.outer(hann, hann)

    def start(self, image: ImageArray, box_xyxy: FloatArray) -> None:
        """See `ShortTermTracker.start`."""
        box = checked_target(image, box_xyxy)
        # Beyond the image there is its mean colour.
        self._mean = [float(v) for v in cv2.mean(image)[:3]]
        self._exemplar = self._network.exemplar(self._cut(image, box, _EXEMPLAR_PX))

    def look(self, image: ImageArray, around_xyxy: FloatArray) -> Sighting:
        """See `ShortTermTracker.look`."""
        around = np.asarray(around_xyxy, dtype=np.float64)
        size = np.maximum(around[2:] - around[:2], SMALLEST_PX)
        logits, sides = self._network.search(self._exemplar, self._cut(image, around, _SEARCH_PX))
        left, top, right, bottom = self._x - sides[0], self._y - sides[1], self._x + sides[2], self._y + sides[3]
        sure = 1 / (1 + np.exp(-logits.astype(np.float64)))
        factor = _EXEMPLAR_PX / _margin(size)
        alike = np.exp(-_PENALTY * (_unlike(right - left, bottom - top, size * factor) - 1))
        row, column = np.unravel_index(
            int((alike * sure * (1 - _WINDOW) + _WINDOW * self._window).argmax()), sure.shape
        )
        best = np.array([left[row, column], top[row, column], right[row, column], bottom[row, column]]) / factor
        gain = alike[row, column] * sure[row, column] * _GAIN
        half = (size + gain * (best[2:] - best[:2] - size)) / 2
        limit = np.array(image.shape[1::-1], np.float64)
        half = np.clip(half, SMALLEST_PX / 2, limit / 2)
        middle = np.clip((around[:2] + around[2:]) / 2 + (best[:2] + best[2:]) / 2, 0, limit)
        bias, by_logit = _ODDS
        odds = bias + by_logit * float(logits.max())
        box = np.concatenate([middle - half, middle + half]).astype(np.float32)
        return Sighting(box, float(sure[row, column]), odds=odds)

    def learn(self, image: ImageArray, sighting: Sighting) -> None:
        """Nothing: the first picture is all that it knows."""

    def restarted(self, image: ImageArray, box_xyxy: FloatArray) -> NanoTracker:
        """See `ShortTermTracker.restarted`."""
        other = self.copied()
        other.start(image, box_xyxy)
        return other

    def copied(self) -> NanoTracker:
        """See `ShortTermTracker.copied`."""
        return copy(self)

    def _cut(self, image: ImageArray, box: NDArray[np.floating], out_px: int) -> ImageArray:
        """What lies around a box, at the scale at which the network is to see it."""
        middle = (box[:2] + box[2:]) / 2
        factor = _margin(box[2:] - box[:2]) / _EXEMPLAR_PX
        corner = middle - factor * out_px / 2 + (factor - 1) / 2
        matrix = np.array([[factor, 0, corner[0]], [0, factor, corner[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        border = (cv2.BORDER_CONSTANT, self._mean if image.ndim == 3 else self._mean[:1] * 3)
        out = (out_px, out_px)
        return np.asarray(cv2.warpAffine(picture, matrix, out, None, flags, *border), dtype=np.uint8)


def _blob(picture: ImageArray) -> FloatArray:
    return np.asarray(cv2.dnn.blobFromImage(picture, 1.0, swapRB=True), dtype=np.float32)


def _margin(size: NDArray[np.floating]) -> float:
    """Side of the exemplar around a target of that size, pixels."""
    return float(np.sqrt(np.prod(size + _CONTEXT * size.sum())))


def _unlike(width: NDArray[np.floating], height: NDArray[np.floating], size: NDArray[np.floating]) -> FloatArray:
    """How different sizes and shapes are from the last, 1 or more: product of both ratios (Li et al., CVPR 2018)."""
    width, height = np.maximum(width, 1e-3), np.maximum(height, 1e-3)
    padding = _CONTEXT * (width + height)
    scale = np.sqrt((width + padding) * (height + padding)) / _margin(size)
    shape = size[0] / size[1] / (width / height)
    return np.asarray(np.maximum(scale, 1 / scale) * np.maximum(shape, 1 / shape), dtype=np.float32)


def only_file(folder: Path, pattern: str) -> Path:
    """The one file of a tracker's weights.

    Raises:
        ModelError: there is none, or several.
    """
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ModelError(f"{folder}: holds {len(found)} files {pattern}; a tracker's weights want exactly one")
    return found[0]
