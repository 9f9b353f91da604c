"""Prompted detection: the prompt bank matched against the student's candidates, in float32 numpy.

A candidate answers a prompt when its embedding is closer to the prompt's best positive than to the prompt's threshold
*and* to every negative. A positive is a look of the thing, or the one direction that leads to it away from background.
Where a known class is at least as sure of the place the prompt stays silent; else both are reported, as two known
classes would be. A candidate that falls a little short is a faint match: no reason to believe in a new thing, but
enough to go on following one (the second association of ByteTrack, arXiv:2110.06864, sec. 3). Nothing is rebuilt when
a prompt arrives: the bank compiles into two matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.student import Known, Perception, sigmoid
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_inside, box_iou, boxes_area, nms
from protocols.values import Prompt, PromptBank

# Chosen by ten draws of five and ten shots of bicycles on HIT-UAV dev (AP50 0.116 and 0.140 with 0.4, 0.5 and 0.8 in
# place of these); debris on two rendered flights does not change by more than one false alarm in 100 frames.
PROMPT_NMS_IOU = 0.5
PART_SHARE = 0.8
"""A match of which so much lies inside a larger one that is at least as likely is a part of it: a slab of a pile. Where
the larger is less likely it may be several things at once, parked side by side."""

KNOWN_OVERLAP_IOU = 0.5
LIKENESS_WEIGHT = 0.9
"""A score is likeness to this power times objectness to the rest: nothing unfamiliar is sure to be an object."""

SURE_LIKENESS = 0.5
"""Reached exactly at the threshold, or a little below the nearest negative where that is higher."""

FAINT_LIKENESS = 0.2
"""With a direction's temperature 0.1 this is a cosine of 0.14 below the threshold, with the prototypes' 0.07 one of
0.10 below it or the nearest negative. What follows a thing more faintly lies loosely on it: replayed on five rendered
flights, 0.2 found 0.80 of the debris at 0.04 false alarms a frame, 0.06 found 0.81 at 0.05 (on seed 1 alone 0.08 and
0.12). The slack holds towards negatives too, which come from background that may hold a thing the teacher missed."""

NEGATIVE_SLACK = 0.05
"""A negative outweighs a positive only when it is nearer by so much (cosine): some may be things of the prompt's kind
that the teacher missed. Replayed on five rendered flights, 0.05 found 0.68 of the debris at 0.14 false alarms a frame,
no slack 0.52 at 0.10."""

SIZE_SLACK = 1.6
"""How far outside a prompt's size range (in either direction, as a factor) a candidate may lie."""

SAME_COSINE = 0.999
"""Positives this much alike are the same: int8 moves a vector by a cosine of 0.0001, another view of a thing by
more."""

_ANY_SIZE = (0.0, np.inf)


@dataclass(frozen=True)
class Match:
    """Prompted detections as rows into a `Perception`.

    Attributes:
        rows: (M,) candidate indices.
        prompts: (M,) indices into `PromptMatcher.prompts`.
        scores: (M,) float32 in [0, 1].
        sure: (M,) bool, False for faint matches.
    """

    rows: NDArray[np.int64]
    prompts: NDArray[np.int64]
    scores: FloatArray
    sure: NDArray[np.bool_]

    def only(self, kept: NDArray[np.bool_]) -> Match:
        """Some of the matches."""
        return Match(self.rows[kept], self.prompts[kept], self.scores[kept], self.sure[kept])


def _no_match() -> Match:
    none = np.zeros(0, np.int64)
    return Match(none, none, np.zeros(0, np.float32), np.zeros(0, np.bool_))


