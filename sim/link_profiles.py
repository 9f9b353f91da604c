"""Links of the kinds that craft have, by name; every number has its source, or says that it is a choice."""

from __future__ import annotations

from pathlib import Path

import structlog

from sim.craft.contact import Station
from sim.craft.orbit import Orbit, orbit_from_tle
from sim.errors import OptionError, ScenarioError
from sim.leo_pass import first_pass_s, pass_schedule
from sim.link_schedule import Stretch, always
from sim.mission.settings import load_mission
from sim.scenario.conditions import LinkProfile

log = structlog.get_logger()

LEO_PASS = "leo-pass"  # noqa: S105 - of a satellite
_LEAD_S = 5.0
_DAY_S = 86_400.0

PROFILES: dict[str, LinkProfile] = {
    # 1000BASE-T (IEEE 802.3, clause 40); 0.1 ms for switches and stacks is a choice.
    "lan": LinkProfile(edge_to_cloud_bps=1e9, cloud_to_edge_bps=1e9, latency_ms=0.1),
    # Medians of a public measurement: 6 and 13 Mbit/s, and 70 ms there and back (Huang et al., "A Close Examination of
    # Performance and Power Characteristics of 4G LTE Networks", MobiSys 2012). Loss as the default bearer allows
    # (3GPP TS 23.203, table 6.1.7, QCI 9). 10 ms of jitter, a few scheduling turns, are a choice.
    "lte": LinkProfile(
        edge_to_cloud_bps=6e6, cloud_to_edge_bps=13e6, latency_ms=35.0, jitter_ms=10.0, loss=1e-6
    ),
    # What the worst 5 % of users must get of 10 MHz: 0.03 and 0.06 bit/s/Hz (ITU-R M.2134, section 4.3, base coverage
    # urban). As late as the default bearer's budget of 300 ms, as lossy as any bearer may be (TS 23.203, QCI 9 and 1).
    "lte-edge-of-cell": LinkProfile(
        edge_to_cloud_bps=300e3, cloud_to_edge_bps=600e3, latency_ms=35.0, jitter_ms=265.0, loss=1e-2
    ),
    # Inmarsat SwiftBroadband's standard IP, up to 432 kbit/s each way. Up and down again from the edge of the view
    # takes 279 ms, and one bit in ten million is wrong, a packet of 1,500 bytes in 830 (RFC 2488, section 2).
    "geo-satcom": LinkProfile(
        edge_to_cloud_bps=432e3, cloud_to_edge_bps=432e3, latency_ms=279.0, jitter_ms=20.0, loss=1.2e-3
    ),
}  # fmt: skip
"""Links that are up for ever."""

NAMES = (*PROFILES, LEO_PASS)


def profile_named(name: str) -> LinkProfile:
    """The link of a name that is up for ever.

    Raises:
        OptionError: there is none.
    """
    if name not in PROFILES:
        raise OptionError(f"profile {name!r} is none of {', '.join(NAMES)}")
    return PROFILES[name]


def leo_pass(mission: Path, craft: str = "", hours: float = 24.0) -> list[Stretch]:
    """The link of one satellite of a mission file over its stations; the first whole pass begins after 5 s.

    Args:
        mission: the file; its stations' rates are not used, see `leo_pass.py`.
        craft: its name; empty is the first with a TLE.
        hours: how far ahead.

    Raises:
        ScenarioError: the file cannot be read, there is no such satellite, or no station sees it in a day.
    """
    orbit, stations = satellite_of(mission, craft)
    if words := orbit.stale_words():
        log.warning(words)
    first_s = first_pass_s(orbit, stations, _DAY_S, _LEAD_S)
    if first_s is None:
        raise ScenarioError(f"{mission}: no station sees {orbit.name} in a day; add one below its track")
    return pass_schedule(orbit, stations, (first_s - _LEAD_S, 3600 * hours))


def satellite_of(mission: Path, craft: str = "") -> tuple[Orbit, list[Station]]:
    """A satellite of a mission file from the mission's start on, and the mission's stations.

    Args:
        mission: the file.
        craft: its name; empty is the first with a TLE.

    Raises:
        ScenarioError: the file cannot be read, there is no such satellite, or its TLE is too old.
    """
    settings = load_mission(mission)
    chosen = [item for item in settings.craft if item.tle is not None and craft in ("", item.name)]
    if not chosen or chosen[0].tle is None:
        names = ", ".join(item.name for item in settings.craft if item.tle is not None) or "none"
        raise ScenarioError(f"{mission}: no satellite {craft!r}; there are {names}")
    orbit = orbit_from_tle(chosen[0].name, chosen[0].tle, settings.start, settings.max_tle_age_days)
    return orbit, [item.station for item in settings.stations]


def schedule_named(name: str, mission: Path) -> list[Stretch]:
    """The schedule of any of `NAMES`.

    Args:
        name: of the link.
        mission: for `leo-pass`.

    Raises:
        OptionError: no such name.
        ScenarioError: see `leo_pass`.
    """
    return leo_pass(mission) if name == LEO_PASS else always(profile_named(name))
