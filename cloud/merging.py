"""One prompt out of two about the same label: what was learnt before stays, what is new is added."""

from __future__ import annotations

import numpy as np

from cloud.config import PromptSettings
from cloud.prompting import fit_bytes
from cloud.vector_sets import best_cosine, hardest, prototypes
from protocols import limits
from protocols.arrays import FloatArray
from protocols.values import Prompt, Vectors

_MAX_CHIPS = 3


def merge_prompts(old: Prompt, new: Prompt, background: FloatArray, settings: PromptSettings) -> Prompt:
    """The new prompt extended by what the old one knew, under the old one's id.

    Args:
        old: what the craft holds.
        new: built from another case; same label, space and origin.
        background: (K, D) embeddings of recent background candidates of the craft.
        settings: how thresholds are chosen.
    """
    positives = prototypes(np.concatenate([new.positives.to_array(), old.positives.to_array()]), limits.MAX_POSITIVES)
    negatives = np.concatenate([new.negatives.to_array(), old.negatives.to_array()])
    threshold = (old.threshold + new.threshold) / 2
    if len(background):  # a mean of thresholds knows nothing of what the other prompt's positives match
        reached = best_cosine(background, positives)
        threshold = max(threshold, float(np.quantile(reached, settings.background_quantile)))
    merged = new.model_copy(
        update={
            "prompt_id": old.prompt_id,
            "positives": Vectors.from_array(positives),
            "negatives": Vectors.from_array(hardest(negatives, positives, limits.MAX_NEGATIVES)),
            "threshold": min(threshold, settings.ceiling),
            "size_px": _union(old.size_px, new.size_px),
            "size_m": _union(old.size_m, new.size_m),
            "chips": (*new.chips[:2], *old.chips)[:_MAX_CHIPS],
            "scope": max(old.scope, new.scope, key=("craft", "mission", "fleet").index),
            "confidence": max(old.confidence, new.confidence),
            "priority": max(old.priority, new.priority),
        }
    )
    return fit_bytes(Prompt.model_validate(merged.model_dump()), settings.max_bytes)


def add_negatives(prompt: Prompt, vectors: FloatArray, issued_at_s: float) -> Prompt:
    """The prompt with more of what it must not match; the same prompt when they teach it nothing."""
    positives = prompt.positives.to_array()
    known = prompt.negatives.to_array()
    negatives = hardest(np.concatenate([known, vectors]), positives, limits.MAX_NEGATIVES)
    if len(negatives) == len(known) and np.allclose(np.sort(negatives, axis=0), np.sort(known, axis=0), atol=1e-3):
        return prompt
    return prompt.model_copy(update={"negatives": Vectors.from_array(negatives), "issued_at_s": issued_at_s})


def _union(a: tuple[float, float] | None, b: tuple[float, float] | None) -> tuple[float, float] | None:
    """The range that holds both; None (any size) when either is."""
    return None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))
