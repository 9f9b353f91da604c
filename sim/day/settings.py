"""A satellite's day as a file says it: which satellite, which ground, what lies there, who answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edge.config import Settings
from edge.tiling import MIN_TILE_PX
from sim.scenario.conditions import TeacherChoice
from sim.scenario.craft import CraftName
from sim.world.settings import Landscape, Share, WorldSettings

KIND: Literal["satellite-day"] = "satellite-day"


class PlaceSettings(Settings):
    """The ground that is imaged.

    Attributes:
        name: for reports.
        lat_deg: of its middle; where UTM is defined.
        lon_deg: of its middle.
        min_elevation_deg: of the satellite above the ground's horizon while it images.
        min_sun_deg: of the sun.
    """

    name: Annotated[str, Field(min_length=1, max_length=40)] = "the place"
    lat_deg: float = Field(ge=-80, le=84)
    lon_deg: float = Field(ge=-180, lt=180)
    min_elevation_deg: float = Field(default=50.0, ge=20, lt=90)
    min_sun_deg: float = Field(default=10.0, ge=-90, lt=90)


class SceneSettings(Settings):
    """The pictures of one overpass: square scenes side by side, from west to east.

    Attributes:
        count: of scenes.
        side_px: of each.
        gsd_m: metres of ground across a pixel.
    """

    count: int = Field(default=2, ge=1, le=8)
    side_px: int = Field(default=4608, ge=512, le=16_384)
    gsd_m: float = Field(default=0.15, ge=0.05, le=2.0)

    @property
    def side_m(self) -> float:
        """Of each scene."""
        return self.side_px * self.gsd_m


class StrangeSettings(Settings):
    """Things of one kind that is in no training set, in each scene.

    Attributes:
        at_first: that are there at both overpasses.
        later: that have come by the second one.
    """

    at_first: int = Field(default=90, ge=1, le=500)
    later: int = Field(default=45, ge=0, le=500)


class EdgeSettings(Settings):
    """The agent on board.

    Attributes:
        student: bundle folder; None is the bundled one.
        tile_px: scenes are looked at in tiles of this side.
        region_side_px: least side of the crops that it sends.
    """

    student: Path | None = None
    tile_px: int = Field(default=640, ge=MIN_TILE_PX, le=4096)
    region_side_px: int = Field(default=1280, ge=128, le=2048)


class PersonSettings(Settings):
    """A scripted person, who answers between the passes.

    Attributes:
        labels: what the person can name, the most interesting first.
        error_rate: share of answers with a wrong label.
    """

    labels: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        default=("Novel",), min_length=1, max_length=100
    )
    error_rate: Share = 0.0


class Wanted(Settings):
    """What the day has to reach.

    Attributes:
        recall: of the strange things at the second overpass, by prompts alone, at IoU 0.5.
        offset_px: median distance on the map between the middles of what was found and what is there, in pixels.
    """

    recall: Share = 0.6
    offset_px: float = Field(default=1.5, gt=0)


class SatelliteDay(Settings):
    """Everything that decides a day, but the seed.

    Attributes:
        kind: tells the file from a scenario's.
        name: lower-case letters, digits and hyphens.
        description: what it shows, in one sentence.
        mission: a bundled mission's name or a mission file: its stations, its satellite, its start.
        craft: the satellite's name in it; empty is the first with a TLE.
        hours: from the mission's start, in which overpasses and passes are looked for.
        speed: seconds of a pass in one second of the run's clock.
        place, scene, world, strange: see there; `world.half_m` follows from the scene.
        edge: the agent on board.
        teacher: who answers first.
        person: who answers what the teacher is unsure of; None is nobody.
        wanted: what the day has to reach.
    """

    kind: Literal["satellite-day"]
    name: CraftName
    description: str = Field(default="", max_length=200)
    mission: Annotated[str, Field(min_length=1)] = "constellation"
    craft: str = ""
    hours: float = Field(default=30.0, gt=0, le=240)
    speed: float = Field(default=30.0, ge=1, le=60)
    place: PlaceSettings
    scene: SceneSettings = SceneSettings()
    world: WorldSettings = WorldSettings(landscape=Landscape.PORT)
    strange: StrangeSettings = StrangeSettings()
    edge: EdgeSettings = EdgeSettings()
    teacher: TeacherChoice = TeacherChoice()
    person: PersonSettings | None = PersonSettings()
    wanted: Wanted = Wanted()
