"""A pinhole camera over flat ground, in east-north-up metres.

Pixel convention: pixel (column i, row j) covers [i, i+1) x [j, j+1), so the image centre is (width/2, height/2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edge.ground import camera_axes
from sim.arrays import FloatArray


@dataclass(frozen=True)
class CameraPose:
    """Where the camera is and where it looks.

    Attributes:
        east_m: metres east of the world's origin.
        north_m: metres north of the world's origin.
        up_m: metres above the ground.
        yaw_deg: heading of the optical axis, clockwise from north.
        pitch_deg: elevation of the optical axis; -90 looks straight down.
        roll_deg: rotation about the optical axis, clockwise in the image.
    """

    east_m: float
    north_m: float
    up_m: float
    yaw_deg: float = 0.0
    pitch_deg: float = -90.0
    roll_deg: float = 0.0

    def __post_init__(self) -> None:
        if self.up_m <= 0.0:
            raise ValueError(f"up_m must be above the ground, got {self.up_m}")

    def position(self) -> FloatArray:
        """(3,) east, north, up in metres."""
        return np.array([self.east_m, self.north_m, self.up_m])

    @cached_property
    def rotation(self) -> FloatArray:
        """(3, 3) world-to-camera rotation; rows are the camera's right, down and forward axes."""
        return camera_axes(self.yaw_deg, self.pitch_deg, self.roll_deg)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without lens distortion.

    Attributes:
        focal_px: focal length in pixels, the same in both directions.
        width: image columns.
        height: image rows.
    """

    focal_px: float = 700.0
    width: int = 640
    height: int = 512

    def __post_init__(self) -> None:
        if self.focal_px <= 0.0 or self.width <= 0 or self.height <= 0:
            raise ValueError(f"camera sizes must be positive, got {self}")

    def matrix(self) -> FloatArray:
        """(3, 3) intrinsic matrix."""
        return np.array([[self.focal_px, 0.0, self.width / 2], [0.0, self.focal_px, self.height / 2], [0.0, 0.0, 1.0]])

    def project(self, pose: CameraPose, points_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Pixels and depths of world points.

        Args:
            pose: the camera's pose.
            points_m: (N, 3) east, north, up in metres.

        Returns:
            (N, 2) pixels, and (N,) depth along the optical axis in metres. Depth is clamped to 0.1 m for the
            division, so pixels of points behind the camera are meaningless: check the depth.
        """
        local = (points_m - pose.position()) @ pose.rotation.T
        depth = local[:, 2]
        scale = self.focal_px / np.maximum(depth, 0.1)
        pixels = local[:, :2] * scale[:, None] + np.array([self.width / 2, self.height / 2])
        return pixels, depth

    def ground_homography(self, pose: CameraPose) -> FloatArray:
        """(3, 3) homography from (east, north, 1) on the ground to homogeneous pixels."""
        rotation = pose.rotation
        columns = np.stack([rotation[:, 0], rotation[:, 1], -rotation @ pose.position()], axis=1)
        return self.matrix() @ columns

    def gsd_m(self, pose: CameraPose) -> float:
        """Metres across one pixel at the point of the ground that the optical axis meets."""
        slant_m = pose.up_m / max(math.sin(math.radians(-pose.pitch_deg)), 0.05)
        return slant_m / self.focal_px
