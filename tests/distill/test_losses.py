import numpy as np
import pytest
import torch

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


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def tensor(values):
    return torch.from_numpy(np.asarray(values, np.float32))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_heat_loss_equals_the_focal_formula(rng):
    logits, heat, care = rng.normal(size=(2, 3, 4, 5)), rng.random((2, 3, 4, 5)) * 0.9, np.ones((2, 1, 4, 5))
    heat[0, 1, 2, 3] = heat[1, 0, 0, 0] = 1.0
    care[0, 0, 1] = 0
    expected = 0.0
    for n, c, y, x in np.ndindex(logits.shape):
        p = sigmoid(logits[n, c, y, x])
        peak, penalty = heat[n, c, y, x] == 1, (1 - heat[n, c, y, x]) ** 4
        term = (1 - p) ** 2 * np.log(p) if peak else penalty * p**2 * np.log(1 - p)
        expected -= term * care[n, 0, y, x] / 2  # two objects
    assert float(heat_loss(tensor(logits), tensor(heat), tensor(care))) == pytest.approx(expected, rel=1e-4)


def test_heat_loss_perfect_answer_is_zero():
    heat = torch.zeros(1, 1, 4, 4)
    heat[0, 0, 1, 2] = 1.0
    assert float(heat_loss((heat - 0.5) * 40, heat, torch.ones(1, 1, 4, 4))) < 1e-6


def test_heat_loss_ignored_cells_cost_nothing():
    heat, care = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    logits = torch.full((1, 1, 4, 4), -30.0)
    logits[0, 0, 2, 2], care[0, 0, 2, 2] = 30.0, 0.0
    assert float(heat_loss(logits, heat, care)) < 1e-6


def test_heat_loss_survives_extreme_logits():
    logits = torch.tensor([[[[1e4, -1e4]]]], requires_grad=True)
    loss = heat_loss(logits, torch.tensor([[[[0.0, 1.0]]]]), torch.ones(1, 1, 1, 2))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def giou(a, b):
    """Of two x1, y1, x2, y2 boxes, by the definition."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return overlap / union - (hull - union) / hull


def test_box_loss_equals_generalised_iou(rng):
    predicted, target, weight = rng.normal(size=(1, 4, 2, 3)), rng.normal(size=(1, 4, 2, 3)), rng.random((1, 2, 3))
    weight[0, 0, 0] = 0
    total = 0.0
    for y, x in np.ndindex(2, 3):
        (a, b, c, d), (e, f, g, h) = np.exp(predicted[0, :, y, x]), np.exp(target[0, :, y, x])
        total += weight[0, y, x] * (1 - giou((-a, -b, c, d), (-e, -f, g, h)))
    expected = total / max(weight.sum(), 1)
    assert float(box_loss(tensor(predicted), tensor(target), tensor(weight))) == pytest.approx(expected, rel=1e-4)


def test_box_loss_perfect_answer_is_zero(rng):
    target = tensor(rng.normal(size=(2, 4, 3, 3)))
    assert float(box_loss(target, target, torch.ones(2, 3, 3))) == pytest.approx(0, abs=1e-6)


def test_box_loss_without_objects_is_zero_with_gradient():
    predicted = torch.zeros(1, 4, 2, 2, requires_grad=True)
    loss = box_loss(predicted, torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2))
    loss.backward()
    assert float(loss.detach()) == 0


def slow_contrastive(objects, kinds, background, temperature=0.1):
    """Eq. 2 of arXiv:2004.11362, anchor by anchor, each kind with the same say."""
    unit = [v / np.linalg.norm(v) for v in objects]
    others = [v / np.linalg.norm(v) for v in background]
    total = weights = 0.0
    for i, anchor in enumerate(unit):
        same = [j for j in range(len(unit)) if j != i and kinds[j] == kinds[i]]
        if not same:
            continue
        rivals = [anchor @ v / temperature for j, v in enumerate(unit) if j != i]
        rivals += [anchor @ v / temperature for v in others]
        log_sum = np.log(np.sum(np.exp(rivals)))
        loss = -np.mean([anchor @ unit[j] / temperature - log_sum for j in same])
        total, weights = total + loss / (len(same) + 1), weights + 1 / (len(same) + 1)
    return total / weights


def test_contrastive_loss_equals_the_slow_formula(rng):
    objects, background, kinds = rng.normal(size=(9, 6)), rng.normal(size=(5, 6)), [0, 0, 0, 0, 1, 1, 7, -1, -1]
    found = contrastive_loss(tensor(objects), torch.tensor(kinds), tensor(background))
    assert float(found) == pytest.approx(slow_contrastive(objects, kinds, background), rel=1e-4)


def test_contrastive_loss_is_lower_for_separated_kinds(rng):
    kinds = torch.tensor([0, 0, 1, 1, 2, 2])
    background = tensor(-np.ones((4, 3)))
    separated, mixed = tensor(np.repeat(np.eye(3), 2, axis=0)), tensor(np.tile(np.eye(3), (2, 1)))
    assert float(contrastive_loss(separated, kinds, background)) < 0.01
    assert float(contrastive_loss(mixed, kinds, background)) > 5


def test_contrastive_loss_background_beside_an_object_costs(rng):
    objects, kinds = tensor([[1, 0], [1, 0.0]]), torch.tensor([3, 3])
    far, near = tensor([[-1, 0.0]]), tensor([[1, 0.0]])
    assert float(contrastive_loss(objects, kinds, near)) > float(contrastive_loss(objects, kinds, far)) + 0.5


@pytest.mark.parametrize(
    "kinds",
    [pytest.param([], id="no-object"), pytest.param([1], id="one-object"), pytest.param([1, 2], id="no-pair")],
)
def test_contrastive_loss_without_pairs_is_zero(kinds):
    objects = torch.ones(len(kinds), 4, requires_grad=True)
    loss = contrastive_loss(objects, torch.tensor(kinds, dtype=torch.int64), torch.ones(3, 4))
    loss.backward()
    assert float(loss.detach()) == 0


def taught(rng):
    """Logits, a teacher's probabilities and the truth of two classes and objectness."""
    truth = rng.random((2, 1, 3, 4))
    return rng.normal(size=(2, 3, 3, 4)), rng.random((2, 3, 3, 4)), truth


