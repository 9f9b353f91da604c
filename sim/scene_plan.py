"""From a scenario's words to scenes that can be rendered: one for each craft, all in one world."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from sim.arrays import FloatArray
from sim.craft.camera import Camera
from sim.craft.flight import Flight, FlightStyle
from sim.craft.overpass import Overpass, circular_sky, sky_of_orbit
from sim.craft.target_orbit import Circle, TargetOrbit
from sim.errors import ScenarioError
from sim.flat_map import ORIGIN_LAT_DEG, ORIGIN_LON_DEG
from sim.scenario import CraftSettings, Scenario, find_scenario
from sim.scenario.events import Appear, Earthquake, Fog, Hide, Rain
from sim.scenario.flights import DroneFlight, OrbitTarget, RouteFlight, SatellitePass, Waypoints
from sim.scenario.orbits import orbit_of
from sim.scenes import FlightPath, Scene
from sim.world.chase import Chase, add_chase, hide
from sim.world.incidents import Way, appear, earthquake, proposer
from sim.world.landscapes import furnish_world, open_world
from sim.world.layout import Change, Look, Road
from sim.world.seeds import rng_for
from sim.world.town import Town

QUAKE_SHARE = 0.1
"""First part of the disaster flight, before the earthquake."""


def scenes_of(scenario: Scenario, seed: int) -> list[Scene]:
    """The scenes of a scenario, in the order of its craft; they share one world.

    Args:
        scenario: what is flown.
        seed: >= 0; the same scenario and seed give the same frames.

    Raises:
        ScenarioError: the world that the seed draws has no room for it, or the flight ends too soon.
    """
    town = open_world(f"{scenario.name}-world", seed, scenario.world)
    chase = add_chase(town, scenario.seconds, rng_for("chase", seed)) if _follows_vehicle(scenario) else None
    paths = [_path_of(scenario, craft, town, seed, chase) for craft in scenario.craft]
    for craft, path in zip(scenario.craft, paths, strict=True):
        _check_long_enough(scenario, craft, path, seed)
    ways = [_way_of(craft, path, scenario.seconds) for craft, path in zip(scenario.craft, paths, strict=True)]
    placed = _let_happen(scenario, town, ways, chase, seed)
    furnish_world(town, scenario.world)
    return [
        Scene(
            scenario.name,
            seed,
            town.world,
            _camera(craft),
            path,
            Look(craft.camera.look),
            scenario.seconds,
            is_rough=craft.camera.rough,
            placed=placed,
        )
        for craft, path in zip(scenario.craft, paths, strict=True)
    ]


def disaster_scene(seed: int, seconds: float = 30.0) -> Scene:
    """The scene of the bundled `disaster` scenario, flown for so long; the earthquake strikes after a tenth of it."""
    quake = {"kind": "earthquake", "at_s": QUAKE_SHARE * seconds}
    return scenes_of(find_scenario("disaster").changed(seconds=seconds, event=(quake,)), seed)[0]


def _camera(craft: CraftSettings) -> Camera:
    return Camera(craft.camera.focal_px, craft.camera.width, craft.camera.height)


def _follows_vehicle(scenario: Scenario) -> bool:
    is_hidden = any(isinstance(event, Hide) for event in scenario.event)
    return is_hidden or any(
        isinstance(craft.flight, OrbitTarget) and craft.flight.target == "vehicle" for craft in scenario.craft
    )


def _path_of(scenario: Scenario, craft: CraftSettings, town: Town, seed: int, chase: Chase | None) -> FlightPath:
    """The way that one craft flies."""
    flight, rng = craft.flight, rng_for(f"flight/{craft.name}", seed)
    if isinstance(flight, SatellitePass):
        return _overpass(scenario, craft.name, flight, rng)
    if isinstance(flight, OrbitTarget):
        if flight.target == "vehicle" and chase is not None:
            route = chase.route
            return TargetOrbit(
                Circle(lambda t: route.at(t)[:2], flight.radius_m, scenario.seconds), _style(flight), rng
            )
        return TargetOrbit(Circle(lambda _: flight.centre_m, flight.radius_m, scenario.seconds), _style(flight), rng)
    if isinstance(flight, Waypoints):
        return Flight(np.array(flight.points_m, dtype=np.float64), _style(flight), rng)
    return Flight(road_route(rng, town.world.roads, town.world.half_m), _style(flight), rng)


def _style(flight: DroneFlight) -> FlightStyle:
    style = FlightStyle(speed_mps=flight.speed_mps, altitude_m=flight.altitude_m, jitter_deg=flight.jitter_deg)
    return replace(style, pitch_deg=flight.pitch_deg) if isinstance(flight, RouteFlight) else style


def _overpass(scenario: Scenario, name: str, flight: SatellitePass, rng: np.random.Generator) -> Overpass:
    if flight.tle:
        sky = sky_of_orbit(orbit_of(flight, name), ORIGIN_LAT_DEG, ORIGIN_LON_DEG, scenario.seconds)
    else:
        sky = circular_sky(flight.altitude_km, flight.off_nadir_deg, scenario.seconds)
    return Overpass(sky, scenario.world.half_m, flight.jitter_deg, rng)


def road_route(rng: np.random.Generator, roads: list[Road], half_m: float) -> FloatArray:
    """(N, 2) a way along roads: to and fro on neighbouring east-west roads, joined by stretches to the north.

    Raises:
        ScenarioError: there are no roads to fly along.
    """
    inner = half_m - 0.3 * half_m
    across = [r.offset_m for r in roads if r.is_east_west and abs(r.offset_m) < inner]
    ups = [r.offset_m for r in roads if not r.is_east_west and abs(r.offset_m) < inner] or [-inner, inner]
    if not across:
        raise ScenarioError("along-roads: the world that this seed draws has no road in its middle; try another seed")
    west, east = min(ups), max(ups)
    first = int(rng.integers(0, max(len(across) - 3, 1)))
    points: list[tuple[float, float]] = []
    is_eastward = bool(rng.random() < 0.5)
    for north in across[first:]:
        ends = [(west, north), (east, north)]
        points += ends if is_eastward else ends[::-1]
        is_eastward = not is_eastward
    return np.array(points)


def _check_long_enough(scenario: Scenario, craft: CraftSettings, path: FlightPath, seed: int) -> None:
    if scenario.seconds > path.duration_s:
        longest_s = int(path.duration_s)
        raise ScenarioError(
            f"seconds = {scenario.seconds:g}: the way of {craft.name} with seed {seed} takes {longest_s} s; give at "
            f"most {longest_s}, or fly slower"
        )


def _way_of(craft: CraftSettings, path: FlightPath, seconds: float) -> Way:
    """The ground below a craft's way."""
    speed = craft.flight.speed_mps if isinstance(craft.flight, DroneFlight) else 1.0

    def place(time_s: float) -> tuple[float, float]:
        pose = path.pose_at(min(max(time_s, 0.0), path.duration_s))
        if isinstance(craft.flight, SatellitePass):  # the ground that it looks at, not that below it
            away = pose.up_m / math.tan(math.radians(max(-pose.pitch_deg, 1.0)))
            yaw = math.radians(pose.yaw_deg)
            return pose.east_m + away * math.sin(yaw), pose.north_m + away * math.cos(yaw)
        return pose.east_m, pose.north_m

    length_m = path.length_m if isinstance(path, Flight) else speed * path.duration_s
    return Way(place, speed, seconds, length_m)


