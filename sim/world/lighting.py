"""How light (or heat) turns paint into pixel values, and where shadows fall."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.world.layout import Look, World
from sim.world.mesh import Texture

Bytes = NDArray[np.uint8]
FloatArray = NDArray[np.float64]

HEAT_LEVELS = 245.0
MIP_SIZES = (32, 16)


class Lighting:
    """Lights one world in one look."""

    def __init__(self, world: World, look: Look) -> None:
        """Sets up the sun's direction and the strength of shadows."""
        sun = world.sun
        azimuth, elevation = math.radians(sun.azimuth_deg), math.radians(sun.elevation_deg)
        across = math.cos(elevation)
        self.look = look
        self.direction = np.array([math.sin(azimuth) * across, math.cos(azimuth) * across, math.sin(elevation)])
        self.shadow_per_m = 1.0 / math.tan(elevation)
        self.ambient = sun.ambient
        self.tint = np.array(sun.tint)
        # Ground that lay in shade is a little colder; vehicles and people leave no such trace.
        self.shadow_gain = min(sun.ambient * 1.05, 1.0) if look is Look.RGB else 0.9 + 0.1 * sun.ambient
        # Cameras expose for the ground, so that light on faces counts relative to light on the ground.
        self._full = self.ambient + (1 - self.ambient) * max(math.sin(elevation), 0.4)

    def lit_ground(self, pixels: Bytes) -> Bytes:
        """The ground under this light."""
        if self.look is Look.THERMAL:
            return pixels
        table = np.clip(np.arange(256)[:, None] * self.tint, 0, 255).astype(np.uint8).reshape(1, 256, 3)
        return np.asarray(cv2.LUT(pixels, table), dtype=np.uint8)

    def shaded(self, image: Bytes) -> Bytes:
        """The image as if all of it lay in shadow."""
        return np.asarray(cv2.convertScaleAbs(image, alpha=self.shadow_gain), dtype=np.uint8)

    def cast_matrix(self) -> FloatArray:
        """(3, 3) from (east, north, up) of a point to (east, north, 0) of its shadow on the ground."""
        east, north = -self.direction[:2] / self.direction[2]
        return np.array([[1.0, 0.0, east], [0.0, 1.0, north], [0.0, 0.0, 0.0]])

    def colours(self, bgr: FloatArray, heat: FloatArray, normals: FloatArray) -> FloatArray:
        """(F, 3) or (F, 1) pixel values of faces with these paints and normals."""
        if self.look is Look.THERMAL:
            # Upright faces see warm surroundings instead of the cold sky.
            warm = heat + 0.03 * (1.0 - np.abs(normals[:, 2]))
            return np.clip(warm[:, None] * HEAT_LEVELS, 0, 255).round()
        sunny = np.maximum(normals @ self.direction, 0.0)
        gain = (self.ambient + (1 - self.ambient) * sunny) / self._full
        lit: FloatArray = np.clip(bgr * gain[:, None] * self.tint, 0, 255).round()
        return lit

    def lit_texture(self, texture: Texture) -> list[Bytes]:
        """A face's picture in light, alpha as the last channel, in falling sizes."""
        if self.look is Look.THERMAL:
            channels = [texture.heat, texture.alpha]
        else:
            lit = np.clip(texture.bgr * self.tint, 0, 255).astype(np.uint8)
            channels = [lit[:, :, 0], lit[:, :, 1], lit[:, :, 2], texture.alpha]
        full: Bytes = np.stack(channels, axis=2)
        smaller = [
            np.asarray(cv2.resize(full, (s, s), interpolation=cv2.INTER_AREA), dtype=np.uint8) for s in MIP_SIZES
        ]
        return [full, *smaller]
