"""Whether a satellite pass is one that a satellite can fly."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

from sim.errors import ScenarioError
from sim.scenario.flights import SatellitePass

MAX_TLE_AGE_DAYS = 30
"""SGP4 is off by 1 to 3 km a day from the epoch on (Vallado and Crawford, AIAA 2008-6770): after a month a pass over
one place is guesswork."""

GSD_M = (0.2, 30.0)
_TLE_CHARS = 69


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
    for number, line in enumerate(flight.tle, start=1):
        if len(line) != _TLE_CHARS or line[0] != str(number) or _checksum(line) != line[-1]:
            raise ScenarioError(
                f"{where}.tle[{number - 1}] is not line {number} of a TLE ({_TLE_CHARS} characters, the last a "
                "checksum); copy it again"
            )
    if flight.start_utc is None:
        raise ScenarioError(
            f"{where}.start_utc is missing: a TLE wants a time; add e.g. start_utc = 2026-05-01T10:00:00Z"
        )
    start = flight.start_utc if flight.start_utc.tzinfo else flight.start_utc.replace(tzinfo=timezone.utc)
    age_days = abs((start - tle_epoch(flight.tle[0])).total_seconds()) / 86_400
    if age_days > MAX_TLE_AGE_DAYS:
        raise ScenarioError(
            f"{where}.tle is {age_days:.0f} days away from start_utc, at most {MAX_TLE_AGE_DAYS} make sense; take a "
            "newer one, or a start_utc near its epoch"
        )


def tle_epoch(line: str) -> datetime:
    """The epoch in the first line of a TLE: columns 19 to 32, year and day of the year.

    Raises:
        ScenarioError: the columns hold no number.
    """
    try:
        year, day = int(line[18:20]), float(line[20:32])
    except ValueError as exc:
        raise ScenarioError(f"tle: {line[18:32]!r} is no epoch; copy the TLE again") from exc
    # Years from 57 on are of the last century: Sputnik flew in 1957.
    return datetime(1900 + year if year >= 57 else 2000 + year, 1, 1, tzinfo=timezone.utc) + timedelta(days=day - 1)


def _checksum(line: str) -> str:
    """The last digit of the sum of all digits before it; a minus counts as one."""
    return str(sum(int(c) if c.isdigit() else c == "-" for c in line[:-1]) % 10)
