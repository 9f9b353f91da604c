"""Blends pictures of faces into a frame."""

from __future__ import annotations

import cv2
import numpy as np

from sim.arrays import Bytes, FloatArray


def draw_picture(image: Bytes, lit: list[Bytes], corners: FloatArray) -> None:
    """Blends a textured quad into the image.

    Args:
        image: (H, W, C) or (H, W); drawn into.
        lit: the texture with alpha as its last channel, in falling sizes.
        corners: (4, 2) pixels of the texture's corners.
    """
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, [image.shape[1], image.shape[0]])
    width, height = int(high[0] - low[0]), int(high[1] - low[1])
    if width <= 0 or height <= 0:
        return
    extent = float(np.ptp(corners, axis=0).max())
    texture = next((t for t in reversed(lit) if t.shape[0] >= 0.8 * extent), lit[0])
    s = texture.shape[0] - 0.5
    source = np.array([[-0.5, -0.5], [s, -0.5], [s, s], [-0.5, s]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(source, (corners - 0.5 - low).astype(np.float32))
    warped = np.asarray(cv2.warpPerspective(texture, matrix, (width, height), flags=cv2.INTER_LINEAR))
    window = image[low[1] : high[1], low[0] : high[0]]
    alpha = warped[:, :, -1].astype(np.int32)
    top = warped[:, :, :-1].astype(np.int32) if image.ndim == 3 else warped[:, :, 0].astype(np.int32)
    alpha = alpha[:, :, None] if image.ndim == 3 else alpha
    window[:] = (window + (top - window) * alpha // 255).astype(np.uint8)
