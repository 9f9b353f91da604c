"""Where on the ground a pixel lies: a pinhole camera without distortion over flat ground.

East, north and up in metres; pixels count from the frame's upper left corner, whose middle is (width/2, height/2).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.values import Pose

# WGS 84 (NIMA TR8350.2, table 3.1 and 3.3): semi-major axis and first eccentricity squared.
_SEMI_MAJOR_M, _ECCENTRICITY2 = 6378137.0, 6.69437999014e-3

_LOWEST_RAY = -0.02
"""Rays closer to the horizon than this (upward share) hit the ground too far away to tell where."""

_DOWN_DEG = 0.01
"""A camera that looks down as straight as this needs no height: all of its picture is equally far away."""

_ANY_FOCAL_PX = 1e6
"""So it may be taken for one far up with this focal length, for which no pixel is near the horizon."""

_POLAR_DEG = 89.9
"""Nearer to a pole east and west are no directions any more."""


def camera_axes(yaw_deg: float, pitch_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """(3, 3) float64 world-to-camera rotation; rows are the camera's right, down and forward axes.

    Args:
        yaw_deg: heading of the optical axis, or of the image's upper edge when it looks down; clockwise from north.
        pitch_deg: elevation of the optical axis; -90 looks straight down.
        roll_deg: about the optical axis, clockwise in the image.
    """
    yaw, pitch, roll = (math.radians(v) for v in (yaw_deg, pitch_deg, roll_deg))
    sin_yaw, cos_yaw, sin_pitch, cos_pitch = math.sin(yaw), math.cos(yaw), math.sin(pitch), math.cos(pitch)
    forward = np.array([sin_yaw * cos_pitch, cos_yaw * cos_pitch, sin_pitch])
    right = np.array([cos_yaw, -sin_yaw, 0.0])
    down = np.array([sin_yaw * sin_pitch, cos_yaw * sin_pitch, -cos_pitch])  # forward x right
    cos, sin = math.cos(roll), math.sin(roll)
    return np.stack([right * cos - down * sin, right * sin + down * cos, forward])


def on_flat_ground(
    axes: NDArray[np.float64], focal_px: float, up_m: float, offset_px: tuple[float, float]
) -> tuple[float, float] | None:
    """Metres east and north from below the camera to the ground under a pixel; None at the horizon and above it.

    Args:
        axes: of `camera_axes`.
        focal_px: focal length in pixels.
        up_m: height of the camera above the ground.
        offset_px: of the pixel from the image's middle, to the right and down.
    """
    ray = np.array([offset_px[0] / focal_px, offset_px[1] / focal_px, 1.0])
    toward = axes.T @ (ray / np.linalg.norm(ray))
    if toward[2] > _LOWEST_RAY:
        return None
    east_m, north_m, _ = -toward * (up_m / toward[2])
    return float(east_m), float(north_m)


def radii_of_curvature(lat_rad: float) -> tuple[float, float]:
    """Metres per radian on the ellipsoid, along the meridian and across it (Snyder 1987, USGS PP 1395, 4-18, 4-20)."""
    curvature = 1 - _ECCENTRICITY2 * math.sin(lat_rad) ** 2
    return _SEMI_MAJOR_M * (1 - _ECCENTRICITY2) / curvature**1.5, _SEMI_MAJOR_M / math.sqrt(curvature)


def ground_place(
    pose: Pose, size: tuple[int, int], pixel: tuple[float, float], ground_m: float = 0.0
) -> tuple[float, float] | None:
    """Longitude and latitude, WGS 84 degrees, of the ground under a pixel.

    The focal length follows from the pose: a pixel in the middle covers `gsd_m` at the distance of the ground there.
    The Earth is taken for flat over the picture.

    Args:
        pose: of the frame.
        size: width and height of the frame.
        pixel: column and row.
        ground_m: height of the ground above the ellipsoid; without meaning where the camera looks straight down.

    Returns:
        None where the pose does not tell (place, heading, pitch, metres per pixel, and the altitude unless the camera
        looks straight down), where the camera is below the ground, and at the horizon.
    """
    lat_deg, lon_deg, yaw_deg, pitch_deg = pose.lat_deg, pose.lon_deg, pose.yaw_deg, pose.pitch_deg
    gsd_m = pose.gsd_m
    if lat_deg is None or lon_deg is None or yaw_deg is None or pitch_deg is None or gsd_m is None:
        return None
    is_down = abs(pitch_deg + 90) < _DOWN_DEG
    altitude_m = math.nan if pose.altitude_m is None else pose.altitude_m
    up_m = _ANY_FOCAL_PX * gsd_m if is_down else altitude_m - ground_m
    if not up_m > 0 or pitch_deg >= 0 or abs(lat_deg) > _POLAR_DEG:
        return None
    focal_px = up_m / math.sin(math.radians(-pitch_deg)) / gsd_m
    offset_px = (pixel[0] - size[0] / 2, pixel[1] - size[1] / 2)
    moved = on_flat_ground(camera_axes(yaw_deg, pitch_deg, pose.roll_deg or 0.0), focal_px, up_m, offset_px)
    if moved is None:
        return None
    meridian_m, across_m = radii_of_curvature(math.radians(lat_deg))
    lon = lon_deg + math.degrees(moved[0] / (across_m * math.cos(math.radians(lat_deg))))
    lat = lat_deg + math.degrees(moved[1] / meridian_m)
    return (lon + 180) % 360 - 180, min(max(lat, -90.0), 90.0)
