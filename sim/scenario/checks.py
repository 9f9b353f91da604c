"""What does not go together in a scenario, although every single value is allowed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from sim.errors import ScenarioError
from sim.scenario.conditions import EdgeRestart, LinkCut
from sim.scenario.events import Appear, Earthquake, Event, Fog, Hide, Rain
from sim.scenario.flights import OrbitTarget, SatellitePass, Waypoints
from sim.scenario.horizon import check_horizon
from sim.scenario.intervals import Span, up_spans
from sim.scenario.near import nearest
from sim.scenario.orbits import check_orbit
from sim.world.catalogue import APPEARING
from sim.world.layout import Label
from sim.world.settings import Landscape

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario

_BUILT = (Landscape.TOWN, Landscape.VILLAGE, Landscape.PORT, Landscape.AIRFIELD)
_WITH_WATER = (Landscape.COAST, Landscape.PORT)


def check_scenario(scenario: Scenario) -> None:
    """Refuse a scenario that cannot happen.

    Raises:
        ScenarioError: names the key, the value and the cure.
    """
    _check_craft(scenario)
    _check_flights(scenario)
    _check_times(scenario)
    _check_events(scenario)
    _check_faults(scenario)
    _check_link(scenario)
    _check_operator(scenario)


def cuts_of(scenario: Scenario, craft: str) -> list[Span]:
    """When faults take a craft's link down."""
    return [
        (fault.at_s, fault.at_s + fault.for_s)
        for fault in scenario.fault
        if isinstance(fault, LinkCut) and fault.craft in (None, craft)
    ]


def _check_craft(scenario: Scenario) -> None:
    if not scenario.craft:
        raise ScenarioError("craft: there is none; add at least one [[craft]] with a name and a [craft.flight]")
    first: dict[str, int] = {}
    for index, craft in enumerate(scenario.craft):
        if craft.name in first:
            raise ScenarioError(
                f"craft[{index}].name = {craft.name!r} is craft[{first[craft.name]}]'s name too; give each its own"
            )
        first[craft.name] = index


def _check_flights(scenario: Scenario) -> None:
    for index, craft in enumerate(scenario.craft):
        flight, where = craft.flight, f"craft[{index}].flight"
        if isinstance(flight, SatellitePass):
            check_orbit(flight, craft.camera.focal_px, scenario.seconds, f"craft[{index}]")
            continue
        check_horizon(flight, craft.camera, f"craft[{index}]")
        if isinstance(flight, Waypoints):
            for number, place in enumerate(flight.points_m):
                _check_place(scenario, place, f"{where}.points_m[{number}]")
        elif isinstance(flight, OrbitTarget) and flight.target == "place":
            _check_place(scenario, flight.centre_m, f"{where}.centre_m")


def _check_place(scenario: Scenario, place: Span, where: str) -> None:
    half_m = scenario.world.half_m
    if max(map(abs, place)) > half_m:
        raise ScenarioError(
            f"{where} = {list(place)} lies outside the world, which reaches from -{half_m:g} to {half_m:g} m; "
            "move it or enlarge world.half_m"
        )


def _check_times(scenario: Scenario) -> None:
    for section, items in (("event", scenario.event), ("fault", scenario.fault)):
        for index, item in enumerate(items):
            if item.at_s >= scenario.seconds:
                raise ScenarioError(
                    f"{section}[{index}].at_s = {item.at_s:g} ({item.kind}) comes after the end of the flight at "
                    f"{scenario.seconds:g} s; set it earlier or fly longer"
                )


def _check_events(scenario: Scenario) -> None:
    counts = Counter(event.kind for event in scenario.event)
    for kind in ("earthquake", "fog", "rain"):
        if counts[kind] > 1:
            raise ScenarioError(f"event: {counts[kind]} of kind {kind!r}, the world takes one; remove the others")
    for index, event in enumerate(scenario.event):
        if isinstance(event, Appear) and event.object not in APPEARING:
            raise ScenarioError(
                f"event[{index}].object = {event.object!r} is no kind of object; {nearest(event.object, APPEARING)}"
            )
        if problem := _impossible(scenario, event):
            raise ScenarioError(f"event[{index}] ({event.kind}) cannot happen: {problem}")
    hides = [(e.at_s, e.at_s + e.for_s) for e in scenario.event if isinstance(e, Hide)]
    _check_disjoint(hides, "event", "two hides", "let the vehicle come out before it hides again")


