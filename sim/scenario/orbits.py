"""Whether a satellite pass is one that a satellite can fly."""

from __future__ import annotations

import math
from datetime import timezone

from sim.craft.orbit import Orbit, orbit_from_tle
from sim.errors import ScenarioError
from sim.scenario.flights import SatellitePass

MAX_TLE_AGE_DAYS = 30
"""SGP4 is off by 1 to 3 km a day from the epoch on (Vallado and Crawford, AIAA 2008-6770): after a month a pass over
one place is guesswork."""

GSD_M = (0.2, 30.0)


def check_orbit(flight: SatellitePass, focal_px: float, where: str) -> None:
    """Refuse a pass that cannot be flown or shows nothing.

    Args:
        flight: the pass.
        focal_px: of the camera.
        where: key path of the craft.

    Raises:
        ScenarioError: the ground sampling distance makes no sense, or the TLE is damaged or too old.
    """
    if flight.tle:
        _check_tle(flight, f"{where}.flight")
    slant_m = 1000 * flight.altitude_km / math.cos(math.radians(flight.off_nadir_deg))
    gsd_m, (least, most) = slant_m / focal_px, GSD_M
    if not least <= gsd_m <= most:
        raise ScenarioError(
            f"{where}.camera.focal_px = {focal_px:g} gives {gsd_m:.3g} m per pixel from {flight.altitude_km:g} km, "
            f"{least:g} to {most:g} m make sense; {slant_m:.0f} would give 1 m"
        )


def _check_tle(flight: SatellitePass, where: str) -> None:
    if len(flight.tle) != 2:
        raise ScenarioError(f"{where}.tle has {len(flight.tle)} lines, two are wanted; leave the name's line out")
    if flight.start_utc is None:
        raise ScenarioError(
            f"{where}.start_utc is missing: a TLE wants a time; add e.g. start_utc = 2026-05-01T10:00:00Z"
        )
    orbit_of(flight, f"{where}.tle")


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
    return orbit_from_tle(name, (flight.tle[0], flight.tle[1]), start, MAX_TLE_AGE_DAYS)
