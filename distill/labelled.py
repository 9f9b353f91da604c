"""One labelled image, and how its pixels are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from distill.errors import DataSetError
from edge.capture import IMAGE_SUFFIXES
from protocols.arrays import Boxes, ImageArray


@dataclass(frozen=True)
class LabelledImage:
    """One image and its truth.

    Attributes:
        path: the image file.
        boxes_xyxy: (N, 4) float32 pixels.
        labels: N labels.
        kinds: (N,) int64; -1 where the label says all, else the number of a novel kind.
        ignore: (N,) bool, True for regions that neither teach nor count.
        image_id: id within the data set.
        things: N names of the very things, where the data tell them apart: the same name in another image of the set
            is another view of the same thing. Empty where they do not.
    """

    path: Path
    boxes_xyxy: Boxes
    labels: tuple[str, ...]
    kinds: np.ndarray[Any, np.dtype[np.int64]]
    ignore: np.ndarray[Any, np.dtype[np.bool_]]
    image_id: int
    things: tuple[str, ...] = ()


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, by name; none where it is no folder."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def read_image(path: Path) -> ImageArray:
    """Pixels of an image file, (H, W) or (H, W, 3) uint8 BGR.

    Raises:
        DataSetError: the file is missing or cut, does not decode, or has more than 8 bits per channel.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise DataSetError(f"{path}: cannot be read ({exc.strerror}); restore the file") from exc
    # libjpeg fills what a cut file lacks with gray and only warns; a whole one ends its last scan with an end marker.
    is_cut = content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    pixels = None if is_cut or not content else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DataSetError(f"{path}: truncated, or no image that OpenCV can read; restore the file")
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise DataSetError(f"{path}: holds {pixels.dtype} pixels, 8 bits per channel wanted; convert it")
    return np.asarray(pixels if pixels.ndim == 2 else pixels[..., :3], dtype=np.uint8)
