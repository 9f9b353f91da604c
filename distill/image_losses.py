"""How much a student gets wrong in each image, by the losses that trained it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from distill.augment import make_targets, objects_of
from distill.dataset import DataSet
from distill.losses import box_loss, heat_loss
from edge.student import Student
from protocols.arrays import FloatArray


def image_losses(student: Student, data: DataSet, on_image: Callable[[int], None] | None = None) -> FloatArray:
    """(N,) float32 supervised loss of a student on each image: `heat` plus `box`, per object and unweighted.

    Args:
        student: bundle on a backend; its own labels are asked for.
        data: images with truth.
        on_image: progress hook.
    """
    losses = []
    for index in range(len(data)):
        losses.append(_image_loss(student, data, index))
        if on_image:
            on_image(index)
    return np.asarray(losses, dtype=np.float32)


def _image_loss(student: Student, data: DataSet, index: int) -> float:
    raw = student.perceive(data.image(index)).raw
    height, width = raw.objectness.shape
    objects = objects_of(data.items[index], student.manifest.labels)
    # Targets are square: what lies beyond the image is cut off again.
    side_px = max(height, width) * student.manifest.stride_px
    wanted = make_targets(objects, len(student.manifest.labels), side_px, np.random.default_rng(0))
    heat, box, weight, care = (
        torch.from_numpy(np.ascontiguousarray(item[..., :height, :width]))[None]
        for item in (wanted.heat, wanted.box_ltrb, wanted.weight, wanted.care)
    )
    logits = torch.from_numpy(np.concatenate([raw.class_logits, raw.objectness[None]]))[None]
    loss: Tensor = heat_loss(logits, heat, care) + box_loss(torch.from_numpy(raw.box_ltrb)[None], box, weight)
    return float(loss)
