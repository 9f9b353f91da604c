"""What a real sensor adds: blur, uneven light, gain, noise, a shaking mount, a lossy encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.arrays import Bytes
from sim.world.layout import Look

NOISE_SHIFT_PX = 64
GAIN_STEPS = 200.0
GLOW_TABLE: Bytes = np.clip(np.arange(256) - 175, 0, 255).astype(np.uint8)  # what glows is what lies above 175
SPECKLE_LOOKS = 4.0
CHANNELS = {Look.RGB: (3,), Look.THERMAL: (1,), Look.MULTISPECTRAL: (3, 3), Look.SAR: (1,)}
"""Of each layer that a look is drawn in."""


@dataclass(frozen=True)
class SensorTraits:
    """How one sensor distorts what it sees.

    Attributes:
        blur_px: sigma of the optics' blur.
        noise: sigma of the noise, in grey levels.
        vignette: loss of light in the corners, 0 to 1.
        gain: contrast about mid grey.
        bias: brightness, in grey levels.
        haze: share of air light, 0 to 1.
        bloom: strength of the glow around hot things (heat only).
        shake_px: length of the streak that motion draws during the exposure; below 1.5 none.
        shake_deg: its direction in the image.
        exposure_swing: how far the exposure hunts about its mean, as a share.
        jpeg_quality: of a lossy encoder between sensor and computer; None has none.
    """

    blur_px: float
    noise: float
    vignette: float
    gain: float
    bias: float
    haze: float
    bloom: float
    shake_px: float = 0.0
    shake_deg: float = 0.0
    exposure_swing: float = 0.0
    jpeg_quality: int | None = None


def draw_traits(rng: np.random.Generator, look: Look) -> SensorTraits:
    """A sensor drawn at random within what is usual for its kind."""
    if look is Look.SAR:
        return SensorTraits(float(rng.uniform(0.4, 0.7)), 1.0, 0.0, float(rng.uniform(0.9, 1.1)), 0.0, 0.0, 0.0)
    if look is Look.THERMAL:
        return SensorTraits(
            float(rng.uniform(0.6, 1.0)), float(rng.uniform(1.0, 3.2)), float(rng.uniform(0, 0.3)),
            float(rng.uniform(0.75, 1.15)), float(rng.normal(4, 12)), 0.0, float(rng.uniform(0.1, 0.5)),
        )  # fmt: skip
    haze = float(max(0.0, rng.normal(0.02, 0.05)))
    return SensorTraits(
        float(rng.uniform(0.35, 0.85)), float(rng.uniform(1.2, 5.0)), float(rng.uniform(0, 0.28)),
        float(rng.uniform(0.88, 1.18)), float(rng.normal(0, 8)), haze, 0.0,
    )  # fmt: skip


def roughened(traits: SensorTraits, rng: np.random.Generator) -> SensorTraits:
    """The same sensor on a bad day: each of shake, hunting exposure and a lossy encoder in about one of three cases."""
    return replace(
        traits,
        shake_px=float(rng.uniform(2.0, 6.0)) * float(rng.random() < 0.3),
        shake_deg=float(rng.uniform(0, 180)),
        exposure_swing=float(rng.uniform(0.05, 0.2)) * float(rng.random() < 0.3),
        jpeg_quality=int(rng.integers(25, 70)) if rng.random() < 0.35 else None,
    )


class Sensor:
    """Applies one sensor's traits to drawn pictures."""

    def __init__(self, traits: SensorTraits, look: Look, shape: tuple[int, int], rng: np.random.Generator) -> None:
        """Prepares tables and noise for pictures of `shape` (rows, columns)."""
        self.traits, self.look, self._shape = traits, look, shape
        self._gains = [self._gain_map(shape, channels) for channels in CHANNELS[look]]
        self._noises = [self._noise(rng, channels) for channels in CHANNELS[look]]
        self._streak = _streak(traits.shake_px, traits.shake_deg)

    def _noise(self, rng: np.random.Generator, channels: int) -> tuple[Bytes, Bytes]:
        """What is added, and what is taken away: two passes over bytes are faster than one over wider numbers."""
        noise = self._signed_noise(rng, channels)
        return np.clip(noise, 0, 255).astype(np.uint8), np.clip(-noise, 0, 255).astype(np.uint8)

    def _signed_noise(self, rng: np.random.Generator, channels: int) -> NDArray[np.int16]:
        size = (self._shape[0] + NOISE_SHIFT_PX, self._shape[1] + NOISE_SHIFT_PX)
        if self.look is Look.SAR:
            # Speckle multiplies power; in a picture of dB it adds. Gamma-distributed for averaged looks
            # (Oliver and Quegan, Understanding Synthetic Aperture Radar Images, 2004, section 4.3).
            power = rng.gamma(SPECKLE_LOOKS, 1.0 / SPECKLE_LOOKS, size)
            return np.round(55.0 * np.log10(power) + self._offset()).astype(np.int16)
        noise = rng.standard_normal((*size, channels) if channels > 1 else size).astype(np.float32)
        if self.look is Look.THERMAL:
            blotches = rng.standard_normal(size).astype(np.float32)
            noise = noise + 1.3 * np.asarray(cv2.GaussianBlur(blotches, (5, 5), 1.2), dtype=np.float32)
            noise += 0.45 * rng.standard_normal((1, size[1])).astype(np.float32)
        else:
            noise += 0.7 * rng.standard_normal((*size, 1)).astype(np.float32)
        return np.round(noise * self.traits.noise + self._offset()).astype(np.int16)

    def _offset(self) -> float:
        """What brightness, contrast and haze add to every pixel."""
        toned = 118.0 * (1.0 - self.traits.gain) + self.traits.bias
        return toned * (1.0 - self.traits.haze) + 205.0 * self.traits.haze

    def _gain_map(self, shape: tuple[int, int], channels: int) -> Bytes:
        """What contrast, haze and vignetting multiply every pixel with, in steps of 1 / GAIN_STEPS."""
        y, x = np.mgrid[-1.0 : 1.0 : shape[0] * 1j, -1.0 : 1.0 : shape[1] * 1j]
        fall = 1.0 - self.traits.vignette * (x**2 + y**2) / 2.0
        gain = fall * self.traits.gain * (1.0 - self.traits.haze) * GAIN_STEPS
        # Dithered, so that the steps leave no contour lines.
        dither = (np.indices(shape).sum(axis=0) * 0.618034) % 1.0
        steps = np.clip(np.floor(gain + dither), 0, 255).astype(np.uint8)
        return np.repeat(steps[:, :, None], channels, axis=2) if channels > 1 else steps

    def expose(self, layers: Sequence[Bytes], time_s: float) -> Bytes:
        """The picture as this sensor delivers it.

        Args:
            layers: (H, W, 3) or (H, W) uint8 each, as `CHANNELS` says.
            time_s: chooses the noise and the exposure.

        Returns:
            (H, W, 3) uint8, heat and echoes grey in all three channels; (H, W, 6) multispectral.
        """
        exposed = [self._expose(layer, number, time_s) for number, layer in enumerate(layers)]
        if len(exposed) > 1:
            return np.concatenate(exposed, axis=2)
        image = exposed[0] if exposed[0].ndim == 3 else np.asarray(cv2.cvtColor(exposed[0], cv2.COLOR_GRAY2BGR))
        if self.traits.jpeg_quality is None:
            return np.asarray(image, dtype=np.uint8)
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.traits.jpeg_quality])[1]
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8)

    def _expose(self, layer: Bytes, number: int, time_s: float) -> Bytes:
        image: cv2.typing.MatLike = cv2.GaussianBlur(layer, (3, 3), self.traits.blur_px)
        if self._streak is not None:
            image = cv2.filter2D(image, -1, self._streak)
        if self.look is Look.THERMAL:
            image = self._glow(image)
        swing = 1.0 + self.traits.exposure_swing * math.sin(0.9 * time_s) * math.sin(0.23 * time_s + 1.0)
        image = cv2.multiply(image, self._gains[number], scale=swing / GAIN_STEPS)
        added, taken = self._noise_at(number, time_s)
        return np.asarray(cv2.subtract(cv2.add(image, added), taken), dtype=np.uint8)

    def _noise_at(self, number: int, time_s: float) -> tuple[Bytes, Bytes]:
        tick = round(time_s * 1000)
        row, column = (tick * 7919) % NOISE_SHIFT_PX, (tick * 3571) % NOISE_SHIFT_PX
        window = slice(row, row + self._shape[0]), slice(column, column + self._shape[1])
        added, taken = self._noises[number]
        return added[window], taken[window]

    def _glow(self, image: cv2.typing.MatLike) -> cv2.typing.MatLike:
        """Bloom of hot things, and the edge enhancement that thermal cameras apply."""
        small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        hot = cv2.GaussianBlur(cv2.LUT(small, GLOW_TABLE), (9, 9), 2.5)
        image = cv2.addWeighted(image, 1.0, cv2.resize(hot, (image.shape[1], image.shape[0])), self.traits.bloom, 0.0)
        soft = cv2.GaussianBlur(image, (7, 7), 2.0)
        return cv2.addWeighted(image, 1.55, soft, -0.55, 0.0)


def _streak(length_px: float, direction_deg: float) -> NDArray[np.float32] | None:
    """A kernel that smears along a line; None for less than 1.5 px."""
    if length_px < 1.5:
        return None
    side = 2 * math.ceil(length_px / 2) + 1
    kernel = np.zeros((side, side), dtype=np.float32)
    middle, reach = side // 2, length_px / 2
    turn = math.radians(direction_deg)
    for step in np.linspace(-reach, reach, 4 * side):
        kernel[round(middle + step * math.sin(turn)), round(middle + step * math.cos(turn))] += 1.0
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
