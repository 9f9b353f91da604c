"""Where in a picture a student sees what is like a thing: a map of cosines, and that as a picture to lay over it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cloud.evidence import Evidence
from edge.student import unit_rows
from protocols.arrays import FloatArray

_GROUND = 0.5
"""Quantile of a map from which it begins to show: half of a picture is nothing in particular."""

_MOST_OPAQUE = 0.8
_LEAST_SPAN = 0.05


@dataclass(frozen=True)
class SimilarityMap:
    """A map as a picture.

    Attributes:
        png: (h, w) cells of the student's grid as colour with alpha, inferno from dark to bright.
        low: cosine from which it begins to show.
        high: the highest cosine in the picture.
        width: of the picture, in cells.
        height: likewise.
    """

    png: bytes
    low: float
    high: float
    width: int
    height: int


def cosines(evidence: Evidence, vectors: FloatArray, stride_px: int) -> FloatArray:
    """(h, w) each cell's highest cosine with any of some unit vectors, padding left out.

    Args:
        evidence: what a student sees, its maps included.
        vectors: (K, D), K >= 1.
        stride_px: pixels a cell.
    """
    embedding = evidence.seen.raw.embedding
    height, width = (-(-side // stride_px) for side in evidence.image.image.shape[:2])
    cells = embedding[:, :height, :width]
    alike = unit_rows(cells.reshape(cells.shape[0], -1).T) @ vectors.T
    return np.asarray(alike.max(axis=1).reshape(cells.shape[1:]), dtype=np.float32)


def draw_map(values: FloatArray) -> SimilarityMap:
    """A map of cosines as a picture to lay over the image it is of."""
    low, high = float(np.quantile(values, _GROUND)), float(values.max())
    share = np.clip((values - low) / max(high - low, _LEAST_SPAN), 0, 1)
    colour = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = (share * _MOST_OPAQUE * 255).astype(np.uint8)
    is_written, png = cv2.imencode(".png", np.dstack([colour, alpha]))
    assert is_written
    return SimilarityMap(png.tobytes(), low, high, values.shape[1], values.shape[0])
