"""The link of a satellite in low orbit: passes over ground stations, faster and nearer the higher it stands."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.arrays import FloatArray
from sim.craft.contact import ContactWindow, Station, contact_windows
from sim.craft.earth import place_m
from sim.craft.orbit import Orbit
from sim.link_schedule import Stretch
from sim.scenario.conditions import LinkProfile

LIGHT_M_PER_S = 299_792_458.0
"""In vacuum (BIPM, The International System of Units, 9th edition, 2019)."""

MODCODS: tuple[tuple[float, float], ...] = (
    (-2.35, 0.490243), (-1.24, 0.656448), (-0.30, 0.789412), (1.00, 0.988858), (2.23, 1.188304), (3.10, 1.322253),
    (4.03, 1.487473), (4.68, 1.587196), (5.18, 1.654663), (5.50, 1.779991), (6.62, 1.980636), (7.91, 2.228124),
    (8.97, 2.637201), (10.21, 2.966728), (11.03, 3.165623), (11.61, 3.300184), (12.89, 3.523143), (13.13, 3.567342),
)  # fmt: skip
"""(Es/N0 in dB, bits a symbol) of DVB-S2's modes worth using, QPSK 1/4 to 16APSK 9/10: ETSI EN 302 307-1, table 13."""

_STEP_S = 10.0


@dataclass(frozen=True)
class PassRadio:
    """The radio of the craft, and the way from the station to the cloud.

    Attributes:
        symbols_per_s: of the craft's transmitter. One million with the slowest mode is about the 512 kbit/s of the
            bundled mission's satellites.
        cloud_to_edge_bps: of the station's transmitter, of one mode; that of the bundled mission.
        ground_ms: from the station to the cloud, one way: 4,000 km of fibre at two thirds of the speed of light.
    """

    symbols_per_s: float = 1e6
    cloud_to_edge_bps: float = 19_200.0
    ground_ms: float = 20.0


def pass_schedule(
    orbit: Orbit, stations: Sequence[Station], span_s: tuple[float, float], radio: PassRadio | None = None
) -> list[Stretch]:
    """The link of one craft, cut between its passes.

    The link's budget is such that the slowest mode just closes at both ends of a pass. Nearer, Es/N0 grows with the
    square of the distance (free space, ITU-R P.525-4, equation 4), and the fastest mode that closes is used. Where two
    stations see the craft, the one that saw it first keeps it until it sets.

    Args:
        orbit: of the craft.
        stations: that it talks to.
        span_s: from when, in seconds since the orbit's epoch, and for how long; its start is second 0 of the link.
        radio: see `PassRadio`.

    Returns:
        Stretches of at most 10 s in a pass, the first from second 0.

    Raises:
        ScenarioError: the craft decays within the span.
    """
    radio, start_s = radio or PassRadio(), span_s[0]
    windows = [(window, station) for station in stations for window in contact_windows(orbit, station, *span_s)]
    down = LinkProfile(cloud_to_edge_bps=radio.cloud_to_edge_bps)
    stretches = [Stretch(0.0, "cut", down)]
    free_s = start_s
    for window, station in sorted(windows, key=lambda item: item[0].start_s):
        begin_s = max(window.start_s, free_s)
        if window.end_s > begin_s:
            free_s = window.end_s
            stretches += _in_pass(orbit, station, window, (begin_s, start_s), radio)
            stretches.append(Stretch(window.end_s - start_s, "cut", down))
    return [now for now, after in zip(stretches, [*stretches[1:], None], strict=True) if not _is_empty(now, after)]


def _is_empty(stretch: Stretch, after: Stretch | None) -> bool:
    return after is not None and after.from_s <= stretch.from_s


def first_pass_s(orbit: Orbit, stations: Sequence[Station], duration_s: float, quiet_s: float = 0.0) -> float | None:
    """When the first whole pass begins, in seconds since the orbit's epoch; None when there is none in so many seconds.

    A pass that the epoch falls into does not count, nor one that follows on another station's.

    Args:
        orbit: of the craft.
        stations: that it talks to.
        duration_s: of the searched span.
        quiet_s: for so long before it no station sees the craft.
    """
    windows = [window for station in stations for window in contact_windows(orbit, station, 0.0, duration_s)]
    starts = [
        window.start_s
        for window in windows
        if window.start_s > 0.0
        and window.start_s >= quiet_s
        and not any(o.start_s < window.start_s and o.end_s > window.start_s - quiet_s for o in windows)
    ]
    return min(starts, default=None)


def _in_pass(
    orbit: Orbit, station: Station, window: ContactWindow, times_s: tuple[float, float], radio: PassRadio
) -> list[Stretch]:
    """The stretches from the first of the times on; the second is second 0 of the link."""
    begin_s, zero_s = times_s
    starts = np.arange(begin_s, window.end_s, _STEP_S)
    middles = np.minimum(starts + _STEP_S / 2, window.end_s)
    places_m = orbit.positions_m(middles)
    ground_m = place_m(station.lat_deg, station.lon_deg, station.height_m)
    distances_m = np.linalg.norm(places_m - ground_m, axis=1)
    farthest_m = _farthest_m(float(np.linalg.norm(places_m, axis=1).max()), ground_m, station.min_elevation_deg)
    return [
        Stretch(float(at_s - zero_s), "up", _profile(float(distance_m), farthest_m, radio))
        for at_s, distance_m in zip(starts, distances_m, strict=True)
    ]


def _farthest_m(craft_m: float, ground_m: FloatArray, least_deg: float) -> float:
    """Distance of a craft so far from the Earth's centre at the least elevation, by the law of cosines."""
    radius_m, least = float(np.linalg.norm(ground_m)), math.radians(least_deg)
    return math.sqrt(craft_m**2 - (radius_m * math.cos(least)) ** 2) - radius_m * math.sin(least)


def _profile(distance_m: float, farthest_m: float, radio: PassRadio) -> LinkProfile:
    gained_db = max(20 * math.log10(farthest_m / distance_m), 0.0)
    place = bisect.bisect_right(MODCODS, (MODCODS[0][0] + gained_db, float("inf")))
    return LinkProfile(
        edge_to_cloud_bps=MODCODS[place - 1][1] * radio.symbols_per_s,
        cloud_to_edge_bps=radio.cloud_to_edge_bps,
        latency_ms=1000 * distance_m / LIGHT_M_PER_S + radio.ground_ms,
    )
