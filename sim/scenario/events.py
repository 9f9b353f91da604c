"""What happens in the world while the craft are up."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge.config import Settings
from sim.world.settings import Share

Moment = Annotated[float, Field(ge=0, le=3600)]
Duration = Annotated[float, Field(gt=0, le=3600)]


class Earthquake(Settings):
    """Buildings shed rubble onto the ways of the craft that follow roads or points, or else onto all roads.

    Attributes:
        at_s: seconds of flight.
    """

    kind: Literal["earthquake"]
    at_s: Moment


class Appear(Settings):
    """Things are there that were not.

    Attributes:
        at_s: seconds of flight.
        object: kind of the things, as the world calls it.
        count: how many.
        where: on roads, in the open, on the water, under trees, along the craft's way, or anywhere.
    """

    kind: Literal["appear"]
    at_s: Moment
    object: Annotated[str, Field(min_length=1, max_length=64)]
    count: int = Field(default=1, ge=1, le=500)
    where: Literal["roads", "open", "water", "trees", "ahead", "anywhere"] = "anywhere"


class Hide(Settings):
    """The vehicle that a craft follows drives under trees, and out again.

    Attributes:
        at_s: when it is first covered.
        for_s: how long nothing is seen of it.
        look_alikes: vehicles of the same kind nearby when it comes out.
    """

    kind: Literal["hide"]
    at_s: Moment
    for_s: Duration
    look_alikes: int = Field(default=0, ge=0, le=20)


class Fog(Settings):
    """Fog comes, and stays.

    Attributes:
        at_s: when it begins.
        over_s: how long it takes to thicken.
        haze: share of air light in the end.
    """

    kind: Literal["fog"]
    at_s: Moment
    over_s: Duration
    haze: Share


class Rain(Settings):
    """Rain sets in, and stays.

    Attributes:
        at_s: when the first drops fall.
        over_s: how long it takes to reach its strength.
        rain: 1 is a downpour.
    """

    kind: Literal["rain"]
    at_s: Moment
    over_s: Duration
    rain: Share


Event = Annotated[Earthquake | Appear | Hide | Fog | Rain, Field(discriminator="kind")]