class PromptMatcher:
    """A prompt bank compiled for one embedding space."""

    def __init__(self, bank: PromptBank, space_id: str) -> None:
        """Compile a bank.

        Args:
            bank: every prompt the craft holds.
            space_id: the running student's; prompts of another space are left out.

        Of two prompts with the same positives and different labels the one worth less is silent while the other is
        alive; `silenced` gives the reason by prompt id.
        """
        self.prompts: tuple[Prompt, ...] = tuple(p for p in bank.prompts if p.space_id == space_id)
        self._labels = np.unique([p.label for p in self.prompts], return_inverse=True)[1]
        positives = [p.positives.to_array() for p in self.prompts]
        self._by_looks = np.argsort([-len(looks) for looks in positives], kind="stable")
        self._looks = _layers([positives[i] for i in self._by_looks])
        self._negatives, self._negative_owner = _stack([p.negatives.to_array() for p in self.prompts])
        self._rivals = _silencing(self.prompts, *_stack(positives))
        self.silenced: dict[str, str] = {
            self.prompts[i].prompt_id: contradiction(self.prompts[i], self.prompts[j])
            for i, j in zip(*np.nonzero(self._rivals), strict=True)
        }
        self._thresholds = np.array([p.threshold for p in self.prompts], np.float32)
        self._temperatures = np.array([p.temperature for p in self.prompts], np.float32)
        self._expiries_s = np.array([np.inf if p.expires_at_s is None else p.expires_at_s for p in self.prompts])
        self._size_px = np.array([p.size_px or _ANY_SIZE for p in self.prompts], np.float32).reshape(-1, 2)
        self._size_m = np.array([p.size_m or (np.nan, np.nan) for p in self.prompts], np.float32).reshape(-1, 2)

    def match(
        self,
        seen: Perception,
        wall_s: float,
        gsd_m: float | None = None,
        known: Known | None = None,
        faintest: float = FAINT_LIKENESS,
    ) -> Match:
        """Prompted detections in one perception, faint ones among them.

        Args:
            seen: the student's candidates.
            wall_s: now, to leave expired prompts out (expiry never edits the bank).
            gsd_m: metres per pixel where known, for size priors in metres.
            known: what known classes say; a prompt claims no place of which one of them is at least as sure.
            faintest: likeness from which a match is told at all; benchmarks look further down than a flight does.
        """
        if not self.prompts or not len(seen.objectness):
            return _no_match()
        # Most candidates are texture: the product is made for objects alone.
        objects = np.flatnonzero(seen.is_object)
        rows, prompts, similarity = self._alike(seen.embeddings[objects], wall_s, faintest)
        rows = objects[rows]
        fits = self._size_fits(seen, rows, prompts, gsd_m)
        rows, prompts, similarity = rows[fits], prompts[fits], similarity[fits]
        if not rows.size:
            return _no_match()
        likeness = self._likeness(seen, similarity, rows, prompts)
        scores = (likeness**LIKENESS_WEIGHT * seen.objectness[rows] ** (1 - LIKENESS_WEIGHT)).astype(np.float32)
        match = Match(rows, prompts, scores, likeness > SURE_LIKENESS)
        match = match.only((likeness > faintest) & ~_explained(seen, match, known))
        return _strongest(seen, match, self._labels[match.prompts])

    def _alike(
        self, embeddings: FloatArray, wall_s: float, faintest: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
        """Rows, prompts and cosines of the pairs that are alike enough for a match, however faint, of prompts alive."""
        similarity = _best_look(embeddings, self._looks)
        alive = self._expiries_s > wall_s
        alive = alive & ~(self._rivals & alive).any(axis=1)
        least = self._thresholds + self._temperatures * np.log(faintest / (1 - faintest))
        least = np.where(alive, least, np.inf).astype(np.float32)[self._by_looks]
        rows, columns = np.nonzero(similarity > least)
        prompts = self._by_looks[columns]
        order = np.lexsort((prompts, rows))
        return rows[order], prompts[order], similarity[rows, columns][order]

    def _size_fits(
        self, seen: Perception, rows: NDArray[np.int64], prompts: NDArray[np.int64], gsd_m: float | None
    ) -> NDArray[np.bool_]:
        """(K,) whether sizes agree with the priors: in metres where both gsd and prior are known, else in pixels."""
        size_px = np.sqrt(boxes_area(seen.boxes_xyxy[rows]))
        low, high = self._size_px[prompts].T
        if gsd_m is not None:
            metric = self._size_m[prompts].T / gsd_m
            low, high = (np.where(np.isnan(m), px, m) for m, px in zip(metric, (low, high), strict=True))
        return np.asarray((size_px > low / SIZE_SLACK) & (size_px < high * SIZE_SLACK), dtype=np.bool_)

    def _likeness(
        self, seen: Perception, similarity: FloatArray, rows: NDArray[np.int64], prompts: NDArray[np.int64]
    ) -> FloatArray:
        """Probability-like (K,): how far the positive similarity exceeds threshold and nearest negative."""
        rival = self._thresholds[prompts]
        if len(self._negatives):
            unique, inverse = np.unique(rows, return_inverse=True)
            against = _best(seen.embeddings[unique] @ self._negatives.T, self._negative_owner, len(self.prompts))
            rival = np.maximum(rival, against[inverse, prompts] - NEGATIVE_SLACK)
        return sigmoid((similarity - rival) / self._temperatures[prompts])


def worth(prompt: Prompt) -> tuple[int, bool, float, float]:
    """What a prompt counts when not all can be heeded: priority, a person's word, confidence, then the newer one."""
    return prompt.priority, prompt.origin == "person", prompt.confidence, prompt.issued_at_s


def contradiction(prompt: Prompt, other: Prompt) -> str:
    """Why a prompt gives way to one of another label with the same vectors, in words."""
    return (
        f"{prompt.prompt_id} calls {prompt.label!r} what {other.prompt_id} calls {other.label!r}, by the same vectors: "
        "take one of them back (skyloop-cloud prompts revoke)"
    )


def contradicted_by(prompt: Prompt, others: Sequence[Prompt]) -> Prompt | None:
    """The first of some prompts that calls the very same vectors otherwise, in the same space and at such a size."""
    prompts = (prompt, *(p for p in others if p.space_id == prompt.space_id))
    same = np.flatnonzero(_contradict(prompts, *_stack([p.positives.to_array() for p in prompts]))[0])
    return prompts[same[0]] if same.size else None


def _silencing(prompts: Sequence[Prompt], positives: FloatArray, owner: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(P, P) whether prompt i contradicts prompt j, which is worth more."""
    order = sorted(range(len(prompts)), key=lambda i: worth(prompts[i]), reverse=True)
    rank = np.argsort(order)
    return np.asarray(_contradict(prompts, positives, owner) & (rank[:, None] > rank), dtype=np.bool_)


def _contradict(prompts: Sequence[Prompt], positives: FloatArray, owner: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(P, P) whether two prompts of other labels have the same positives, and no size tells them apart."""
    same = _are_same(positives, owner, len(prompts))
    for i, j in zip(*np.nonzero(same), strict=True):
        a, b = prompts[i], prompts[j]
        same[i, j] = a.label != b.label and _meet(a.size_px, b.size_px) and _meet(a.size_m, b.size_m)
    return same


def _meet(a: tuple[float, float] | None, b: tuple[float, float] | None) -> bool:
    """Whether two ranges of size have one in common; None is any."""
    return a is None or b is None or max(a[0], b[0]) <= min(a[1], b[1])


def _are_same(positives: FloatArray, owner: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """(count, count) whether each positive of either prompt is the same as one of the other's."""
    if not count:
        return np.zeros((0, 0), np.bool_)
    nearest = _best(positives @ positives.T, owner, count)
    covered = np.minimum.reduceat(nearest, np.flatnonzero(np.diff(owner, prepend=-1)), axis=0) >= SAME_COSINE
    return np.asarray(covered & covered.T, dtype=np.bool_)


def _stack(groups: Sequence[FloatArray]) -> tuple[FloatArray, NDArray[np.int64]]:
    if not groups:
        return np.zeros((0, 1), np.float32), np.zeros(0, np.int64)
    owners = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    return np.concatenate(groups).astype(np.float32), owners


def _layers(groups: Sequence[FloatArray]) -> list[FloatArray]:
    """The first vectors of all groups, the second of all that have two, and so on; the largest group comes first."""
    most = len(groups[0]) if groups else 0
    return [np.stack([group[k] for group in groups if len(group) > k]) for k in range(most)]


def _best_look(embeddings: FloatArray, looks: Sequence[FloatArray]) -> FloatArray:
    """(N, P) the largest cosine with a look of each prompt, in the order of the layers.

    Layer by layer, for numpy's maximum over groups of columns takes as long as the whole matrix product.
    """
    best = embeddings @ looks[0].T
    for layer in looks[1:]:
        part = best[:, : len(layer)]
        np.maximum(part, embeddings @ layer.T, out=part)
    return best


def _best(similarity: FloatArray, owner: NDArray[np.int64], count: int) -> FloatArray:
    """(N, count) the largest similarity per owner; -1 for an owner without vectors."""
    best = np.full((similarity.shape[0], count), -1.0, np.float32)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    if starts.size:
        best[:, owner[starts]] = np.maximum.reduceat(similarity, starts, axis=1)
    return best


def _explained(seen: Perception, match: Match, known: Known | None) -> NDArray[np.bool_]:
    """(M,) whether a known class is at least as sure of a match's place."""
    if known is None:
        return np.zeros(len(match.rows), np.bool_)
    overlaps = box_iou(seen.boxes_xyxy[match.rows], seen.boxes_xyxy[known.rows]) > KNOWN_OVERLAP_IOU
    return np.asarray((overlaps & (known.scores >= match.scores[:, None])).any(axis=1), dtype=np.bool_)


def _strongest(seen: Perception, match: Match, labels: NDArray[np.int64]) -> Match:
    """A place is claimed once, by the prompt that fits it best; where none is sure, faintly by one match per label.

    Only the tracker knows which of several faint matches continues something. `labels` numbers each match's label.
    """
    boxes = seen.boxes_xyxy[match.rows]
    sure, faint = np.flatnonzero(match.sure), np.flatnonzero(~match.sure)
    sure = sure[nms(boxes[sure], match.scores[sure], PROMPT_NMS_IOU)]
    sure = sure[~_are_parts(boxes, match.scores, labels, sure, sure)]
    faint = faint[(box_iou(boxes[faint], boxes[sure]) <= PROMPT_NMS_IOU).all(axis=1)]
    faint = faint[~_are_parts(boxes, match.scores, labels, faint, sure)]
    faint = faint[nms(boxes[faint], match.scores[faint], PROMPT_NMS_IOU, labels[faint])]
    kept = np.zeros(len(match.rows), np.bool_)
    kept[np.concatenate([sure, faint])] = True
    return match.only(kept)


def _are_parts(
    boxes_xyxy: Boxes, scores: FloatArray, labels: NDArray[np.int64], rows: NDArray[np.int64], wholes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(K,) whether each of `rows` lies mostly inside a larger one of `wholes` of the same label that is as likely."""
    inside = box_inside(boxes_xyxy[rows], boxes_xyxy[wholes]) > PART_SHARE
    area = boxes_area(boxes_xyxy)
    is_larger = area[rows][:, None] < area[wholes]
    same = labels[rows][:, None] == labels[wholes]
    as_likely = scores[rows][:, None] <= scores[wholes]
    return np.asarray((inside & is_larger & same & as_likely).any(axis=1), dtype=np.bool_)
