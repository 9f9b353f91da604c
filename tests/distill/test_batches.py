import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from distill import batches as batching
from distill.augment import random_crop
from distill.batches import made_ahead, make_batch
from distill.dataset import DataSet, LabelledImage
from distill.recipe import open_sources


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)


def batches(recipe, sets, first_step):
    return made_ahead(partial(make_batch, recipe, sets), range(first_step, recipe.steps))


@pytest.fixture
def many_pictures():
    def make(name, count):
        paths = [Path(f"{i}.png") for i in range(count)]
        none = np.zeros(0, np.int64)
        items = tuple(
            LabelledImage(path, np.zeros((0, 4), np.float32), (), none, none.astype(bool), 0) for path in paths
        )
        return DataSet(name, items, dict.fromkeys(paths, np.zeros((80, 80), np.uint8)))

    return make


def test_batch_is_a_function_of_seed_and_step(tiny_recipe, workspace):
    recipe = tiny_recipe()
    sets = open_sources(recipe, workspace)
    assert same(make_batch(recipe, sets, 4), make_batch(recipe, sets, 4))
    assert not same(make_batch(recipe, sets, 4), make_batch(recipe, sets, 5))
    assert not same(make_batch(recipe, sets, 4), make_batch(tiny_recipe(seed=1), sets, 4))


def test_batch_has_the_documented_shapes(tiny_recipe, workspace):
    recipe = tiny_recipe()
    batch = make_batch(recipe, open_sources(recipe, workspace), 0)
    shapes = {name: tuple(getattr(batch, name).shape) for name in batch.__dataclass_fields__}
    cells = shapes.pop("cells")
    assert cells[1] == 4
    assert shapes == {
        "pixels": (2, 64, 64, 3),
        "images": (2, 3, 64, 64),
        "heat": (2, 3, 16, 16),
        "box_ltrb": (2, 4, 16, 16),
        "weight": (2, 16, 16),
        "care": (2, 3, 16, 16),
        "luck": (2, 256),
    }


def test_batch_is_made_of_pairs_of_neighbouring_images(tiny_recipe, many_pictures, monkeypatch):
    taken = []

    def noting(data, index, *others):
        taken.append((data.name, index))
        return random_crop(data, index, *others)

    monkeypatch.setattr(batching, "random_crop", noting)
    recipe = tiny_recipe(batch=7)
    sets = [many_pictures(f"set {i}", 100) for i in range(len(recipe.sources))]
    for step in range(5):
        assert len(make_batch(recipe, sets, step).images) == 7
    assert len(taken) == 5 * 8
    for (set_a, first), (set_b, second) in zip(taken[::2], taken[1::2], strict=True):
        assert set_a == set_b
        assert min((first - second) % 100, (second - first) % 100) <= 3


@pytest.mark.parametrize("first_step", [0, 4, 6])
def test_batches_come_in_step_order_from_any_step(tiny_recipe, workspace, first_step):
    recipe = tiny_recipe()
    sets = open_sources(recipe, workspace)
    found = list(batches(recipe, sets, first_step))
    assert len(found) == recipe.steps - first_step
    assert all(same(b, make_batch(recipe, sets, first_step + i)) for i, b in enumerate(found))


def test_batches_thread_ends_with_its_consumer(tiny_recipe, workspace):
    recipe = tiny_recipe(steps=1000)
    before = threading.active_count()
    stream = batches(recipe, open_sources(recipe, workspace), 0)
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before


def test_batches_pass_on_the_error_of_a_batch(tiny_recipe, workspace):
    recipe = tiny_recipe()
    with pytest.raises(ValueError, match="must be a positive integer"):
        next(batches(recipe, [], 0))
