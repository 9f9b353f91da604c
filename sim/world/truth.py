"""What is known for certain about the things in a rendered frame."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    object_id: int
    label: Label
    kind: int
    box_xyxy: tuple[float, float, float, float]
    visible: float
    area_px: int
