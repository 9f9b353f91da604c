"""What the cloud would add to a frame, estimated from what the student saw; fitted by `skyloop-distill calibrate`.

The unit is a detection put right: a missed object found or a false one gone, a label with few objects counting more
than one with many. Every *claim* of the student (a class for a candidate, however faint, or a candidate without any)
has a few features, a ridge regression turns them into the gain to expect of it, and a frame's reward is their sum.
The fit stands in `hardness.json` beside a bundle: outside `space_id` and the manifest, so that fitting it anew on a
mission changes no digest that prompts depend on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from typing_extensions import Self

from edge.bundle import Bundle
from edge.config import first_problem
from edge.errors import ModelError
from edge.prompting import Match
from edge.student import Known, Perception, Student
from protocols.arrays import FloatArray
from protocols.boxes import box_iou

log = structlog.get_logger()

HARDNESS_NAME = "hardness.json"

CLAIM_FLOOR = 0.02
"""Known-class score from which a candidate is a claim: where the precision-recall curves of the benchmarks begin."""

_MARGIN_WIDTH = 0.15
"""How far from the reporting floor a score still is "on the edge": half of the default floor of 0.3."""

_PER_LABEL = ("one", "score", "entropy", "margin")
_SHARED = ("crowd", "objectness", "log_side", "sure_doubt", "novelty")
_UNNAMED = ("one", "objectness")
_FRAME = ("one", "nothing_reported")

F1 = 0.65
"""The F1 at which a detection's worth is taken, about that of the student: dF1 is (2 - F1) / n for one more that is
right and -F1 / n for one more that is wrong, n the boxes wanted and said."""

FULL_PERCENTILE = 95
_PULL = 3000.0
"""Of a re-fit towards the weights that fly, in frames. HIT-UAV dev, 30 draws of 20 frames, of the best fifth of the
others by reward what the cloud puts right, in shares of the most that any order reaches: seen from twice as high 0.78
without, 0.83 with a re-fit (0.77 and 0.81 at a pull of 100 and 1,000), heat inverted 0.72 and 0.73; where nothing has
changed it costs one point (0.87 and 0.86)."""


class RewardModel(BaseModel):
    """`hardness.json`.

    Attributes:
        format: version of this layout.
        space_id, variant: the student it was fitted on; another one's scores mean something else.
        features: names of the weights, in order; see `feature_names`.
        weights: of the ridge regression.
        looks: per label a unit vector, the mean embedding of true detections: what is not novel.
        full: reward of the frame at the 95th percentile of the calibration set: what counts as full doubt.
        worth: per label what one detection counts, mean 1 over boxes; 1 for labels that are not named.
        fitted: on what and how well, for people.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    space_id: str
    variant: str
    features: tuple[str, ...]
    weights: tuple[float, ...]
    looks: dict[str, tuple[float, ...]]
    full: float
    worth: dict[str, float] = {}
    fitted: dict[str, str | int | float | list[float]] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.features) != len(self.weights):
            raise ValueError(f"{len(self.weights)} weights for {len(self.features)} features")
        if not np.isfinite([*self.weights, self.full]).all() or self.full <= 0:
            raise ValueError("a weight is not finite, or full is not positive")
        return self


@dataclass(frozen=True)
class Claims:
    """What the student says about its candidates, sure or not.

    Attributes:
        rows: (M,) candidates.
        classes: (M,) class index; -1 where nothing is known about what it is.
        scores: (M,) of the class; objectness where there is none.
    """

    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    scores: FloatArray


