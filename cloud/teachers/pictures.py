"""Images as vision models of `transformers` want them, by what their folders say.

The library's own image processors of DINOv3 and SAM 2 need torchvision, whose build must match torch's, and the one on
the package index does not match a torch for processors alone. A folder with weights should open without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from cloud.errors import TeacherError
from edge.student import as_bgr
from protocols.arrays import FloatArray, ImageArray


@dataclass(frozen=True)
class Preparation:
    """How a model's images are made.

    Attributes:
        factor: brings uint8 values to the scale of the mean.
        mean, deviation: (3,) float32, red first: what is taken off each channel and what it is then divided by.
    """

    factor: float
    mean: FloatArray
    deviation: FloatArray

    def tensor(self, frame: ImageArray, height: int, width: int) -> FloatArray:
        """(1, 3, height, width) float32 of an (H, W) or (H, W, 3) BGR image, stretched to that size."""
        is_smaller = height < frame.shape[0] or width < frame.shape[1]
        how = cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC
        rgb = cv2.resize(as_bgr(frame), (width, height), interpolation=how)[..., ::-1]
        scaled = (rgb.astype(np.float32) * np.float32(self.factor) - self.mean) / self.deviation
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def preparation_of(told: Mapping[str, Any]) -> Preparation:
    """What the settings of an image processor say.

    Args:
        told: its `preprocessor_config.json`.

    Raises:
        TeacherError: mean or deviation are missing or not three numbers above 0.
    """
    factor = float(told.get("rescale_factor", 1 / 255)) if told.get("do_rescale", True) else 1.0
    if not told.get("do_normalize", True):
        return Preparation(factor, np.zeros(3, np.float32), np.ones(3, np.float32))
    mean, deviation = (_three(told, name) for name in ("image_mean", "image_std"))
    if not (deviation > 0).all():
        raise TeacherError(f"preprocessor_config.json: image_std is {deviation.tolist()}, numbers above 0 wanted")
    return Preparation(factor, mean, deviation)


def _three(told: Mapping[str, Any], name: str) -> FloatArray:
    value = told.get(name)
    try:
        numbers = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        numbers = np.zeros(0, np.float32)
    if numbers.shape != (3,):
        raise TeacherError(
            f"preprocessor_config.json: {name} is {value!r}, three numbers wanted; fetch the file again with its model"
        )
    return numbers
