"""One prompt out of two about the same label: what was learnt before stays, what is new is added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cloud.config import PromptSettings
from cloud.prompt_forms import HAIR, Knowledge, away_from, rate_threshold, towards
from cloud.prompting import fit_bytes
from cloud.vector_sets import best_cosine, hardest, prototypes
from edge.student import unit_rows
from protocols import limits
from protocols.arrays import FloatArray
from protocols.values import Chip, Prompt, Vectors

_MAX_CHIPS = 3

_OVER = 1e-3
"""So far over a hard negative's cosine a threshold is out of its reach."""

_MAX_TURNS = 32
"""Each turn takes one hard negative below the threshold, and may lift another a little."""


def merge_prompts(old: Prompt, new: Prompt, background: Sequence[FloatArray], settings: PromptSettings) -> Prompt:
    """The new prompt extended by what the old one knew, under the old one's id.

    Args:
        old: what the craft holds.
        new: built from another case; same label, space and origin.
        background: (K, D) embeddings of background candidates for each of some recent cases of the craft.
        settings: how thresholds are chosen.

    Returns:
        Prototypes of two prompts that hold prototypes, a direction where either holds one. Its threshold keeps the
        rate of false alarms on the background as far as it still finds what its chips show.
    """
    merge = _merge_directions if old.direction_cases or new.direction_cases else _merge_prototypes
    rivals = np.concatenate([old.positives.to_array()[:0], *background])
    known = merge(old, new, rivals, settings)
    chips = (*new.chips[:2], *old.chips)[:_MAX_CHIPS]
    wanted = rate_threshold(known, rivals, len(background), settings)
    known = replace(known, threshold=max(known.threshold, min(wanted, _reached(known, chips))))
    merged = new.model_copy(
        update={
            "prompt_id": old.prompt_id,
            "positives": Vectors.from_array(known.positives),
            "negatives": Vectors.from_array(known.negatives),
            "threshold": known.threshold,
            "temperature": known.temperature,
            "direction_cases": known.direction_cases,
            "size_px": _union(old.size_px, new.size_px),
            "size_m": _union(old.size_m, new.size_m),
            "chips": chips,
            "scope": max(old.scope, new.scope, key=("craft", "mission", "fleet").index),
            "confidence": max(old.confidence, new.confidence),
            "priority": max(old.priority, new.priority),
        }
    )
    return fit_bytes(Prompt.model_validate(merged.model_dump()), settings.max_bytes)


def _reached(known: Knowledge, chips: Sequence[Chip]) -> float:
    """The highest threshold that leaves one of the chips a match; -2, below any, where the twin has seen none."""
    seen = [chip.vector.to_array() for chip in chips if chip.vector is not None]
    return float(best_cosine(np.concatenate(seen), known.positives).max()) - HAIR if seen else -2.0


def add_negatives(prompt: Prompt, vectors: FloatArray, issued_at_s: float) -> Prompt:
    """The prompt with more of what it must not match; the same prompt when they teach it nothing.

    A direction has no negatives: it turns away from them.
    """
    if prompt.direction_cases:
        return _turned_away(prompt, vectors, issued_at_s)
    positives = prompt.positives.to_array()
    known = prompt.negatives.to_array()
    negatives = hardest(np.concatenate([known, vectors]), positives, limits.MAX_NEGATIVES)
    if len(negatives) == len(known) and np.allclose(np.sort(negatives, axis=0), np.sort(known, axis=0), atol=1e-3):
        return prompt
    return prompt.model_copy(update={"negatives": Vectors.from_array(negatives), "issued_at_s": issued_at_s})


def shun(prompt: Prompt, vectors: FloatArray, issued_at_s: float) -> Prompt:
    """The prompt with hard negatives, each of which a person pointed at: unlike a teacher's, all are to be heeded.

    A direction turns away from one after the other, the most alike first, until none is above its threshold or it
    turns no more. Prototypes take them for negatives, and a stricter threshold where one is too alike for that, as far
    as the thing's own chips still reach it.
    """
    if not prompt.direction_cases:
        return _stricter(add_negatives(prompt, vectors, issued_at_s), vectors, issued_at_s)
    for _ in range(_MAX_TURNS):
        worst = vectors[int((vectors @ prompt.positives.to_array()[0]).argmax())]
        turned = _turned_away(prompt, worst[None], issued_at_s)
        if turned is prompt:
            return prompt
        prompt = turned
    return prompt


