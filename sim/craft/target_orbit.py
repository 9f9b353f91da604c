"""A flight in circles around a target, the camera always on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sim.craft.camera import CameraPose
from sim.craft.flight import FlightStyle

Place = tuple[float, float]


@dataclass(frozen=True)
class Circle:
    """Where the craft circles.

    Attributes:
        target: east and north of the target at a time, metres.
        radius_m: of the circle.
        duration_s: how long it is flown.
    """

    target: Callable[[float], Place]
    radius_m: float
    duration_s: float


class TargetOrbit:
    """The pose of a craft that circles a target; a pure function of time once built.

    The craft flies about the target's mean place over a few seconds, as an autopilot does; the gimbal follows the
    target itself, with a little unrest.
    """

    def __init__(self, circle: Circle, style: FlightStyle, rng: np.random.Generator) -> None:
        """Plans the circles.

        Args:
            circle: where.
            style: altitude, speed, and unrest; the target decides the pitch.
            rng: draws where on the circle the flight begins, which way round it goes, and the unrest.
        """
        self.circle, self.style = circle, style
        self._phases = rng.uniform(0.0, 2 * math.pi, size=6)
        self._turn = float(rng.choice([-1.0, 1.0]))

    @property
    def duration_s(self) -> float:
        """Seconds until the end of the flight."""
        return self.circle.duration_s

    def pose_at(self, time_s: float) -> CameraPose:
        """The camera's pose."""
        style, radius = self.style, self.circle.radius_m
        angle = self._phases[0] + self._turn * style.speed_mps / radius * time_s
        middle = np.mean([self.circle.target(time_s + shift) for shift in (-4.0, -2.0, 0.0, 2.0, 4.0)], axis=0)
        east, north = middle[0] + radius * math.cos(angle), middle[1] + radius * math.sin(angle)
        low_m, high_m = style.altitude_m
        up = low_m + (high_m - low_m) * (0.5 + 0.5 * math.sin(0.21 * time_s + self._phases[1]))
        at_east, at_north = self.circle.target(time_s)
        away = math.hypot(at_east - east, at_north - north)
        pitch = math.degrees(math.atan2(-up, away))
        return CameraPose(
            east_m=east,
            north_m=north,
            up_m=up,
            yaw_deg=math.degrees(math.atan2(at_east - east, at_north - north)) + self._unrest(time_s, 2),
            pitch_deg=max(pitch + 0.5 * self._unrest(time_s, 3), -90.0),
            roll_deg=self._unrest(time_s, 4),
        )

    def _unrest(self, time_s: float, axis: int) -> float:
        phase = self._phases[axis]
        return self.style.jitter_deg * (0.7 * math.sin(1.3 * time_s + phase) + 0.3 * math.sin(4.1 * time_s + 2 * phase))
