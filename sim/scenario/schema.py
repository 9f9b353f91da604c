"""A whole scenario file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator
from typing_extensions import Self

from edge.config import Settings
from sim.scenario.checks import check_scenario
from sim.scenario.conditions import Budget, Fault, LinkProfile, OperatorSettings, TeacherChoice
from sim.scenario.craft import CraftSettings
from sim.scenario.events import Event
from sim.world.settings import WorldSettings


class Scenario(Settings):
    """Everything that decides a run, but the seed.

    Attributes:
        name: lower-case letters, digits and hyphens.
        description: what it shows, in one sentence.
        seconds: length of the flight.
        fps: frames per second.
        world: where it plays.
        craft: who flies.
        event: what happens.
        link: of every craft.
        budget: of every craft.
        teacher: who answers first.
        operator: who answers what the teacher is unsure of; None is nobody.
        fault: what breaks.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$", max_length=64)]
    description: str = Field(default="", max_length=200)
    seconds: float = Field(default=30.0, ge=1, le=3600)
    fps: float = Field(default=15.0, ge=0.2, le=60)
    world: WorldSettings = WorldSettings()
    craft: tuple[CraftSettings, ...] = Field(max_length=32)
    event: tuple[Event, ...] = ()
    link: LinkProfile = LinkProfile()
    budget: Budget = Budget()
    teacher: TeacherChoice = TeacherChoice()
    operator: OperatorSettings | None = None
    fault: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_scenario(self)
        return self

    @property
    def frames(self) -> int:
        """Frames of each craft's flight."""
        return round(self.seconds * self.fps)

    def changed(self, **values: Any) -> Scenario:  # noqa: ANN401 - any field of a scenario
        """This scenario with other values, checked like a new one."""
        return Scenario.model_validate({**self.model_dump(), **values})