def feature_names(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Names of a claim's features, in the order of the columns of `claim_features`."""
    own = [f"{label}.{name}" for label in labels for name in _PER_LABEL]
    return (*own, *_SHARED, *(f"unnamed.{name}" for name in _UNNAMED), *(f"frame.{name}" for name in _FRAME))


def claims_of(student: Student, seen: Perception, match: Match | None = None) -> Claims:
    """Every claim in a frame; what a prompt explains is no candidate without a name."""
    known: Known = student.known(seen, CLAIM_FLOOR)
    explained = np.concatenate([known.rows, match.rows]) if match is not None else known.rows
    unnamed = np.setdiff1d(np.flatnonzero(seen.is_object), explained)
    return Claims(
        np.concatenate([known.rows, unnamed]),
        np.concatenate([known.classes, np.full(len(unnamed), -1, np.int64)]),
        np.concatenate([known.scores, seen.objectness[unnamed]]).astype(np.float32),
    )


def claim_features(
    seen: Perception, claims: Claims, labels: tuple[str, ...], looks: dict[str, tuple[float, ...]], floor: float
) -> FloatArray:
    """(M + 1, F) features of every claim, and in the last row those of the frame itself.

    Args:
        seen: the perception that the claims are of.
        claims: see `claims_of`.
        labels: of the student.
        looks: see `RewardModel`; none makes nothing novel.
        floor: known-class score from which a detection is reported.
    """
    names = feature_names(labels)
    table = np.zeros((len(claims.rows) + 1, len(names)), np.float32)
    named = np.flatnonzero(claims.classes >= 0)
    start = len(_PER_LABEL) * len(labels)
    scores = claims.scores[named]
    own = np.stack([np.ones_like(scores), scores, _entropy(scores), _near(scores, floor)], axis=1)
    for column in range(len(_PER_LABEL)):
        table[named, len(_PER_LABEL) * claims.classes[named] + column] = own[:, column]
    table[named, start : start + len(_SHARED)] = _shared(seen, claims.rows[named], own[:, 2], looks)
    unnamed = np.flatnonzero(claims.classes < 0)
    start += len(_SHARED)
    table[unnamed, start] = 1
    table[unnamed, start + 1] = claims.scores[unnamed]
    table[-1, -2:] = 1, not (scores >= floor).any()
    return table


def _shared(
    seen: Perception, rows: NDArray[np.int64], entropy: FloatArray, looks: dict[str, tuple[float, ...]]
) -> FloatArray:
    boxes, objectness = seen.boxes_xyxy[rows], seen.objectness[rows]
    overlap = box_iou(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    side = np.sqrt(np.clip(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1, None))
    columns = (overlap.max(axis=1, initial=0), objectness, np.log(side), objectness * entropy)
    return np.stack([*columns, novelty(seen.embeddings[rows], looks)], axis=1).astype(np.float32)


def novelty(embeddings: FloatArray, looks: dict[str, tuple[float, ...]]) -> FloatArray:
    """(N,) one less the cosine with the most similar known look; 0 where none is known."""
    if not looks or not len(embeddings):
        return np.zeros(len(embeddings), np.float32)
    known = np.array(list(looks.values()), np.float32)
    return np.asarray(1 - (embeddings @ known.T).max(axis=1), dtype=np.float32)


def _entropy(p: FloatArray) -> FloatArray:
    """Of a yes or no of this probability, in nats."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(-(p * np.log(p) + (1 - p) * np.log(1 - p)), dtype=np.float32)


def _near(scores: FloatArray, floor: float) -> FloatArray:
    return np.asarray(np.exp(-(((scores - floor) / _MARGIN_WIDTH) ** 2)), dtype=np.float32)


def frame_features(model: RewardModel, student: Student, seen: Perception, match: Match | None = None) -> FloatArray:
    """(F,) features of a whole frame: the sums over its claims."""
    claims = claims_of(student, seen, match)
    manifest = student.manifest
    table = claim_features(seen, claims, manifest.labels, model.looks, manifest.score_floor)
    return np.asarray(table.sum(axis=0), dtype=np.float32)


def frame_reward(model: RewardModel, features: FloatArray) -> float:
    """Detections that the cloud would put right in a frame, as far as the fit can tell; may be negative.

    Args:
        model: the fit.
        features: of the frame, see `frame_features`.
    """
    return float(features @ np.array(model.weights, np.float32))


def refitted(model: RewardModel, features: FloatArray, gains: FloatArray) -> RewardModel:
    """A fit corrected by frames for which is known what the cloud put right: ridge regression around its weights.

    Args:
        model: the fit that flies.
        features: (N, F) of the frames, a fair sample of all.
        gains: (N,) what was put right.
    """
    x, old = features.astype(np.float64), np.array(model.weights)
    new = old + np.linalg.solve(x.T @ x + _PULL * np.eye(len(old)), x.T @ (gains - x @ old))
    full = max(float(np.percentile(x @ new, FULL_PERCENTILE)), 1e-3)
    return model.model_copy(update={"weights": tuple(new.tolist()), "full": full})


def load_reward(bundle: Bundle) -> RewardModel | None:
    """The fit beside a bundle; None where there is none, or where it was made for another student.

    Raises:
        ModelError: the file is there and cannot be read.
    """
    path = bundle.folder / HARDNESS_NAME
    if not path.is_file():
        return None
    model = read_reward(path)
    if (model.space_id, model.features) != (bundle.manifest.space_id, feature_names(bundle.manifest.labels)):
        log.warning("offload reward unused: fitted on another student; calibrate again", path=str(path))
        return None
    return model


def read_reward(path: Path) -> RewardModel:
    """A fit from its file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return RewardModel.model_validate(json.loads(path.read_text()))
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror}); run skyloop-distill calibrate again") from exc
    except ValidationError as exc:
        raise ModelError(f"{path}: {first_problem(exc)}") from exc
    except ValueError as exc:
        raise ModelError(f"{path}: not JSON ({exc}); run skyloop-distill calibrate again") from exc
