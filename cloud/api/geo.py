"""GeoJSON (RFC 7946): longitude before latitude, WGS 84, outer rings counter-clockwise, cut at the antimeridian."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from cloud.store import StoredCase
from edge.geojson import DEGREE_DIGITS
from edge.ground import ground_place
from protocols.values import FrameHeader

MEDIA_TYPE = "application/geo+json"

Place: TypeAlias = tuple[float, float]
"""Longitude and latitude, degrees."""

BoxXyxy: TypeAlias = tuple[float, float, float, float]

_HALF_TURN = 180.0


class Geometry(BaseModel):
    """A GeoJSON geometry."""

    type: Literal["Point", "Polygon", "MultiPolygon"]
    coordinates: list[Any] = Field(description="Longitude before latitude, WGS 84 degrees (RFC 7946).")


class Feature(BaseModel):
    """A GeoJSON feature."""

    type: Literal["Feature"] = "Feature"
    id: str
    geometry: Geometry | None = Field(description="null where the pose does not tell the place.")
    properties: dict[str, Any]


class FeatureCollection(BaseModel):
    """A GeoJSON feature collection."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[Feature]


def camera_point(frame: FrameHeader) -> Geometry | None:
    """Where the camera was; None where nobody knows."""
    pose = frame.pose
    if pose is None or pose.lat_deg is None or pose.lon_deg is None:
        return None
    return Geometry(type="Point", coordinates=_rounded((pose.lon_deg, pose.lat_deg)))


def ground_polygon(frame: FrameHeader, box_xyxy: BoxXyxy) -> Geometry | None:
    """The ground that a box of a frame shows; None where the pose does not tell, or it reaches the horizon."""
    if frame.pose is None:
        return None
    x1, y1, x2, y2 = box_xyxy
    size = (frame.width, frame.height)
    corners = [ground_place(frame.pose, size, pixel) for pixel in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
    known = [place for place in corners if place is not None]
    return polygon(known) if len(known) == len(corners) else None


def polygon(corners: Sequence[Place]) -> Geometry:
    """A convex outline, in one piece or cut in two where it crosses the antimeridian."""
    unwrapped = _unwrapped(corners)
    pieces = []
    for offset in (-2 * _HALF_TURN, 0.0, 2 * _HALF_TURN):
        moved = [(lon + offset, lat) for lon, lat in unwrapped]
        piece = _clipped(_clipped(moved, -_HALF_TURN, 1.0), _HALF_TURN, -1.0)
        if len(piece) >= 3:
            pieces.append([_ring(piece)])
    if len(pieces) == 1:
        return Geometry(type="Polygon", coordinates=pieces[0])
    return Geometry(type="MultiPolygon", coordinates=pieces)


def case_features(stored: StoredCase, things: Iterable[tuple[str, BoxXyxy, dict[str, Any]]]) -> FeatureCollection:
    """What a case shows on the ground: each picture's footprint, the camera, and things.

    Args:
        stored: the case.
        things: (id, box in pixels of the frame, properties) of what was found in it.
    """
    case = stored.case
    about = {"craft": stored.craft, "case_id": case.case_id, "captured_at_s": case.frame.captured_at_s}
    features = [
        Feature(
            id=f"{case.case_id}/footprint/{number}",
            geometry=ground_polygon(case.frame, part.region_xyxy),
            properties={**about, "kind": "footprint", "region_xyxy": list(part.region_xyxy), "state": stored.state},
        )
        for number, part in enumerate(case.parts, 1)
    ]
    camera = {**about, "kind": "camera"}
    features.append(Feature(id=f"{case.case_id}/camera", geometry=camera_point(case.frame), properties=camera))
    for name, box, properties in things:
        features.append(
            Feature(
                id=f"{case.case_id}/{name}",
                geometry=ground_polygon(case.frame, box),
                properties={**about, "kind": "thing", "box_xyxy": list(box), **properties},
            )
        )
    return FeatureCollection(features=features)


def _unwrapped(corners: Sequence[Place]) -> list[Place]:
    """Longitudes within half a turn of the first one, perhaps beyond 180 degrees."""
    first = corners[0][0]
    return [(first + (lon - first + _HALF_TURN) % (2 * _HALF_TURN) - _HALF_TURN, lat) for lon, lat in corners]


def _clipped(ring: Sequence[Place], limit: float, side: float) -> list[Place]:
    """The part of a convex outline east (`side` 1) or west (-1) of a meridian (Sutherland and Hodgman, 1974)."""
    kept: list[Place] = []
    for (lon1, lat1), (lon2, lat2) in zip(ring, [*ring[1:], *ring[:1]], strict=True):
        before, after = side * (lon1 - limit), side * (lon2 - limit)
        if before >= 0:
            kept.append((lon1, lat1))
        if (before < 0 < after) or (after < 0 < before):
            kept.append((limit, lat1 + (lat2 - lat1) * before / (before - after)))
    return kept if len({lon for lon, _ in kept}) > 1 else []


def _ring(corners: Sequence[Place]) -> list[list[float]]:
    """A closed ring, counter-clockwise."""
    turned = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, [*corners[1:], *corners[:1]], strict=True))
    ordered = list(corners) if turned > 0 else list(reversed(corners))
    return [_rounded(place) for place in [*ordered, ordered[0]]]


def _rounded(place: Place) -> list[float]:
    return [round(degrees, DEGREE_DIGITS) for degrees in place]
