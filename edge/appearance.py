"""What a thing looks like to a correlation filter: gradient histograms, brightness and colour words, in cells.

Gradient histograms are those of Felzenszwalb et al., "Object Detection with Discriminatively Trained Part-Based Models"
(PAMI 2010), section 6: orientations with and without sign, normalised and cut off; but by one neighbourhood of 3 x 3
cells instead of four of 2 x 2, which is faster and follows rendered targets as well. Colour words are
this project's own: the few colours that the first picture is made of, found by k-means, and to which of them each cell
belongs. They need no table of colour names, and say as much about heat.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from protocols.arrays import FloatArray, ImageArray

Vector: TypeAlias = NDArray[np.floating]
"""(2,) x, y of any float type."""

ORIENTATIONS = 9
_CUT_OFF = 0.2
_STRENGTH = 0.47
"""Weight of the sum over directions: Felzenszwalb's four energies, 1 / sqrt(18) each, in one of twice their size."""
_NEIGHBOURS = 4.0
"""Cells in one of Felzenszwalb's neighbourhoods, to whose energy ours is scaled."""
_SPREAD = np.array([0.15, 0.7, 0.15], np.float32)
"""What a pixel gives to neighbouring cells, on average; bilinear binning by hand would cost four times the work."""
_FAINT = 0.1
"""Squared gradient of a whole neighbourhood of cells (brightness 0..1) below which there is nothing but noise."""

_BINS = 2 * ORIENTATIONS + 2
"""Of a cell's histogram as it is counted: a full turn, and the direction after that, are the first two again."""
_TO_FEATURES = np.zeros((3 * ORIENTATIONS + 1, 3 * ORIENTATIONS), np.float32)
np.fill_diagonal(_TO_FEATURES, 2)
_TO_FEATURES[-1, : 2 * ORIENTATIONS] = _STRENGTH
"""From a cell's bins to its features."""


