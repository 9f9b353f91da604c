"""Where on the ground craft and the pictures of cases are, as a drawing in metres around their middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cloud.store import StoredCase
from edge.ground import ground_place, radii_of_curvature

_LEAST_SPAN_M = 50.0
_MARGIN = 0.08
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Footprint:
    """The ground that a case's pictures show.

    Attributes:
        stored: the case.
        outlines: a closed outline for each picture whose corners all lie on the ground: (x, y) metres, y downwards.
        camera: where the camera was, likewise.
    """

    stored: StoredCase
    outlines: tuple[tuple[tuple[float, float], ...], ...]
    camera: tuple[float, float]


@dataclass(frozen=True)
class GroundMap:
    """Footprints on one sheet.

    Attributes:
        footprints: oldest first, so that the newest is drawn over the others.
        view: x, y, width and height of what to show, metres.
        middle: latitude and longitude of the sheet's origin, degrees.
        scale_m: length of the scale bar.
        nowhere: cases whose pose does not tell where they are.
    """

    footprints: tuple[Footprint, ...]
    view: tuple[float, float, float, float]
    middle: tuple[float, float]
    scale_m: float
    nowhere: int

    @property
    def craft(self) -> list[Footprint]:
        """The newest footprint of each craft: where it was last."""
        return list({footprint.stored.craft: footprint for footprint in self.footprints}.values())


def map_of(cases: Sequence[StoredCase]) -> GroundMap | None:
    """A map of cases, newest first; None where no pose is known.

    Degrees become metres as around the newest case: good for the tens of kilometres that one sheet can show.
    """
    placed = [stored for stored in cases if _camera(stored) is not None]
    if not placed:
        return None
    middle = _camera(placed[0])
    assert middle is not None
    meridian_m, across_m = radii_of_curvature(math.radians(middle[0]))
    across_m *= math.cos(math.radians(middle[0]))

    def metres(lon: float, lat: float) -> tuple[float, float]:
        east = (lon - middle[1] + 180) % 360 - 180
        return math.radians(east) * across_m, -math.radians(lat - middle[0]) * meridian_m

    footprints = []
    for stored in reversed(placed):
        camera = _camera(stored)
        assert camera is not None
        outlines = tuple(tuple(metres(*place) for place in corners) for corners in _corners(stored))
        footprints.append(Footprint(stored, outlines, metres(camera[1], camera[0])))
    view = _view(footprints)
    return GroundMap(tuple(footprints), view, middle, _round_length(view[2] / 5), len(cases) - len(placed))


def _camera(stored: StoredCase) -> tuple[float, float] | None:
    pose = stored.case.frame.pose
    if pose is None or pose.lat_deg is None or pose.lon_deg is None:
        return None
    return pose.lat_deg, pose.lon_deg


def _corners(stored: StoredCase) -> list[list[tuple[float, float]]]:
    """Longitude and latitude of each picture's corners, of those that lie wholly below the horizon."""
    frame, found = stored.case.frame, []
    assert frame.pose is not None
    for part in stored.case.parts:
        x1, y1, x2, y2 = part.region_xyxy
        corners = [
            ground_place(frame.pose, (frame.width, frame.height), pixel)
            for pixel in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
        ]
        known = [place for place in corners if place is not None]
        if len(known) == len(corners):
            found.append(known)
    return found


def _view(footprints: Sequence[Footprint]) -> tuple[float, float, float, float]:
    points = [point for item in footprints for outline in item.outlines for point in outline]
    points += [item.camera for item in footprints]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top, bottom = min(y for _, y in points), max(y for _, y in points)
    margin = max(right - left, bottom - top) * _MARGIN
    width, height = (max(side + 2 * margin, _LEAST_SPAN_M) for side in (right - left, bottom - top))
    return (left + right) / 2 - width / 2, (top + bottom) / 2 - height / 2, width, height


def _round_length(about_m: float) -> float:
    power = 10 ** math.floor(math.log10(about_m))
    return float(max(step * power for step in _STEPS if step * power <= about_m))
