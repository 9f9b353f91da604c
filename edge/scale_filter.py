"""How large a target is, and how much wider than high: a correlation filter over scales alone.

After Danelljan et al., "Discriminative Scale Space Tracking" (PAMI 2017): the target is cut out at many sizes, each is
one sample, and the filter's answer over the samples peaks at the right one. As in its section 5.2, the samples are
projected to as many dimensions as there are scales, which loses nothing of what was learnt.
"""

from __future__ import annotations

from copy import copy

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.appearance import ORIENTATIONS, cut_window, gradient_histograms, gray_of
from edge.config import Settings
from protocols.arrays import FloatArray, ImageArray


class ScaleSettings(Settings):
    """How scales are told apart.

    Attributes:
        count: of scales; odd. DSST has 17 of them 2 % apart, which cost half as much again and follow no better.
        step: from one to the next.
        width: of the wished answer, in scales.
        memory_gain: share of the newest picture in what the target looks like at each scale (DSST: 0.025).
        area_px: of each sample (DSST: 512).
        ridge: weight of the filter's own size (DSST: 0.01).
    """

    count: int = 11
    step: float = 1.03
    width: float = 1.0
    memory_gain: float = 0.03
    area_px: int = 512
    ridge: float = 0.01


_CELL_PX = 4


class ScaleFilter:
    """The target at many sizes."""

    def __init__(self, settings: ScaleSettings, along: tuple[float, float] = (1.0, 1.0)) -> None:
        """Knows no target yet.

        Args:
            settings: how scales are told apart.
            along: powers of a scale by which width and height grow: (1, 1) asks how large the target is, (1, -1) how
                much wider than high.
        """
        self.settings = settings
        numbers = np.arange(settings.count) - settings.count // 2
        self._along = np.array(along)
        self._factors = settings.step ** (self._along[:, None] * numbers)
        self._largest = self._factors.max(axis=1)
        bell = np.exp(-0.5 * (numbers / settings.width) ** 2)
        self._label = np.fft.rfft(np.fft.ifftshift(bell)).astype(np.complex64)
        self._taper = np.hanning(settings.count + 2)[1:-1].astype(np.float32)

    def start(self, image: ImageArray, box_xyxy: FloatArray) -> None:
        """Learn the target from one box, (4,) pixels."""
        size = box_xyxy[2:] - box_xyxy[:2]
        sample = size * np.sqrt(self.settings.area_px / np.prod(size)) / _CELL_PX
        self._sample_px = tuple(int(v) * _CELL_PX for v in np.clip(np.round(sample), 2, 32))
        self._make_grid()
        self._memory = self._samples(image, box_xyxy)
        self._energy = self._fit(self._memory)

    def look(self, image: ImageArray, box_xyxy: FloatArray) -> FloatArray:
        """The box, (4,) pixels, grown or shrunk to what looks most like the target; its middle stays."""
        spectra = self._spectra(self._samples(image, box_xyxy))
        answer = np.fft.irfft(
            (self._numerator * spectra).sum(axis=0) / (self._energy + self.settings.ridge), self.settings.count
        )
        best, count = int(answer.argmax()), self.settings.count
        top = best + parabola_top(answer[(best + np.arange(-1, 2)) % count])
        factors = self.settings.step ** (self._along * ((top + count / 2) % count - count / 2))
        middle_px, half = (box_xyxy[:2] + box_xyxy[2:]) / 2, (box_xyxy[2:] - box_xyxy[:2]) / 2 * factors
        return np.concatenate([middle_px - half, middle_px + half]).astype(np.float32)

    def learn(self, image: ImageArray, box_xyxy: FloatArray) -> None:
        """Take the target in a box, (4,) pixels, as what it looks like now."""
        samples = self._samples(image, box_xyxy)
        gain = np.float32(self.settings.memory_gain)
        self._memory += gain * (samples - self._memory)
        self._energy += gain * (self._fit(samples) - self._energy)

    def copied(self) -> ScaleFilter:
        """Another one that knows the same and learns apart from this one."""
        other = copy(self)
        other._memory, other._energy = self._memory.copy(), self._energy.copy()
        return other

    def _fit(self, newest: FloatArray) -> FloatArray:
        """Learn the filter from the memory; the energy of the newest samples."""
        self._basis = np.linalg.qr(self._memory)[0].T
        self._numerator = self._label * self._spectra(self._memory).conj()
        spectra = self._spectra(newest)
        return np.asarray((spectra.real**2 + spectra.imag**2).sum(axis=0))

    def _spectra(self, samples: FloatArray) -> NDArray[np.complex64]:
        return np.fft.rfft((self._basis @ samples) * self._taper).astype(np.complex64)

    def _make_grid(self) -> None:
        """Where the pixels of all samples lie, one below the other, in units of the target's half size."""
        width, height = self._sample_px
        across = (np.arange(width) + 0.5) / width - 0.5
        down = (np.arange(height) + 0.5) / height - 0.5
        self._grid_x = np.concatenate([np.tile(across * f, (height, 1)) for f in self._factors[0]]).astype(np.float32)
        self._grid_y = np.concatenate([np.repeat(down[:, None] * f, width, 1) for f in self._factors[1]])
        self._grid_y = self._grid_y.astype(np.float32)

    def _samples(self, image: ImageArray, box_xyxy: FloatArray) -> FloatArray:
        """(D, count) float32 features of the target at each scale."""
        middle, size = (box_xyxy[:2] + box_xyxy[2:]) / 2, box_xyxy[2:] - box_xyxy[:2]
        largest = np.asarray(size * self._largest * 1.05, dtype=np.float32)
        # One window holds the samples of all scales, at the finest resolution that any of them needs.
        out = np.maximum(np.round(np.array(self._sample_px) * 1.05 * self._largest / self._factors.min(axis=1)), 2)
        window = cut_window(image, middle, largest, (int(out[0]), int(out[1])))
        x = (self._grid_x / (1.05 * self._largest[0]) + 0.5) * np.float32(out[0]) - 0.5
        y = (self._grid_y / (1.05 * self._largest[1]) + 0.5) * np.float32(out[1]) - 0.5
        tall = np.asarray(
            cv2.remap(window, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE),
            dtype=np.uint8,
        )
        features = gradient_histograms(gray_of(tall), _CELL_PX)[: 3 * ORIENTATIONS]
        bands, rows, columns = features.shape
        by_scale = features.reshape(bands, self.settings.count, rows // self.settings.count, columns)
        return np.ascontiguousarray(by_scale.transpose(0, 2, 3, 1).reshape(-1, self.settings.count))


def parabola_top(values: NDArray[np.floating]) -> float:
    """Where the parabola through three values one apart is highest, -0.5 to 0.5 from the middle one."""
    before, middle, after = (float(value) for value in values)
    bend = before - 2 * middle + after
    return 0.0 if bend >= 0 else min(max((before - after) / (2 * bend), -0.5), 0.5)
