"""How a craft moves: along roads, over waypoints, around a target, or past on an orbit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edge.config import Settings

East = Annotated[float, Field(ge=-3000, le=3000)]
AltitudeM = Annotated[float, Field(ge=10, le=500)]
PitchDeg = Annotated[float, Field(ge=-90, le=-20)]


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"the lower end {span[0]:g} lies above the upper end {span[1]:g}; swap them")
    return span


AltitudeSpan = Annotated[tuple[AltitudeM, AltitudeM], AfterValidator(_ordered)]
PitchSpan = Annotated[tuple[PitchDeg, PitchDeg], AfterValidator(_ordered)]
PlaceM = tuple[East, East]


class PoseErrors(Settings):
    """What is wrong with the pose that the craft is told; the truth of the frames stays exact.

    Attributes:
        pose_noise_m: standard deviation of each coordinate of the position.
        pose_noise_deg: standard deviation of yaw, pitch and roll.
        pose_latency_ms: how old the pose is that comes with a frame.
    """

    pose_noise_m: float = Field(default=0.0, ge=0, le=100)
    pose_noise_deg: float = Field(default=0.0, ge=0, le=30)
    pose_latency_ms: float = Field(default=0.0, ge=0, le=5000)


class DroneFlight(PoseErrors):
    """What all drones' flights have.

    Attributes:
        altitude_m: lowest and highest, between which the altitude slowly swings.
        speed_mps: over the ground.
        jitter_deg: amplitude of the attitude's unrest.
    """

    altitude_m: AltitudeSpan = (48.0, 66.0)
    speed_mps: float = Field(default=8.0, gt=0, le=60)
    jitter_deg: float = Field(default=0.8, ge=0, le=15)


class RouteFlight(DroneFlight):
    """What all flights along a route have.

    Attributes:
        pitch_deg: lowest and highest elevation of the camera's axis; -90 looks straight down.
    """

    pitch_deg: PitchSpan = (-78.0, -64.0)


class AlongRoads(RouteFlight):
    """To and fro over the roads of the world."""

    kind: Literal["along-roads"]


class Waypoints(RouteFlight):
    """Over given points, corners rounded.

    Attributes:
        points_m: east and north of each, in metres from the middle of the world.
    """

    kind: Literal["waypoints"]
    points_m: tuple[PlaceM, ...] = Field(min_length=2, max_length=1000)


class OrbitTarget(DroneFlight):
    """In circles around a target, the camera on it: altitude and radius decide its pitch.

    Attributes:
        target: `vehicle` follows the vehicle of the `hide` events; `place` stays over `centre_m`.
        centre_m: east and north of the place.
        radius_m: of the circle.
    """

    kind: Literal["orbit-target"]
    target: Literal["vehicle", "place"] = "place"
    centre_m: PlaceM = (0.0, 0.0)
    radius_m: float = Field(default=40.0, ge=5, le=1000)


class SatellitePass(PoseErrors):
    """Past on an orbit: a real one from its TLE, or a circle over the middle of the world.

    Attributes:
        altitude_km: of the circle; ignored where a TLE is given.
        off_nadir_deg: how far the camera looks to the side of straight down.
        jitter_deg: amplitude of the attitude's unrest.
        tle: both lines of a two-line element set; empty flies the circle.
        start_utc: when the pass begins; wanted with a TLE.
    """

    kind: Literal["satellite-pass"]
    altitude_km: float = Field(default=500.0, ge=200, le=1500)
    off_nadir_deg: float = Field(default=0.0, ge=-45, le=45)
    jitter_deg: float = Field(default=0.0, ge=0, le=1)
    tle: tuple[str, ...] = ()
    start_utc: datetime | None = None


Flight = Annotated[AlongRoads | Waypoints | OrbitTarget | SatellitePass, Field(discriminator="kind")]
