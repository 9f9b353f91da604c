"""What flies: a camera on a craft, and the student it carries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from edge.config import Settings
from sim.craft.power import PowerSettings
from sim.scenario.flights import Flight

CraftName = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$", max_length=32)]


class CameraSettings(Settings):
    """A pinhole camera.

    Attributes:
        focal_px: focal length in pixels; one pixel covers height above ground / focal_px metres.
        width: image columns.
        height: image rows.
        look: visible light or heat.
        rough: the mount may shake, the exposure hunt, an encoder damage the pictures, as the seed will have it.
    """

    focal_px: float = Field(default=800.0, ge=50, le=5e6)
    width: int = Field(default=640, ge=64, le=4096)
    height: int = Field(default=512, ge=64, le=4096)
    look: Literal["rgb", "thermal"] = "rgb"
    rough: bool = False


class CraftSettings(Settings):
    """One craft.

    Attributes:
        name: lower-case letters, digits and hyphens; its folder and its name in the cloud.
        flight: how it moves.
        camera: what it sees with.
        student: bundle folder; None is the bundled one.
        power: battery and module, for the estimate of its power.
    """

    name: CraftName
    flight: Flight
    camera: CameraSettings = CameraSettings()
    student: Path | None = None
    power: PowerSettings = PowerSettings()

    @field_validator("power")
    @classmethod
    def _without_sun(cls, power: PowerSettings) -> PowerSettings:
        if power.battery.solar_w:
            raise ValueError(
                f"battery.solar_w = {power.battery.solar_w:g}, and the estimate of a run knows no panels; leave it at 0"
            )
        return power
