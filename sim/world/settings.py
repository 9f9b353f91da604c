"""What a world is asked to be: land, hour, season, weather and contents, as a scenario file writes it."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field

from edge.config import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Density = Annotated[float, Field(ge=0, le=200)]


class Landscape(str, Enum):
    """The kinds of land that worlds are made of."""

    TOWN = "town"
    VILLAGE = "village"
    FIELDS = "fields"
    FOREST = "forest"
    COAST = "coast"
    PORT = "port"
    AIRFIELD = "airfield"


class Season(str, Enum):
    """Decides what leaves, grass and fields look like."""

    SPRING = "spring"
    SUMMER = "summer"
    AUTUMN = "autumn"
    WINTER = "winter"


class WeatherSettings(Settings):
    """What stands between the camera and the ground.

    Attributes:
        haze: share of air light at the frame's centre; 0.6 is dense fog.
        cloud_shadow: share of the ground in drifting shadow.
        rain: 0 dry, 1 a downpour.
        overcast: the sun casts no shadows.
    """

    haze: Share = 0.0
    cloud_shadow: Share = 0.0
    rain: Share = 0.0
    overcast: bool = False


class WorldSettings(Settings):
    """One world; what is left out is drawn from the seed.

    Attributes:
        landscape: what land it is.
        half_m: it reaches from -half_m to half_m in east and north.
        season: of the year; None draws one.
        hour: local solar time; None draws a daylight hour.
        weather: see there.
        traffic: share of the lanes that carry moving vehicles.
        people_per_hectare, bicycles_per_hectare, novel_per_hectare, debris_per_hectare: how many lie or walk about.
    """

    landscape: Landscape = Landscape.TOWN
    half_m: float = Field(default=230.0, ge=60, le=3000)
    season: Season | None = None
    hour: float | None = Field(default=None, ge=0, lt=24)
    weather: WeatherSettings = WeatherSettings()
    traffic: Share = 0.5
    people_per_hectare: Density = 20.0
    bicycles_per_hectare: Density = 0.0
    novel_per_hectare: Density = 0.0
    debris_per_hectare: Density = 0.0
