"""What a mission file says, and what it must not say."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.config import Settings
from edge.scheduler import SchedulerSettings
from protocols.limits import MAX_CASE_BYTES, MAX_MESSAGE_BYTES
from sim.craft.contact import Station
from sim.craft.imager import Imager
from sim.craft.orbit import MAX_TLE_AGE_DAYS
from sim.craft.power import PowerSettings
from sim.errors import ScenarioError
from sim.scenario.problems import describes_rather, problem_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_HOURS = 24.0 * 60
MAX_CRAFT = 1000

Name = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Span = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


class LinkSettings(Settings):
    """A link while it is up.

    Attributes:
        edge_to_cloud_bps: bits per second from the craft.
        cloud_to_edge_bps: bits per second to it.
        latency_s: one way, from the craft to the cloud.
    """

    edge_to_cloud_bps: float = Field(gt=0)
    cloud_to_edge_bps: float = Field(gt=0)
    latency_s: float = Field(default=0.05, ge=0, le=60)


class StationSettings(Settings):
    """A ground station.

    Attributes:
        name: unique among stations.
        lat_deg, lon_deg, height_m: WGS84.
        min_elevation_deg: lowest elevation at which the link holds.
        antennas: craft it can serve at once.
        link: to any craft.
    """

    name: Name
    lat_deg: float = Field(ge=-90, le=90)
    lon_deg: float = Field(ge=-180, le=180)
    height_m: float = Field(default=0.0, ge=-500, le=9000)
    min_elevation_deg: float = Field(default=10.0, ge=0, lt=90)
    antennas: int = Field(default=1, ge=1, le=64)
    link: LinkSettings

    @property
    def station(self) -> Station:
        """The same place for `contact_windows`."""
        return Station(self.name, self.lat_deg, self.lon_deg, self.height_m, self.min_elevation_deg)


class DroneSettings(Settings):
    """A drone that circles over one place, and its link, which goes up and down in a fixed pattern.

    Attributes:
        lat_deg, lon_deg: WGS84.
        height_m: above the ground.
        link: while it is up.
        up_s, down_s: length of both halves of the pattern.
        offset_s: when the pattern starts; the link is down before.
    """

    lat_deg: float = Field(ge=-90, le=90)
    lon_deg: float = Field(ge=-180, le=180)
    height_m: float = Field(default=100.0, gt=0, le=20_000)
    link: LinkSettings
    up_s: float = Field(ge=1)
    down_s: float = Field(ge=0)
    offset_s: float = Field(default=0.0, ge=0)


class CameraSettings(Settings):
    """When a craft takes a picture, and how large its cases are.

    Attributes:
        capture_every_s: between two pictures.
        needs_light: False for thermal or radar.
        min_sun_deg: lowest sun above the horizon for one that needs light.
        focal_length_m, pixel_pitch_m, off_nadir_deg: see `Imager`.
        case_bytes: median imagery of a case.
        case_spread: standard deviation of the natural logarithm of its bytes.
    """

    capture_every_s: float = Field(gt=0.01)
    needs_light: bool = True
    min_sun_deg: float = Field(default=5.0, ge=-18, lt=90)
    focal_length_m: float = Field(gt=0)
    pixel_pitch_m: float = Field(gt=0)
    off_nadir_deg: float = Field(default=0.0, ge=0, lt=90)
    case_bytes: int = Field(default=60_000, ge=1, le=MAX_CASE_BYTES)
    case_spread: float = Field(default=0.5, ge=0, le=2)

    @property
    def imager(self) -> Imager:
        """The same camera for distances on the ground."""
        return Imager(self.focal_length_m, self.pixel_pitch_m, self.off_nadir_deg)


class SpoolSettings(Settings):
    """Bounds of the spool, as `edge.spool.Spool` has them."""

    max_bytes: int = Field(default=2**28, ge=MAX_CASE_BYTES)
    max_cases: int = Field(default=1024, ge=1)


class RestSettings(Settings):
    """When a craft stops working to save its battery.

    Attributes:
        below_share: charge at which it stops taking pictures.
        until_share: charge at which it goes on.
        swap_s: a drone that stops lands, and flies on after so long with a full battery; None waits for the sun.
    """

    below_share: Share = 0.2
    until_share: Share = 0.35
    swap_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.until_share <= self.below_share:
            raise ValueError(f"until_share {self.until_share:g} must be above below_share {self.below_share:g}")
        return self


class ProfileSettings(Settings):
    """What craft of one kind have in common; `scheduler` is that of the real edge agent.

    Of the scheduler's settings, `same_cosine`, `region_side_px` and `jpeg_quality` say nothing without images.
    """

    camera: CameraSettings
    scheduler: SchedulerSettings = SchedulerSettings()
    spool: SpoolSettings = SpoolSettings()
    power: PowerSettings = PowerSettings()
    rest: RestSettings = RestSettings()


class CraftSettings(Settings):
    """One craft: a satellite with a TLE, or a drone.

    Attributes:
        name: unique among craft.
        profile: a name in the mission's `profiles`.
        tle: both lines.
        drone: instead of a TLE.
    """

    name: Name
    profile: Name
    tle: tuple[str, str] | None = None
    drone: DroneSettings | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.tle is None) == (self.drone is None):
            raise ValueError(f"craft {self.name} needs one of `tle` and `drone`, not both or neither")
        return self


class SceneSettings(Settings):
    """What the captures show; see `sim.mission.scene` for the distributions.

    Attributes:
        strange_share: captures that show something no class of the student explains.
        kinds: how many strange kinds there are.
        strange_hardness, plain_hardness: (a, b) of the Beta distributions of the hardness with and without one.
    """

    strange_share: Share = 0.08
    kinds: int = Field(default=20, ge=1, le=10_000)
    strange_hardness: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (6.0, 2.0)
    plain_hardness: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1.5, 10.0)


class CloudSettings(Settings):
    """How the cloud answers.

    Attributes:
        teacher_s: shortest and longest time of the teacher; uniform between.
        person_share: cases that a person looks at too.
        person_s: shortest and longest additional time of the person; uniform between.
        prompt_share: cases of a strange kind whose answer is a prompt.
        prompt_bytes: of one prompt update.
    """

    teacher_s: Span = (5.0, 30.0)
    person_share: Share = 0.1
    person_s: Span = (120.0, 3600.0)
    prompt_share: Share = 0.85
    prompt_bytes: int = Field(default=6_000, ge=1, le=MAX_MESSAGE_BYTES)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("teacher_s", "person_s"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: shortest {low:g} is above longest {high:g}; exchange them")
        return self


class MissionSettings(Settings):
    """A whole mission.

    Attributes:
        name: for the report.
        start: with a time zone; the moment of zero of all times.
        hours: simulated.
        max_tle_age_days: most days between a TLE and the start.
        scene, cloud: what is seen, and how it is answered.
        stations: for the satellites.
        profiles: by name, for `craft`.
        craft: at least one.
    """

    name: Name
    start: AwareDatetime
    hours: float = Field(default=24.0, gt=0, le=MAX_HOURS)
    max_tle_age_days: float = Field(default=MAX_TLE_AGE_DAYS, gt=0)
    scene: SceneSettings = SceneSettings()
    cloud: CloudSettings = CloudSettings()
    stations: tuple[StationSettings, ...] = ()
    profiles: dict[Name, ProfileSettings]
    craft: tuple[CraftSettings, ...] = Field(default=(), max_length=MAX_CRAFT)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.craft:
            raise ValueError("a mission needs at least one [[craft]]")
        _check_unique("craft", (craft.name for craft in self.craft))
        _check_unique("station", (station.name for station in self.stations))
        for craft in self.craft:
            if craft.profile not in self.profiles:
                known = ", ".join(self.profiles) or "none"
                raise ValueError(f"craft {craft.name}: profile {craft.profile!r} is not among [profiles] ({known})")
            if craft.tle is not None and not self.stations:
                raise ValueError(f"craft {craft.name} has a TLE but there is no [[stations]]; add one")
            if craft.drone is not None and craft.drone.offset_s >= 3600 * self.hours:
                raise ValueError(
                    f"craft {craft.name}: its link first goes up after {craft.drone.offset_s:g} s, but the mission "
                    f"ends after {3600 * self.hours:g} s; lower offset_s or raise hours"
                )
        return self


def _check_unique(what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]!r} is there twice; give each a name of its own")


def load_mission(path: Path) -> MissionSettings:
    """The mission that a TOML file describes.

    Raises:
        ScenarioError: the file cannot be read, or describes no possible mission; the message names the field.
    """
    data: dict[str, Any] = {}
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        return MissionSettings.model_validate(data)
    except (OSError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path}: cannot be read ({exc}); check the path") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ScenarioError(f"{path}: not valid TOML: {exc}") from exc
    except ValidationError as exc:
        from sim.scenario.schema import Scenario

        if describes_rather(data, Scenario, MissionSettings):
            raise ScenarioError(f"{path}: this is a scenario; use `skyloop-sim run {path}`") from exc
        raise ScenarioError(f"{path}: {problem_line(exc, MissionSettings)}") from exc