def _let_happen(scenario: Scenario, town: Town, ways: list[Way], chase: Chase | None, seed: int) -> dict[int, int]:
    """Every event of a scenario, put into the world before the rest of it is furnished.

    Returns:
        How many things found room, by the number of their `appear` event.
    """
    placed = {}
    for number, event in enumerate(scenario.event):
        rng = rng_for(f"event/{event.kind}", seed, number)
        if isinstance(event, Earthquake):
            over_streets = [w for c, w in zip(scenario.craft, ways, strict=True) if isinstance(c.flight, RouteFlight)]
            earthquake(town, over_streets, event.at_s, rng)
        elif isinstance(event, Appear):
            places = proposer(town, event.where, ways[0], event.at_s, rng)
            placed[number] = appear(town, event.object, places, event.count, event.at_s, rng)
            if not placed[number]:
                raise ScenarioError(
                    f"event[{number}] (appear): no room for a {event.object} with where = {event.where!r}; choose "
                    "another place or seed"
                )
        elif isinstance(event, Hide) and chase is not None:
            hide(town, chase, (event.at_s, event.at_s + event.for_s), event.look_alikes, rng)
        elif isinstance(event, Fog):
            town.world.changes.append(Change("haze", event.at_s, event.over_s, event.haze))
        elif isinstance(event, Rain):
            town.world.changes.append(Change("rain", event.at_s, event.over_s, event.rain))
    return placed


def as_placed(scenario: Scenario, placed: Mapping[int, int], note: Callable[[str], None]) -> Scenario:
    """The scenario with as many things in its `appear` events as found room.

    Args:
        scenario: as it was written.
        placed: see `Scene`.
        note: is told of each event that got fewer than it asked for.
    """
    events = list(scenario.event)
    for number, event in enumerate(scenario.event):
        if isinstance(event, Appear) and placed[number] < event.count:
            note(
                f"event[{number}] (appear): {placed[number]} of {event.count} found room with where = {event.where!r}; "
                "lower its count or choose another place"
            )
            events[number] = event.model_copy(update={"count": placed[number]})
    return scenario.model_copy(update={"event": tuple(events)})
