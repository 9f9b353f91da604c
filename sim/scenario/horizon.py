"""Whether a drone's camera ever looks above the ground: these worlds have no sky."""

from __future__ import annotations

import math

from sim.errors import ScenarioError
from sim.scenario.craft import CameraSettings
from sim.scenario.flights import AlongRoads, OrbitTarget, Waypoints

HORIZON_DEG = 2.0
"""The image stays so far below the horizon."""

WANDER_M = 15.0
"""A vehicle that turns off is so much farther than the radius, which is flown about its mean place."""


def check_horizon(flight: AlongRoads | Waypoints | OrbitTarget, camera: CameraSettings, where: str) -> None:
    """Refuse a flight whose images reach up to the horizon.

    Args:
        flight: of a drone.
        camera: that it carries.
        where: key path of the craft.

    Raises:
        ScenarioError: they do; names what to change.
    """
    if isinstance(flight, OrbitTarget):
        away_m = flight.radius_m + (WANDER_M if flight.target == "vehicle" else 0.0)
        flattest_deg = -math.degrees(math.atan2(flight.altitude_m[0], away_m))
        key, cure = f"radius_m = {flight.radius_m:g}", "lower it, raise altitude_m"
    else:
        flattest_deg = flight.pitch_deg[1]
        key, cure = f"pitch_deg = {list(flight.pitch_deg)}", "lower it"
    roll = math.radians(flight.jitter_deg)
    above_px = camera.height / 2 * math.cos(roll) + camera.width / 2 * math.sin(roll)
    highest_deg = flattest_deg + flight.jitter_deg + math.degrees(math.atan(above_px / camera.focal_px))
    if highest_deg > -HORIZON_DEG:
        raise ScenarioError(
            f"{where}.flight.{key} shows the horizon: with focal_px = {camera.focal_px:g} and jitter_deg = "
            f"{flight.jitter_deg:g} the image reaches up to {highest_deg:.1f} deg, {-HORIZON_DEG:g} is the limit; "
            f"{cure} or raise focal_px"
        )
