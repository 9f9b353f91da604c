"""An orbit from a two-line element set: where the craft is, over which ground, in which light.

Read next: `contact.py` (when a station sees it), `imager.py` (what its camera resolves).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sgp4.api import SGP4_ERRORS, WGS72, Satrec
from sgp4.io import verify_checksum

from sim.arrays import FloatArray
from sim.craft.earth import DAY_S, Epoch, GroundTrack, to_geodetic
from sim.craft.sun import in_sunlight
from sim.errors import ScenarioError

TLE_CHARS = 69
MAX_TLE_AGE_DAYS = 14.0
"""SGP4 drifts by one to three kilometres a day (Vallado et al., AIAA 2006-6753): two weeks are a few seconds."""

STALE_TLE_DAYS = 3.0
"""From here on a pass may come a second earlier or later than said: 9 km at 7.6 km/s."""


@dataclass(frozen=True)
class Orbit:
    """The path of one satellite during a simulation; times are seconds since its start.

    Attributes:
        name: of the craft, for messages.
        epoch: the simulation's start.
        elements: the initialised SGP4 record.
    """

    name: str
    epoch: Epoch
    elements: Satrec

    @property
    def tle_age_days(self) -> float:
        """Days from the elements' epoch to the start; negative where they are newer."""
        start_days = self.epoch.julian_day - self.elements.jdsatepoch
        return float(start_days + self.epoch.day_fraction - self.elements.jdsatepochF)

    def stale_words(self) -> str | None:
        """A warning where the elements are old for the start, though not too old; None where they are fresh."""
        days = abs(self.tle_age_days)
        if days <= STALE_TLE_DAYS:
            return None
        return (
            f"{self.name}: the TLE is {days:.1f} days from the start: the satellite may be {days:.0f} to "
            f"{3 * days:.0f} km along its track from where SGP4 puts it; take a newer TLE (celestrak.org, "
            "space-track.org)"
        )

    def inertial_km(self, times_s: FloatArray) -> FloatArray:
        """(N, 3) kilometres in TEME, as SGP4 gives them.

        Raises:
            ScenarioError: the craft has decayed by then, or the elements are not those of an orbit.
        """
        days = np.full(len(times_s), self.epoch.julian_day)
        codes, places, _ = self.elements.sgp4_array(days, self.epoch.day_fraction + times_s / DAY_S)
        if codes.any():
            first = int(np.flatnonzero(codes)[0])
            raise ScenarioError(
                f"{self.name}: no orbit {times_s[first] / 3600:.1f} h after the start "
                f"({SGP4_ERRORS.get(int(codes[first]), 'unknown SGP4 error')}); take a newer TLE or another craft"
            )
        return np.asarray(places, dtype=np.float64)

    def positions_m(self, times_s: FloatArray) -> FloatArray:
        """(N, 3) metres in ECEF; errors as in `inertial_km`."""
        return 1000.0 * self.epoch.to_fixed(self.inertial_km(times_s), times_s)

    def ground_track(self, times_s: FloatArray) -> GroundTrack:
        """The points below the craft; errors as in `inertial_km`."""
        return to_geodetic(self.positions_m(times_s))

    def in_sunlight(self, times_s: FloatArray) -> NDArray[np.bool_]:
        """(N,) whether the craft itself is outside the Earth's shadow."""
        return in_sunlight(self.epoch, self.positions_m(times_s), times_s)


def orbit_from_tle(
    name: str,
    tle: tuple[str, str],
    start: datetime,
    max_age_days: float = MAX_TLE_AGE_DAYS,
    *,
    start_key: str = "start",
) -> Orbit:
    """The orbit that a two-line element set describes, with the WGS72 constants that such sets are fitted with.

    Args:
        name: of the craft, for messages.
        tle: both lines, 69 characters each.
        start: the moment of zero, with a time zone.
        max_age_days: most days between the elements' epoch and the start, either way.
        start_key: what the start is called where it was given, for messages.

    Raises:
        ScenarioError: a line is malformed or its checksum wrong, the set is too old or too new for the start, or
            the craft has decayed by then.
    """
    lines = (tle[0].rstrip(), tle[1].rstrip())
    _check_lines(name, lines)
    try:
        elements = Satrec.twoline2rv(*lines, WGS72)
    except ValueError as exc:
        raise ScenarioError(f"{name}: TLE cannot be read ({exc}); copy both lines again") from exc
    epoch = Epoch.at(start)
    orbit = Orbit(name, epoch, elements)
    _check_age(orbit, max_age_days, start_key)
    orbit.inertial_km(np.zeros(1))
    return orbit


def _check_lines(name: str, lines: tuple[str, str]) -> None:
    for number, line in enumerate(lines, start=1):
        if len(line) != TLE_CHARS or not line.isascii() or not line.startswith(f"{number} "):
            raise ScenarioError(
                f"{name}: TLE line {number} has {len(line)} characters and starts with {line[:2]!r}; it needs "
                f"{TLE_CHARS} and a {number} in front; copy both lines whole"
            )
        if not line[-1].isdigit():
            raise ScenarioError(f"{name}: TLE line {number} ends without a checksum digit; copy both lines whole")
    try:
        verify_checksum(*lines)
    except ValueError as exc:
        raise ScenarioError(
            f"{name}: {str(exc).splitlines()[0].rstrip(':')}; a character was changed, copy both lines again"
        ) from exc
    if lines[0][2:7] != lines[1][2:7]:
        raise ScenarioError(
            f"{name}: TLE lines of two craft, {lines[0][2:7]} and {lines[1][2:7]}; take both from one set"
        )


def _check_age(orbit: Orbit, max_age_days: float, start_key: str) -> None:
    age_days = orbit.tle_age_days
    if abs(age_days) > max_age_days:
        when = "older" if age_days > 0 else "newer"
        raise ScenarioError(
            f"{orbit.name}: the TLE is {abs(age_days):.1f} days {when} than the start "
            f"{orbit.epoch.start:%Y-%m-%d %H:%M} UTC, the limit is {max_age_days:g}; take a TLE of that day "
            f"(celestrak.org, space-track.org) or move `{start_key}`"
        )
