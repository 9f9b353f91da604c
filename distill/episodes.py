"""Prompts in the loop: within a batch the student is prompted with some crops and has to answer on the others.

What the cloud does with a case where a prompt holds prototypes (`cloud/prompt_forms.py`), and a craft with its answer
(`edge/prompting.py`), in a form that passes gradients: the support crops' cells of one kind become a prototype, the
cells there that are most like it its negatives, and the query crops' cells must be nearer to the prototype than to its
threshold and its negatives exactly where they show that kind. Such episodes are how prototypical networks learn (Snell
et al., arXiv:1703.05175).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edge.prompting import NEGATIVE_SLACK
from protocols.limits import MAX_NEGATIVES

_THRESHOLD = 0.63
"""All thresholds of the cloud's prototypes lie in 0.60-0.66 (`PromptSettings.floor` and `ceiling`)."""

_TEMPERATURE = 0.07
"""That of a prompt, unless told otherwise."""

_SAME_COSINE = 0.95
"""A negative as near as that would switch its prompt off, and is left out, as in `cloud/vector_sets.py`."""


def prompt_loss(features: Tensor, cells: Tensor, background: Tensor) -> Tensor:
    """Cross-entropy of the answers to prompts, each kind with the same say, its places and all else with half of it.

    The images of even and of odd place in the batch take turns as support and query: those of a pair share their kinds.

    Args:
        features: (B, h, w, D) the student's embedding.
        cells: (M, 4) rows image, y, x, kind inside objects.
        background: (K, 3) rows image, y, x away from all objects.
    """
    places = torch.cat([cells[:, :3], background])
    vectors = functional.normalize(features[tuple(places.T)], dim=1)
    kinds = torch.cat([cells[:, 3], torch.full_like(background[:, 0], -1)])
    even = places[:, 0] % 2 == 0
    found = [_answers(vectors, kinds, support) for support in (even, ~even)]
    losses = torch.cat(found)
    return losses.mean() if len(losses) else features.sum() * 0.0


def _answers(vectors: Tensor, kinds: Tensor, support: Tensor) -> Tensor:
    """(P,) the loss of each kind that both support and queries show; `kinds` is -1 for background."""
    shown, asked = kinds[support], kinds[~support]
    prompted: Tensor = torch.unique(kinds)
    prompted = prompted[(prompted >= 0) & torch.isin(prompted, shown) & torch.isin(prompted, asked)]
    if not len(prompted):  # among them a half whose crops are ignored from edge to edge, and holds no cell at all
        return vectors.new_zeros(0)
    given, queries = vectors[support], vectors[~support]
    own = shown[None] == prompted[:, None]
    prototypes = functional.normalize(own.to(given.dtype) @ given, dim=1)
    rival = _rivals(given, queries, prototypes, own)
    logits = (prototypes @ queries.T - rival) / _TEMPERATURE
    is_kind = (asked[None] == prompted[:, None]).to(given.dtype)
    here = (functional.softplus(-logits) * is_kind).sum(dim=1) / is_kind.sum(dim=1)
    elsewhere = (functional.softplus(logits) * (1 - is_kind)).sum(dim=1) / (1 - is_kind).sum(dim=1).clamp(min=1.0)
    return (here + elsewhere) / 2


def _rivals(given: Tensor, queries: Tensor, prototypes: Tensor, own: Tensor) -> Tensor:
    """(P, Q) what each query must be more like a prototype than: its threshold, or the nearest of its negatives."""
    with torch.no_grad():
        likeness = (prototypes @ given.T).masked_fill(own, -1.0)
        likeness = likeness.masked_fill(likeness > _SAME_COSINE, -1.0)
        hardest = likeness.topk(min(MAX_NEGATIVES, likeness.shape[1]), dim=1)
    against = (given @ queries.T)[hardest.indices]
    against = against.masked_fill((hardest.values <= -1.0)[..., None], -1.0)
    nearest: Tensor = against.amax(dim=1)
    return (nearest - NEGATIVE_SLACK).clamp(min=_THRESHOLD)
