"""How light, heat or a radar's pulse turns paint into pixel values, and where shadows fall.

A look draws into one layer of one or three channels; multispectral draws into two: visible, and infrared.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from sim.arrays import Bytes, FloatArray, IntArray
from sim.world.layout import Look, Sun, World
from sim.world.materials import backscatter_db, heat_at, infrared
from sim.world.mesh import Texture

HEAT_LEVELS = 245.0
MIP_SIZES = (32, 16)
RADAR_INCIDENCE_DEG = 40.0
DARKEST_DB, LEVELS_PER_DB = -30.0, 5.5
"""A radar picture is logarithmic: grey level 0 is -30 dB, 255 is 16 dB."""

CORNER_DB = 9.0
"""A wall that faces the radar and the ground before it send the pulse straight back."""

NIGHT_GAIN = 0.16
"""What street lamps and the sky leave of the light."""


def radar_level(backscatter: FloatArray) -> FloatArray:
    """Grey levels of a backscatter in dB."""
    return np.clip((backscatter - DARKEST_DB) * LEVELS_PER_DB, 0.0, 255.0)


def light_gain(sun: Sun) -> float:
    """What is left of a day's visible light at this hour, NIGHT_GAIN to 1."""
    return 1.0 - (1.0 - NIGHT_GAIN) * sun.night


class Lighting:
    """Lights one world in one look."""

    def __init__(self, world: World, look: Look) -> None:
        """Sets up the direction of the light (or the pulse) and the strength of shadows."""
        sun = world.sun
        self.look, self.night = look, sun.night
        elevation_deg = 90.0 - RADAR_INCIDENCE_DEG if look is Look.SAR else max(sun.elevation_deg, 8.0)
        azimuth, elevation = math.radians(sun.azimuth_deg), math.radians(elevation_deg)
        across = math.cos(elevation)
        self.direction = np.array([math.sin(azimuth) * across, math.cos(azimuth) * across, math.sin(elevation)])
        self.shadow_per_m = 1.0 / math.tan(elevation)
        self.ambient = sun.ambient + (1.0 - sun.ambient) * sun.night
        self.tint = np.array(sun.tint) * light_gain(sun)
        self.shadow_gain = self._shadow_gain()
        # Cameras expose for the ground, so that light on faces counts relative to light on the ground.
        self._full = self.ambient + (1 - self.ambient) * max(math.sin(elevation), 0.4)

    def _shadow_gain(self) -> float:
        if self.look is Look.SAR:
            return 0.25  # of the grey level: the receiver's own noise is all that is left
        if self.look is Look.THERMAL:
            # Ground that lay in shade is a little colder; vehicles and people leave no such trace.
            return 0.9 + 0.1 * self.ambient
        return min(self.ambient * 1.05, 1.0)

    def lit_ground(self, layer: Bytes) -> Bytes:
        """One layer of the ground under this light."""
        if layer.ndim == 2:
            return layer
        table = np.clip(np.arange(256)[:, None] * self.tint, 0, 255).astype(np.uint8).reshape(1, 256, 3)
        return np.asarray(cv2.LUT(layer, table), dtype=np.uint8)

    def shaded(self, image: Bytes) -> Bytes:
        """The image as if all of it lay in shadow."""
        return np.asarray(cv2.convertScaleAbs(image, alpha=self.shadow_gain), dtype=np.uint8)

    def cast_matrix(self) -> FloatArray:
        """(3, 3) from (east, north, up) of a point to (east, north, 0) of its shadow on the ground."""
        east, north = -self.direction[:2] / self.direction[2]
        return np.array([[1.0, 0.0, east], [0.0, 1.0, north], [0.0, 0.0, 0.0]])

    def colours(self, bgr: FloatArray, heat: FloatArray, material: IntArray, normals: FloatArray) -> list[FloatArray]:
        """Pixel values of faces, per layer.

        Args:
            bgr: (F, 3) visible colour.
            heat: (F,) by day.
            material: (F,) rows of `materials.TABLE`.
            normals: (F, 3) outward; zero for faces seen from both sides.

        Returns:
            (F, 3) or (F, 1) for each layer.
        """
        if self.look is Look.THERMAL:
            # Upright faces see warm surroundings instead of the cold sky.
            warm = heat_at(heat, material, self.night) + 0.03 * (1.0 - np.abs(normals[:, 2]))
            return [np.clip(warm[:, None] * HEAT_LEVELS, 0, 255).round()]
        if self.look is Look.SAR:
            return [self._radar(material, normals)[:, None].round()]
        gain = (self.ambient + (1 - self.ambient) * np.maximum(normals @ self.direction, 0.0)) / self._full
        bands = [bgr] if self.look is Look.RGB else [bgr, infrared(bgr, material)]
        return [np.clip(band * gain[:, None] * self.tint, 0, 255).round() for band in bands]

    def _radar(self, material: IntArray, normals: FloatArray) -> FloatArray:
        """(F,) grey levels: brighter the more a face looks at the radar, brightest where a wall and the ground meet."""
        facing = np.maximum(normals @ self.direction, 0.0)
        upright = np.clip(1.0 - np.abs(normals[:, 2]) * 2.0, 0.0, 1.0)
        towards = np.where(facing > 0.0, facing, 0.03) / math.cos(math.radians(RADAR_INCIDENCE_DEG))
        found = backscatter_db(material) + 10.0 * np.log10(towards) + CORNER_DB * upright * (facing > 0.3)
        return radar_level(found)

    def lit_texture(self, texture: Texture) -> list[list[Bytes]]:
        """A face's picture in light per layer, alpha as the last channel, in falling sizes."""
        material = np.full(texture.heat.shape, texture.material, np.int64)
        bgr, heat = texture.bgr.astype(np.float64), texture.heat / HEAT_LEVELS
        up = np.broadcast_to([0.0, 0.0, 1.0], (heat.size, 3))
        flat = self.colours(bgr.reshape(-1, 3), heat.ravel(), material.ravel(), up)
        return [_mipmaps(layer.reshape(*heat.shape, -1), texture.alpha) for layer in flat]


def _mipmaps(pixels: FloatArray, alpha: Bytes) -> list[Bytes]:
    full: Bytes = np.concatenate([pixels.astype(np.uint8), alpha[:, :, None]], axis=2)
    smaller = [np.asarray(cv2.resize(full, (s, s), interpolation=cv2.INTER_AREA), dtype=np.uint8) for s in MIP_SIZES]
    return [full, *smaller]
