"""Losses: where objects are, how large, what they are called, and what they look like."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from distill.network import Outputs


def heat_loss(logits: Tensor, heat: Tensor, care: Tensor) -> Tensor:
    """Penalty-reduced focal loss of CenterNet (arXiv:1904.07850, eq. 1: alpha 2, beta 4), per object.

    Args:
        logits: (N, C, h, w).
        heat: (N, C, h, w) in [0, 1], 1 at the centres.
        care: (N, 1, h, w), 0 where nothing is asked.
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


def distillation_loss(student: Outputs, teacher: Outputs, class_map: list[int], heat: Tensor) -> dict[str, Tensor]:
    """How far the student's maps are from the teacher's.

    Args:
        student: the student's outputs.
        teacher: the teacher's outputs on the same images, without gradient.
        class_map: for each student class the teacher's class index.
        heat: (N, C + 1, h, w) truth, which weighs the cells: near objects 1, elsewhere by the teacher's own belief.

    Returns:
        `kd_heat`: weighted squared difference of probabilities, summed over cells and divided by the objects;
        `kd_box`: L1 between log distances where the teacher sees an object; `kd_embedding`: 1 - cosine, same cells.
    """
    names = torch.cat([teacher.class_logits[:, class_map], teacher.objectness], dim=1).sigmoid()
    mine = torch.cat([student.class_logits, student.objectness], dim=1).sigmoid()
    count = (heat > 0.999).float().sum().clamp(min=1.0)
    belief = teacher.objectness.sigmoid()
    cell_weight = torch.maximum(belief, heat[:, -1:])
    kd_heat = ((mine - names) ** 2 * (0.1 + cell_weight)).sum() / count
    w = (belief * (belief > 0.2))[:, 0]
    kd_box = ((student.box_ltrb - teacher.box_ltrb).abs().mean(dim=1) * w).sum() / w.sum().clamp(min=1.0)
    cosine = functional.cosine_similarity(student.embedding, teacher.embedding, dim=1)
    w = cell_weight[:, 0] + 0.05
    kd_embedding = ((1 - cosine) * w).sum() / w.sum()
    return {"kd_heat": kd_heat, "kd_box": kd_box, "kd_embedding": kd_embedding}
