"""The flat map about the world's origin: metres in the world, degrees in the poses that craft are told."""

from __future__ import annotations

import math

# Where the world's origin lies on the globe; any place but a pole does.
ORIGIN_LAT_DEG = 47.0
ORIGIN_LON_DEG = 8.0

METRES_PER_LAT_DEG = 111_320.0
"""A 360th of the equator (WGS84: 40,075.017 km); a meridian's degree is 0.15 % shorter there, the same both ways."""

_METRES_PER_LON_DEG = METRES_PER_LAT_DEG * math.cos(math.radians(ORIGIN_LAT_DEG))


def to_degrees(east_m: float, north_m: float) -> tuple[float, float]:
    """Latitude and longitude of a place."""
    return ORIGIN_LAT_DEG + north_m / METRES_PER_LAT_DEG, ORIGIN_LON_DEG + east_m / _METRES_PER_LON_DEG


def to_metres(lat_deg: float, lon_deg: float) -> tuple[float, float]:
    """East and north of a place: the inverse of `to_degrees`."""
    return (lon_deg - ORIGIN_LON_DEG) * _METRES_PER_LON_DEG, (lat_deg - ORIGIN_LAT_DEG) * METRES_PER_LAT_DEG
