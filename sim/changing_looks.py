"""Rendered tracking sequences made harder: the camera rolls, zooms and shakes, and the target itself changes fast.

Rendered things are stiff and seen by a steady camera; birds flap, riders lean, boats turn, hands shake. So the
target's part of each picture is turned, squeezed, leant and bent by smooth fields that fade out around it, its light
changes, and a camera of its own looks at all of it, with the blur of motion. The target is there in every frame.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from protocols.arrays import ImageArray
from sim.tracking_data import Sequence, is_box

Curve: TypeAlias = Callable[[float], float]
Matrix: TypeAlias = NDArray[np.float64]

_FRAMES = 90
"""Three seconds; shorter sequences run to and fro."""
_SIZES_PX = (20.0, 90.0)
"""Of targets as the new camera first sees them: square root of the area, as in the common benchmarks' flights."""
_FADE = 0.6
"""How far around the target its change fades out, in units of its half size."""
_LEAST_PX = 8.0
_MOST_ZOOM = 3.0
"""Larger pixels than these show no camera's picture any more."""
_BENDS = ((1, 0), (0, 1), (1, 1))
"""Waves along and across the target with which it bends."""


@dataclass(frozen=True)
class _Changes:
    """How one target and its camera change, each by frame number.

    Attributes:
        turn_rad, lean, squeeze: of the target: rotation, shear, and log of how much wider than high it becomes.
        bends: displacement by each of `_BENDS`, in units of its half size.
        dance_x, dance_y: of its middle, in units of its size.
        light: factor of its brightness.
        roll_rad, zoom: of the camera; log of the factor.
        pan_x, pan_y: where in the picture it keeps the target, -1 to 1.
        all_light: factor of the picture's brightness.
    """

    turn_rad: Curve
    lean: Curve
    squeeze: Curve
    bends: tuple[Curve, ...]
    dance_x: Curve
    dance_y: Curve
    light: Curve
    roll_rad: Curve
    zoom: Curve
    pan_x: Curve
    pan_y: Curve
    all_light: Curve


