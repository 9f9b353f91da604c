"""The two forms in which a prompt holds what it was shown, and which of them suits a case.

*Prototypes* are means of embeddings; a candidate answers when it is nearer to one of them than to the threshold and to
every negative. A *direction* is one vector, from the mean of the background to the mean of the thing: the linear
discriminant of Fisher (1936) with all of its covariance shrunk to the identity, for a handful of vectors estimates no
other. It needs no negatives. Each tells some things from some backgrounds better, so a replay decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cloud.config import PromptSettings
from cloud.errors import PromptRefused
from cloud.vector_sets import best_cosine, hardest, prototypes, trimmed_mean
from edge.prompting import NEGATIVE_SLACK
from edge.student import unit_rows
from protocols import limits
from protocols.arrays import FloatArray
from protocols.values import Vectors

_MIN_RIVALS = 4
"""Fewer candidates of the background have no mean to lead away from, nor can half of them be kept for a replay."""

_MIN_EXEMPLARS = 3
"""Of three things shown two outvote one that was boxed by mistake; of two, nobody knows which."""

HAIR = 0.01
"""A threshold below its own case by so much still lets it match when the vectors have become bytes."""


_ABOVE = 1e-5
"""Over a cosine, so that float32 does not reach it: a match begins at the threshold."""


@dataclass(frozen=True)
class Lesson:
    """What a case teaches about a thing; unit vectors throughout.

    Attributes:
        own: (N, D) of the candidates that show it, perhaps none.
        owner: (N,) which of the boxes each of them shows.
        pooled: (B, D) of the cells in its boxes.
        varied: (V, D) of the same things seen otherwise, perhaps none.
        near: (K, D) of the background in the case.
        recent: (R, D) of the background in other cases of the craft.
        expected: the cosine that another instance, or another view, still reaches with `own`.
        images: how many cases the background is from, this one among them.
    """

    own: FloatArray
    owner: NDArray[np.int64]
    pooled: FloatArray
    varied: FloatArray
    near: FloatArray
    recent: FloatArray
    expected: float
    images: int = 1

    def half(self, which: int) -> Lesson:
        """Every other thing and every other candidate of the background, beginning at 0 or 1."""
        mine = np.isin(self.owner, np.unique(self.owner)[which::2])
        return replace(
            self,
            own=self.own[mine],
            owner=self.owner[mine],
            pooled=self.pooled[np.unique(self.owner[mine])],
            varied=self.varied[:0],
            near=self.near[which::2],
            recent=self.recent[which::2],
        )

    @property
    def views(self) -> FloatArray:
        """(N + B + V, D) all that show the thing."""
        return np.concatenate([self.own, self.pooled, self.varied])

    @property
    def rivals(self) -> FloatArray:
        """(K + R, D) all of the background."""
        return np.concatenate([self.near, self.recent])


@dataclass(frozen=True)
class Knowledge:
    """The part of a prompt that is matched.

    Attributes:
        positives: (P, D) prototypes, or one direction.
        negatives: (M, D), none for a direction.
        threshold: cosine from which a candidate counts.
        temperature: of the sigmoid over the distance from it.
        direction_cases: 0 for prototypes, else how many cases the direction is the mean of.
    """

    positives: FloatArray
    negatives: FloatArray
    threshold: float
    temperature: float
    direction_cases: int

    def margins(self, vectors: FloatArray) -> FloatArray:
        """(N,) by how much vectors exceed the threshold and the nearest negative, as the craft's matching has it."""
        rival = np.maximum(self.threshold, best_cosine(vectors, self.negatives) - NEGATIVE_SLACK)
        return np.asarray(best_cosine(vectors, self.positives) - rival, dtype=np.float32)


def learn(lesson: Lesson, settings: PromptSettings) -> Knowledge:
    """What a lesson teaches, in the form that the settings ask for.

    Raises:
        PromptRefused: the thing cannot be told from the background.
    """
    form = settings.form if settings.form != "replayed" else better_form(lesson, settings)
    return _FORMS[form](lesson, settings)


