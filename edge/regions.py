"""Which parts of a frame to show: a crop with margin around what stands out, several where things lie far apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.arrays import Boxes, FloatArray

Region: TypeAlias = tuple[int, int, int, int]
"""Corners x1, y1, x2, y2 in whole pixels of the full frame."""

ALIGN_PX = 32
"""Of a crop's origin, where the frame allows: on the grid of the networks."""

_RECEPTIVE_PX = 48.0
"""Half the receptive field around a thing: what a cell sees of its surroundings must be in the crop, too."""


def choose_regions(boxes_xyxy: Boxes, size: tuple[int, int], least_side_px: int, most: int) -> list[Region]:
    """Crops that show all boxes, or the first ones where that takes too many crops or pixels.

    Two crops become one where that shows no more pixels than both, so that what is near or overlaps goes together.
    Together they show no more than so many crops of the least side do: a teacher takes its time for each pixel.

    Args:
        boxes_xyxy: (N, 4) things to show, the most important first; none shows the whole frame.
        size: width and height of the frame.
        least_side_px: of a crop.
        most: crops.
    """
    if not len(boxes_xyxy):
        return [(0, 0, *size)]
    regions: list[Region] = []
    most_px = most * (least_side_px + 2 * ALIGN_PX) ** 2
    for box in boxes_xyxy:
        if any(_holds(region, box) for region in regions):
            continue
        joined = _joined([*regions, _around(box, size, least_side_px)])
        if not regions or (len(joined) <= most and sum(map(_area, joined)) <= most_px):
            regions = joined
    return regions


def are_shown(boxes_xyxy: Boxes, regions: list[Region]) -> NDArray[np.bool_]:
    """(N,) whether the centre of a box lies in one of the regions."""
    centres = ((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2)[:, None]
    corners = np.asarray(regions, np.float32).reshape(-1, 4)
    inside = np.all((centres >= corners[:, :2]) & (centres <= corners[:, 2:]), axis=2)
    return np.asarray(np.any(inside, axis=1), dtype=np.bool_)


def grown(region: Region, size: tuple[int, int], factor: float) -> Region:
    """A region with its sides multiplied about its middle, as far as the frame reaches."""
    (x1, y1, x2, y2), (width, height) = region, size
    across, down = (x2 - x1) * (factor - 1) / 2, (y2 - y1) * (factor - 1) / 2
    return max(int(x1 - across), 0), max(int(y1 - down), 0), min(int(x2 + across), width), min(int(y2 + down), height)


def _around(box: FloatArray, size: tuple[int, int], least_side_px: int) -> Region:
    longest = float((box[2:] - box[:2]).max())
    side = max(longest + 2 * (0.5 * longest + _RECEPTIVE_PX), float(least_side_px))
    (x1, x2), (y1, y2) = (_span(float(box[i] + box[i + 2]) / 2, side, size[i]) for i in (0, 1))
    return x1, y1, x2, y2


def _span(centre: float, side: float, limit: int) -> tuple[int, int]:
    low = min(max(centre - side / 2, 0.0), max(limit - side, 0.0))
    start = int(low) // ALIGN_PX * ALIGN_PX
    end = min(limit, -(-int(low + side) // ALIGN_PX) * ALIGN_PX)
    return start, end


def _holds(region: Region, box: FloatArray) -> bool:
    return bool((box[:2] >= region[:2]).all() and (box[2:] <= region[2:]).all())


def _joined(regions: list[Region]) -> list[Region]:
    """The regions after joining pairs, as long as there are any to join; the first ones keep their places."""
    while (pair := next(_pairs_to_join(regions), None)) is not None:
        i, j, union = pair
        regions = [union if k == i else region for k, region in enumerate(regions) if k != j]
    return regions


def _pairs_to_join(regions: list[Region]) -> Iterator[tuple[int, int, Region]]:
    for j in range(len(regions)):
        for i in range(j):
            (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = regions[i], regions[j]
            union = min(ax1, bx1), min(ay1, by1), max(ax2, bx2), max(ay2, by2)
            if _area(union) <= _area(regions[i]) + _area(regions[j]):
                yield i, j, union


def _area(region: Region) -> int:
    return (region[2] - region[0]) * (region[3] - region[1])
