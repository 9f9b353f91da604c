"""Videos in which a target leaves and returns, made of rendered tracking sequences.

A small camera looks into the large pictures. Either it turns away until the target is out of sight, and back again; or
haze lies over the target for a while. Sequences that are too short run to and fro.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import cv2
import numpy as np

from protocols.arrays import FloatArray, ImageArray
from protocols.boxes import box_inside
from sim.tracking_data import Sequence, is_box

Departure: TypeAlias = Literal["turned_away", "covered"]
DEPARTURES: tuple[Departure, ...] = ("turned_away", "covered")

VIEW_PX = (320, 256)
"""Width and height of the small camera: half the rendered pictures', so that there is somewhere to turn to."""
BEFORE, AWAY, AFTER = 20, 30, 25
"""Frames in which the target is there, is not, and is again; turning takes `_TURN` frames of the first and the last."""
_TURN = 8
_APART_PX = 8
"""Between the target and the edge of a camera that has turned away."""
_LEAST_PX = 8.0
_HAZE_CELLS = (16, 13)
"""Colours of the haze over a covered target, across and down the picture."""
_VISIBLE = 0.3
"""Share of a target in the picture with less of which it counts as gone."""


class Moment(NamedTuple):
    """One frame.

    Attributes:
        image: (256, 320, 3) uint8.
        box_xyxy: (4,) float32 pixels, where the target is or would be.
        is_there: whether it is to be seen.
    """

    image: ImageArray
    box_xyxy: FloatArray
    is_there: bool


@dataclass(frozen=True)
class Disappearance:
    """A target that leaves one sequence and returns, in one way; see `usable` for which sequences do."""

    video: Sequence
    departure: Departure

    def moments(self) -> Iterator[Moment]:
        """Every frame in order."""
        order = _to_and_fro(len(self.video.pictures))
        side = _room(_xyxy(self.video.truth_xywh[order]), self.video.image(0).shape)
        for number, index in enumerate(order):
            yield self._moment(number, self.video.image(int(index)), _xyxy(self.video.truth_xywh[index]), side)

    def _moment(self, number: int, image: ImageArray, box: FloatArray, side: FloatArray) -> Moment:
        is_covered = self.departure == "covered" and BEFORE <= number < BEFORE + AWAY
        turned = _turned(number) if self.departure == "turned_away" else 0.0
        corner = np.round(
            (1 - turned) * _corner(image, box, np.zeros(2, np.float32)) + turned * _corner(image, box, side)
        )
        x, y = (int(v) for v in corner)
        seen = _cover(image, box) if is_covered else image
        view = np.ascontiguousarray(seen[y : y + VIEW_PX[1], x : x + VIEW_PX[0]])
        there = np.asarray(box - np.tile(corner, 2), dtype=np.float32)
        share = box_inside(there[None], np.array([[0, 0, *VIEW_PX]], np.float32))[0, 0]
        return Moment(view, there, bool(share >= _VISIBLE) and not is_covered)


def usable(video: Sequence) -> bool:
    """Whether a target is always whole in the picture, large enough, and a camera can turn away from it."""
    if not is_box(video.truth_xywh).all():
        return False
    boxes = _xyxy(video.truth_xywh)
    image = video.image(0)
    height, width = image.shape[:2]
    is_inside = (boxes >= 0).all() and (boxes[:, [0, 2]] <= width).all() and (boxes[:, [1, 3]] <= height).all()
    sides = video.truth_xywh[:, 2:]
    fits = (sides >= _LEAST_PX).all() and (sides < np.array(VIEW_PX) / 3).all()
    is_wide = width >= 2 * VIEW_PX[0] and height >= 2 * VIEW_PX[1]
    return bool(is_inside and fits and is_wide and _room(boxes, image.shape).any())


def _to_and_fro(count: int) -> FloatArray:
    """Indices of as many frames as a disappearance has, out of `count`."""
    way = np.r_[np.arange(count), np.arange(count - 2, 0, -1)] if count > 2 else np.arange(count)
    return np.resize(way, BEFORE + AWAY + AFTER)


def _turned(number: int) -> float:
    """How far the camera has turned away, 0 to 1."""
    away = min((number - (BEFORE - _TURN)) / _TURN, (BEFORE + AWAY + _TURN - number) / _TURN)
    return float(np.clip(away, 0, 1))


def _room(boxes: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(2,) the direction, of length 1, in which the camera can turn away in every frame; 0, 0 where there is none."""
    left, top, right, bottom = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()
    rooms = {
        (-1.0, 0.0): left - VIEW_PX[0],
        (0.0, -1.0): top - VIEW_PX[1],
        (1.0, 0.0): shape[1] - right - VIEW_PX[0],
        (0.0, 1.0): shape[0] - bottom - VIEW_PX[1],
    }
    best = max(rooms, key=lambda side: rooms[side])
    return np.array(best if rooms[best] >= _APART_PX else (0, 0), np.float32)


def _corner(image: ImageArray, box: FloatArray, side: FloatArray) -> FloatArray:
    """(2,) left top corner of the view: around the target, or just beside it on one side."""
    view = np.array(VIEW_PX, np.float32)
    reach = (view + box[2:] - box[:2]) / 2 + _APART_PX
    corner = (box[:2] + box[2:]) / 2 + side * reach - view / 2
    return np.asarray(np.clip(corner, 0, np.array(image.shape[1::-1]) - view), dtype=np.float32)


def _cover(image: ImageArray, box: FloatArray) -> ImageArray:
    """A picture with haze over the target, of the colours around it."""
    size = image.shape[1::-1]
    haze = cv2.resize(cv2.resize(image, _HAZE_CELLS, interpolation=cv2.INTER_AREA), size, interpolation=cv2.INTER_CUBIC)
    mask = np.zeros(image.shape[:2], np.float32)
    middle, half = (box[:2] + box[2:]) / 2, 0.65 * (box[2:] - box[:2]) + 1
    x1, y1, x2, y2 = (max(round(float(v)), 0) for v in (*(middle - half), *(middle + half)))
    mask[y1:y2, x1:x2] = 1
    mask = np.asarray(cv2.GaussianBlur(mask, (5, 5), 1.0), dtype=np.float32)[..., None]
    return np.asarray(image * (1 - mask) + haze * mask, dtype=np.uint8)


def _xyxy(boxes_xywh: FloatArray) -> FloatArray:
    low = boxes_xywh[..., :2]
    return np.concatenate([low, low + boxes_xywh[..., 2:]], axis=-1).astype(np.float32)
