"""Any ONNX object detector as a teacher: `NAME.onnx`, and beside it `NAME.toml`, which names its classes.

Two layouts of outputs are understood: one map `(1, 4 + K, N)` of box middles, sizes and class scores, as YOLO exports
have it, and separate outputs for boxes, scores and labels, as torchvision's and most others' have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import Field

from cloud.errors import TeacherError
from cloud.teachers.teacher import Exemplar, Places, TeacherAnswer
from edge.config import Settings, read_toml
from edge.errors import ConfigError
from edge.student import as_bgr
from protocols.arrays import Boxes, FloatArray, ImageArray
from protocols.boxes import clip_boxes, nms

_GRAY = 114
_FREE_SIDE_PX = 640
"""Side of the input where the model leaves it open."""


class DetectorSettings(Settings):
    """What an ONNX file does not tell about itself.

    Attributes:
        labels: class names in the model's order.
        first_label: number of the first of them in a list of labels; 1 where 0 is background.
        colours: order of the input's channels.
        mean, deviation: what is taken off each channel and what it is divided by, after scaling to [0, 1].
        boxes: whether answered boxes are in pixels of the input or shares of its sides.
        score_floor: least score of a detection.
        nms_iou: overlap within a class from which the weaker one is dropped.
    """

    labels: tuple[str, ...] = Field(min_length=1, max_length=10_000)
    first_label: int = Field(default=0, ge=0)
    colours: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    boxes: Literal["pixels", "shares"] = "pixels"
    score_floor: float = Field(default=0.25, ge=0, le=1)
    nms_iou: float = Field(default=0.5, gt=0, le=1)


@dataclass(frozen=True)
class _Found:
    """(N, 4) boxes xyxy in the input's pixels or shares, (N,) class numbers from 0, (N,) scores."""

    boxes: Boxes
    classes: NDArray[np.int64]
    scores: FloatArray


