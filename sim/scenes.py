"""Seeded scenes: a world with a flight over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sim.craft.camera import Camera, CameraPose
from sim.craft.flight import Flight, FlightStyle
from sim.world.landscapes import build_world
from sim.world.layout import Look, World
from sim.world.render import Renderer
from sim.world.seeds import rng_for
from sim.world.settings import Landscape, WeatherSettings, WorldSettings

MAX_GROUND_PX = 6000
"""Side of the ground picture: about 0.1 GB in colour, and as much again while it is painted."""

TRAINING_LANDS = {
    Landscape.TOWN: 0.5, Landscape.VILLAGE: 0.12, Landscape.FIELDS: 0.06, Landscape.FOREST: 0.06,
    Landscape.COAST: 0.08, Landscape.PORT: 0.12, Landscape.AIRFIELD: 0.06,
}  # fmt: skip


class FlightPath(Protocol):
    """Where a craft's camera is, at any time of its flight."""

    @property
    def duration_s(self) -> float:
        """Seconds until the end of the way."""
        ...

    def pose_at(self, time_s: float) -> CameraPose:
        """The camera's pose."""
        ...


@dataclass(frozen=True)
class Scene:
    """A world with a flight over it.

    Attributes:
        name: of the scenario.
        seed: it was drawn from.
        world: what there is to see.
        camera: the optics.
        flight: where they are.
        look: of the sensor.
        duration_s: of the flight.
        is_rough: whether the sensor is a rough one.
        placed: how many things found room, by the number of the `appear` event that wanted them.
    """

    name: str
    seed: int
    world: World
    camera: Camera
    flight: FlightPath
    look: Look
    duration_s: float
    is_rough: bool = False
    placed: Mapping[int, int] = field(default_factory=dict)

    def renderer(self) -> Renderer:
        """Paints this scene's frames, its ground about as sharp as the camera sees it."""
        finest = min(self.camera.gsd_m(self.flight.pose_at(t)) for t in np.linspace(0.0, self.duration_s, 9))
        sharpness = max(0.1, round(0.9 * finest, 2), 2 * self.world.half_m / MAX_GROUND_PX)
        return Renderer(self.world, self.camera, self.look, sharpness, is_rough=self.is_rough)


def training_scene(seed: int, look: Look | str, novel: bool, debris: bool, bicycles: bool) -> Scene:
    """A world of its own, half of them towns, and a wandering flight of varied altitude and heading; a rough sensor.

    Args:
        seed: >= 0; the same seed and arguments give the same scene.
        look: what the sensor sees.
        novel: strange objects lie about.
        debris: rubble lies about.
        bicycles: bicycles stand and ride.
    """
    rng = rng_for("training-flight", seed)
    settings = training_settings(rng, Look(look), novel=novel, debris=debris, bicycles=bicycles)
    world = build_world("training-world", seed, settings)
    reach = settings.half_m - 55.0
    low_m = float(rng.uniform(33, 80))
    low_deg = float(rng.uniform(-90, -58))
    flying = FlightStyle(
        altitude_m=(low_m, min(low_m * float(rng.uniform(1.15, 1.6)), 112.0)),
        pitch_deg=(low_deg, min(low_deg + 14.0, -54.0)),
        yaw_offset_deg=float(rng.uniform(0, 360)),
        jitter_deg=2.0,
    )
    flight = Flight(rng.uniform(-reach, reach, (6, 2)), flying, rng)
    camera = Camera(focal_px=float(rng.uniform(780, 1250)))
    return Scene("training", seed, world, camera, flight, Look(look), flight.duration_s, is_rough=True)


def training_world(seed: int, number: int, looks: Sequence[Look | str], **contents: bool) -> Scene:
    """One of the many scenes of a training set.

    Args:
        seed: of the set.
        number: of the world in it, 0 to 99,999.
        looks: worlds take them in turn.
        contents: `novel`, `debris` and `bicycles` as for `training_scene`.
    """
    return training_scene(seed * 100_000 + number, looks[number % len(looks)], **contents)


def training_settings(
    rng: np.random.Generator, look: Look, *, novel: bool, debris: bool, bicycles: bool
) -> WorldSettings:
    """Land, hour and weather of one training world; arguments as for `training_scene`."""
    lands, shares = list(TRAINING_LANDS), list(TRAINING_LANDS.values())
    weather = WeatherSettings(
        haze=float(rng.uniform(0.02, 0.2)) * float(rng.random() < 0.3),
        cloud_shadow=float(rng.uniform(0.1, 0.6)) * float(rng.random() < 0.2),
        rain=float(rng.uniform(0.2, 0.8)) * float(rng.random() < 0.1),
    )
    is_night = look is Look.THERMAL and rng.random() < 0.4
    return WorldSettings(
        landscape=lands[int(rng.choice(len(lands), p=shares))],
        half_m=130.0,
        hour=float(rng.choice([22.0, 23.5, 1.0, 3.0])) if is_night else None,
        weather=weather,
        traffic=float(rng.uniform(0.4, 0.9)),
        people_per_hectare=float(rng.uniform(8, 34)),
        bicycles_per_hectare=float(rng.uniform(6, 18)) if bicycles else 0.0,
        novel_per_hectare=70.0 if novel else 0.0,
        debris_per_hectare=9.0 if debris else 0.0,
    )
