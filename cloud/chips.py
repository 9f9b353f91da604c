"""Exemplar chips: small pictures of a prompt's thing, from which any craft can embed it anew."""

from __future__ import annotations

import cv2
import numpy as np

from cloud.case_images import CaseImage
from cloud.evidence import CROP_MARGIN_PX
from edge.chips import embed_chip
from edge.student import Student
from protocols.arrays import Boxes, FloatArray
from protocols.errors import ImageryError
from protocols.imagery import encode_image
from protocols.values import Chip, Vectors

MAX_CHIPS = 3
MAX_SIDE_PX = 160
MAX_JPEG_BYTES = 7 * 1024
"""Three chips and the vectors together stay below 24 kB."""

CHIP_BANDS = (1, 3)
"""How many bands a JPEG may have: students of others get no prompts."""

_MIN_MARGIN_PX = 16
_QUALITIES = (90, 80, 65, 45, 25)


def make_chips(image: CaseImage, boxes_xyxy: Boxes, align_px: int) -> tuple[Chip, ...]:
    """Up to three chips, of the boxes that are most alike in size to the median one.

    Args:
        image: where the things are, at frame scale where that fits.
        boxes_xyxy: (N, 4) pixels of the image.
        align_px: the network's multiple; a crop that starts on it embeds as it did in the frame.
    """
    sizes = np.sqrt(np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1))
    if not len(sizes):
        return ()
    order = np.argsort(np.abs(sizes - np.median(sizes)), kind="stable")
    chips = (_chip(image, boxes_xyxy[index], align_px) for index in order[:MAX_CHIPS])
    return tuple(chip for chip in chips if chip is not None)


def with_vectors(twin: Student, chips: tuple[Chip, ...]) -> tuple[Chip, ...]:
    """The chips, each with what the twin sees in its bytes, for crafts to compare; without where it is too large."""
    return tuple(_with_vector(twin, chip) for chip in chips)


def _with_vector(twin: Student, chip: Chip) -> Chip:
    try:
        return chip.model_copy(update={"vector": Vectors.from_array(embed_chip(twin, chip)[None])})
    except ImageryError:
        return chip


def _chip(image: CaseImage, box: FloatArray, align_px: int) -> Chip | None:
    height, width = image.image.shape[:2]
    x1, x2 = _span(float(box[0]), float(box[2]), width, align_px)
    y1, y2 = _span(float(box[1]), float(box[3]), height, align_px)
    crop = np.ascontiguousarray(image.image[y1:y2, x1:x2])
    inner = box - np.asarray([x1, y1, x1, y1], np.float32)
    shrink = min(1.0, MAX_SIDE_PX / max(crop.shape[:2]))
    if shrink < 1.0:
        crop = np.asarray(cv2.resize(crop, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    for quality in _QUALITIES:
        try:
            jpeg = encode_image(crop, "image/jpeg", quality)
        except ImageryError:
            return None
        if len(jpeg) <= MAX_JPEG_BYTES:
            x1f, y1f, x2f, y2f = (float(v) * shrink for v in inner)
            scale = image.scale_xy[0] * shrink
            return Chip(jpeg=jpeg, box_xyxy=(x1f, y1f, x2f, y2f), scale=scale)
    return None


def _span(low: float, high: float, limit: int, align_px: int) -> tuple[int, int]:
    """One side of a chip: the margin on both sides where it fits in MAX_SIDE_PX, less for larger things."""
    room = (MAX_SIDE_PX - (high - low) - align_px) / 2
    margin = min(max(room, _MIN_MARGIN_PX), CROP_MARGIN_PX)
    start = max(int(low - margin) // align_px * align_px, 0)
    return start, min(int(np.ceil(high + margin)), limit)