class OnnxDetector:
    """A detector in one ONNX file; it has no dense features and finds no exemplars."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Open it.

        Args:
            path: the ONNX file.
            threads: ONNX Runtime threads, 0 for all cores.

        Raises:
            TeacherError: it or its settings are missing or damaged, or its inputs or outputs are of another kind.
        """
        self._path = path
        self._settings = _settings_beside(path)
        self._session = _session(path, threads)
        self._input = self._session.get_inputs()[0]
        if len(self._input.shape) != 4 or self._input.shape[1] != 3:
            raise TeacherError(f"{path}: its input is {self._input.shape}, (1, 3, H, W) wanted; export it so")
        free = [side if isinstance(side, int) and side > 0 else _FREE_SIDE_PX for side in self._input.shape[2:]]
        self._sides = (free[0], free[1])
        # A map has an axis of images; of the lists that other models give nobody can tell whose each row is.
        self._has_batch_axis = not isinstance(self._input.shape[0], int) and len(self._session.get_outputs()) == 1
        self.labels = self._settings.labels
        self.name = f"{path.stem}/onnx"[:128]
        self.space = hashlib.sha256(path.read_bytes()).hexdigest()[:32]

    def interpret(self, frames: Sequence[ImageArray]) -> list[TeacherAnswer]:
        """One answer for each image; see `Teacher`."""
        pictures = [_letterboxed(as_bgr(frame), self._sides) for frame in frames]
        if not self._has_batch_axis or len(frames) < 2:
            return [self._interpret(*item) for item in zip(frames, pictures, strict=True)]
        outputs = self._run(np.concatenate([self._tensor(picture) for picture, _ in pictures]), frames[0])
        (maps,) = outputs
        return [
            self._answer([maps[index : index + 1]], frame, scale)
            for index, (frame, (_, scale)) in enumerate(zip(frames, pictures, strict=True))
        ]

    def dense_features(self, frames: Sequence[ImageArray]) -> FloatArray:
        """Not to be had: a detector's file gives boxes alone."""
        raise TeacherError(f"{self.name}: an ONNX detector has no dense features; distil boxes and classes only")

    def find(self, chips: Sequence[Exemplar], frames: Sequence[ImageArray]) -> list[Places]:
        """Not to be had: boxes and labels alone tell nothing of one thing's looks."""
        raise TeacherError(
            f"{self.name}: an ONNX detector cannot look for exemplars; use the bundled teacher or one with features"
        )

    def _interpret(self, frame: ImageArray, prepared: tuple[ImageArray, float]) -> TeacherAnswer:
        picture, scale = prepared
        return self._answer(self._run(self._tensor(picture), frame), frame, scale)

    def _run(self, tensor: Any, frame: ImageArray) -> list[NDArray[Any]]:  # noqa: ANN401 - see `_tensor`
        try:
            return [np.asarray(output) for output in self._session.run(None, {self._input.name: tensor})]
        except Exception as exc:  # onnxruntime raises its own unrelated classes, one per status code
            height, width = frame.shape[:2]
            many = f" and {len(tensor) - 1} more" if len(tensor) > 1 else ""
            raise TeacherError(f"{self.name}: failed on a {width}x{height} image{many} ({str(exc)[:200]})") from exc

    def _answer(self, outputs: list[NDArray[Any]], frame: ImageArray, scale: float) -> TeacherAnswer:
        height, width = frame.shape[:2]
        found = self._read(outputs)
        pixels = found.boxes * (np.tile(self._sides[::-1], 2) if self._settings.boxes == "shares" else 1.0)
        boxes = clip_boxes(np.asarray(pixels / scale, dtype=np.float32), width, height)
        kept = nms(boxes, found.scores, self._settings.nms_iou, found.classes)
        kept = kept[np.argsort(-found.scores[kept], kind="stable")]
        labels = tuple(self.labels[index] for index in found.classes[kept].tolist())
        return TeacherAnswer(boxes[kept], labels, found.scores[kept])

    def _tensor(self, picture: ImageArray) -> Any:  # noqa: ANN401 - float32 or float16, as the model wants it
        channels = picture[..., ::-1] if self._settings.colours == "rgb" else picture
        scaled = (channels / np.float32(255.0) - self._settings.mean) / self._settings.deviation
        dtype = np.float16 if "float16" in self._input.type else np.float32
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], dtype=dtype)

    def _read(self, outputs: list[NDArray[Any]]) -> _Found:
        """What the outputs say, whichever layout they have, above the score floor."""
        found = self._read_map(outputs[0]) if len(outputs) == 1 else self._read_lists(outputs)
        sure = (found.scores >= self._settings.score_floor) & np.isfinite(found.boxes).all(axis=1)
        known = (found.classes >= 0) & (found.classes < len(self.labels))
        kept = sure & known
        return _Found(found.boxes[kept], found.classes[kept], found.scores[kept])

    def _read_map(self, output: NDArray[Any]) -> _Found:
        rows = 4 + len(self.labels)
        if output.ndim != 3 or output.shape[1] != rows:
            raise TeacherError(
                f"{self._path}: its output is {output.shape}, (1, {rows}, N) wanted for {len(self.labels)} labels; "
                "check the labels in its .toml"
            )
        x, y, width, height = output[0, :4].astype(np.float32)
        boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
        scores = output[0, 4:].astype(np.float32)
        classes = scores.argmax(axis=0)
        return _Found(boxes, classes, scores[classes, np.arange(scores.shape[1])])

    def _read_lists(self, outputs: list[NDArray[Any]]) -> _Found:
        """Boxes are told by their last side of 4, labels by whole numbers, scores by what is left."""
        flat = [output[0] if output.ndim > 1 and output.shape[0] == 1 else output for output in outputs]
        boxes = next((item for item in flat if item.ndim == 2 and item.shape[1] == 4), None)
        lists = [item for item in flat if item.ndim == 1 and boxes is not None and len(item) == len(boxes)]
        labels = next((item for item in lists if item.dtype.kind in "iu"), None)
        scores = next((item for item in lists if item.dtype.kind == "f"), None)
        if boxes is None or labels is None or scores is None:
            shapes = ", ".join(f"{item.dtype} {item.shape}" for item in outputs)
            raise TeacherError(
                f"{self._path}: its outputs are {shapes}; one (1, 4 + K, N) map, or float boxes (N, 4), float scores "
                "(N,) and whole-number labels (N,) wanted; export it so"
            )
        classes = labels.astype(np.int64) - self._settings.first_label
        return _Found(boxes.astype(np.float32), classes, scores.astype(np.float32))


def _settings_beside(path: Path) -> DetectorSettings:
    file = path.with_suffix(".toml")
    if not file.is_file():
        raise TeacherError(f'{path}: {file.name} is not beside it; write one with labels = ["Car", ...] in its order')
    try:
        return read_toml(file, DetectorSettings)
    except ConfigError as exc:
        raise TeacherError(str(exc)) from exc


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=ort.get_available_providers())
    except Exception as exc:  # onnxruntime raises its own unrelated classes, one per status code
        raise TeacherError(f"{path}: ONNX Runtime cannot load it ({str(exc)[:200]}); fetch it again") from exc


def _letterboxed(image: ImageArray, sides: tuple[int, int]) -> tuple[ImageArray, float]:
    """The image scaled to fit (height, width), gray below and to the right; and the scale."""
    scale = min(sides[0] / image.shape[0], sides[1] / image.shape[1])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    picture = np.full((*sides, 3), _GRAY, np.uint8)
    picture[: size[1], : size[0]] = small
    return picture, scale
