"""Who may talk to whom, when: contact windows shared out among antennas, and the links of drones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sim.craft.contact import ContactWindow
from sim.mission.settings import DroneSettings, LinkSettings

MIN_PASS_S = 10.0
"""A shorter rest of a window is not worth turning an antenna for."""


@dataclass(frozen=True)
class View:
    """A station sees a craft.

    Attributes:
        craft: its name.
        station: its name.
        window: when.
    """

    craft: str
    station: str
    window: ContactWindow


@dataclass(frozen=True)
class Pass:
    """A stretch of time in which a craft has a link.

    Attributes:
        station: at the other end; `radio` for a drone.
        start_s, end_s: since the mission's start.
        max_elevation_deg: of the window it is part of; 90 for a drone.
        link: rates and latency.
    """

    station: str
    start_s: float
    end_s: float
    max_elevation_deg: float
    link: LinkSettings


def drone_passes(drone: DroneSettings, duration_s: float) -> list[Pass]:
    """The link of a drone as passes, until the mission ends."""
    passes = []
    start_s = drone.offset_s
    while start_s < duration_s:
        passes.append(Pass("radio", start_s, min(start_s + drone.up_s, duration_s), 90.0, drone.link))
        start_s += drone.up_s + drone.down_s
    return passes


def share_antennas(
    views: Iterable[View], antennas: dict[str, int], links: dict[str, LinkSettings]
) -> tuple[dict[str, list[Pass]], list[View]]:
    """Give each view an antenna, first come first served.

    A craft talks to one station at a time and an antenna follows one craft until its window ends. A view that finds
    either busy gets what is left of it afterwards.

    Args:
        views: of all craft and stations.
        antennas: how many each station has.
        links: of each station.

    Returns:
        The passes of each craft in order of time, and the views that got less than `MIN_PASS_S`.
    """
    free_s = {station: [0.0] * count for station, count in antennas.items()}
    craft_free_s: dict[str, float] = {}
    passes: dict[str, list[Pass]] = {}
    missed = []
    for view in sorted(views, key=lambda v: (v.window.start_s, v.craft, v.station)):
        window, heads = view.window, free_s[view.station]
        head = heads.index(min(heads))
        start_s = max(window.start_s, heads[head], craft_free_s.get(view.craft, 0.0))
        if window.end_s - start_s < MIN_PASS_S:
            missed.append(view)
            continue
        heads[head] = craft_free_s[view.craft] = window.end_s
        found = Pass(view.station, start_s, window.end_s, window.max_elevation_deg, links[view.station])
        passes.setdefault(view.craft, []).append(found)
    return passes, missed
