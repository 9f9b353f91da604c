"""The turning Earth: simulated time as sidereal time, and WGS84 coordinates.

Frames of reference: TEME (true equator, mean equinox) is inertial and what SGP4 gives; ECEF (Earth-centred,
Earth-fixed) turns with the ground. Polar motion, at most 15 m on the ground, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache

import numpy as np
from skyfield.api import load, wgs84
from skyfield.sgp4lib import theta_GMST1982
from skyfield.timelib import Timescale

from sim.arrays import FloatArray
from sim.errors import ScenarioError

DAY_S = 86_400.0

# WGS84 defining parameters: NIMA TR8350.2, third edition, chapter 3.
EQUATOR_RADIUS_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
POLE_RADIUS_M = EQUATOR_RADIUS_M * (1 - FLATTENING)
ECCENTRICITY2 = FLATTENING * (2 - FLATTENING)
# IUGG mean radius (2a + b) / 3, for formulas on a sphere.
MEAN_RADIUS_M = (2 * EQUATOR_RADIUS_M + POLE_RADIUS_M) / 3


@lru_cache(maxsize=1)
def _timescale() -> Timescale:
    return load.timescale(builtin=True)  # the table in the package: no download


@dataclass(frozen=True)
class Epoch:
    """The moment that a simulation calls zero.

    Attributes:
        start: in UTC.
        julian_day: UTC Julian date of the midnight before, an exact number.
        day_fraction: of the day that has passed since.
        ut1_minus_utc_s: correction for the Earth's uneven rotation, held constant through the simulation.
    """

    start: datetime
    julian_day: float
    day_fraction: float
    ut1_minus_utc_s: float

    @classmethod
    def at(cls, start: datetime) -> Epoch:
        """The epoch of a date with a time zone.

        Raises:
            ScenarioError: the date has no time zone.
        """
        if start.tzinfo is None:
            raise ScenarioError(f"start {start.isoformat()}: has no time zone; write it with a Z at the end for UTC")
        utc = start.astimezone(timezone.utc)
        midnight = utc.replace(hour=0, minute=0, second=0, microsecond=0)
        julian_day = midnight.toordinal() + 1_721_424.5  # ordinal 1 is 0001-01-01, Julian date 1721425.5
        fraction = (utc - midnight).total_seconds() / DAY_S
        return cls(utc, julian_day, fraction, float(_timescale().from_datetime(utc).dut1))

    def days_since_j2000(self, times_s: FloatArray) -> FloatArray:
        """(N,) days of UT1 since 2000-01-01 12:00 at seconds since the start."""
        elapsed = self.day_fraction + (times_s + self.ut1_minus_utc_s) / DAY_S
        return np.asarray((self.julian_day - 2_451_545.0) + elapsed, dtype=np.float64)

    def sidereal_rad(self, times_s: FloatArray) -> FloatArray:
        """(N,) Greenwich mean sidereal time (1982), the angle from TEME to ECEF; AIAA 2006-6753, appendix C."""
        fraction = self.day_fraction + (times_s + self.ut1_minus_utc_s) / DAY_S
        theta, _ = theta_GMST1982(self.julian_day, fraction)
        return np.asarray(theta, dtype=np.float64)

    def to_fixed(self, vectors: FloatArray, times_s: FloatArray) -> FloatArray:
        """(N, 3) inertial vectors turned into ECEF, in the unit they come in."""
        theta = self.sidereal_rad(times_s)
        cos, sin = np.cos(theta), np.sin(theta)
        x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
        return np.stack([x * cos + y * sin, y * cos - x * sin, z], axis=1)


@dataclass(frozen=True)
class GroundTrack:
    """Points below a craft, and how high above them it is.

    Attributes:
        lat_deg: (N,) geodetic latitude, WGS84.
        lon_deg: (N,) in [-180, 180).
        height_m: (N,) above the ellipsoid.
    """

    lat_deg: FloatArray
    lon_deg: FloatArray
    height_m: FloatArray


def to_geodetic(positions_m: FloatArray) -> GroundTrack:
    """Geodetic coordinates of (N, 3) ECEF positions in metres.

    Bowring, "The accuracy of geodetic latitude and height equations", Survey Review 28 (1985):
    one step, without iterations.
    """
    x, y, z = positions_m[:, 0], positions_m[:, 1], positions_m[:, 2]
    across = np.hypot(x, y)
    radius = np.hypot(across, z)
    b_over_a = POLE_RADIUS_M / EQUATOR_RADIUS_M
    second_eccentricity2 = ECCENTRICITY2 / (1 - ECCENTRICITY2)
    reduced = np.arctan2(z * b_over_a * (1 + second_eccentricity2 * POLE_RADIUS_M / radius), across)
    lat = np.arctan2(
        z + second_eccentricity2 * POLE_RADIUS_M * np.sin(reduced) ** 3,
        across - ECCENTRICITY2 * EQUATOR_RADIUS_M * np.cos(reduced) ** 3,
    )
    sin = np.sin(lat)
    height = across * np.cos(lat) + z * sin - EQUATOR_RADIUS_M * np.sqrt(1 - ECCENTRICITY2 * sin**2)
    lon = (np.degrees(np.arctan2(y, x)) + 180.0) % 360.0 - 180.0
    return GroundTrack(np.degrees(lat), lon, height)


def place_m(lat_deg: float, lon_deg: float, height_m: float) -> FloatArray:
    """(3,) ECEF position in metres of a place given in WGS84 coordinates."""
    place = wgs84.latlon(lat_deg, lon_deg, elevation_m=height_m)
    return np.asarray(place.itrs_xyz.m, dtype=np.float64)


def local_up(lat_deg: FloatArray, lon_deg: FloatArray) -> FloatArray:
    """(N, 3) unit vectors that point straight up, in ECEF."""
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
