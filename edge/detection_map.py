"""`detections.geojson`: the detections of georeferenced scenes as polygons in the CRS of the scenes.

RFC 7946 knows WGS 84 alone, and moving boxes of a projected scene there would bend them and lose centimetres. So the
file names its CRS in the `crs` member of GeoJSON 2008 (section 3), as GDAL writes and reads it; QGIS, GeoPandas and
everything else on GDAL takes it from there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from edge.capture import Frame
from edge.geojson import DEGREE_DIGITS, FeatureFile, feature, time_text
from edge.raster import Georeference, moved_points
from protocols.values import Detection

log = structlog.get_logger()

NAME = "detections.geojson"

CRS84 = "OGC:CRS84"
"""WGS 84 with longitude first, which RFC 7946 prescribes; what it knows as EPSG:4326 GDAL writes under this name."""

_METRE_DIGITS = 3
_CODED = re.compile(r"([A-Za-z]+):(\w+)")

Point = tuple[float, float]


class DetectionMap:
    """One polygon for each detection; scenes of another CRS than the first one's are brought into that.

    The file exists from the first scene with a CRS on, and is whole GeoJSON after each. Where a scene names none, the
    log says so once, and the detections stand in `detections.jsonl` alone.
    """

    def __init__(self, folder: Path) -> None:
        """Remove an earlier run's file.

        Raises:
            OSError: it cannot be removed.
        """
        self._file = FeatureFile(folder / NAME)
        self._crs: str | None = None
        self._digits = _METRE_DIGITS
        self._has_warned = False

    def write(self, frame: Frame, detections: Sequence[Detection]) -> None:
        """Add one frame's detections; a frame that is no raster has no place here.

        Raises:
            OSError: the disk is full or gone.
        """
        place = frame.georeference
        if place is None:
            return
        if place.crs is None:
            self._warn_once(place)
            return
        if self._crs is None:
            self._crs = named_crs(place.crs)
            self._digits = DEGREE_DIGITS if _is_in_degrees(self._crs) else _METRE_DIGITS
        features = [
            line
            for number, detection in enumerate(detections)
            if (line := self._feature(frame, place, number, detection)) is not None
        ]
        self._file.add(features, crs_members(self._crs))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _warn_once(self, place: Georeference) -> None:
        if not self._has_warned:
            self._has_warned = True
            cure = "name it, as with `rio edit-info --crs EPSG:32633`"
            log.warning("a scene without a CRS: its detections are not on the map", scene=place.name, cure=cure)

    def _feature(self, frame: Frame, place: Georeference, number: int, detection: Detection) -> bytes | None:
        """None where the box lies beside the map, as a corner of a picture of the whole Earth may."""
        assert self._crs is not None
        assert place.crs is not None
        ring = box_ring(detection.box_xyxy, place)
        if place.crs != self._crs:
            ring = [(x, y) for x, y in moved_points(ring, place.crs, self._crs).tolist()]
        if not all(math.isfinite(value) for point in ring for value in point):
            return None
        coordinates = [[round(value, self._digits) for value in point] for point in ring]
        header = frame.header
        properties = {
            "label": detection.label,
            "score": round(detection.score, 4),
            "provenance": detection.provenance,
            "track_id": detection.track_id,
            "scene": place.name,
            "frame": header.index,
            "box_xyxy": [round(v, 1) for v in detection.box_xyxy],
            "time": time_text(header.captured_at_s),
        }
        geometry = {"type": "Polygon", "coordinates": [coordinates]}
        return feature(f"{header.index}-{number}", geometry, properties)


def named_crs(crs: str) -> str:
    """The CRS in which a scene's detections are written: its own where it has a code, else WGS 84."""
    return crs if _CODED.fullmatch(crs) and crs != "EPSG:4326" else CRS84


def crs_members(crs: str, name: str = "detections") -> dict[str, Any]:
    """Members of the collection that name its CRS, as GDAL writes them.

    Args:
        crs: authority and code, such as `EPSG:32633`.
        name: of the collection.
    """
    coded = _CODED.fullmatch(crs)
    assert coded is not None
    urn = "urn:ogc:def:crs:OGC:1.3:CRS84" if crs == CRS84 else f"urn:ogc:def:crs:{coded[1]}::{coded[2]}"
    return {"name": name, "crs": {"type": "name", "properties": {"name": urn}}}


def box_ring(box_xyxy: Sequence[float], place: Georeference) -> list[Point]:
    """The closed outline of a box on the map, counter-clockwise (RFC 7946, 3.1.6) as long as x points right of y."""
    x1, y1, x2, y2 = box_xyxy
    a, b, c, d, e, f = place.transform
    corners = [(x1, y1), (x1, y2), (x2, y2), (x2, y1), (x1, y1)]
    ring = [(a * x + b * y + c, d * x + e * y + f) for x, y in corners]
    return ring if a * e - b * d < 0 else ring[::-1]


def _is_in_degrees(crs: str) -> bool:
    from rasterio.crs import CRS

    return bool(CRS.from_string(crs).is_geographic)
