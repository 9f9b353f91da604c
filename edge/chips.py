"""Exemplar chips on a student: the one way in which edge and twin embed the thing that a prompt's chip shows."""

from __future__ import annotations

import cv2
import numpy as np

from edge.student import Perception, Student, unit_rows
from protocols.arrays import Boxes, FloatArray, ImageArray
from protocols.boxes import clip_boxes
from protocols.errors import ImageryError
from protocols.imagery import decode_image, image_size
from protocols.values import Chip

CORE = 0.5
"""Share of a box's sides, around its centre, whose cells show the thing and little of what is beside it."""

MAX_EMBED_SIDE_PX = 320
"""A chip that is larger at the frames' scale is not embedded: a third of a frame of 640x512 is the most that one
frame's work may grow by."""


def embed_chip(student: Student, chip: Chip) -> FloatArray:
    """(D,) float32 unit vector: the mean embedding of the cells in the core of the chip's box.

    The chip is looked at in the scale of the frames it was cut from, for a network sees a shrunken thing as another.

    Args:
        student: any; its space is the vector's.
        chip: from anywhere, its JPEG not to be trusted.

    Raises:
        ImageryError: it does not decode, is larger than `MAX_EMBED_SIDE_PX` or has no box inside it.
        ShapeError: the student takes other bands.
        ModelError: the runtime takes no image of that size.
    """
    image, box = frame_view(chip, MAX_EMBED_SIDE_PX)
    if not (box[2:] > box[:2]).all():
        raise ImageryError(f"a chip's box {chip.box_xyxy} leaves its picture: box the thing")
    seen = Student.perceive(student, image)  # a tiled student would look at a large chip in pieces, and keep no maps
    vector = pool_boxes(seen, box[None], student.manifest.stride_px)[0]
    if not (np.isfinite(vector).all() and vector.any()):
        raise ImageryError(f"{student.backend.name} gives a chip no finite embedding: fly on another backend")
    return np.asarray(vector, dtype=np.float32)


def frame_view(chip: Chip, max_side_px: int) -> tuple[ImageArray, FloatArray]:
    """A chip's picture, (H, W) or (H, W, 3) BGR uint8, at the scale of the frames it was cut from, and the box in it.

    Args:
        chip: from anywhere, its JPEG not to be trusted.
        max_side_px: of the picture and of its file; checked before anything is decoded.

    Raises:
        ImageryError: it does not decode or is larger.
    """
    sides = image_size(chip.jpeg, "image/jpeg")[:2]
    wanted = [max(round(side / chip.scale), 1) for side in sides]
    if max(*sides, *wanted) > max_side_px:
        raise ImageryError(f"it is {wanted[0]}x{wanted[1]} frame pixels large, {max_side_px} at most; box less")
    image = decode_image(chip.jpeg, "image/jpeg")
    if wanted != list(sides):
        image = cv2.resize(image, wanted, interpolation=cv2.INTER_AREA if chip.scale > 1 else cv2.INTER_LINEAR)
    box = np.asarray([chip.box_xyxy], np.float32) * np.tile(np.divide(wanted, sides), 2).astype(np.float32)
    return np.asarray(image, dtype=np.uint8), clip_boxes(box, wanted[0], wanted[1])[0]


def pool_boxes(seen: Perception, boxes_xyxy: Boxes, stride_px: int) -> FloatArray:
    """(B, D) unit vectors: the mean embedding of the cells in the core of each box."""
    cells = unit_rows(seen.raw.embedding.reshape(seen.raw.embedding.shape[0], -1).T)
    grid = cells.reshape(*seen.raw.embedding.shape[1:], -1)
    return unit_rows(np.stack([core_cells(grid, box, stride_px).mean(axis=0) for box in boxes_xyxy]))


def core_cells(grid: FloatArray, box_xyxy: FloatArray, stride_px: int) -> FloatArray:
    """(K, D) cells of an (h, w, D) grid whose centre lies in the core of a box; at least the one at its centre."""
    height, width = grid.shape[:2]
    centre, half = (box_xyxy[:2] + box_xyxy[2:]) / 2, (box_xyxy[2:] - box_xyxy[:2]) / 2 * CORE
    low = np.ceil((centre - half) / stride_px - 0.5).astype(int)
    high = np.floor((centre + half) / stride_px - 0.5).astype(int) + 1
    middle = np.clip((centre / stride_px).astype(int), 0, [width - 1, height - 1])
    low, high = np.clip(np.minimum(low, middle), 0, None), np.maximum(high, middle + 1)
    return grid[low[1] : high[1], low[0] : high[0]].reshape(-1, grid.shape[2])