def _stricter(prompt: Prompt, vectors: FloatArray, issued_at_s: float) -> Prompt:
    known = Knowledge(prompt.positives.to_array(), prompt.negatives.to_array(), prompt.threshold, prompt.temperature, 0)
    fooled = vectors[known.margins(vectors) > 0]
    if not len(fooled):
        return prompt
    wanted = float(best_cosine(fooled, known.positives).max()) + _OVER
    threshold = max(known.threshold, min(wanted, _reached(known, prompt.chips)))
    return prompt.model_copy(update={"threshold": threshold, "issued_at_s": issued_at_s})


def _turned_away(prompt: Prompt, vectors: FloatArray, issued_at_s: float) -> Prompt:
    """A direction turned just so far that the mean of what it must not match falls to its threshold.

    The least change that does so, as a passive-aggressive learner would make it (Crammer et al., JMLR 7, 2006, eq. 2):
    within the plane of both vectors.
    """
    direction, mistaken = prompt.positives.to_array()[0], unit_rows(vectors.mean(axis=0)[None])[0]
    cosine = float(direction @ mistaken)
    aside = unit_rows((direction - cosine * mistaken)[None])
    if cosine <= prompt.threshold or not aside.any():
        return prompt
    turned = prompt.threshold * mistaken + np.sqrt(1 - prompt.threshold**2) * aside
    return prompt.model_copy(update={"positives": Vectors.from_array(turned), "issued_at_s": issued_at_s})


def _merge_prototypes(old: Prompt, new: Prompt, background: FloatArray, settings: PromptSettings) -> Knowledge:
    positives = prototypes(np.concatenate([new.positives.to_array(), old.positives.to_array()]), limits.MAX_POSITIVES)
    negatives = np.concatenate([new.negatives.to_array(), old.negatives.to_array()])
    threshold = (old.threshold + new.threshold) / 2
    if len(background):  # a mean of thresholds knows nothing of what the other prompt's positives match
        reached = best_cosine(background, positives)
        threshold = max(threshold, float(np.quantile(reached, settings.background_quantile)))
    negatives = hardest(negatives, positives, limits.MAX_NEGATIVES)
    return Knowledge(positives, negatives, min(threshold, settings.ceiling), settings.temperature, 0)


def _merge_directions(old: Prompt, new: Prompt, background: FloatArray, settings: PromptSettings) -> Knowledge:
    """The direction to the mean of two things, weighted by the cases each is from; prototypes become one first."""
    weights = np.array([max(p.direction_cases, 1) for p in (old, new)], np.float32)
    centre = background.mean(axis=0) if len(background) else np.zeros(old.positives.dim, np.float32)
    things = np.stack([towards(_direction_of(p, background), centre) for p in (old, new)])
    vector = unit_rows((weights / weights.sum() @ things - centre)[None])
    # The thresholds of prototypes say nothing about directions, and count for nothing.
    threshold = float(np.average([old.threshold, new.threshold], weights=[old.direction_cases, new.direction_cases]))
    if len(background):
        highest = float(np.quantile(background @ vector[0], settings.background_quantile))
        threshold = max(threshold, min(highest, settings.direction_ceiling))
    cases = min(int(weights.sum()), limits.MAX_DIRECTION_CASES)
    return Knowledge(vector, vector[:0], threshold, settings.direction_temperature, cases)


def _direction_of(prompt: Prompt, background: FloatArray) -> FloatArray:
    """(D,) a prompt's direction; of prototypes the one from the background to their mean."""
    vectors = prompt.positives.to_array()
    if not prompt.direction_cases:
        return away_from(vectors, background if len(background) else prompt.negatives.to_array())
    return np.asarray(vectors[0], dtype=np.float32)


def _union(a: tuple[float, float] | None, b: tuple[float, float] | None) -> tuple[float, float] | None:
    """The range that holds both; None (any size) when either is."""
    return None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))