def better_form(lesson: Lesson, settings: PromptSettings) -> str:
    """`prototypes` or `direction`: what tells things and background better apart that it was not made of.

    Each form is made of every other thing and half of the background, and replayed on the rest; then the other way
    round. One thing alone cannot say how far others differ: then it is the direction, which found more of them in
    five rendered flights and on HIT-UAV dev (docs/models.md). It also wins a tie.
    """
    if len(lesson.rivals) < _MIN_RIVALS:
        return "prototypes"
    if len(np.unique(lesson.owner)) < 2:
        return "direction"
    settings = settings.model_copy(update={"min_separation": -2.0})  # a half may look like the background, no matter
    first, second = lesson.half(0), lesson.half(1)
    told = {
        form: _separation(learnt(first, settings), second) + _separation(learnt(second, settings), first)
        for form, learnt in _FORMS.items()
    }
    return max(told, key=lambda form: told[form])


def as_prototypes(lesson: Lesson, settings: PromptSettings) -> Knowledge:
    """Up to 8 means, and the background most like them."""
    positives = prototypes_of(lesson)
    background = best_cosine(lesson.rivals, positives)
    threshold = choose_threshold(background, lesson.expected, settings)
    negatives = hardest(lesson.rivals, positives, limits.MAX_NEGATIVES)
    threshold = float(np.clip(threshold, settings.floor, settings.ceiling))
    return Knowledge(positives, negatives, threshold, settings.temperature, 0)


def as_direction(lesson: Lesson, settings: PromptSettings) -> Knowledge:
    """The direction from the background to the thing.

    Its threshold leaves no more of the case's own background above it than is allowed, whatever the ceiling, unless the
    thing itself would not reach it either: the replay that follows decides about such a prompt.
    """
    vector = away_from(lesson.views, lesson.rivals, is_robust=len(lesson.pooled) >= _MIN_EXEMPLARS)
    expected = float(np.quantile(lesson.views @ vector, settings.positive_quantile))
    threshold = choose_threshold(lesson.rivals @ vector, expected, settings)
    threshold = float(np.clip(threshold, settings.direction_floor, settings.direction_ceiling))
    allowed = settings.false_per_box * len(lesson.pooled)
    if len(lesson.near) > allowed:
        threshold = max(threshold, float(np.sort(lesson.near @ vector)[-1 - allowed]))
    if len(lesson.own):
        threshold = min(threshold, float((lesson.own @ vector).max()) - HAIR)
    threshold = max(threshold, settings.direction_floor)
    return Knowledge(vector[None], vector[None][:0], threshold, settings.direction_temperature, 1)


def keep_rate(known: Knowledge, lesson: Lesson, settings: PromptSettings, *, is_certain: bool) -> Knowledge:
    """The same with a threshold that leaves no more false alarms an image on the lesson's background than allowed.

    Args:
        known: in whatever form.
        lesson: what it was learnt from.
        settings: the rate, `false_per_frame`.
        is_certain: a person says what is there: where both cannot be had the thing is found, whatever else is.

    Raises:
        PromptRefused: such a threshold would not find the thing itself, and nobody is certain of it.
    """
    threshold = rate_threshold(known, lesson.rivals, lesson.images, settings)
    reached = float(best_cosine(lesson.own if len(lesson.own) else lesson.pooled, known.positives).max()) - HAIR
    if threshold > max(reached, known.threshold):
        if not is_certain:
            raise PromptRefused(
                f"over {settings.false_per_frame:g} false alarms in each of {lesson.images} images of background look "
                f"more like it than it does itself (cosine {reached:.2f}): box it in a case where it stands out"
            )
        threshold = max(reached, known.threshold)
    return replace(known, threshold=threshold)


