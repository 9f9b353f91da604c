import dataclasses

import numpy as np
import pytest
import torch

from distill.batches import make_batch
from distill.network import SkyNet
from distill.objectives import Step, losses_of
from distill.recipe import open_sources
from distill.teaching import Lesson

SUPERVISED = ("heat", "box", "embedding", "prompt")
ALL = (*SUPERVISED, "kd_heat", "kd_box", "kd_embedding", "kd_dense", "kd_angle")


@pytest.fixture
def step(tiny_recipe, workspace):
    """A batch of four crops, a fresh network's answers, and a lesson at random on a coarser grid."""
    torch.manual_seed(2)
    recipe = tiny_recipe(batch=4)
    batch = make_batch(recipe, open_sources(recipe, workspace), 0)
    shared = torch.tensor([[0, 3, 3, 99], [1, 3, 3, 99]])  # a kind that both images of a pair show
    batch = dataclasses.replace(batch, cells=torch.cat([batch.cells, shared]))
    network = SkyNet(recipe.network, 2)
    heat, features = torch.rand(4, 3, 16, 16), torch.randn(4, 12, 5, 5)
    lesson = Lesson(heat, torch.randn(4, 4, 16, 16), torch.randn(4, 8, 16, 16), features)
    return network, Step(network(batch.images), batch, lesson, torch.nn.Conv2d(8, 12, 1))


@pytest.mark.parametrize("name", ALL)
def test_each_loss_comes_alone_and_has_a_gradient(step, name):
    network, seen = step
    (found,) = losses_of({**dict.fromkeys(ALL, 0.0), name: 0.5}, seen).items()
    assert found[0] == name
    assert torch.isfinite(found[1])
    found[1].backward()
    assert sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None) > 0


def test_supervised_losses_reach_every_parameter(step):
    network, seen = step
    losses = losses_of(dict.fromkeys(SUPERVISED, 1.0), seen)
    assert tuple(losses) == SUPERVISED
    sum(losses.values()).backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in network.parameters())


def test_losses_without_a_teacher_ask_for_none(step):
    _, seen = step
    alone = dataclasses.replace(seen, lesson=Lesson(), projection=None)
    assert losses_of(dict.fromkeys(SUPERVISED, 1.0), alone).keys() == set(SUPERVISED)


def test_background_is_half_belief_half_luck_and_free_of_objects(step):
    _, seen = step
    rows = seen.background
    assert rows.shape == (4 * 24, 3)
    image, y, x = rows.T
    assert (seen.batch.heat[image, -1, y, x] < 0.02).all()
    assert (seen.batch.care[image, -1, y, x] > 0).all()
    free = (seen.batch.heat[0, -1] < 0.02) & (seen.batch.care[0, -1] > 0)
    belief = torch.where(free, seen.outputs.objectness[0, 0], -100.0).flatten()
    assert set((y * 16 + x)[:12].tolist()) == set(belief.topk(12).indices.tolist())


def test_background_of_an_image_without_labels_is_empty(step):
    _, seen = step
    unlabelled = dataclasses.replace(seen.batch, care=torch.zeros_like(seen.batch.care))
    assert dataclasses.replace(seen, batch=unlabelled).background.shape == (0, 3)


def test_taught_cells_join_the_episodes_where_nobody_labelled(step):
    _, seen = step
    heat = torch.zeros(4, 3, 16, 16)
    for image, kind in ((0, 0), (1, 0), (2, 1), (3, 1)):
        heat[image, [kind, 2], 5, 6] = 0.9
        heat[image, 2, 5, 7] = 0.6  # its neighbour is higher
        heat[image, 2, 12, 12] = 0.9  # of no class
    care = torch.ones_like(seen.batch.care)
    care[:, :, :10] = 0
    none = seen.batch.cells[:0]
    batch = dataclasses.replace(seen.batch, care=care, cells=none)
    taught = dataclasses.replace(seen, batch=batch, lesson=Lesson(heat=heat))
    assert taught.taught_cells.tolist() == [[0, 5, 6, 0], [1, 5, 6, 0], [2, 5, 6, 1], [3, 5, 6, 1]]
    assert float(losses_of({"prompt": 1.0}, taught)["prompt"].detach()) > 0
    assert float(losses_of({"prompt": 1.0}, dataclasses.replace(taught, lesson=Lesson()))["prompt"].detach()) == 0


def test_kd_heat_is_per_object_whether_the_truth_or_the_teacher_tells_it(step):
    _, seen = step
    heat = torch.zeros(4, 3, 16, 16)
    heat[:, 2, 4, 4] = heat[:, 2, 9, 9] = 0.9
    truth = torch.zeros_like(seen.batch.heat)
    unlabelled = dataclasses.replace(seen.batch, heat=truth, care=torch.zeros_like(seen.batch.care))
    labelled = dataclasses.replace(seen.batch, heat=truth, care=torch.ones_like(seen.batch.care))
    eight, one = (
        float(
            losses_of({"kd_heat": 1.0}, dataclasses.replace(seen, batch=b, lesson=Lesson(heat=heat)))[
                "kd_heat"
            ].detach()
        )
        for b in (unlabelled, labelled)
    )
    assert one == pytest.approx(8 * eight, rel=1e-4)


@pytest.mark.parametrize("grid", [(16, 16), (4, 4), (40, 40)], ids=["same", "coarser", "finer"])
def test_kd_dense_and_kd_angle_compare_what_lies_at_the_same_place(step, grid):
    """A student that already has what the teacher has, each on a grid of its own, loses next to nothing."""
    _, seen = step
    y, x = np.meshgrid(*[(np.arange(80) + 0.5) / 80] * 2, indexing="ij")
    waves = [np.ones_like(x), *(np.sin(k * x + (3 - k) * y) for k in range(7))]
    scene = torch.from_numpy(np.stack(waves)[None]).float().expand(4, -1, -1, -1)
    mine, its = (torch.nn.functional.adaptive_avg_pool2d(scene, size) for size in ((16, 16), grid))
    outputs = seen.outputs._replace(embedding=mine)
    twins = Step(outputs, seen.batch, Lesson(features=its), torch.nn.Identity())
    assert all(float(loss) < 2e-3 for loss in losses_of({"kd_dense": 1.0, "kd_angle": 1.0}, twins).values())
    turned = dataclasses.replace(twins, lesson=Lesson(features=its.flip(3)))
    assert all(float(loss) > 5e-3 for loss in losses_of({"kd_dense": 1.0, "kd_angle": 1.0}, turned).values())
