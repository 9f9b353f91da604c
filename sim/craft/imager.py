"""What a satellite's camera resolves on the ground, on a spherical Earth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.craft.earth import MEAN_RADIUS_M
from sim.errors import ScenarioError


@dataclass(frozen=True)
class GroundSample:
    """Size of one pixel on the ground.

    Attributes:
        along_m: across the direction of the tilt.
        across_m: in the direction of the tilt, where the ground is seen at a slant.
    """

    along_m: float
    across_m: float

    @property
    def gsd_m(self) -> float:
        """Side of a square of the same area."""
        return math.sqrt(self.along_m * self.across_m)


@dataclass(frozen=True)
class Imager:
    """A camera that looks down, tilted to one side.

    Attributes:
        focal_length_m: of the telescope.
        pixel_pitch_m: distance of two pixels' centres on the sensor.
        off_nadir_deg: tilt of the optical axis from straight down, 0 <= tilt < 90.
    """

    focal_length_m: float
    pixel_pitch_m: float
    off_nadir_deg: float = 0.0

    def __post_init__(self) -> None:
        if min(self.focal_length_m, self.pixel_pitch_m) <= 0 or not 0 <= self.off_nadir_deg < 90:
            raise ScenarioError(f"camera sizes must be positive and 0 <= off_nadir_deg < 90, got {self}")

    def ground_sample(self, height_m: float) -> GroundSample:
        """Size on the ground of the pixel at the image's centre.

        Wertz and Larson, "Space Mission Analysis and Design", third edition, section 5.2 for the geometry: slant
        range times the pixel's angle, stretched by the cosine of the incidence in the direction of the tilt.

        Raises:
            ScenarioError: the optical axis misses the Earth.
        """
        tilt = math.radians(self.off_nadir_deg)
        centre = _central_angle(tilt, height_m)
        slant_m = height_m if tilt == 0.0 else MEAN_RADIUS_M * math.sin(centre) / math.sin(tilt)
        side_m = slant_m * self.pixel_pitch_m / self.focal_length_m
        return GroundSample(side_m, side_m / math.cos(tilt + centre))


def _central_angle(look_rad: float, height_m: float) -> float:
    """Angle at the Earth's centre between the sub-point and where a look direction meets the ground, in radians."""
    sine = (MEAN_RADIUS_M + height_m) / MEAN_RADIUS_M * math.sin(look_rad)
    if abs(sine) >= 1.0:
        limit = math.degrees(math.asin(MEAN_RADIUS_M / (MEAN_RADIUS_M + height_m)))
        raise ScenarioError(
            f"a look {abs(math.degrees(look_rad)):.1f} deg off nadir from {height_m / 1000:.0f} km misses the Earth, "
            f"whose limb is at {limit:.1f} deg; lower off_nadir_deg"
        )
    return math.asin(sine) - look_rad
