"""What every backend returns for one image, and the protocol it follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from protocols.arrays import FloatArray, ImageArray


@dataclass(frozen=True)
class RawOutputs:
    """The network's maps for one image on its h x w grid, float32.

    Attributes:
        embedding: (D, h, w), not normalised.
        objectness: (h, w) logits.
        box_ltrb: (4, h, w) natural log of the distances left, top, right, bottom in cells.
        class_logits: (C, h, w) logits.
    """

    embedding: FloatArray
    objectness: FloatArray
    box_ltrb: FloatArray
    class_logits: FloatArray


class Backend(Protocol):
    """Runs one bundle file."""

    name: str
    """For the log and `summary.json`, e.g. `onnxruntime:CPUExecutionProvider`."""

    def run(self, image: ImageArray) -> RawOutputs:
        """Maps for one (H, W, n) uint8 image with the bundle's bands, its sides multiples of `multiple_px`."""
        ...
