"""Losses: where objects are, how large, what they are called, and what they look like."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def heat_loss(logits: Tensor, heat: Tensor, care: Tensor) -> Tensor:
    """Penalty-reduced focal loss of CenterNet (arXiv:1904.07850, eq. 1: alpha 2, beta 4), per object.

    Args:
        logits: (N, C, h, w).
        heat: (N, C, h, w) in [0, 1], 1 at the centres.
        care: (N, 1 or C, h, w), 0 where nothing is asked.
    """
    p = logits.sigmoid()
    peak = (heat > 0.999).float()
    positive = peak * (1 - p) ** 2 * functional.logsigmoid(logits)
    negative = (1 - peak) * (1 - heat) ** 4 * p**2 * functional.logsigmoid(-logits)
    return -((positive + negative) * care).sum() / peak.sum().clamp(min=1.0)


def box_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Generalised IoU loss (arXiv:1902.09630) of boxes given as log distances from the same cell, weighted mean.

    Args:
        predicted: (N, 4, h, w) natural log of left, top, right, bottom in cells.
        target: the same for the truth.
        weight: (N, h, w), 0 away from objects.
    """
    chosen = weight > 0
    p = predicted.permute(0, 2, 3, 1)[chosen].clamp(max=5.0).exp()
    t = target.permute(0, 2, 3, 1)[chosen].exp()
    low, high = torch.minimum(p, t), torch.maximum(p, t)
    intersection = (low[:, 0] + low[:, 2]) * (low[:, 1] + low[:, 3])
    hull = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3])
    area_p, area_t = (p[:, 0] + p[:, 2]) * (p[:, 1] + p[:, 3]), (t[:, 0] + t[:, 2]) * (t[:, 1] + t[:, 3])
    union = area_p + area_t - intersection
    giou = intersection / union - (hull - union) / hull
    w = weight[chosen]
    return ((1 - giou) * w).sum() / w.sum().clamp(min=1.0)


def contrastive_loss(objects: Tensor, kinds: Tensor, background: Tensor, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive loss (arXiv:2004.11362, eq. 2): the same kind together, all else and background apart.

    Args:
        objects: (M, D) embeddings of cells inside objects.
        kinds: (M,) which kind each shows.
        background: (K, D) embeddings of cells outside all objects.
        temperature: softmax temperature.
    """
    if objects.shape[0] < 2:
        return objects.sum() * 0.0
    anchors = functional.normalize(objects, dim=1)
    others = functional.normalize(background, dim=1)
    same = (kinds[:, None] == kinds[None]).float()
    same.fill_diagonal_(0.0)
    within = anchors @ anchors.T / temperature
    within.fill_diagonal_(-1e4)
    logits = torch.cat([within, anchors @ others.T / temperature], dim=1)
    log_p = (logits - logits.logsumexp(dim=1, keepdim=True))[:, : anchors.shape[0]]
    per_anchor = -(log_p * same).sum(dim=1) / same.sum(dim=1).clamp(min=1.0)
    # Each kind counts the same, however many cells it fills: otherwise persons and cars drown the rare kinds.
    rarity = 1.0 / same.sum(dim=1).add(1.0)
    useful = (same.sum(dim=1) > 0).float() * rarity
    return (per_anchor * useful).sum() / useful.sum().clamp(min=1e-6)


def taught_heat_loss(
    logits: Tensor, taught: Tensor, truth: Tensor, objects: Tensor, knows: Tensor | None = None
) -> Tensor:
    """Squared difference of probabilities, summed over cells and divided by the objects.

    Args:
        logits: (N, C + 1, h, w) the student's classes, then objectness.
        taught: (N, C + 1, h, w) the teacher's probabilities.
        truth: (N, 1, h, w) objectness, which weighs the cells: near objects 1, elsewhere by the teacher's own belief.
        objects: () how many there are.
        knows: (C + 1, 1, 1), 0 for channels that the teacher has not learnt. Then it has not learnt all objects either,
            and is not heard where the truth sees more of one than it does.
    """
    weight = 0.1 + torch.maximum(taught[:, -1:], truth)
    if knows is not None:
        held = torch.cat([torch.ones_like(taught[:, :-1]), (truth <= taught[:, -1:]).to(taught.dtype)], dim=1)
        weight = weight * knows * held
    return ((logits.sigmoid() - taught) ** 2 * weight).sum() / objects.clamp(min=1.0)


def taught_box_loss(box_ltrb: Tensor, taught: Tensor, belief: Tensor) -> Tensor:
    """L1 between (N, 4, h, w) log distances, mean weighed by a teacher's (N, 1, h, w) objectness, 0 below 0.2."""
    weight = (belief * (belief > 0.2))[:, 0]
    return ((box_ltrb - taught).abs().mean(dim=1) * weight).sum() / weight.sum().clamp(min=1.0)


def taught_embedding_loss(embedding: Tensor, taught: Tensor, belief: Tensor, truth: Tensor) -> Tensor:
    """1 - cosine of (N, D, h, w) embeddings of one length D, cells weighed by belief or truth (N, 1, h, w)."""
    weight = torch.maximum(belief, truth)[:, 0] + 0.05
    return ((1 - functional.cosine_similarity(embedding, taught, dim=1)) * weight).sum() / weight.sum()


def dense_loss(projected: Tensor, features: Tensor) -> Tensor:
    """Mean of 1 - cosine over all cells of a student's projected and a teacher's PHI-S features, (N, C, h, w) both.

    The cosine, because prompts are matched by it, and a cell's norm is no part of what it shows.
    No rotation and no single scale changes it; what PHI-S gives it is the mean taken off, without which all cells of a
    backbone are much alike, and channels of one size, which is what AdamW's steps on the projection are made for.
    """
    return (1 - functional.cosine_similarity(projected, features, dim=1)).mean()


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the angles between cells differ: Huber loss (delta 1) on their pairwise cosines.

    Relational knowledge distillation (Park et al., arXiv:1904.05068) with pairs of cells in place of its triplets: the
    cosine of two cells is what a prompt compares (as in Tung and Mori's similarity-preserving form, arXiv:1907.09682),
    and pairs cost M^2 where triplets cost M^3. The lengths of the two embeddings need not agree.

    Args:
        student: (M, D) cells.
        teacher: (M, C) the same cells, PHI-S features.
    """
    if len(student) < 2:
        return student.sum() * 0.0
    mine, its = (unit @ unit.T for unit in (functional.normalize(student, dim=1), functional.normalize(teacher, dim=1)))
    pairs = torch.triu_indices(len(student), len(student), 1)
    return functional.huber_loss(mine[pairs[0], pairs[1]], its[pairs[0], pairs[1]])
