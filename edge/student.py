"""The student: one image in, candidates with boxes, scores and embeddings out.

Candidates are the local maxima of "something is here" on the output grid. Known-class detections, prompted detections
and hardness all read the same candidates, so a frame runs through the network once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import BGR, PIXEL_MEAN, Bundle, Manifest
from edge.raster import Picture, RasterImage
from edge.runtime import Backend, RawOutputs, open_backend
from edge.runtime.onnx import OnnxBackend
from protocols.arrays import Boxes, FloatArray, ImageArray
from protocols.boxes import clip_boxes, nms
from protocols.errors import ShapeError

CANDIDATE_FLOOR = 0.08
"""Peaks below this probability are noise; prompts may still find things well below the report threshold."""

MAX_CANDIDATES = 200
KNOWN_NMS_IOU = 0.55
"""On a third of HIT-UAV dev, 0.5 to 0.8 differed by 0.2 points of mAP50 (bundled teacher's precursor)."""
MAX_LOG_CELLS = 5.0
"""exp(5) = 148 cells of 4 px: larger than any frame side we run; keeps a damaged model from overflowing."""


NO_MAPS = RawOutputs(*(np.zeros((0, 0, 0), np.float32),) * 4)
"""In place of maps, 5 MB a frame, that nobody needs any more."""


@dataclass(frozen=True)
class Perception:
    """What the student saw in one image.

    Attributes:
        boxes_xyxy: (N, 4) float32 pixels of the image, best candidate first.
        objectness: (N,) float32 probability that a candidate is any object.
        is_object: (N,) bool, objectness reaches the bundle's `object_floor`: what prompts may claim.
        class_scores: (N, C) float32 probabilities, independent per class, calibrated by the bundle.
        embeddings: (N, D) float32, unit length.
        raw: the network's maps, for pooling under masks; `NO_MAPS` where they were let go.
    """

    boxes_xyxy: Boxes
    objectness: FloatArray
    is_object: NDArray[np.bool_]
    class_scores: FloatArray
    embeddings: FloatArray
    raw: RawOutputs


@dataclass(frozen=True)
class Known:
    """Known-class detections as rows into a `Perception`: (M,) candidate indices, class indices and scores."""

    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    scores: FloatArray


class Student:
    """A bundle on a backend."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self.bundle = bundle
        self.backend = backend
        labels = len(bundle.manifest.labels)
        self._scale = np.asarray(bundle.manifest.score_scale or (1.0,) * labels, dtype=np.float32)
        self._bias = np.asarray(bundle.manifest.score_bias or (0.0,) * labels, dtype=np.float32)

    @classmethod
    def open(cls, bundle: Bundle, *, threads: int = 0) -> Student:
        """The student of a bundle on the CPU.

        Raises:
            ModelError: the bundle's file does not load.
        """
        return cls(bundle, open_backend(bundle, threads=threads))

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    def perceive(self, image: Picture) -> Perception:
        """Candidates of one image.

        Args:
            image: uint8, any size, with the bundle's bands (see `as_bands`); padded to the network's multiple.

        Raises:
            ShapeError: another shape or dtype, or a raster too large to hold: `edge.tiling` looks at those.
        """
        if isinstance(image, RasterImage):
            width, height = image.shape[1], image.shape[0]
            raise ShapeError(f"{image.path}: {width}x{height} pixels are too many at once; look in tiles (--tile 640)")
        return self._read(self.backend.run(self._padded(image)), image.shape[0], image.shape[1])

    def perceive_all(self, images: Sequence[ImageArray]) -> list[Perception]:
        """Candidates of several images, in one run for each size where the backend takes that.

        Args:
            images: as of `perceive`.

        Raises:
            ShapeError: as of `perceive`.
        """
        if not isinstance(self.backend, OnnxBackend) or not self.backend.has_batch_axis:
            return [self.perceive(image) for image in images]
        padded = [self._padded(image) for image in images]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, item in enumerate(padded):
            by_shape.setdefault(item.shape, []).append(index)
        seen: dict[int, Perception] = {}
        for indices in by_shape.values():
            maps = self.backend.run_all(np.stack([padded[index] for index in indices]))
            for index, raw in zip(indices, maps, strict=True):
                seen[index] = self._read(raw, images[index].shape[0], images[index].shape[1])
        return [seen[index] for index in range(len(images))]

    def _padded(self, image: ImageArray) -> ImageArray:
        """As the network takes it."""
        whole = as_bands(image, self.manifest.band_names)
        return pad_to_multiple(whole, self.manifest.multiple_px, self.manifest.padding)

    def _read(self, raw: RawOutputs, height: int, width: int) -> Perception:
        """What the maps say of an image of that size."""
        rows, columns = _peaks(raw)
        boxes = _decode_boxes(raw.box_ltrb[:, rows, columns], rows, columns, self.manifest.stride_px)
        objectness = sigmoid(raw.objectness[rows, columns])
        return Perception(
            boxes_xyxy=clip_boxes(boxes, width, height),
            objectness=objectness,
            is_object=objectness > self.manifest.object_floor,
            class_scores=sigmoid(raw.class_logits[:, rows, columns].T * self._scale + self._bias),
            embeddings=unit_rows(raw.embedding[:, rows, columns].T),
            raw=raw,
        )

    def known(self, seen: Perception, floor: float | None = None) -> Known:
        """Known-class detections: every class of a candidate above the floor, overlaps within one class removed.

        Args:
            seen: a perception of this student.
            floor: least score; by default the manifest's `score_floor`.
        """
        floor = self.manifest.score_floor if floor is None else floor
        rows, classes = np.nonzero(seen.class_scores >= floor)
        scores = seen.class_scores[rows, classes]
        kept = nms(seen.boxes_xyxy[rows], scores, KNOWN_NMS_IOU, classes)
        return Known(rows[kept], classes[kept], np.asarray(scores[kept], dtype=np.float32))


def as_bands(image: ImageArray, bands: tuple[str, ...]) -> ImageArray:
    """The image as a network of these bands takes it, (H, W, n) uint8.

    Args:
        image: (H, W, n) in the order of the names; for `BGR` and for one band also (H, W) gray, and for one band also
            gray stored as three equal bands, which is what a video of heat decodes to.
        bands: names.

    Raises:
        ShapeError: not uint8, or other bands.
    """
    if bands == BGR:
        return as_bgr(image)
    wanted = len(bands)
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == wanted:
        return image
    if wanted == 1 and image.dtype == np.uint8:
        if image.ndim == 2:
            return image[..., None]
        if image.ndim == 3 and image.shape[2] == 3 and (image == image[..., :1]).all():
            return np.ascontiguousarray(image[..., :1])
    gray = "(H, W) or " if wanted == 1 else ""
    raise ShapeError(
        f"image is {image.dtype} {image.shape}; this student takes uint8 {gray}(H, W, {wanted}) of the bands "
        f"{', '.join(bands)}: give such images, or a bundle for these"
    )


def as_picture(image: ImageArray) -> ImageArray:
    """An image of any bands as (H, W, 3) BGR uint8 for a person: the first three bands, or the first of two."""
    if image.ndim == 3 and image.shape[2] not in (1, 3):
        image = np.ascontiguousarray(image[..., :3] if image.shape[2] > 3 else image[..., :1])
    return as_bgr(image)


def as_bgr(image: ImageArray) -> ImageArray:
    """The image as (H, W, 3) uint8, gray replicated.

    Raises:
        ShapeError: not uint8, or neither 1 nor 3 bands.
    """
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    if image.dtype == np.uint8 and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)):
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    raise ShapeError(f"image is {image.dtype} {image.shape}; give uint8 (H, W) gray or (H, W, 3) BGR")


def pad_to_multiple(image: ImageArray, multiple_px: int, padding: tuple[int, ...] | None = None) -> ImageArray:
    """The image with rows and columns added at the bottom and right up to the next multiple.

    Args:
        image: (H, W, n) uint8.
        multiple_px: of both sides.
        padding: n values, the manifest's; by default the mean gray, so that a padded cell says nothing.
    """
    height, width, bands = image.shape
    bottom, right = -height % multiple_px, -width % multiple_px
    if not bottom and not right:
        return image
    padded = np.empty((height + bottom, width + right, bands), np.uint8)
    padded[:height, :width] = image
    padded[height:] = padded[:, width:] = padding or (round(PIXEL_MEAN),) * bands
    return padded


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), float32, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), dtype=np.float32)


def unit_rows(vectors: FloatArray) -> FloatArray:
    """(N, D) rows scaled to unit length in float32; a zero row stays zero."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _peaks(raw: RawOutputs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the strongest 3x3 local maxima, best first."""
    logits = np.maximum(raw.objectness, raw.class_logits.max(axis=0))
    floor = float(np.log(CANDIDATE_FLOOR / (1 - CANDIDATE_FLOOR)))
    return highest_peaks(logits, floor, MAX_CANDIDATES)


def highest_peaks(scores: FloatArray, floor: float, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the highest 3x3 local maxima of an (h, w) map above a floor, best first."""
    tops = (scores >= cv2.dilate(scores, np.ones((3, 3), np.uint8))) & (scores > floor)
    rows, columns = np.nonzero(tops)
    order = np.argsort(-scores[rows, columns], kind="stable")[:limit]
    return rows[order], columns[order]


def _decode_boxes(log_cells: FloatArray, rows: NDArray[np.int64], columns: NDArray[np.int64], stride_px: int) -> Boxes:
    left, top, right, bottom = np.exp(np.minimum(log_cells, MAX_LOG_CELLS))
    x, y = columns + 0.5, rows + 0.5
    boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=1) * stride_px
    return np.asarray(boxes, dtype=np.float32)
