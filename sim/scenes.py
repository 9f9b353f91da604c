"""Seeded scenes: a world with a flight over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.craft.camera import Camera
from sim.craft.flight import Flight, FlightStyle
from sim.world.landscapes import build_world
from sim.world.layout import Look, Road, TownStyle, World
from sim.world.plan import empty_world
from sim.world.seeds import rng_for
from sim.world.settings import Landscape, WeatherSettings, WorldSettings
from sim.world.town import Town, furnish

FloatArray = NDArray[np.float64]

# Where the world's origin lies on the globe; any place but a pole does.
ORIGIN_LAT_DEG = 47.0
ORIGIN_LON_DEG = 8.0
PILE_RADIUS_M = (1.1, 3.1)  # 15 to 50 px wide from the flight's height, and most of a lane
TRAINING_LANDS = {
    Landscape.TOWN: 0.5, Landscape.VILLAGE: 0.12, Landscape.FIELDS: 0.06, Landscape.FOREST: 0.06,
    Landscape.COAST: 0.08, Landscape.PORT: 0.12, Landscape.AIRFIELD: 0.06,
}  # fmt: skip
CLEAR_SHARE = 0.1  # first part of the disaster flight, before the earthquake
# The camera sees about this much of the ground when the earthquake strikes; so many piles try to find room there.
FIELD_AHEAD_M = (4.0, 44.0)
FIELD_HALF_M = 18.0
FIELD_TRIES = 120


@dataclass(frozen=True)
class Scene:
    """A world, a camera, a flight, and how long it lasts."""

    name: str
    seed: int
    world: World
    camera: Camera
    flight: Flight
    look: Look
    duration_s: float


def training_scene(seed: int, look: Look | str, novel: bool, debris: bool, bicycles: bool) -> Scene:
    """A world of its own, half of them towns, with a wandering flight of varied altitude, pitch and heading.

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
    return Scene("training", seed, world, camera, flight, Look(look), flight.duration_s)


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


def _route(rng: np.random.Generator, roads: list[Road], half_m: float) -> FloatArray:
    """(N, 2) a way along roads: to and fro on neighbouring east-west roads, joined by stretches to the north."""
    inner = half_m - 70.0
    across = [r.offset_m for r in roads if r.is_east_west and abs(r.offset_m) < inner]
    ups = [r.offset_m for r in roads if not r.is_east_west and abs(r.offset_m) < inner]
    west, east = min(ups), max(ups)
    first = int(rng.integers(0, max(len(across) - 3, 1)))
    points = []
    is_eastward = bool(rng.random() < 0.5)
    for north in across[first:]:
        ends = [(west, north), (east, north)]
        points += ends if is_eastward else ends[::-1]
        is_eastward = not is_eastward
    return np.array(points)


def disaster_scene(seed: int, duration_s: float = 40.0) -> Scene:
    """A flight along a town's roads, in whose first tenth an earthquake strikes: rubble falls all along the way.

    Args:
        seed: >= 0; disaster worlds never coincide with training worlds.
        duration_s: length of the flight; there is no debris during its first tenth.
    """
    style = TownStyle(half_m=230.0)
    world = empty_world("disaster-world", seed, style.half_m)
    rng = rng_for("disaster-flight", seed)
    flying = FlightStyle(
        speed_mps=8.0,
        altitude_m=(48.0, 66.0),
        pitch_deg=(-78.0, -64.0),
        jitter_deg=0.8,
    )
    flight = Flight(_route(rng, world.roads, style.half_m), flying, rng)
    scene = Scene("disaster", seed, world, Camera(focal_px=800.0), flight, Look.RGB, duration_s)
    town = Town(world, style)
    town.reserve_traffic()
    _strew_debris(town, scene, rng)
    furnish(town)
    return scene


def _strew_debris(town: Town, scene: Scene, rng: np.random.Generator) -> None:
    """Rubble along the way: a field of it where the earthquake meets the craft, then a pile every few metres.

    The field makes up for a loop that closes within a few frames: enough instances are seen before the first prompt.
    """
    flight = scene.flight
    speed = flight.style.speed_mps
    quake_s = CLEAR_SHARE * scene.duration_s

    def fall(ahead_m: float, right_m: float) -> bool:
        """Whether a pile fell so far from where the craft is when the earthquake strikes, along the way and beside."""
        at_s = quake_s + ahead_m / speed
        here, next_pose = flight.pose_at(at_s), flight.pose_at(at_s + 0.5)
        along = np.array([next_pose.east_m - here.east_m, next_pose.north_m - here.north_m])
        along /= max(float(np.linalg.norm(along)), 1e-6)
        place = (here.east_m + right_m * along[1], here.north_m - right_m * along[0])
        return town.place_debris(rng, place, float(rng.uniform(*PILE_RADIUS_M)), quake_s)

    for _ in range(FIELD_TRIES):
        fall(float(rng.uniform(*FIELD_AHEAD_M)), float(rng.uniform(-FIELD_HALF_M, FIELD_HALF_M)))
    # The ground is painted once: dust would lie there before the piles that are seen to fall.
    town.world.stains.clear()
    last_m = min((scene.duration_s + 10.0) * speed, flight.length_m) - quake_s * speed
    ahead_m = FIELD_AHEAD_M[1]
    while ahead_m < last_m:
        for _ in range(12):
            if fall(ahead_m + float(rng.normal(0.0, 4.5)), float(rng.normal(0.0, 4.5))):
                break
        ahead_m += float(rng.uniform(7.0, 14.0))
