import numpy as np
import pytest
import torch

from distill.losses import box_loss, contrastive_loss, distillation_loss, heat_loss
from distill.network import Outputs


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


def maps(rng, classes):
    return Outputs(*(tensor(rng.normal(size=(1, c, 3, 4))) for c in (5, 1, 4, classes)))


def test_distillation_loss_equals_the_slow_formulas(rng):
    student, teacher, heat = maps(rng, 2), maps(rng, 3), rng.random((1, 3, 3, 4))
    heat[0, 0, 1, 1] = 1.0
    found = distillation_loss(student, teacher, [2, 0], tensor(heat))
    a, b = (Outputs(*(m[0].numpy().astype(float) for m in o)) for o in (student, teacher))
    kd_heat = kd_box = seen = kd_embedding = cells = 0.0
    for y, x in np.ndindex(3, 4):
        belief = sigmoid(b.objectness[0, y, x])
        weight = max(belief, heat[0, -1, y, x])
        pairs = [(a.class_logits[0], b.class_logits[2]), (a.class_logits[1], b.class_logits[0])]
        pairs += [(a.objectness[0], b.objectness[0])]
        kd_heat += sum((sigmoid(p[y, x]) - sigmoid(q[y, x])) ** 2 for p, q in pairs) * (0.1 + weight)
        if belief > 0.2:
            kd_box, seen = kd_box + belief * np.abs(a.box_ltrb - b.box_ltrb)[:, y, x].mean(), seen + belief
        u, v = a.embedding[:, y, x], b.embedding[:, y, x]
        kd_embedding += (1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v)) * (weight + 0.05)
        cells += weight + 0.05
    expected = {"kd_heat": kd_heat, "kd_box": kd_box / max(seen, 1), "kd_embedding": kd_embedding / cells}
    assert {k: float(v) for k, v in found.items()} == pytest.approx(expected, rel=1e-4)


def test_distillation_loss_equal_maps_cost_nothing(rng):
    outputs = maps(rng, 2)
    losses = distillation_loss(outputs, outputs, [0, 1], torch.zeros(1, 3, 3, 4))
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(
        {"kd_heat": 0, "kd_box": 0, "kd_embedding": 0}, abs=1e-6
    )
