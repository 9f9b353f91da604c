"""What is known for certain about a rendered frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.world.layout import Label


@dataclass(frozen=True)
class TruthObject:
    """One labelled thing in a frame.

    Attributes:
        object_id: the thing's number in its world.
        label: what it is.
        kind: tells alike things from others.
        box_xyxy: tight box of the drawn silhouette (without its shadow), clipped to the frame; pixels.
        visible: share of the silhouette inside the frame and not hidden by other things, 0 to 1.
        area_px: visible pixels of the silhouette.
        occluded: share of what lies in the frame that other things hide, 0 to 1.
        name: the model it was made from, for example "tanker".
    """

    object_id: int
    label: Label
    kind: int
    box_xyxy: tuple[float, float, float, float]
    visible: float
    area_px: int
    occluded: float = 0.0
    name: str = ""


@dataclass(frozen=True)
class View:
    """A frame with all its truth.

    Attributes:
        image: (H, W, 3) uint8 BGR; (H, W, 6) multispectral.
        objects: the labelled things.
        ids: (H, W) uint16 object id of what each pixel shows, buildings and trees among it; 0 is ground.
        cover: (H, W) uint8 `LandCover`.
    """

    image: NDArray[np.uint8]
    objects: list[TruthObject]
    ids: NDArray[np.uint16]
    cover: NDArray[np.uint8]