def cut_window(image: ImageArray, centre_px: Vector, size_px: Vector, out_px: tuple[int, int]) -> ImageArray:
    """A window of an image at another size; beyond the image its edge goes on.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        centre_px: (2,) x, y of its middle, on pixel edges.
        size_px: (2,) width and height.
        out_px: width and height of the result.
    """
    factor: Vector = size_px / np.array(out_px)
    fold = int(factor.max())
    if fold >= 2:  # bilinear sampling would skip pixels
        image, origin = _folded(image, centre_px, size_px, fold)
        centre_px, factor = (centre_px - origin) / fold, factor / fold
    corner = centre_px - factor * np.array(out_px) / 2 + (factor - 1) / 2
    matrix = np.array([[factor[0], 0, corner[0]], [0, factor[1], corner[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix, out_px, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _folded(image: ImageArray, centre_px: Vector, size_px: Vector, fold: int) -> tuple[ImageArray, Vector]:
    """The part of an image that a window needs, shrunk by a whole number, and where that part begins (pixels)."""
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.floor(centre_px - size_px / 2) - fold, 0, np.maximum(limit - fold, 0)).astype(int)
    high = np.clip(np.ceil(centre_px + size_px / 2) + fold, low + fold, limit).astype(int)
    cells = np.maximum((high - low) // fold, 1)
    part = image[low[1] : low[1] + cells[1] * fold, low[0] : low[0] + cells[0] * fold]
    small = cv2.resize(part, (int(cells[0]), int(cells[1])), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), low.astype(np.float64)


def gray_of(image: ImageArray) -> FloatArray:
    """(H, W) float32 brightness, 0 to 1."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    return np.asarray(gray, dtype=np.float32) * np.float32(1 / 255)


def gradient_histograms(gray: FloatArray, cell_px: int) -> FloatArray:
    """Histograms of gradients in each cell.

    Args:
        gray: (H, W) brightness, 0 to 1; both sides are multiples of the cell.
        cell_px: side of a cell.

    Returns:
        (28, H / cell, W / cell) float32: 18 directions, 9 orientations, and the strength of all.
    """
    signed = 2 * ORIENTATIONS
    cells = np.empty((gray.shape[0] // cell_px, gray.shape[1] // cell_px, signed + ORIENTATIONS), np.float32)
    histogram, unsigned = cells[..., :signed], cells[..., signed:]
    histogram[:] = _histogram(gray, cell_px)
    np.add(histogram[..., :ORIENTATIONS], histogram[..., ORIENTATIONS:], out=unsigned)
    energy = np.einsum("ijk,ijk->ij", unsigned, unsigned)
    around = np.asarray(cv2.blur(energy, (3, 3), borderType=cv2.BORDER_REPLICATE), dtype=np.float32)
    cells *= (1 / np.sqrt(_NEIGHBOURS * around + np.float32(_FAINT)))[..., None]
    np.minimum(cells, np.float32(_CUT_OFF), out=cells)
    return (_TO_FEATURES @ cells.reshape(-1, signed + ORIENTATIONS).T).reshape(-1, *cells.shape[:2])


def _histogram(gray: FloatArray, cell_px: int) -> FloatArray:
    """(H / cell, W / cell, 18): strength of the gradient by direction, shared between the two nearest directions."""
    directions = 2 * ORIENTATIONS
    across = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=1)
    down = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=1)
    strength, angle = (np.asarray(a, dtype=np.float32) for a in cv2.cartToPolar(across, down))
    turn = angle * np.float32(directions / (2 * np.pi))
    first = np.floor(turn)
    second_share = strength * (turn - first)
    strength -= second_share
    first += _cell_numbers(*gray.shape, cell_px)
    places, count = first.astype(np.intp).ravel(), gray.size // cell_px**2 * _BINS
    counts = np.bincount(places, strength.ravel(), count)
    counts[1:] += np.bincount(places, second_share.ravel(), count)[:-1]
    histogram = counts.astype(np.float32).reshape(gray.shape[0] // cell_px, gray.shape[1] // cell_px, _BINS)
    histogram[..., : _BINS - directions] += histogram[..., directions:]
    smooth = cv2.sepFilter2D(histogram, -1, _SPREAD, _SPREAD, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, dtype=np.float32)[..., :directions]


@cache
def _cell_numbers(height: int, width: int, cell_px: int) -> FloatArray:
    """(H, W): where the histogram of each pixel's cell begins, exact up to 2^24 bins."""
    rows, columns = np.mgrid[:height, :width] // cell_px
    return np.asarray((rows * (width // cell_px) + columns) * _BINS, dtype=np.float32)


class ColourWords:
    """The few colours that a picture is made of, as a table from colours to them."""

    _BITS = 5
    _WEIGHT = 0.7
    """Of colour beside gradients, whose values end at 0.4."""

    def __init__(self, image: ImageArray, count: int) -> None:
        """Choose them.

        Args:
            image: (H, W) or (H, W, 3) uint8.
            count: how many.
        """
        seen = _colours(image)[::3]
        cv2.setRNGSeed(1)  # k-means starts at random; the same picture gives the same words
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 1.0)
        no_labels = np.empty((0, 1), np.int32)
        _, _, found = cv2.kmeans(seen, min(count, len(seen)), no_labels, stop, 1, cv2.KMEANS_PP_CENTERS)
        words = np.asarray(found, dtype=np.float32)
        apart = ((words[:, None] - words) ** 2).sum(axis=2)
        apart[np.eye(len(words), dtype=bool)] = np.inf
        # Half way to its neighbour, a colour belongs to both; a picture of one colour has no neighbours.
        softness = max(float(np.median(apart.min(axis=1))) / 4, 16.0)
        distance = ((_colours(self._all(image.ndim))[:, None] - words) ** 2).sum(axis=2)
        likeness = np.exp((distance.min(axis=1, keepdims=True) - distance) / (2 * softness))
        self._table = (self._WEIGHT * likeness / likeness.sum(axis=1, keepdims=True)).astype(np.float32)

    def __call__(self, image: ImageArray) -> FloatArray:
        """(count, H, W) float32: how much of each word every pixel has."""
        if image.ndim == 2:
            return np.ascontiguousarray(self._table[image].transpose(2, 0, 1))
        blue, green, red = (image[..., band].astype(np.int32) >> (8 - self._BITS) for band in range(3))
        places = (blue << (2 * self._BITS)) | (green << self._BITS) | red
        return np.ascontiguousarray(self._table[places].transpose(2, 0, 1))

    def _all(self, dimensions: int) -> ImageArray:
        """Every entry of the table, as a picture of one row."""
        if dimensions == 2:
            return np.arange(256, dtype=np.uint8)[None]
        steps = (np.arange(1 << self._BITS) << (8 - self._BITS)) + (1 << (7 - self._BITS))
        return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).astype(np.uint8).reshape(1, -1, 3)


def _colours(image: ImageArray) -> FloatArray:
    """(N, 3) CIE Lab, in which distances are as people see them, or (N, 1) gray; each 0 to 255."""
    if image.ndim == 2:
        return image.reshape(-1, 1).astype(np.float32)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2Lab), dtype=np.float32).reshape(-1, 3)
