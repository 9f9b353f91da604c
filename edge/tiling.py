"""Large frames in overlapping tiles: small things keep their pixels, and nothing is found twice.

A candidate belongs to the tile in whose core its centre lies; cores divide the frame, and each lies half an overlap
inside its tile. So whatever is no larger than the overlap is seen whole by the tile it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.raster import Picture
from edge.runtime import Backend, open_backend
from edge.student import NO_MAPS, Perception, Student
from protocols.arrays import Boxes
from protocols.boxes import nms

MIN_TILE_PX = 128
OVERLAP_SHARE = 0.25
"""Of a tile, at least."""

SEAM_PX = 4.0
"""Two tiles place the same centre a little apart: so far beyond its core a tile still answers,"""

SEAM_IOU = 0.5
"""and of two answers that overlap so much there the weaker goes."""


@dataclass(frozen=True)
class Tile:
    """A window of a frame, and the part of it that the tile answers for; (x1, y1, x2, y2) pixels of the frame."""

    window: tuple[int, int, int, int]
    core: tuple[float, float, float, float]


def tiles_of(width: int, height: int, tile_px: int, grid_px: int) -> Iterator[Tile]:
    """The tiles of a frame, row by row.

    They begin on the grid of the network's deepest level, so that a thing looks the same to it in a tile and in the
    whole frame; the last of a row or column is up to a grid step larger.
    """
    for top, bottom, core_top, core_bottom in _spans(height, tile_px, grid_px):
        for left, right, core_left, core_right in _spans(width, tile_px, grid_px):
            yield Tile((left, top, right, bottom), (core_left, core_top, core_right, core_bottom))


def _spans(length: int, tile_px: int, grid_px: int) -> list[tuple[int, int, float, float]]:
    """(start, end, start and end of the core) along one side."""
    if length <= tile_px:
        return [(0, length, 0.0, float(length))]
    step = int(tile_px * (1 - OVERLAP_SHARE)) // grid_px * grid_px
    count = -(-(length - tile_px) // step) + 1
    starts = [i * (length - tile_px) // (count - 1) // grid_px * grid_px for i in range(count)]
    ends = [*(start + tile_px for start in starts[:-1]), length]
    seams = [0.0, *((end + start) / 2 for end, start in zip(ends, starts[1:], strict=False)), float(length)]
    return list(zip(starts, ends, seams, seams[1:], strict=False))


class TiledStudent(Student):
    """A student that looks at frames larger than a tile piece by piece."""

    def __init__(self, bundle: Bundle, backend: Backend, tile_px: int) -> None:
        """Look in tiles.

        Args:
            bundle: as for any student.
            backend: likewise.
            tile_px: side of a tile, at least `MIN_TILE_PX`.
        """
        super().__init__(bundle, backend)
        self.tile_px = tile_px

    def perceive(self, image: Picture) -> Perception:
        """Candidates of one image of any size; of a large one without maps, best candidate first.

        Raises:
            ShapeError: see `Student.perceive`.
        """
        height, width = image.shape[:2]
        if max(width, height) <= self.tile_px:
            return super().perceive(image)
        parts = [self._look(image, tile) for tile in tiles_of(width, height, self.tile_px, self.manifest.multiple_px)]
        return _joined([seen for seen, _ in parts], np.concatenate([at_seam for _, at_seam in parts]))

    def _look(self, image: Picture, tile: Tile) -> tuple[Perception, NDArray[np.bool_]]:
        """What one tile answers for, in pixels of the frame, and which of it another tile may answer for, too."""
        left, top, right, bottom = tile.window
        seen = super().perceive(np.ascontiguousarray(image[top:bottom, left:right]))
        boxes = seen.boxes_xyxy + np.array([left, top, left, top], np.float32)
        depth = _depth(boxes, tile, image.shape[1], image.shape[0])
        kept = depth > -SEAM_PX
        return _chosen(replace(seen, boxes_xyxy=boxes), np.flatnonzero(kept)), depth[kept] < SEAM_PX


def open_student(
    bundle: Bundle, *, threads: int = 0, tile_px: int | None = None, backend: Backend | None = None
) -> Student:
    """The student of a bundle.

    Args:
        bundle: checked files.
        threads: ONNX Runtime threads, 0 for all cores.
        tile_px: look at larger frames in tiles of this side; None looks at them whole.
        backend: what runs it; None takes the CPU.

    Raises:
        ModelError: the bundle's file does not load.
    """
    backend = backend or open_backend(bundle, threads=threads)
    return Student(bundle, backend) if tile_px is None else TiledStudent(bundle, backend, tile_px)


def _depth(boxes_xyxy: Boxes, tile: Tile, width: int, height: int) -> NDArray[np.float32]:
    """(N,) how far inside a tile's core a centre lies, negative outside; the frame's own border is no seam."""
    x, y = (boxes_xyxy[:, 0] + boxes_xyxy[:, 2]) / 2, (boxes_xyxy[:, 1] + boxes_xyxy[:, 3]) / 2
    left, top, right, bottom = tile.core
    gaps = [x - left, y - top, right - x, bottom - y]
    is_border = [left == 0, top == 0, right == width, bottom == height]
    inner = [np.full_like(x, np.inf) if border else gap for gap, border in zip(gaps, is_border, strict=True)]
    return np.asarray(np.min(inner, axis=0), dtype=np.float32)


def _joined(parts: list[Perception], at_seam: NDArray[np.bool_]) -> Perception:
    """One perception of all tiles', each thing once."""
    names = ("boxes_xyxy", "objectness", "is_object", "class_scores", "embeddings")
    everything = Perception(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names}, raw=NO_MAPS)
    strength = np.maximum(everything.objectness, everything.class_scores.max(axis=1, initial=0.0))
    seam = np.flatnonzero(at_seam)
    once = seam[nms(everything.boxes_xyxy[seam], strength[seam], SEAM_IOU)]
    kept = np.concatenate([np.flatnonzero(~at_seam), once])
    return _chosen(everything, kept[np.argsort(-strength[kept], kind="stable")])


def _chosen(seen: Perception, rows: NDArray[np.int64]) -> Perception:
    return Perception(
        boxes_xyxy=seen.boxes_xyxy[rows],
        objectness=seen.objectness[rows],
        is_object=seen.is_object[rows],
        class_scores=seen.class_scores[rows],
        embeddings=seen.embeddings[rows],
        raw=NO_MAPS,
    )
