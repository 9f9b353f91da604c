"""Which parts of the ground are taken."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

CELL_M = 0.5


class Ground:
    """Which half-metre cells of the town are taken."""

    def __init__(self, half_m: float) -> None:
        self.half_m = half_m
        cells = int(2 * half_m / CELL_M)
        self._taken: NDArray[np.bool_] = np.zeros((cells, cells), dtype=bool)

    def _window(self, east: float, north: float, half: tuple[float, float]) -> tuple[slice, slice]:
        low_e = max(int((east - half[0] + self.half_m) / CELL_M), 0)
        low_n = max(int((north - half[1] + self.half_m) / CELL_M), 0)
        high_e = max(math.ceil((east + half[0] + self.half_m) / CELL_M), low_e)
        high_n = max(math.ceil((north + half[1] + self.half_m) / CELL_M), low_n)
        return slice(low_n, high_n), slice(low_e, high_e)

    def take(self, place_m: tuple[float, float], half: tuple[float, float]) -> bool:
        """Takes a rectangle if all of it is free and inside the town; says whether it did."""
        if max(abs(place_m[0]) + half[0], abs(place_m[1]) + half[1]) >= self.half_m:
            return False
        window = self._window(*place_m, half)
        if self._taken[window].any():
            return False
        self._taken[window] = True
        return True

    def block_outline(self, outline_m: NDArray[np.float64]) -> None:
        """Takes everything inside an outline, (N, 2) east and north."""
        cells = np.round((outline_m + self.half_m) / CELL_M).astype(np.int32)
        taken = self._taken.astype(np.uint8)
        cv2.fillPoly(taken, [cells], 1)
        self._taken[:] = taken > 0

    def block(self, place_m: tuple[float, float], half: tuple[float, float]) -> None:
        """Takes a rectangle whatever stood there."""
        self._taken[self._window(*place_m, half)] = True
