"""How well boxes follow a target: the measures of the common tracking benchmarks.

Success and precision are those of Wu, Lim and Yang, "Object Tracking Benchmark" (PAMI 2015), normalised precision
that of Müller et al., "TrackingNet" (ECCV 2018), section 5. One pass, no reset; the first frame, which is given, is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.arrays import FloatArray
from sim.tracking_data import is_box

Scores: TypeAlias = dict[str, float | None]

_OVERLAPS = np.linspace(0, 1, 21)
_NEAR_PX = 20.0
_NORMALISED = np.linspace(0, 0.5, 51)
_WRONG, _FOUND = 0.1, 0.3
"""Overlap below which a box is somewhere else, and from which it has the target again."""
_DRAWS = 2000


def score_boxes(found_xywh: FloatArray, truth_xywh: FloatArray) -> Scores:
    """Measures of one sequence, over the frames in which the target is there.

    Args:
        found_xywh: (N, 4) pixels, the first of them given.
        truth_xywh: (N, 4) pixels; nan or empty where the target is absent.

    Returns:
        `auc`: mean success, the share of frames whose overlap is greater, over thresholds 0, 0.05, … 1;
        `p20`: share of frames whose centre is within 20 pixels; `norm_precision`: the same in units of the true box,
        mean over thresholds 0 to 0.5; `absent`: frames without the target. nan where no frame shows it.
    """
    there = is_box(truth_xywh)
    absent = int((~there).sum())
    there[0] = False
    if not there.any():
        return {"auc": float("nan"), "p20": float("nan"), "norm_precision": float("nan"), "absent": absent}
    found, truth = found_xywh[there].astype(np.float64), truth_xywh[there].astype(np.float64)
    apart = (found[:, :2] + found[:, 2:] / 2) - (truth[:, :2] + truth[:, 2:] / 2)
    return {
        "auc": float((_overlap(found, truth)[:, None] > _OVERLAPS).mean()),
        "p20": float((np.hypot(*apart.T) <= _NEAR_PX).mean()),
        "norm_precision": float((np.hypot(*(apart / truth[:, 2:]).T)[:, None] <= _NORMALISED).mean()),
        "absent": absent,
    }


def score_claims(
    found_xywh: FloatArray, truth_xywh: FloatArray, claimed: NDArray[np.bool_], fps: float
) -> dict[str, float | None]:
    """How far a tracker's word can be trusted, and how long what is lost stays so, in one sequence.

    Args:
        found_xywh: as for `score_boxes`.
        truth_xywh: likewise.
        claimed: (N,) whether the tracker says that the target is there.
        fps: frames a second.

    Returns:
        `false_tracked`: share of all frames but the first in which the target is said to be tracked and is not there,
        or the box overlaps it by less than 0.1; `reacquire_s`: mean seconds from the frame in which a target that is
        there is first missed so until a box overlaps it by 0.3 again, or until the end where none ever does; None where
        it is never missed.
    """
    there = is_box(truth_xywh)
    overlap = np.zeros(len(there))
    overlap[there] = _overlap(found_xywh[there].astype(np.float64), truth_xywh[there].astype(np.float64))
    spans: list[int] = []
    is_missed = False
    for value in overlap[there][1:]:
        if not is_missed and value < _WRONG:
            is_missed = True
            spans.append(0)
        is_missed = is_missed and value < _FOUND
        if is_missed:
            spans[-1] += 1
    return {
        "false_tracked": float((claimed & (overlap < _WRONG))[1:].mean()),
        "reacquire_s": float(np.mean(spans)) / fps if spans else None,
    }


def _overlap(a_xywh: NDArray[np.float64], b_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) intersection over union, pair by pair."""
    low = np.maximum(a_xywh[:, :2], b_xywh[:, :2])
    high = np.minimum(a_xywh[:, :2] + a_xywh[:, 2:], b_xywh[:, :2] + b_xywh[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    whole = np.prod(a_xywh[:, 2:], axis=1) + np.prod(b_xywh[:, 2:], axis=1) - shared
    return np.asarray(shared / np.maximum(whole, 1e-9))


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of the mean over sequences drawn again and again with replacement (Efron's percentiles).

    Args:
        values: one per sequence.
    """
    rng = np.random.default_rng(0)
    drawn = np.asarray(values, dtype=np.float64)[rng.integers(0, len(values), (_DRAWS, len(values)))]
    low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
