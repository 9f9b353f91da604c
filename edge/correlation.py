"""A short-term tracker of our own: a correlation filter that knows the background, on hand-made features.

The filter is that of Galoogahi et al., "Learning Background-Aware Correlation Filters for Visual Tracking" (ICCV 2017):
it is as large as the target and learnt on everything around it. Features and learning rate are those of Huang et al.,
"Learning Aberrance Repressed Correlation Filters for Real-Time UAV Tracking" (ICCV 2019, arXiv:1908.02231); their
repression, an answer that is held to the last one, is left out: with a tenth of its weight beside the wished answer
rendered targets were followed a little worse, with 0.7 of it many were lost.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field

import cv2
import numpy as np

from edge.appearance import ColourWords, cut_window, gradient_histograms, gray_of
from edge.config import Settings
from edge.fourier import Spectra, square_transform
from edge.scale_filter import ScaleFilter, ScaleSettings, parabola_top
from edge.short_term import SMALLEST_PX, Sighting, checked_target
from protocols.arrays import FloatArray, ImageArray


class CorrelationSettings(Settings):
    """How the filter looks and learns.

    Chosen on rendered sequences, but for the window (`cells`, `padding`), which was cut for speed after a look at real
    ones and then compared on renders; where a paper is named, its value stood the test.

    Attributes:
        cells: side of the window, in cells.
        cell_px: side of a cell in pixels of the window.
        padding: side of the window in units of the target's size: how far it may jump (BACF, ARCF: 5;
            with as many pixels to a cell, 36 cells follow as 40 do and take a sixth less time).
        label_width: of the wished answer, a bell, in units of the target's size (BACF, ARCF: 1/16).
        colour_words: how many colours are told apart.
        memory_gain: share of the newest picture in what the target looks like (ARCF: 0.0192).
        ridge: weight of the filter's own size (BACF, ARCF: 0.01).
        scale: of the scale filter.
        aspect: of another one, which asks how much wider than high the target has become. Width and height that grow
            and shrink by 2, 4, 5 and 6 % from one to the next follow 14 rendered things with AUC 0.715, 0.740, 0.744
            and 0.746, where boxes keep their aspect it is 0.708; things that change looks no worse. None keeps that of
            the boxes around which it looks.
    """

    cells: int = 36
    cell_px: int = 4
    padding: float = 4.5
    label_width: float = 0.06
    colour_words: int = 8
    memory_gain: float = 0.02
    ridge: float = 0.01
    scale: ScaleSettings = ScaleSettings()
    aspect: ScaleSettings | None = ScaleSettings(step=1.05)


_PENALTIES = (1.0, 10.0)
"""Of ADMM's two steps, as in BACF's code: how strongly the filter is drawn to being no larger than the target. Going on
until that is quite so follows rendered things worse: a little of the ground around them helps."""
_REUSED_CELLS = 2.0
"""A window this far off the target still shows it whole: its spectrum is moved instead of cutting another window."""
_SHARED_GROWTH = 0.05
"""By how much a copy's window may be larger or smaller than another's (log) that it takes for its own, if that is not
farther off than `_REUSED_CELLS`."""
_LESSONS_PER_SCALE = 2
"""Scale and aspect are looked at in every frame but learnt in turns: samples cost as much to cut as to compare."""
_STILL_KNOWN = 0.5
"""Share of what was learnt before in what is known after a restart; see docs/tracking.md."""
_ODDS = (-3.1, 3.4, 4.8)
"""Log odds that a look found the target: constant, for the log of its sharpness in units of `_USUAL_SHARPNESS`, and for
the answer there of the filter that knows the first picture alone. Fitted with others in docs/tracking.md."""
_USUAL_SHARPNESS = 10.0
_NEAR_CELLS = 2
"""From the peak of one filter to that of another which means the same place."""
_SIDELOBE_CELLS = 5
"""Around the peak, left out of the sidelobe; Bolme et al. leave out 11 x 11."""


@dataclass(frozen=True)
class _Look:
    """What the last look saw: spectra of the window, and where the peak was (cells from its middle)."""

    spectra: Spectra
    offset: tuple[float, float]


@dataclass
class _Seen:
    """The newest window, for all copies of one tracker: they mostly look at nearly the same place."""

    image: ImageArray | None = None
    box: FloatArray = field(default_factory=lambda: np.zeros(4, np.float32))
    spectra: Spectra | None = None


class CorrelationTracker:
    """A background-aware correlation filter with a scale filter beside it."""

    def __init__(self, settings: CorrelationSettings | None = None) -> None:
        """Knows no target yet."""
        self.settings = settings or CorrelationSettings()
        side = self.settings.cells
        self._transform = square_transform(side)
        hann = np.hanning(side + 2)[1:-1]
        self._taper = np.outer(hann, hann).astype(np.float32)

    def start(self, image: ImageArray, box_xyxy: FloatArray) -> None:
        """See `ShortTermTracker.start`."""
        self._begin(image, checked_target(image, box_xyxy), None)

    def restarted(self, image: ImageArray, box_xyxy: FloatArray) -> CorrelationTracker:
        """See `ShortTermTracker.restarted`."""
        other = copy(self)
        other._begin(image, checked_target(image, box_xyxy), self._words)
        other._memory += np.float32(_STILL_KNOWN) * (self._memory - other._memory)
        other._fit()
        return other

    def _begin(self, image: ImageArray, box: FloatArray, words: ColourWords | None) -> None:
        """Learn a target from one box, in words that are known or its own."""
        self._base_px = box[2:] - box[:2]
        self._base_area_px = float(np.prod(self._base_px))
        # A thing much longer than wide still fits its window.
        size = math.sqrt(self._base_area_px)
        self._side_px = max(self.settings.padding * size, 1.6 * float(self._base_px.max()))
        self._lessons = 0
        self._seen = _Seen()
        self._make_label()
        window = self._window(image, box)
        self._words = words or ColourWords(window, self.settings.colour_words)
        self._memory = self._spectra(window)
        self._fit()
        self._first = self._filter
        self._scale = ScaleFilter(self.settings.scale)
        self._scale.start(image, box)
        self._aspect = ScaleFilter(self.settings.aspect, (1.0, -1.0)) if self.settings.aspect else None
        if self._aspect is not None:
            self._aspect.start(image, box)

    def look(self, image: ImageArray, around_xyxy: FloatArray) -> Sighting:
        """See `ShortTermTracker.look`."""
        around = _kept_in(image, around_xyxy)
        seen, spectra = self._seen_near(image, around)
        answer = self._answer(self._filter, spectra)
        x, y = _peak(answer)
        self._look = _Look(spectra, (x, y))
        cell = self._cell_px_of(seen)
        middle_x, middle_y = (seen[0] + seen[2]) / 2 + x * cell, (seen[1] + seen[3]) / 2 + y * cell
        half_x, half_y = (around[2:] - around[:2]) / 2
        box = np.array([middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y], np.float32)
        box = _kept_in(image, box)
        sharpness = _sharpness(answer)
        odds = _odds(sharpness, self._as_first(spectra, answer))
        box = _kept_in(image, self._scale.look(image, box))
        if self._aspect is not None:
            box = _kept_in(image, self._aspect.look(image, box))
        return Sighting(box, float(answer.max()), sharpness, odds)

    def learn(self, image: ImageArray, sighting: Sighting) -> None:
        """See `ShortTermTracker.learn`."""
        self._lessons += 1
        if self._lessons % _LESSONS_PER_SCALE == 0:
            self._scale.learn(image, sighting.box_xyxy)
        elif self._aspect is not None:
            self._aspect.learn(image, sighting.box_xyxy)
        x, y = self._look.offset
        if max(abs(x), abs(y)) <= _REUSED_CELLS:
            spectra = self._look.spectra * self._transform.shift(-x, -y)
        else:
            spectra = self._spectra(self._window(image, sighting.box_xyxy))
        gain = np.float32(self.settings.memory_gain)
        self._memory += gain * (spectra - self._memory)
        self._fit()

    def copied(self) -> CorrelationTracker:
        """See `ShortTermTracker.copied`."""
        other = copy(self)
        other._memory, other._scale = self._memory.copy(), self._scale.copied()
        other._aspect = None if self._aspect is None else self._aspect.copied()
        return other

    def _answer(self, filtering: Spectra, spectra: Spectra) -> FloatArray:
        """(cells, cells) what a filter answers, 1 to what it was learnt from."""
        return self._transform.back(np.einsum("cij,cij->ij", filtering, spectra))

    def _as_first(self, spectra: Spectra, answer: FloatArray) -> float:
        """What the filter of the first picture, which never learnt since, answers where the newest one has its peak."""
        first, side = self._answer(self._first, spectra), len(answer)
        row, column = divmod(int(answer.argmax()), side)
        near = np.arange(-_NEAR_CELLS, _NEAR_CELLS + 1)
        return float(first[np.ix_((row + near) % side, (column + near) % side)].max())

    def _seen_near(self, image: ImageArray, box: FloatArray) -> tuple[FloatArray, Spectra]:
        """The box around which a window was cut, and the window's spectra; a copy's window where that is near."""
        seen = self._seen
        if seen.image is image and seen.spectra is not None:
            apart = np.abs(box[:2] + box[2:] - seen.box[:2] - seen.box[2:]).max() / 2
            growth = abs(math.log(self._scale_of(box) / self._scale_of(seen.box)))
            if apart <= _REUSED_CELLS * self._cell_px_of(seen.box) and growth <= _SHARED_GROWTH:
                return seen.box, seen.spectra
        seen.image, seen.box, seen.spectra = image, box, self._spectra(self._window(image, box))
        return box, seen.spectra

    def _cell_px_of(self, box: FloatArray) -> float:
        """Side of a cell, in pixels of the frame, of the window around a box."""
        return self._side_px * self._scale_of(box) / self.settings.cells

    def _scale_of(self, box: FloatArray) -> float:
        x1, y1, x2, y2 = box.tolist()
        return math.sqrt((x2 - x1) * (y2 - y1) / self._base_area_px)

    def _window(self, image: ImageArray, box: FloatArray) -> ImageArray:
        side = self.settings.cells * self.settings.cell_px
        size = np.full(2, self._side_px * self._scale_of(box), np.float32)
        return cut_window(image, (box[:2] + box[2:]) / 2, size, (side, side))

    def _spectra(self, window: ImageArray) -> Spectra:
        """(C, cells, cells // 2 + 1) of a window's features."""
        side = self.settings.cells
        gray = gray_of(window)
        small = np.asarray(cv2.resize(window, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        features = [
            gradient_histograms(gray, self.settings.cell_px),
            gray_of(small)[None] - np.float32(0.5),
            self._words(small),
        ]
        return self._transform.forward(np.concatenate(features) * self._taper)

    def _make_label(self) -> None:
        """The wished answer, a bell around no displacement, and the part of the window that is the filter's."""
        side = self.settings.cells
        target = np.clip(np.round(self._base_px / self._side_px * side), 2, side).astype(int)
        width = max(float(np.sqrt(np.prod(target))) * self.settings.label_width, 0.5)
        bell = np.exp(-0.5 * (np.fft.fftfreq(side, 1 / side) / width) ** 2)
        self._label = self._transform.forward(np.outer(bell, bell).astype(np.float32)).conj()
        first = (side - target) // 2
        across, down = (slice(int(low), int(low + count)) for low, count in zip(first, target, strict=True))
        self._own_cells = down, across

    def _fit(self) -> None:
        """Learn the filter from the memory: ADMM as in BACF, equations 6 to 10, from nothing and for two steps.

        In the first step there is neither a small filter nor a dual, so that it is ridge regression; what the second
        makes of it is written out, so that only what differs between channels is reckoned for each.
        """
        memory, cells = self._memory, np.float32(self.settings.cells**2)
        first, second = _PENALTIES
        values = memory.view(np.float32)
        energy = np.einsum("cij,cij->ij", values, values).reshape(*memory.shape[1:], 2).sum(axis=2)
        ridge = memory * (self._label / (energy + cells * first))
        # Back to the window, cut to the target, and forth again: the filter that is no larger than the target.
        own = self._transform.back(ridge, *self._own_cells)
        small = self._transform.forward(own, *self._own_cells)
        small *= np.float32((1 + first / second) * first / (first + self.settings.ridge / cells))
        pull = self._label * energy / (energy + cells * first) / (cells * second)
        shared = np.einsum("cij,cij->ij", small.conj(), memory).conj()
        plane = (pull - (energy * pull + shared) / (energy + cells * second)).astype(np.complex64)
        self._filter = memory * plane
        self._filter += small
        # The filter answers to what it was learnt from with less than it was to: nothing fits wholly.
        answer = self._transform.back((energy * plane + shared).conj().astype(np.complex64))
        self._own_peak = max(float(answer[0, 0]), 1e-6)
        np.conjugate(self._filter, out=self._filter)
        self._filter *= np.float32(1 / self._own_peak)


def _kept_in(image: ImageArray, box_xyxy: FloatArray) -> FloatArray:
    """The box with its middle within the image, no larger than that and no smaller than a target may be."""
    x1, y1, x2, y2 = box_xyxy.tolist()  # plain numbers: numpy takes ten times as long for so few
    (width, height), (right, bottom) = (x2 - x1, y2 - y1), image.shape[1::-1]
    if width > right and height > bottom:
        width, height = (side * min(right / width, bottom / height) for side in (width, height))
    growth = max(1.0, SMALLEST_PX / math.sqrt(width * height))
    half_x, half_y = width * growth / 2, height * growth / 2
    x, y = min(max((x1 + x2) / 2, 0.0), right), min(max((y1 + y2) / 2, 0.0), bottom)
    return np.array([x - half_x, y - half_y, x + half_x, y + half_y], np.float32)


def _peak(answer: FloatArray) -> tuple[float, float]:
    """Cells right and down from no displacement to the highest place, refined by a parabola in each direction."""
    side = len(answer)
    row, column = divmod(int(answer.argmax()), side)
    around = np.arange(-1, 2)
    x = column + parabola_top(answer[row, (column + around) % side])
    y = row + parabola_top(answer[(row + around) % side, column])
    return (x + side / 2) % side - side / 2, (y + side / 2) % side - side / 2


def _odds(sharpness: float, as_first: float) -> float:
    bias, by_sharpness, by_first = _ODDS
    return bias + by_sharpness * math.log(max(sharpness, 1.0) / _USUAL_SHARPNESS) + by_first * as_first


def _sharpness(answer: FloatArray) -> float:
    """Peak to sidelobe ratio."""
    side = len(answer)
    row, column = divmod(int(answer.argmax()), side)
    near = np.arange(-_SIDELOBE_CELLS, _SIDELOBE_CELLS + 1)
    peak = answer[row, column]
    sidelobe = answer.copy()
    sidelobe[np.ix_((row + near) % side, (column + near) % side)] = 0
    count = answer.size - len(near) ** 2
    mean = float(sidelobe.sum()) / count
    variance = float(np.vdot(sidelobe, sidelobe)) / count - mean**2
    return (float(peak) - mean) / max(math.sqrt(max(variance, 0.0)), 1e-6)
