"""Whether a satellite pass is one that a satellite can fly."""

from __future__ import annotations

import math
from datetime import timezone

import numpy as np

from sim.craft.orbit import Orbit, orbit_from_tle
from sim.craft.overpass import circular_sky, sky_of_orbit
from sim.errors import ScenarioError
from sim.flat_map import ORIGIN_LAT_DEG, ORIGIN_LON_DEG
from sim.scenario.flights import SatellitePass

GSD_M = (0.2, 30.0)


def check_orbit(flight: SatellitePass, focal_px: float, seconds: float, where: str) -> None:
    """Refuse a pass that cannot be flown or shows nothing.

    Args:
        flight: the pass.
        focal_px: of the camera.
        seconds: of the pass.
        where: key path of the craft.

    Raises:
        ScenarioError: the ground sampling distance makes no sense, the pass begins or ends too low, or the TLE is
            damaged or too old.
    """
    if flight.tle:
        slant_m = _height_m(flight, seconds, f"{where}.flight")
    else:
        circular_sky(flight.altitude_km, flight.off_nadir_deg, seconds)
        slant_m = 1000 * flight.altitude_km / math.cos(math.radians(flight.off_nadir_deg))
    gsd_m, (least, most) = slant_m / focal_px, GSD_M
    if not least <= gsd_m <= most:
        raise ScenarioError(
            f"{where}.camera.focal_px = {focal_px:g} gives {gsd_m:.3g} m per pixel from {slant_m / 1000:.0f} km away, "
            f"{least:g} to {most:g} m make sense; {slant_m:.0f} would give 1 m"
        )


def _height_m(flight: SatellitePass, seconds: float, where: str) -> float:
    """Metres of a real orbit above the ground at the start of its pass, which is high in the sky all the time."""
    if len(flight.tle) != 2:
        raise ScenarioError(f"{where}.tle has {len(flight.tle)} lines, two are wanted; leave the name's line out")
    if flight.start_utc is None:
        raise ScenarioError(
            f"{where}.start_utc is missing: a TLE wants a time; add e.g. start_utc = 2026-05-01T10:00:00Z"
        )
    orbit = orbit_of(flight, f"{where}.tle")
    sky_of_orbit(orbit, ORIGIN_LAT_DEG, ORIGIN_LON_DEG, seconds)
    return float(orbit.ground_track(np.zeros(1)).height_m[0])


def orbit_of(flight: SatellitePass, name: str) -> Orbit:
    """The orbit of a pass that has a TLE and a start.

    Args:
        flight: the pass.
        name: for messages.

    Raises:
        ScenarioError: the TLE is damaged or too old.
    """
    assert flight.start_utc is not None
    start = flight.start_utc if flight.start_utc.tzinfo else flight.start_utc.replace(tzinfo=timezone.utc)
    return orbit_from_tle(name, (flight.tle[0], flight.tle[1]), start, start_key="start_utc")
