"""What one target looked like: chips for whoever is asked where it is, of its first look and the newest sure ones."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from protocols.arrays import FloatArray, ImageArray
from protocols.imagery import encode_image
from protocols.limits import MAX_TARGET_CHIP_BYTES, MAX_TARGET_CHIPS
from protocols.values import Chip

_MARGIN_PX = 32
"""Around the target: a network's features of it lean on what is beside it, over half a receptive field of 48 px; what a
person wants to see of it is less."""
_SIDE_PX = 160
"""Longest side of a chip; a larger target is shown smaller."""
_QUALITIES = (85, 70, 50, 25)
_CHIP_BYTES = MAX_TARGET_CHIP_BYTES // MAX_TARGET_CHIPS
_EVERY = 25
"""Frames between two looks that are kept: the next ones look like the last."""


class TargetMemory:
    """Chips of one target."""

    def __init__(self, newest: int) -> None:
        """Remember the first look, and so many of the newest."""
        self._first: Chip | None = None
        self._newest: deque[Chip] = deque(maxlen=max(newest, 1))
        self._taken = 0

    @property
    def chips(self) -> tuple[Chip, ...]:
        """The first look first, newest last; none where nothing could be cut."""
        return (*((self._first,) if self._first else ()), *self._newest)

    def learn(self, index: int, image: ImageArray, box_xyxy: FloatArray, *, is_sure: bool) -> None:
        """Look at the target in a frame.

        Args:
            index: of the frame.
            image: (H, W) or (H, W, 3) uint8.
            box_xyxy: (4,) pixels.
            is_sure: whether it is surely there; only the first look is taken in any case.
        """
        if self._first is None:
            self._first, self._taken = cut_chip(image, box_xyxy), index
        elif is_sure and index - self._taken >= _EVERY:
            self.show(index, image, box_xyxy)

    def show(self, index: int, image: ImageArray, box_xyxy: FloatArray) -> None:
        """Take a look that somebody vouches for."""
        chip = cut_chip(image, box_xyxy)
        if chip is not None:
            self._newest.append(chip)
            self._taken = index


def cut_chip(image: ImageArray, box_xyxy: FloatArray) -> Chip | None:
    """A box with its surroundings as a small JPEG; None where nothing of it is in the picture.

    Args:
        image: (H, W) or (H, W, 3) BGR uint8.
        box_xyxy: (4,) pixels.
    """
    height, width = image.shape[:2]
    limit = np.array([width, height, width, height], np.float32)
    low = np.clip(np.floor(box_xyxy - _MARGIN_PX), 0, limit)[:2].astype(int)
    high = np.clip(np.ceil(box_xyxy + _MARGIN_PX), 0, limit)[2:].astype(int)
    inside = np.clip(box_xyxy, 0, limit) - np.tile(low, 2)
    if min(inside[2:] - inside[:2]) < 1:
        return None
    crop = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    scale = min(1.0, _SIDE_PX / max(crop.shape[:2]))
    if scale < 1:
        crop = np.asarray(cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    for quality in _QUALITIES:
        jpeg = encode_image(crop, "image/jpeg", quality)
        if len(jpeg) <= _CHIP_BYTES:
            return Chip(jpeg=jpeg, box_xyxy=tuple((inside * scale).tolist()), scale=scale)
    return None
