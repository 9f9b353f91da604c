"""Training batches: pairs of crops and their targets as tensors, made ahead of the optimiser in their own thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from distill.augment import Crop, Targets, make_targets, random_crop
from distill.dataset import DataSet
from distill.network import normalise
from distill.recipe import NetworkConfig, Recipe
from distill.shapes import KINDS
from protocols.arrays import FloatArray

_PAIR_REACH_IMAGES = 3
"""The two images of a pair lie at most so many places apart in their data set, at 0 they are two crops of one.
Renders come eight to a town."""

_BATCHES_AHEAD = 4

Made = TypeVar("Made")


@dataclass(frozen=True)
class Batch:
    """One step's tensors, all on the grid of h x w cells but pixels and images.

    Attributes:
        pixels: (B, S, S, bands) uint8, as teachers of other kinds see them.
        images: (B, bands, S, S) float32, the same normalised.
        heat: (B, C + 1, h, w) float32; the last channel is objectness.
        box_ltrb: (B, 4, h, w) float32 log distances in cells.
        weight: (B, h, w) float32, 0 away from objects.
        care: (B, C + 1, h, w) float32, 0 where nothing is asked of a class or, in the last channel, of objects.
        cells: (M, 4) int64 rows image, y, x, kind.
        luck: (B, h * w) float32 uniform noise that picks the background cells.
    """

    pixels: Tensor
    images: Tensor
    heat: Tensor
    box_ltrb: Tensor
    weight: Tensor
    care: Tensor
    cells: Tensor
    luck: Tensor


def make_batch(recipe: Recipe, sets: list[DataSet], step: int) -> Batch:
    """The batch of one step: a function of the recipe's seed and the step alone, so that a resumed run repeats it."""
    rng = np.random.default_rng((recipe.seed, step))
    weights = np.array([source.weight for source in recipe.sources])
    kinds = tuple(int(k) for k in rng.integers(0, KINDS, recipe.novel_kinds))
    crops: list[Crop] = []
    for choice in rng.choice(len(sets), (recipe.batch + 1) // 2, p=weights / weights.sum()):
        data = sets[choice]
        first = int(rng.integers(len(data)))
        # Renders lie town by town, so that a pair mostly shares its strange kinds; shuffled sets gain nothing by it.
        reach = int(rng.integers(-_PAIR_REACH_IMAGES, _PAIR_REACH_IMAGES + 1))
        for index in (first, (first + reach) % len(data)):
            crops.append(random_crop(data, index, recipe.labels, recipe.crop_px, kinds, rng))
    crops = crops[: recipe.batch]
    targets = [make_targets(c.objects, len(recipe.labels), recipe.crop_px, rng) for c in crops]
    return _collate(recipe.network, crops, targets, rng.random((len(targets), targets[0].weight.size), np.float32))


def _collate(network: NetworkConfig, crops: list[Crop], targets: list[Targets], luck: FloatArray) -> Batch:
    cells = [np.concatenate([np.full((len(t.cells), 1), i), t.cells], axis=1) for i, t in enumerate(targets)]
    pixels = torch.from_numpy(np.stack([c.image for c in crops]))
    return Batch(
        pixels,
        normalise(pixels, network),
        torch.from_numpy(np.stack([t.heat for t in targets])),
        torch.from_numpy(np.stack([t.box_ltrb for t in targets])),
        torch.from_numpy(np.stack([t.weight for t in targets])),
        torch.from_numpy(np.stack([t.care for t in targets])),
        torch.from_numpy(np.concatenate(cells)),
        torch.from_numpy(luck),
    )


def made_ahead(make: Callable[[int], Made], steps: range) -> Iterator[Made]:
    """What `make` gives for each step, made in one thread a few steps ahead of the optimiser."""
    pool = ThreadPoolExecutor(1)
    ahead: deque[Future[Made]] = deque()
    try:
        for step in steps:
            ahead.append(pool.submit(make, step))
            if len(ahead) == _BATCHES_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
