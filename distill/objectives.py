"""Which losses a step computes, and from what: those that the recipe gives a weight, and no others.

Learned from the truth: `heat` (where things are, and of which class), `box`, `embedding` (kinds apart), `prompt` (see
`episodes.py`). Learned from a teacher: `kd_heat`, `kd_box`, `kd_embedding` (a run of ours with an embedding as long),
`kd_dense` (its features, through a projection that is not exported), `kd_angle` (the angles between its features).
`prompt` takes a teacher's word where nobody labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.batches import Batch
from distill.episodes import prompt_loss
from distill.losses import (
    angle_loss,
    box_loss,
    contrastive_loss,
    dense_loss,
    heat_loss,
    taught_box_loss,
    taught_embedding_loss,
    taught_heat_loss,
)
from distill.network import Outputs
from distill.teaching import Lesson, taught_cells

_BACKGROUND_CELLS, _LUCKY_CELLS = 24, 12
"""Cells an image that stand for its background, half of them hard ones, and those that angles are taken of."""

_OBJECT_CELLS = 128
"""At most so many cells in objects that angles are taken of: pairs grow with their square."""


@dataclass(frozen=True)
class Step:
    """What one step has to go by.

    Attributes:
        outputs: what the student answers.
        batch: what it saw, and the truth.
        lesson: what the teacher says about that.
        projection: from the student's embedding to the teacher's features, for `kd_dense`.
    """

    outputs: Outputs
    batch: Batch
    lesson: Lesson
    projection: nn.Module | None

    @cached_property
    def logits(self) -> Tensor:
        """(B, C + 1, h, w): the student's classes, then objectness."""
        return torch.cat([self.outputs.class_logits, self.outputs.objectness], dim=1)

    @cached_property
    def cells(self) -> Tensor:
        """(B, h, w, D): the student's embedding."""
        return self.outputs.embedding.permute(0, 2, 3, 1)

    @cached_property
    def background(self) -> Tensor:
        """(K, 3) rows image, y, x: half of them random, half where the student wrongly believes in objects."""
        batch, count = self.batch, _BACKGROUND_CELLS // 2
        free = ((batch.heat[:, -1:] < 0.02) & (batch.care[:, -1:] > 0)).float().flatten(1)
        with torch.no_grad():
            hard = (self.outputs.objectness.sigmoid().flatten(1) * free).topk(count, dim=1).indices
        chosen = torch.cat([hard, (batch.luck * free).topk(count, dim=1).indices], dim=1)
        places = _places(chosen, batch.care.shape[3])
        return places[free.gather(1, chosen).flatten() > 0]

    @cached_property
    def taught_cells(self) -> Tensor:
        """(M, 4) rows image, y, x, kind: what the teacher sees where nobody labelled."""
        heat = self.lesson.heat
        return self.batch.cells[:0] if heat is None else taught_cells(heat, self.batch.care[:, -1:])

    @cached_property
    def shared_grid(self) -> tuple[Tensor, Tensor]:
        """The student's embedding and the teacher's features on the coarser of both grids, (B, D or C, h, w)."""
        mine, its = self.outputs.embedding, self.lesson.features
        assert its is not None
        height, width = (min(mine.shape[axis], its.shape[axis]) for axis in (2, 3))
        return _pooled(mine, height, width), _pooled(its, height, width)


def losses_of(weights: Mapping[str, float], step: Step) -> dict[str, Tensor]:
    """The unweighted losses of one step that have a weight above 0."""
    return {name: loss(step) for name, loss in _LOSSES.items() if weights.get(name, 0.0) > 0}


def _pooled(maps: Tensor, height: int, width: int) -> Tensor:
    """Means of cells; untouched on the same grid, where pooling would cost a tenth of a step."""
    return maps if maps.shape[2:] == (height, width) else functional.adaptive_avg_pool2d(maps, (height, width))


def _places(chosen: Tensor, width: int) -> Tensor:
    """(B * K, 3) rows image, y, x of (B, K) indices of cells."""
    image = torch.arange(len(chosen)).repeat_interleave(chosen.shape[1])
    return torch.stack([image, chosen.flatten() // width, chosen.flatten() % width], dim=1)


def _heat(step: Step) -> Tensor:
    return heat_loss(step.logits, step.batch.heat, step.batch.care)


def _box(step: Step) -> Tensor:
    return box_loss(step.outputs.box_ltrb, step.batch.box_ltrb, step.batch.weight)


def _embedding(step: Step) -> Tensor:
    image, y, x, kind = step.batch.cells.unbind(dim=1)
    return contrastive_loss(step.cells[image, y, x], kind, step.cells[tuple(step.background.T)])


def _prompt(step: Step) -> Tensor:
    named = step.taught_cells[step.taught_cells[:, 3] >= 0]
    return prompt_loss(step.cells, torch.cat([step.batch.cells, named]), step.background)


def _kd_heat(step: Step) -> Tensor:
    assert step.lesson.heat is not None
    truth = step.batch.heat
    objects = (truth > 0.999).sum() + len(step.taught_cells)
    return taught_heat_loss(step.logits, step.lesson.heat, truth[:, -1:], objects, step.lesson.knows)


def _kd_box(step: Step) -> Tensor:
    assert step.lesson.heat is not None
    assert step.lesson.box_ltrb is not None
    belief = step.lesson.heat[:, -1:]
    if step.lesson.knows is not None:  # where the truth has boxes, there may be things that it has not learnt
        belief = belief * (step.batch.weight[:, None] == 0)
    return taught_box_loss(step.outputs.box_ltrb, step.lesson.box_ltrb, belief)


def _kd_embedding(step: Step) -> Tensor:
    assert step.lesson.heat is not None
    assert step.lesson.embedding is not None
    belief, truth = step.lesson.heat[:, -1:], step.batch.heat[:, -1:]
    return taught_embedding_loss(step.outputs.embedding, step.lesson.embedding, belief, truth)


def _kd_dense(step: Step) -> Tensor:
    assert step.projection is not None
    mine, its = step.shared_grid
    return dense_loss(step.projection(mine), its)


def _kd_angle(step: Step) -> Tensor:
    """Cells in objects and anywhere, as many of these in each image."""
    mine, its = step.shared_grid
    batch, (height, width) = step.batch, step.batch.care.shape[2:]
    image, y, x, _ = batch.cells.unbind(dim=1)
    lucky_first = batch.luck[image, y * width + x].argsort(descending=True)[:_OBJECT_CELLS]
    anywhere = _places(batch.luck.topk(_LUCKY_CELLS, dim=1).indices, width)
    image, y, x = torch.cat([batch.cells[lucky_first, :3], anywhere]).unbind(dim=1)
    y, x = y * mine.shape[2] // height, x * mine.shape[3] // width
    return angle_loss(*(maps.permute(0, 2, 3, 1)[image, y, x] for maps in (mine, its)))


_LOSSES: dict[str, Callable[[Step], Tensor]] = {
    "heat": _heat,
    "box": _box,
    "embedding": _embedding,
    "prompt": _prompt,
    "kd_heat": _kd_heat,
    "kd_box": _kd_box,
    "kd_embedding": _kd_embedding,
    "kd_dense": _kd_dense,
    "kd_angle": _kd_angle,
}
