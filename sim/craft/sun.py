"""Where the sun stands, from a short formula: no ephemeris file is needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.arrays import FloatArray
from sim.craft.earth import EQUATOR_RADIUS_M, Epoch, GroundTrack, local_up


def sun_direction(epoch: Epoch, times_s: FloatArray) -> FloatArray:
    """(N, 3) unit vectors from the Earth's centre to the sun, of the true equator and equinox of date.

    "Low precision formulas for the Sun", The Astronomical Almanac, section C: within 0.01 degrees of the apparent
    position between 1950 and 2050.

    Args:
        epoch: the moment of zero.
        times_s: (N,) seconds since then.
    """
    days = epoch.days_since_j2000(times_s)
    mean_longitude = 280.460 + 0.9856474 * days
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = np.radians(mean_longitude + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.radians(23.439 - 0.0000004 * days)
    east = np.sin(longitude)
    return np.stack([np.cos(longitude), np.cos(obliquity) * east, np.sin(obliquity) * east], axis=1)


def sun_elevation_deg(epoch: Epoch, track: GroundTrack, times_s: FloatArray) -> FloatArray:
    """(N,) degrees of the sun above the horizon at each point of a track; no refraction, no parallax."""
    sun = epoch.to_fixed(sun_direction(epoch, times_s), times_s)
    sine = np.einsum("ij,ij->i", sun, local_up(track.lat_deg, track.lon_deg))
    return np.asarray(np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))), dtype=np.float64)


def in_sunlight(epoch: Epoch, positions_m: FloatArray, times_s: FloatArray) -> NDArray[np.bool_]:
    """(N,) whether a craft is outside the Earth's shadow, taken as a cylinder of the equator's radius.

    Vallado, "Fundamentals of Astrodynamics and Applications", fourth edition, section 5.3.2: the penumbra, about ten
    seconds of a low orbit, is left out.

    Args:
        epoch: the moment of zero.
        positions_m: (N, 3) in ECEF.
        times_s: (N,) seconds since the epoch.
    """
    sun = epoch.to_fixed(sun_direction(epoch, times_s), times_s)
    ahead = np.einsum("ij,ij->i", positions_m, sun)
    beside = np.linalg.norm(positions_m - ahead[:, None] * sun, axis=1)
    return np.asarray((ahead > 0) | (beside > EQUATOR_RADIUS_M))
