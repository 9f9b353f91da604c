"""From a scenario's words to scenes that can be rendered: one for each craft."""

from __future__ import annotations

import math
from dataclasses import replace

from sim.craft.camera import Camera
from sim.errors import ScenarioError
from sim.scenario import CraftSettings, Scenario
from sim.scenario.events import Earthquake
from sim.scenario.flights import AlongRoads
from sim.scenes import CLEAR_SHARE, Scene, disaster_scene
from sim.world.layout import Look
from sim.world.settings import Landscape, WorldSettings


def scenes_of(scenario: Scenario, seed: int) -> list[Scene]:
    """The scenes of a scenario, in the order of its craft; they share one world.

    Args:
        scenario: what is flown.
        seed: the same scenario and seed give the same frames.

    Raises:
        ScenarioError: it asks for what cannot be rendered yet, or flies longer than its way is.
    """
    if len(scenario.craft) != 1:
        raise _not_yet(f"craft: {len(scenario.craft)} in one world", "fly one")
    return [_disaster(scenario, scenario.craft[0], seed)]


def _disaster(scenario: Scenario, craft: CraftSettings, seed: int) -> Scene:
    """The one scene there is: a town struck by an earthquake, flown over along its roads."""
    world, flight = scenario.world, craft.flight
    if not isinstance(flight, AlongRoads):
        raise _not_yet(f"craft[0].flight.kind = {flight.kind!r}", "fly along-roads")
    if world != WorldSettings():
        raise _not_yet("this [world]", f"take a {Landscape.TOWN.value} and leave its other keys out")
    quake_s = CLEAR_SHARE * scenario.seconds
    quakes = [event for event in scenario.event if isinstance(event, Earthquake)]
    if len(scenario.event) != 1 or len(quakes) != 1 or not math.isclose(quakes[0].at_s, quake_s):
        raise _not_yet("event: other than one earthquake", f"let it strike at_s = {quake_s:g}, and nothing else happen")
    scene = disaster_scene(seed, scenario.seconds)
    _check_flight(scene, flight)
    if scenario.seconds > scene.flight.duration_s:
        longest_s = int(scene.flight.duration_s)
        raise ScenarioError(
            f"seconds = {scenario.seconds:g}: the way of seed {seed} takes {longest_s} s; give at most {longest_s}"
        )
    camera = Camera(craft.camera.focal_px, craft.camera.width, craft.camera.height)
    return replace(scene, camera=camera, look=Look(craft.camera.look))


def _check_flight(scene: Scene, flight: AlongRoads) -> None:
    """Refuse a flight that differs from the scene's own."""
    style = scene.flight.style
    for name in ("altitude_m", "speed_mps", "pitch_deg", "jitter_deg"):
        if getattr(flight, name) != getattr(style, name):
            raise _not_yet(f"craft[0].flight.{name} = {getattr(flight, name)}", f"leave it at {getattr(style, name)}")


def _not_yet(what: str, cure: str) -> ScenarioError:
    return ScenarioError(f"{what} cannot be rendered yet; {cure}")
