"""What published systems rank an image by when they decide whether to send it; re-implemented from their descriptions.

Each rule here is its statistic, higher where it would rather send: its threshold is then whatever meets the budget,
which is kinder to it than the fixed one that it ships with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from distill.evaluate import ImageDetections
from protocols.boxes import boxes_area

Rule = Callable[[ImageDetections], float]

_BOX_THRESHOLD = 0.5
"""Sedna's default `threshold_box`."""

_FAINT_SCORE = 0.15
"""From here the difficult-case rule counts a faint box: half of the student's reporting floor, our choice."""

NEVER = -1.0
"""Below what any image with detections gets: Sedna's filters take one without detections for an easy one."""


def sedna_ibt(reported: ImageDetections) -> float:
    """Share of the boxes below a score; Sedna's `IBT`, image-box-thresholds (kubeedge/sedna, `IBTFilter`)."""
    scores = reported.scores
    return float((scores <= _BOX_THRESHOLD).mean()) if len(scores) else NEVER


def sedna_threshold(reported: ImageDetections) -> float:
    """One less the mean score; Sedna's `Threshold` (same file)."""
    return float(1 - reported.scores.mean()) if len(reported.scores) else NEVER


def axonmesh_margin(reported: ImageDetections) -> float:
    """One less the mean score, an image without detections first of all; axonmesh 0.9.0, `mean_confidence`.

    Its threshold is chosen without labels by how often edge and cloud agree above it, within a byte ceiling: at a
    given budget that is the highest threshold that the budget can pay.
    """
    return float(1 - reported.scores.mean()) if len(reported.scores) else 1.0


def difficult_case(faint: ImageDetections) -> float:
    """Many boxes, or a small one, where faint boxes stand beside sure ones; like DCSB (Cao et al., arXiv 2108.12858).

    That discriminator reads how many objects there are and how small the smallest is, with thresholds fitted to each
    pair of models. Here an image is the more difficult the more boxes it has or the smaller its smallest is, and easy
    where counting from a low score finds no more boxes than counting from 0.5.

    Args:
        faint: detections from any low score on.
    """
    counted = faint.scores >= _FAINT_SCORE
    estimated, sure = int(counted.sum()), int((faint.scores >= _BOX_THRESHOLD).sum())
    if estimated == sure:
        return NEVER
    smallest = float(boxes_area(faint.boxes_xyxy[counted]).min())
    # Medians of HIT-UAV dev.
    return max(estimated / 11, 123 / max(smallest, 1.0))


RULES: dict[str, Rule] = {
    "sedna_ibt": sedna_ibt,
    "sedna_threshold": sedna_threshold,
    "axonmesh_margin": axonmesh_margin,
}
"""Rules that read what the student reports; `difficult_case` reads fainter detections, too."""


def entropy_sum(faint: ImageDetections) -> float:
    """Summed entropy of all scores in nats: what anybody would try first; no published system."""
    p = np.clip(np.asarray(faint.scores, np.float64), 1e-6, 1 - 1e-6)
    return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum())
