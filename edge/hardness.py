"""Hardness: how much the cloud would help with this frame, estimated on the edge.

Three signs, each in [0, 1], combined as independent reasons: *unexplained* (something is here but neither a known class
nor a prompt says what; fires on frames without any detection too), *doubt* (a known class near its decision point, or
what a fit beside the bundle expects of asking) and *flicker* (tracks that come and go).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.config import Settings
from edge.prompting import Match
from edge.reward import RewardModel, frame_reward
from edge.student import Known, Perception
from protocols.arrays import FloatArray
from protocols.boxes import box_inside, box_iou

_PART_SHARE = 0.5
"""A candidate of which so much lies inside a prompted detection needs no name of its own: a slab of a pile."""


class HardnessSettings(Settings):
    """Weights of the three signs and what counts as explained.

    Attributes:
        unexplained_weight, doubt_weight, flicker_weight: 0 switches a sign off.
        explained_iou: overlap with a named detection from which a candidate counts as explained.
        min_objectness: candidates below are no reason to ask.
        min_side_px: smaller things cannot be judged from a crop either.
        border_px: things cut by the border wait until they are whole.
    """

    unexplained_weight: float = 1.0
    doubt_weight: float = 0.35
    flicker_weight: float = 0.15
    explained_iou: float = 0.3
    min_objectness: float = 0.3
    min_side_px: float = 8.0
    border_px: float = 4.0


@dataclass(frozen=True)
class Hardness:
    """The estimate for one frame.

    Attributes:
        score: in [0, 1].
        reasons: the three signs.
        rows: candidates that are unexplained, strongest first.
        reward: detections that the cloud would put right, where a fit of that flies (see `edge.reward`).
        features: (F,) of the frame, that the reward is made of.
    """

    score: float
    reasons: dict[str, float]
    rows: NDArray[np.int64]
    reward: float | None = None
    features: FloatArray | None = None


def estimate_hardness(
    seen: Perception,
    known: Known,
    match: Match,
    flicker: float,
    size: tuple[int, int],
    settings: HardnessSettings,
) -> Hardness:
    """Hardness of one frame.

    Args:
        seen: the student's candidates.
        known: those a known class explains.
        match: those a prompt explains.
        flicker: share of tracks that ended young, in [0, 1].
        size: (width, height) of the frame in pixels.
        settings: weights and limits.
    """
    rows = _strange(seen, size, settings)
    rows = rows[~_are_named(seen, rows, known, match, settings)]
    surprise = surprise_of(seen)[rows]
    order = np.argsort(-surprise, kind="stable")
    reasons = {
        "unexplained": float(surprise.max(initial=0.0)),
        "doubt": _doubt(_best_class(seen)),
        "flicker": min(max(flicker, 0.0), 1.0),
    }
    return Hardness(_combined(reasons, settings), reasons, rows[order])


def surprise_of(seen: Perception) -> FloatArray:
    """(N,) how surely each candidate is something, and of no known class."""
    return np.asarray(seen.objectness * (1 - _best_class(seen)), dtype=np.float32)


def with_reward(hardness: Hardness, model: RewardModel, features: FloatArray, settings: HardnessSettings) -> Hardness:
    """The same frame with a fitted estimate in place of the bare doubt.

    Args:
        hardness: by the three signs alone.
        model: the fit.
        features: (F,) of the frame.
        settings: weights.
    """
    reward = frame_reward(model, features)
    reasons = hardness.reasons | {"doubt": min(max(reward / model.full, 0.0), 1.0)}
    return Hardness(_combined(reasons, settings), reasons, hardness.rows, reward, features)


def _combined(reasons: dict[str, float], settings: HardnessSettings) -> float:
    """The signs as independent reasons."""
    calm = (
        (1 - settings.unexplained_weight * reasons["unexplained"])
        * (1 - settings.doubt_weight * reasons["doubt"])
        * (1 - settings.flicker_weight * reasons["flicker"])
    )
    return float(min(max(1 - calm, 0.0), 1.0))


def _best_class(seen: Perception) -> FloatArray:
    if not seen.class_scores.size:
        return np.zeros(len(seen.objectness), np.float32)
    return np.asarray(seen.class_scores.max(axis=1), dtype=np.float32)


def _strange(seen: Perception, size: tuple[int, int], settings: HardnessSettings) -> NDArray[np.int64]:
    """Candidates that are something, whole and large enough, and hardly of a known class."""
    boxes = seen.boxes_xyxy
    width, height = size
    inside = (boxes[:, :2] > settings.border_px).all(axis=1)
    inside &= (boxes[:, 2] < width - settings.border_px) & (boxes[:, 3] < height - settings.border_px)
    large = (boxes[:, 2:] - boxes[:, :2] >= settings.min_side_px).all(axis=1)
    strange = (seen.objectness >= settings.min_objectness) & (seen.objectness > _best_class(seen)) & inside & large
    return np.flatnonzero(strange)


def _are_named(
    seen: Perception, rows: NDArray[np.int64], known: Known, match: Match, settings: HardnessSettings
) -> NDArray[np.bool_]:
    """(K,) whether a detection already says what is there, or a prompted one what it is a part of."""
    boxes = seen.boxes_xyxy
    named = np.concatenate([known.rows, match.rows])
    overlap = box_iou(boxes[rows], boxes[named]).max(axis=1, initial=0.0)
    inside = box_inside(boxes[rows], boxes[match.rows]).max(axis=1, initial=0.0)
    return np.asarray((overlap >= settings.explained_iou) | (inside > _PART_SHARE), dtype=np.bool_)


def _doubt(best_class: FloatArray) -> float:
    """1 where the most doubtful candidate sits exactly at probability one half, 0 where all are sure or absent."""
    if not best_class.size:
        return 0.0
    return float((1 - np.abs(2 * best_class - 1)).max())