def _impossible(scenario: Scenario, event: Event) -> str | None:
    """Why the world does not allow an event; None when it does."""
    world = scenario.world
    land = world.landscape.value
    if isinstance(event, Earthquake) and world.landscape not in _BUILT:
        return f"world.landscape {land!r} has nothing to fall; choose one of {_names(_BUILT)}"
    if isinstance(event, Appear) and event.where == "water" and world.landscape not in _WITH_WATER:
        return f"where = 'water', and world.landscape {land!r} has none; choose one of {_names(_WITH_WATER)}"
    if isinstance(event, Hide):
        return _impossible_hide(scenario, event)
    if isinstance(event, Fog) and event.haze <= world.weather.haze:
        return f"haze = {event.haze:g} is no more than world.weather.haze = {world.weather.haze:g}; raise it"
    if isinstance(event, Rain) and event.rain <= world.weather.rain:
        return f"rain = {event.rain:g} is no more than world.weather.rain = {world.weather.rain:g}; raise it"
    return None


def _impossible_hide(scenario: Scenario, event: Hide) -> str | None:
    end_s = event.at_s + event.for_s
    if end_s >= scenario.seconds:
        return (
            f"the vehicle comes out at {end_s:g} s, after the end of the flight at {scenario.seconds:g} s; shorten "
            "for_s or fly longer"
        )
    return None


def _check_faults(scenario: Scenario) -> None:
    names = [craft.name for craft in scenario.craft]
    for index, fault in enumerate(scenario.fault):
        end_s = fault.at_s + fault.for_s
        if not isinstance(fault, LinkCut) and end_s >= scenario.seconds:
            raise ScenarioError(
                f"fault[{index}] ({fault.kind}) would end at {end_s:g} s, after the end of the flight at "
                f"{scenario.seconds:g} s; shorten for_s or set at_s earlier"
            )
        if isinstance(fault, EdgeRestart) and math.ceil(end_s * scenario.fps) >= scenario.frames:
            raise ScenarioError(
                f"fault[{index}] (edge-restart) would end at {end_s:g} s, after the last frame at "
                f"{(scenario.frames - 1) / scenario.fps:g} s; shorten for_s or set at_s earlier"
            )
        if isinstance(fault, LinkCut | EdgeRestart) and fault.craft and fault.craft not in names:
            raise ScenarioError(f"fault[{index}].craft = {fault.craft!r} does not fly; {nearest(fault.craft, names)}")
    clouds = [(f.at_s, f.at_s + f.for_s) for f in scenario.fault if f.kind in ("cloud-restart", "cloud-kill")]
    _check_disjoint(clouds, "fault", "two faults of the cloud", "let it come back first")
    for name in names:
        edges = [
            (f.at_s, f.at_s + f.for_s) for f in scenario.fault if isinstance(f, EdgeRestart) and f.craft in (None, name)
        ]
        _check_disjoint(edges, "fault", f"two restarts of {name}", "let it come back first")


def _check_disjoint(spans: Sequence[Span], section: str, what: str, cure: str) -> None:
    for (start, end), (later, _) in pairwise(sorted(spans)):
        if later < end:
            raise ScenarioError(f"{section}: {what} overlap, from {start:g} to {end:g} s and from {later:g} s; {cure}")


def _check_link(scenario: Scenario) -> None:
    link = scenario.link
    if link.jitter_ms > 0 and link.jitter_ms > 10 * max(link.latency_ms, 1.0):
        raise ScenarioError(
            f"link.jitter_ms = {link.jitter_ms:g} is more than ten times link.latency_ms = {link.latency_ms:g}; "
            "lower it or raise the latency"
        )
    for index, (start, end) in enumerate(link.windows):
        where = f"link.windows[{index}] = [{start:g}, {end:g}]"
        if end <= start:
            raise ScenarioError(f"{where} never opens: it ends before it begins; swap or mend the numbers")
        if start >= scenario.seconds:
            raise ScenarioError(
                f"{where} never opens: the flight ends at {scenario.seconds:g} s; set it earlier or fly longer"
            )
        for craft in scenario.craft:
            if not up_spans(scenario.seconds, [(start, end)], cuts_of(scenario, craft.name)):
                raise ScenarioError(f"{where} never opens for {craft.name}: link-cut faults cover it; move one of them")
    _check_disjoint(link.windows, "link.windows", "two windows", "join them or set them apart")


def _check_operator(scenario: Scenario) -> None:
    known = [label.value for label in Label]
    for index, label in enumerate(scenario.operator.labels if scenario.operator else ()):
        if label not in known:
            raise ScenarioError(
                f"operator.labels[{index}] = {label!r} is nothing that the world holds; {nearest(label, known)}"
            )


def _names(landscapes: Sequence[Landscape]) -> str:
    return ", ".join(landscape.value for landscape in landscapes)
