"""What stands between the camera and the ground: haze and fog, drifting cloud shadows, rain."""

from __future__ import annotations

import cv2
import numpy as np

from sim.arrays import Bytes
from sim.craft.camera import Camera, CameraPose
from sim.world.layout import Look, World
from sim.world.lighting import light_gain

GRID = (16, 20)  # rows and columns at which cloud shadow is looked up
CLOUD_CELL_M = 40.0
CLOUD_CELLS = 64
DRIFT_MPS = (6.0, 2.5)
AIR_LIGHT = {Look.RGB: 208.0, Look.MULTISPECTRAL: 190.0, Look.THERMAL: 105.0}
"""Grey level that haze pulls towards by day; a radar sees through it."""

STREAKS = 4
GAIN_STEPS = 200.0


class Weather:
    """Puts one world's weather over drawn pictures."""

    def __init__(self, world: World, camera: Camera, look: Look) -> None:
        """Draws the clouds and the rain."""
        rng = world.rng("weather")
        self.settings, self.look, self.camera = world.weather, look, camera
        self._changes = world.changes
        self._light = 1.0 if look is Look.THERMAL else light_gain(world.sun)
        field = rng.standard_normal((CLOUD_CELLS, CLOUD_CELLS)).astype(np.float32)
        tiled = cv2.GaussianBlur(np.tile(field, (3, 3)), (0, 0), 1.6)[
            CLOUD_CELLS:-CLOUD_CELLS, CLOUD_CELLS:-CLOUD_CELLS
        ]
        covered = float(np.quantile(tiled, 1.0 - world.weather.cloud_shadow))
        self._cloud = np.clip((tiled - covered) * 8.0, 0.0, 1.0)
        self._rows, self._columns = np.meshgrid(
            np.linspace(0, camera.height, GRID[0]), np.linspace(0, camera.width, GRID[1]), indexing="ij"
        )
        self._streaks = [_streaks(rng, (camera.height, camera.width)) for _ in range(STREAKS)]

    def over(self, layer: Bytes, pose: CameraPose, time_s: float) -> Bytes:
        """One drawn layer as it looks through this weather at this time."""
        if self.look is Look.SAR:
            return layer
        if self.settings.cloud_shadow and self.look is not Look.THERMAL:
            layer = self._shadowed(layer, pose, time_s)
        haze, rain = (self._share(what, time_s) for what in ("haze", "rain"))
        if haze or rain:
            keep = (1.0 - haze) * (1.0 - 0.25 * rain)
            layer = np.asarray(
                cv2.convertScaleAbs(layer, alpha=keep, beta=(1.0 - keep) * self._light * AIR_LIGHT[self.look]),
                dtype=np.uint8,
            )
        return self._rained(layer, time_s, rain) if rain else layer

    def _share(self, what: str, time_s: float) -> float:
        """How much haze or rain there is now: the settings' or, once it has come, a change's."""
        changed = [change.share_at(time_s) for change in self._changes if change.what == what]
        return min(max([float(getattr(self.settings, what)), *changed]), 0.95)

    def _shadowed(self, layer: Bytes, pose: CameraPose, time_s: float) -> Bytes:
        to_ground = np.linalg.inv(self.camera.ground_homography(pose))
        points = np.stack([self._columns.ravel(), self._rows.ravel(), np.ones(self._rows.size)])
        east, north, scale = to_ground @ points
        cells = np.stack([east / scale + DRIFT_MPS[0] * time_s, north / scale + DRIFT_MPS[1] * time_s]) / CLOUD_CELL_M
        x, y = (np.mod(axis, CLOUD_CELLS).astype(np.float32).reshape(GRID) for axis in cells)
        cloud = cv2.remap(self._cloud, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        gain = np.asarray(cv2.resize(GAIN_STEPS * (1.0 - 0.45 * cloud), (layer.shape[1], layer.shape[0])), np.uint8)
        gain = gain if layer.ndim == 2 else np.repeat(gain[:, :, None], layer.shape[2], axis=2)
        return np.asarray(cv2.multiply(layer, gain, scale=1.0 / GAIN_STEPS), dtype=np.uint8)

    def _rained(self, layer: Bytes, time_s: float, rain: float) -> Bytes:
        tick = round(time_s * 1000)
        drops = np.roll(self._streaks[tick % STREAKS], (tick * 37) % layer.shape[0], axis=0)
        drops = np.asarray(cv2.convertScaleAbs(drops, alpha=rain * self._light), dtype=np.uint8)
        drops = drops if layer.ndim == 2 else np.repeat(drops[:, :, None], layer.shape[2], axis=2)
        return np.asarray(cv2.add(layer, drops), dtype=np.uint8)


def _streaks(rng: np.random.Generator, shape: tuple[int, int]) -> Bytes:
    """Falling drops as a camera that looks down sees them: short bright lines, most of them out of focus."""
    picture = np.zeros(shape, dtype=np.uint8)
    for _ in range(260):
        x, y = int(rng.integers(shape[1])), int(rng.integers(shape[0]))
        long = float(rng.uniform(3, 14))
        turn = float(rng.normal(1.2, 0.12))
        end = (round(x + long * np.cos(turn)), round(y + long * np.sin(turn)))
        cv2.line(picture, (x, y), end, int(rng.integers(18, 60)), 1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.8), dtype=np.uint8)