@dataclass(frozen=True)
class ChangingSequence(Sequence):
    """A sequence whose pictures are made out of another's, always the same ones; see `changed`."""

    source: Sequence = field(kw_only=True)
    order: tuple[int, ...] = field(kw_only=True)
    changes: _Changes = field(kw_only=True)
    first_zoom: float = field(kw_only=True)

    def image(self, index: int) -> ImageArray:
        """(H, W, 3) uint8 BGR, as large as the source's."""
        picture = self.source.image(self.order[index])
        box = self.source.truth_xywh[self.order[index]].astype(np.float64)
        picture = _bent(picture, box, self.changes, index)
        size = picture.shape[1::-1]
        camera = _camera(box, size, self.changes, index, self.first_zoom)
        seen = cv2.warpAffine(picture, camera, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        before = _camera(box, size, self.changes, index - 0.5, self.first_zoom)
        return _lit(_blurred(np.asarray(seen, np.uint8), camera, before, box), self.changes.all_light(index))


def changed(video: Sequence, seed: int = 0) -> ChangingSequence | None:
    """A harder video of the same target.

    Args:
        video: one whose target is always there.
        seed: other seeds change it otherwise.

    Returns:
        None where the target is absent or cut off in a frame, or too small.
    """
    size = video.image(0).shape[1::-1]
    low, high = video.truth_xywh[:, :2], video.truth_xywh[:, :2] + video.truth_xywh[:, 2:]
    is_whole = is_box(video.truth_xywh).all() and (low >= 0).all() and (high <= size).all()
    if not is_whole or video.truth_xywh[:, 2:].min() < _LEAST_PX:
        return None
    rng = np.random.default_rng([seed, zlib.crc32(video.name.encode())])
    count = len(video.pictures)
    order = np.resize(np.r_[np.arange(count), np.arange(count - 2, 0, -1)], _FRAMES)
    changes = _draw(rng)
    own_px = float(np.sqrt(np.prod(video.truth_xywh[0, 2:])))
    zoom = min(max(float(np.exp(rng.uniform(*np.log(_SIZES_PX)))) / own_px, 1.0), _MOST_ZOOM)
    boxes = video.truth_xywh[order].astype(np.float64)
    truth = [_truth(box, size, changes, number, zoom) for number, box in enumerate(boxes)]
    return ChangingSequence(
        name=video.name,
        pictures=tuple(video.pictures[i] for i in order),
        truth_xywh=np.array(truth, np.float32),
        fps=video.fps,
        source=video,
        order=tuple(int(i) for i in order),
        changes=changes,
        first_zoom=zoom,
    )


def _draw(rng: np.random.Generator) -> _Changes:
    """Amplitudes and periods in frames: what a bird, a rider or a boat does in a hand-held or drone's video."""
    strength = rng.uniform(0.4, 1.8)
    steady = rng.uniform(-0.04, 0.04) * strength
    turn = _wave(rng, 0.5 * strength, (20, 80))
    trend = rng.uniform(-0.015, 0.015)
    zoom = _wave(rng, 0.25 * strength, (40, 120))
    return _Changes(
        turn_rad=lambda t: steady * t + turn(t),
        lean=_wave(rng, 0.35 * strength, (12, 60)),
        squeeze=_wave(rng, 0.45 * strength, (12, 60)),
        bends=tuple(_wave(rng, 0.22 * strength, (5, 25)) for _ in _BENDS),
        dance_x=_wave(rng, 0.35 * strength, (10, 50)),
        dance_y=_wave(rng, 0.35 * strength, (10, 50)),
        light=_wave(rng, 0.35 * strength, (15, 60), middle=1.0),
        roll_rad=_wave(rng, 0.3 * strength, (30, 100)),
        zoom=lambda t: trend * t + zoom(t),
        pan_x=_wave(rng, 0.5, (25, 90)),
        pan_y=_wave(rng, 0.5, (25, 90)),
        all_light=_wave(rng, 0.2 * strength, (30, 90), middle=1.0),
    )


def _wave(rng: np.random.Generator, amplitude: float, periods: tuple[float, float], middle: float = 0.0) -> Curve:
    """Two waves of random period and phase, which begin where nothing is changed."""
    sizes = amplitude * rng.uniform(0.2, 1.0, 2) / 1.5
    rates = 2 * np.pi / rng.uniform(*periods, 2)
    phases = rng.uniform(0, 2 * np.pi, 2)
    return lambda t: middle + float((sizes * (np.sin(rates * t + phases) - np.sin(phases))).sum())


def _shape(changes: _Changes, t: float) -> Matrix:
    """(2, 2) by which the target is turned, leant and squeezed."""
    c, s = np.cos(changes.turn_rad(t)), np.sin(changes.turn_rad(t))
    wider = np.exp(changes.squeeze(t) / 2)
    lean = np.array([[wider, changes.lean(t)], [0, 1 / wider]])
    return np.asarray(np.matmul(np.array([[c, -s], [s, c]]), lean), dtype=np.float64)


def _dance(box: Matrix, changes: _Changes, t: float) -> Matrix:
    way = np.array([changes.dance_x(t), changes.dance_y(t)]) * np.sqrt(box[2] * box[3])
    return np.asarray(way, dtype=np.float64)


def _bent(picture: ImageArray, box: Matrix, changes: _Changes, t: float) -> ImageArray:
    """A picture with its target changed."""
    middle, half = box[:2] + box[2:] / 2, box[2:] / 2
    reach = int(np.ceil(3.2 * half.max() + 2))
    # Far from the edge everything can be cut out alike.
    wide = cv2.copyMakeBorder(picture, *(reach,) * 4, cv2.BORDER_REFLECT_101)
    x, y = np.floor(middle).astype(int)
    part = wide[y : y + 2 * reach, x : x + 2 * reach]
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]].astype(np.float64)
    at = np.stack([columns + x - reach + 0.5, rows + y - reach + 0.5], axis=-1) - middle
    back = (at - _dance(box, changes, t)) @ np.linalg.inv(_shape(changes, t)).T
    for curve, (across, down) in zip(changes.bends, _BENDS, strict=True):
        phase = np.pi * (across * back[..., 0] / half[0] + down * back[..., 1] / half[1])
        back = back + curve(t) * np.sin(phase)[..., None] * half * (down, across) / (1 + across * down)
    far = np.hypot(*(back / half).transpose(2, 0, 1))
    share = np.clip((1 + _FADE - far) / _FADE, 0, 1)[..., None]
    share = share * share * (3 - 2 * share)
    there = at * (1 - share) + back * share + middle - (x - reach, y - reach) - 0.5
    maps = np.asarray(there, np.float32)
    moved = cv2.remap(part, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT_101)
    lit = moved * (1 + (changes.light(t) - 1) * share)
    wide[y : y + 2 * reach, x : x + 2 * reach] = np.clip(lit, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(wide[reach:-reach, reach:-reach])


def _camera(box: Matrix, size: tuple[int, ...], changes: _Changes, t: float, first_zoom: float) -> Matrix:
    """(2, 3) from the picture to what the new camera sees: it rolls and zooms, and keeps the target in view."""
    zoom = max(first_zoom * np.exp(changes.zoom(t)), 0.8)
    c, s = zoom * np.cos(changes.roll_rad(t)), zoom * np.sin(changes.roll_rad(t))
    turn = np.array([[c, -s], [s, c]])
    view = np.array(size, np.float64)
    room = np.clip(view / 2 - np.sqrt(box[2] * box[3]) * zoom * 1.2, 0, None)
    to = view / 2 + room * np.clip([changes.pan_x(t), changes.pan_y(t)], -1, 1)
    return np.column_stack([turn, to - turn @ (box[:2] + box[2:] / 2)])


def _truth(box: Matrix, size: tuple[int, ...], changes: _Changes, t: float, first_zoom: float) -> list[float]:
    """x, y, w, h of the changed target: of the ellipse in its box, since few things fill the corners."""
    camera = _camera(box, size, changes, t, first_zoom)
    turn = camera[:, :2] @ _shape(changes, t)
    half = np.sqrt(((turn * box[2:] / 2) ** 2).sum(axis=1))
    middle = camera[:, :2] @ (box[:2] + box[2:] / 2 + _dance(box, changes, t)) + camera[:, 2]
    return [*(middle - half), *(2 * half)]


def _blurred(seen: ImageArray, camera: Matrix, before: Matrix, box: Matrix) -> ImageArray:
    """A picture with the camera's motion over half a frame, as it is at the target."""
    middle = np.append(box[:2] + box[2:] / 2, 1.0)
    way = camera @ middle - before @ middle
    length = int(np.ceil(np.hypot(*way)))
    if length < 2:
        return seen
    kernel = np.zeros((2 * length + 1,) * 2, np.float32)
    end = tuple(int(v) for v in np.round(way / 2 * 16) + 16 * length)
    start = tuple(int(v) for v in np.round(-way / 2 * 16) + 16 * length)
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.filter2D(seen, -1, kernel / kernel.sum()), np.uint8)


def _lit(picture: ImageArray, factor: float) -> ImageArray:
    return np.asarray(cv2.convertScaleAbs(picture, alpha=max(factor, 0.3)), np.uint8)
