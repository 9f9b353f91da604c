"""A case's imagery as a picture, and the way between its pixels and those of the full frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from protocols.arrays import AnyImage, Boxes, ImageArray
from protocols.errors import ImageryError
from protocols.fields import MediaType
from protocols.imagery import decode_image, image_size
from protocols.limits import MAX_IMAGE_PIXELS
from protocols.values import Case, CasePart

_SIZE_SLACK_PX = 2.0
"""An encoder may round the region's size to whole pixels at either end."""

LEAST_SHOWN = 0.8
"""Of a box's area: who looks at the picture draws inside it, who types corners for width and height mostly does not."""

_MAX_VIEW_PIXELS = 4_000_000
"""Larger regions are looked at as they were sent instead of being enlarged to frame scale."""


@dataclass(frozen=True)
class CaseImage:
    """Pixels of a region of a frame.

    Attributes:
        image: (H, W) gray or (H, W, 3) BGR uint8.
        scale_xy: image pixels per frame pixel along x and y.
        origin_xy: the region's upper left corner, frame pixels.
    """

    image: ImageArray
    scale_xy: tuple[float, float] = (1.0, 1.0)
    origin_xy: tuple[float, float] = (0.0, 0.0)

    @property
    def region_xyxy(self) -> Boxes:
        """(1, 4) the part of the full frame that it shows."""
        height, width = self.image.shape[:2]
        return self.to_frame(np.asarray([[0, 0, width, height]], np.float32))

    def to_frame(self, boxes_xyxy: Boxes) -> Boxes:
        """(N, 4) boxes in image pixels as full-frame pixels."""
        scale, origin = np.tile(self.scale_xy, 2), np.tile(self.origin_xy, 2)
        return np.asarray(np.reshape(boxes_xyxy, (-1, 4)) / scale + origin, dtype=np.float32)

    def from_frame(self, boxes_xyxy: Boxes) -> Boxes:
        """(N, 4) boxes in full-frame pixels as image pixels; they may leave the image."""
        scale, origin = np.tile(self.scale_xy, 2), np.tile(self.origin_xy, 2)
        return np.asarray((np.reshape(boxes_xyxy, (-1, 4)) - origin) * scale, dtype=np.float32)

    def at_frame_scale(self) -> CaseImage:
        """The same region with one pixel per frame pixel, as the student on the craft sees it, where that fits."""
        width = round(self.image.shape[1] / self.scale_xy[0])
        height = round(self.image.shape[0] / self.scale_xy[1])
        if (height, width) == self.image.shape[:2] or not 0 < width * height <= _MAX_VIEW_PIXELS:
            return self
        resized = cv2.resize(self.image, (width, height), interpolation=cv2.INTER_LINEAR)
        return CaseImage(np.asarray(resized, dtype=np.uint8), (1.0, 1.0), self.origin_xy)


def open_case_images(case: Case, payload: bytes) -> list[CaseImage]:
    """The pictures a case came with, at least one.

    Args:
        case: says what regions they show and how they are encoded.
        payload: its imagery.

    Raises:
        ImageryError: one does not decode, its size is not that of its region times the scale, or all together have more
            pixels than one picture may.
    """
    pictures = case.cut(payload)
    pixels = sum(width * height for width, height in (_size(part, data, case.media_type) for part, data in pictures))
    if pixels > MAX_IMAGE_PIXELS:
        raise ImageryError(f"{len(pictures)} images have {pixels} pixels, at most {MAX_IMAGE_PIXELS}: crop or shrink")
    return [_open(part, data, case.media_type) for part, data in pictures]


def open_case_image(case: Case, payload: bytes) -> CaseImage:
    """The first picture of a case, the only one where it asks about a target; errors as of `open_case_images`."""
    return _open(*case.cut(payload)[0], case.media_type)


def _size(part: CasePart, payload: bytes, media_type: MediaType) -> tuple[int, int]:
    """Width and height that a picture announces, before anything of it is decoded."""
    x1, y1, x2, y2 = part.region_xyxy
    width, height, _ = image_size(payload, media_type)
    expected = ((x2 - x1) * part.image_scale, (y2 - y1) * part.image_scale)
    if max(abs(width - expected[0]), abs(height - expected[1])) > _SIZE_SLACK_PX:
        raise ImageryError(
            f"image is {width}x{height} but region and scale promise {expected[0]:.0f}x{expected[1]:.0f} pixels"
        )
    return width, height


def _open(part: CasePart, payload: bytes, media_type: MediaType) -> CaseImage:
    x1, y1, x2, y2 = part.region_xyxy
    width, height = _size(part, payload, media_type)
    image = viewable(decode_image(payload, media_type))
    return CaseImage(image, (width / (x2 - x1), height / (y2 - y1)), (x1, y1))


def viewable(image: AnyImage) -> ImageArray:
    """Any imagery as 8 bit gray or BGR: more than three bands keep the first three, other depths are stretched."""
    if image.ndim == 3:
        image = image[:, :, 0] if image.shape[2] < 3 else image[:, :, :3]
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    values = np.nan_to_num(image.astype(np.float32))
    low, high = np.percentile(values, (0.5, 99.5))
    stretched = (values - low) * (255.0 / max(float(high - low), 1e-6))
    return np.ascontiguousarray(np.clip(stretched, 0, 255).astype(np.uint8))