def rate_threshold(known: Knowledge, background: FloatArray, images: int, settings: PromptSettings) -> float:
    """The threshold, raised as far as it must be to leave at most `false_per_frame` matches an image.

    Args:
        known: as the craft would hold it, but for its bytes.
        background: (K, D) embeddings of candidates.
        images: how many images they are from.
        settings: the rate.
    """
    sent = replace(known, positives=Vectors.from_array(known.positives).to_array())  # bytes tell a hair otherwise
    alarms = background[sent.margins(background) > 0]
    allowed = int(settings.false_per_frame * images)
    if len(alarms) <= allowed:
        return known.threshold
    return float(np.sort(best_cosine(alarms, sent.positives))[::-1][allowed]) + _ABOVE


def away_from(views: FloatArray, background: FloatArray, *, is_robust: bool = False) -> FloatArray:
    """(D,) unit vector from the mean of a background to the mean of what shows a thing, made a unit vector again.

    Means of few views are longer than means of many, which says nothing about the thing. In a trial on HIT-UAV dev (ten
    draws of boxes of bicycles), with `towards`, AP50 of five shots was 0.122 and of ten 0.146; where means kept their
    length and directions were averaged as they are, 0.119 and 0.143.

    Args:
        views: (N, D), N >= 1.
        background: (K, D), perhaps none.
        is_robust: leave out views that stray from the others.

    Raises:
        PromptRefused: both are the same.
    """
    centre = unit_rows((trimmed_mean(views) if is_robust else views.mean(axis=0))[None])[0]
    vector = centre - (background.mean(axis=0) if len(background) else 0.0)
    if np.linalg.norm(vector) < HAIR:
        raise PromptRefused("the background looks exactly like it: box it in a case where it stands out")
    return np.asarray(unit_rows(vector[None])[0], dtype=np.float32)


def towards(direction: FloatArray, centre: FloatArray) -> FloatArray:
    """(D,) the unit vector that lies in a direction from a centre inside the unit sphere.

    What `away_from` was made of, as far as its background's mean was the same: so that the things of two directions can
    be averaged, not the directions, of which one that led far says no more than one that led near.

    Args:
        direction: (D,) unit vector.
        centre: (D,) mean of unit vectors.
    """
    along = float(centre @ direction)
    length = -along + np.sqrt(max(along**2 + 1 - float(centre @ centre), 0.0))
    # A centre on the sphere itself, of a single vector, leaves no way to go in half of the directions.
    return np.asarray(centre + max(length, HAIR) * direction, dtype=np.float32)


def choose_threshold(background: FloatArray, expected: float, settings: PromptSettings) -> float:
    """Where a match begins.

    Args:
        background: (K,) similarity of each background candidate with the thing.
        expected: similarity that another view of the thing still reaches.
        settings: share and least separation.

    Raises:
        PromptRefused: the background is as much alike as the thing itself.
    """
    highest = max(float(np.quantile(background, settings.background_quantile)), 0.0) if len(background) else 0.0
    if expected - highest < settings.min_separation:
        raise PromptRefused(
            f"the background looks like it (cosine {highest:.2f}, the thing itself {expected:.2f}): "
            "box it in a case where it stands out"
        )
    return highest + settings.share * max(expected - highest, 0.0)


def prototypes_of(lesson: Lesson) -> FloatArray:
    """Up to 8 means: of the candidates' own vectors, and of those others that are nearer to them than background is."""
    if not len(lesson.own):
        return prototypes(np.concatenate([lesson.pooled, lesson.varied]), limits.MAX_POSITIVES)
    others = np.concatenate([lesson.varied, lesson.pooled])
    others = others[best_cosine(others, lesson.own) > best_cosine(others, lesson.near)]
    return prototypes(np.concatenate([lesson.own, others]), limits.MAX_POSITIVES)


def _separation(known: Knowledge, lesson: Lesson) -> float:
    """The probability that a thing exceeds a candidate of the background: the area under the ROC curve."""
    return float((known.margins(lesson.own)[:, None] > known.margins(lesson.rivals)).mean())


_FORMS = {"direction": as_direction, "prototypes": as_prototypes}
