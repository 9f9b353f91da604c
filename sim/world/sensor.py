"""What a real camera adds: blur, uneven light, gain, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.world.layout import Look

Bytes = NDArray[np.uint8]

NOISE_SHIFT_PX = 64
GAIN_STEPS = 200.0
GLOW_TABLE: Bytes = np.clip(np.arange(256) - 175, 0, 255).astype(np.uint8)  # what glows is what lies above 175


@dataclass(frozen=True)
class SensorTraits:
    """How one camera distorts what it sees.

    Attributes:
        blur_px: sigma of the optics' blur.
        noise: sigma of the noise, in grey levels.
        vignette: loss of light in the corners, 0 to 1.
        gain: contrast about mid grey.
        bias: brightness, in grey levels.
        haze: share of air light, 0 to 1.
        bloom: strength of the glow around hot things (heat only).
    """

    blur_px: float
    noise: float
    vignette: float
    gain: float
    bias: float
    haze: float
    bloom: float


def draw_traits(rng: np.random.Generator, look: Look) -> SensorTraits:
    """A camera drawn at random within what is usual for its kind."""
    if look is Look.RGB:
        haze = float(max(0.0, rng.normal(0.02, 0.05)))
        return SensorTraits(
            float(rng.uniform(0.35, 0.85)), float(rng.uniform(1.2, 5.0)), float(rng.uniform(0, 0.28)),
            float(rng.uniform(0.88, 1.18)), float(rng.normal(0, 8)), haze, 0.0,
        )  # fmt: skip
    return SensorTraits(
        float(rng.uniform(0.6, 1.0)), float(rng.uniform(1.0, 3.2)), float(rng.uniform(0, 0.3)),
        float(rng.uniform(0.75, 1.15)), float(rng.normal(4, 12)), 0.0, float(rng.uniform(0.1, 0.5)),
    )  # fmt: skip


class Sensor:
    """Applies one camera's traits to drawn pictures."""

    def __init__(self, traits: SensorTraits, look: Look, shape: tuple[int, int], rng: np.random.Generator) -> None:
        """Prepares tables and noise for pictures of `shape` (rows, columns)."""
        self.traits = traits
        self.look = look
        channels = (3,) if look is Look.RGB else ()
        self._gain = self._gain_map(shape, bool(channels))
        size = (shape[0] + NOISE_SHIFT_PX, shape[1] + NOISE_SHIFT_PX)
        noise = rng.standard_normal((*size, *channels)).astype(np.float32)
        if look is Look.RGB:
            noise += 0.7 * rng.standard_normal((*size, 1)).astype(np.float32)
        else:
            blotches = rng.standard_normal(size).astype(np.float32)
            noise = noise + 1.3 * np.asarray(cv2.GaussianBlur(blotches, (5, 5), 1.2), dtype=np.float32)
            noise += 0.45 * rng.standard_normal((1, size[1])).astype(np.float32)
        self._noise = np.round(noise * traits.noise + self._offset()).astype(np.int16)
        self._shape = shape

    def _offset(self) -> float:
        """What brightness, contrast and haze add to every pixel."""
        toned = 118.0 * (1.0 - self.traits.gain) + self.traits.bias
        return toned * (1.0 - self.traits.haze) + 205.0 * self.traits.haze

    def _gain_map(self, shape: tuple[int, int], is_colour: bool) -> Bytes:
        """What contrast, haze and vignetting multiply every pixel with, in steps of 1 / GAIN_STEPS."""
        y, x = np.mgrid[-1.0 : 1.0 : shape[0] * 1j, -1.0 : 1.0 : shape[1] * 1j]
        fall = 1.0 - self.traits.vignette * (x**2 + y**2) / 2.0
        gain = fall * self.traits.gain * (1.0 - self.traits.haze) * GAIN_STEPS
        # Dithered, so that the steps leave no contour lines.
        dither = (np.indices(shape).sum(axis=0) * 0.618034) % 1.0
        steps = np.clip(np.floor(gain + dither), 0, 255).astype(np.uint8)
        return np.repeat(steps[:, :, None], 3, axis=2) if is_colour else steps

    def _noise_at(self, time_s: float) -> NDArray[np.int16]:
        tick = round(time_s * 1000)
        row, column = (tick * 7919) % NOISE_SHIFT_PX, (tick * 3571) % NOISE_SHIFT_PX
        return self._noise[row : row + self._shape[0], column : column + self._shape[1]]

    def expose(self, drawn: Bytes, time_s: float) -> Bytes:
        """The picture as this camera delivers it.

        Args:
            drawn: (H, W, 3) or (H, W) uint8.
            time_s: chooses the noise.

        Returns:
            (H, W, 3) uint8; heat is grey in all three channels.
        """
        image = cv2.GaussianBlur(drawn, (3, 3), self.traits.blur_px)
        if self.look is Look.THERMAL:
            image = self._glow(image)
        image = cv2.multiply(image, self._gain, scale=1.0 / GAIN_STEPS)
        image = cv2.add(image, self._noise_at(time_s), dtype=cv2.CV_8U)
        if self.look is Look.THERMAL:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        return np.asarray(image, dtype=np.uint8)

    def _glow(self, image: cv2.typing.MatLike) -> cv2.typing.MatLike:
        """Bloom of hot things, and the edge enhancement that thermal cameras apply."""
        small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        hot = cv2.GaussianBlur(cv2.LUT(small, GLOW_TABLE), (9, 9), 2.5)
        image = cv2.addWeighted(image, 1.0, cv2.resize(hot, (image.shape[1], image.shape[0])), self.traits.bloom, 0.0)
        soft = cv2.GaussianBlur(image, (7, 7), 2.0)
        return cv2.addWeighted(image, 1.55, soft, -0.55, 0.0)
