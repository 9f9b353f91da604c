import numpy as np
import pytest
import torch

from distill.episodes import prompt_loss


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def slow_prompt_loss(features, cells, background):
    """Kind by kind and query by query, both ways round."""
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    everything = [(*map(int, row[:3]), int(row[3])) for row in cells] + [(*map(int, row), -1) for row in background]
    losses = []
    for parity in (0, 1):
        support = [c for c in everything if c[0] % 2 == parity]
        queries = [c for c in everything if c[0] % 2 != parity]
        for kind in {c[3] for c in support} & {c[3] for c in queries} - {-1}:
            prototype = np.sum([unit[c[:3]] for c in support if c[3] == kind], axis=0)
            prototype /= np.linalg.norm(prototype)
            others = [unit[c[:3]] for c in support if c[3] != kind]
            negatives = sorted((v for v in others if v @ prototype <= 0.95), key=lambda v: -(v @ prototype))[:24]
            here, elsewhere = [], []
            for query in queries:
                vector = unit[query[:3]]
                rival = max([0.63, *(vector @ n - 0.05 for n in negatives)])
                answer = 1 / (1 + np.exp(-(vector @ prototype - rival) / 0.07))
                (here if query[3] == kind else elsewhere).append(answer)
            losses.append((-np.mean(np.log(here)) - (np.mean(np.log1p(-np.array(elsewhere))) if elsewhere else 0)) / 2)
    return np.mean(losses)


def batch_of(rng, images=4, kinds=3, dim=6):
    features = rng.normal(size=(images, 5, 5, dim)) + rng.normal(size=dim)
    places = [(i, *divmod(p, 5)) for i in range(images) for p in rng.permutation(25)[:18]]
    cells = [(*place, int(rng.integers(kinds))) for place in places[::2]]
    return features, np.array(cells), np.array(places[1::2])


def tensors(features, cells, background):
    return torch.from_numpy(features), torch.from_numpy(cells), torch.from_numpy(background)


@pytest.mark.parametrize("kinds", [1, 3, 9])
def test_prompt_loss_equals_the_slow_episodes(rng, kinds):
    batch = batch_of(rng, kinds=kinds)
    assert float(prompt_loss(*tensors(*batch))) == pytest.approx(slow_prompt_loss(*batch), rel=1e-6)


def test_prompt_loss_is_low_for_kinds_apart_and_high_for_kinds_mixed():
    cells = torch.tensor([[0, 0, 0, 7], [0, 0, 1, 8], [1, 0, 0, 7], [1, 0, 1, 8]])
    background = torch.tensor([[0, 1, 0], [1, 1, 0]])
    features = torch.zeros(2, 2, 2, 3)
    features[:, 0, 0], features[:, 0, 1], features[:, 1, 0] = torch.eye(3)
    mixed = features.clone()
    mixed[1, 0] = features[1, 0].flip(0)
    assert float(prompt_loss(features, cells, background)) < 0.02
    assert float(prompt_loss(mixed, cells, background)) > 2


@pytest.mark.parametrize(
    ("cells", "background"),
    [
        pytest.param(np.zeros((0, 4), np.int64), [[0, 2, 2], [1, 2, 2]], id="no-object"),
        pytest.param([[0, 0, 0, 3], [0, 1, 1, 3]], [[0, 2, 2], [1, 2, 2]], id="kind-in-support-alone"),
        pytest.param([[0, 0, 0, 3], [1, 1, 1, 4]], [[0, 2, 2], [1, 2, 2]], id="no-kind-shared"),
        pytest.param([[0, 0, 0, 3], [0, 1, 1, 3]], [[0, 2, 2]], id="other-half-ignored"),
    ],
)
def test_prompt_loss_without_an_episode_is_zero(cells, background):
    features = torch.rand(2, 3, 3, 4, requires_grad=True)
    loss = prompt_loss(features, torch.as_tensor(cells), torch.tensor(background))
    loss.backward()
    assert float(loss.detach()) == 0


def test_prompt_loss_falls_when_it_is_trained_and_new_instances_answer(rng):
    """Kinds differ in 4 of 24 noisy channels: a linear embedding has to find these."""
    looks = rng.normal(size=(5, 4)) * 3

    def scene():
        features = rng.normal(size=(6, 4, 4, 24))
        cells = np.array([(i, k // 4, k % 4, k) for i in range(6) for k in range(5)])
        features[tuple(cells[:, :3].T)][:, :4] = 0
        for i, y, x, kind in cells:
            features[i, y, x, :4] += looks[kind]
        background = np.array([(i, y, x) for i in range(6) for y in (2, 3) for x in range(4)])
        return tensors(features.astype(np.float32), cells, background)

    torch.manual_seed(0)
    embed = torch.nn.Linear(24, 8)
    optimiser = torch.optim.Adam(embed.parameters(), 0.02)

    def loss_on(batch):
        return prompt_loss(embed(batch[0]), *batch[1:])

    held_out = scene()
    before = float(loss_on(held_out).detach())
    for _ in range(150):
        optimiser.zero_grad()
        loss_on(scene()).backward()
        optimiser.step()
    assert float(loss_on(held_out).detach()) < 0.5 * before
