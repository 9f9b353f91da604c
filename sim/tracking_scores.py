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

Scores: TypeAlias = dict[str, float]

_OVERLAPS = np.linspace(0, 1, 21)
_NEAR_PX = 20.0
_NORMALISED = np.linspace(0, 0.5, 51)
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