def test_taught_heat_loss_equals_the_slow_formula(rng):
    logits, told, truth = taught(rng)
    expected = sum(
        (sigmoid(logits[n, c, y, x]) - told[n, c, y, x]) ** 2 * (0.1 + max(told[n, -1, y, x], truth[n, 0, y, x])) / 5
        for n, c, y, x in np.ndindex(logits.shape)
    )
    found = taught_heat_loss(tensor(logits), tensor(told), tensor(truth), torch.tensor(5))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_taught_heat_loss_does_not_hear_a_teacher_of_what_it_has_not_learnt(rng):
    """Nor of objects where the truth sees more of one: it may be a thing of that very kind."""
    logits, told, truth = taught(rng)
    knows = [1, 0, 1]
    expected = sum(
        (sigmoid(logits[n, c, y, x]) - told[n, c, y, x]) ** 2 * (0.1 + max(told[n, -1, y, x], truth[n, 0, y, x])) / 5
        for n, c, y, x in np.ndindex(logits.shape)
        if knows[c] and not (c == 2 and truth[n, 0, y, x] > told[n, 2, y, x])
    )
    mask = tensor(np.array(knows, float)[:, None, None])
    found = taught_heat_loss(tensor(logits), tensor(told), tensor(truth), torch.tensor(5), mask)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_taught_box_loss_counts_cells_by_the_teachers_belief(rng):
    mine, its, belief = rng.normal(size=(2, 4, 3, 4)), rng.normal(size=(2, 4, 3, 4)), rng.random((2, 1, 3, 4))
    total = seen = 0.0
    for n, y, x in np.ndindex(2, 3, 4):
        if belief[n, 0, y, x] > 0.2:
            total += belief[n, 0, y, x] * np.abs(mine - its)[n, :, y, x].mean()
            seen += belief[n, 0, y, x]
    found = taught_box_loss(tensor(mine), tensor(its), tensor(belief))
    assert float(found) == pytest.approx(total / max(seen, 1), rel=1e-4)


def cosine(u, v):
    return u @ v / np.linalg.norm(u) / np.linalg.norm(v)


def test_taught_embedding_loss_equals_the_slow_formula(rng):
    mine, its = rng.normal(size=(2, 5, 3, 4)), rng.normal(size=(2, 5, 3, 4))
    belief, truth = rng.random((2, 1, 3, 4)), rng.random((2, 1, 3, 4))
    weights = [max(belief[n, 0, y, x], truth[n, 0, y, x]) + 0.05 for n, y, x in np.ndindex(2, 3, 4)]
    losses = [1 - cosine(mine[n, :, y, x], its[n, :, y, x]) for n, y, x in np.ndindex(2, 3, 4)]
    found = taught_embedding_loss(*map(tensor, (mine, its, belief, truth)))
    assert float(found) == pytest.approx(np.average(losses, weights=weights), rel=1e-4)


def test_dense_loss_is_the_mean_over_cells(rng):
    mine, its = rng.normal(size=(2, 5, 3, 4)), rng.normal(size=(2, 5, 3, 4))
    expected = np.mean([1 - cosine(mine[n, :, y, x], its[n, :, y, x]) for n, y, x in np.ndindex(2, 3, 4)])
    assert float(dense_loss(tensor(mine), tensor(its))) == pytest.approx(expected, rel=1e-4)
    assert float(dense_loss(tensor(3 * its), tensor(its))) == pytest.approx(0, abs=1e-6)


def test_angle_loss_equals_the_slow_formula_over_pairs(rng):
    mine, its = rng.normal(size=(9, 2)), rng.normal(size=(9, 3))
    errors = [cosine(mine[i], mine[j]) - cosine(its[i], its[j]) for i in range(9) for j in range(i)]
    expected = np.mean([e**2 / 2 if abs(e) <= 1 else abs(e) - 0.5 for e in errors])
    assert max(map(abs, errors)) > 1  # both branches
    assert float(angle_loss(tensor(mine), tensor(its))) == pytest.approx(expected, rel=1e-4)


def test_angle_loss_sees_no_turn_and_no_length(rng):
    its = rng.normal(size=(6, 8))
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    lengths = rng.random((6, 1)) + 0.1
    assert float(angle_loss(tensor(lengths * its @ turn), tensor(its))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_angle_loss_without_a_pair_is_zero_with_gradient(count):
    mine = torch.ones(count, 3, requires_grad=True)
    loss = angle_loss(mine, torch.ones(count, 5))
    loss.backward()
    assert float(loss.detach()) == 0
