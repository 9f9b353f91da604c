import numpy as np
import pytest
import torch

from distill.errors import TrainingError
from distill.phi_s import PhiS, estimate, from_moments, hadamard, is_order, load_phi_s, save_phi_s


@pytest.fixture
def features():
    """Four maps of 12 channels whose sizes differ a hundredfold, mixed and away from zero."""
    generator = torch.Generator().manual_seed(3)
    raw = torch.randn(4, 12, 10, 12, generator=generator) * torch.logspace(-1, 1, 12)[:, None, None]
    mix = torch.linalg.qr(torch.randn(12, 12, generator=generator))[0]
    return torch.einsum("cd,ndhw->nchw", mix, raw) + 5.0


def rows(maps):
    return maps.permute(0, 2, 3, 1).flatten(0, 2).double()


def fitted(maps):
    cells = rows(maps)
    return from_moments(cells.mean(dim=0), torch.cov(cells.T, correction=0))


@pytest.mark.parametrize("order", [1, 2, 4, 8, 12, 20, 64, 96, 384, 768, 1152, 1280, 1408])
def test_hadamard_is_orthogonal_with_entries_of_one_size(order):
    matrix = hadamard(order)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(order, dtype=torch.float64))
    torch.testing.assert_close(matrix.abs(), torch.full_like(matrix, order**-0.5))


def test_orders_that_cannot_be_made_are_told():
    assert [n for n in range(1, 41) if is_order(n)] == [1, 2, 4, 8, 12, 16, 20, 24, 32, 40]


def test_every_channel_has_variance_one(features):
    out = rows(fitted(features).normalise(features))
    np.testing.assert_allclose(out.mean(dim=0), 0, atol=1e-4)
    np.testing.assert_allclose(out.var(dim=0, correction=0), 1, rtol=1e-4)


def test_total_variance_is_that_of_the_channels_where_some_are_filled_up(features):
    odd = features[:, :11]
    phi_s = fitted(odd)
    out = rows(phi_s.normalise(odd))
    assert out.shape[1] == phi_s.channels == 12
    np.testing.assert_allclose(out.var(dim=0, correction=0), 1, rtol=1e-4)


@pytest.mark.parametrize("width", [12, 11])
def test_restore_undoes_normalise(features, width):
    maps = features[:, :width]
    phi_s = fitted(maps)
    torch.testing.assert_close(phi_s.restore(phi_s.normalise(maps)), maps, rtol=1e-4, atol=1e-4)


def test_angles_about_the_mean_are_kept(features):
    before, after = rows(features), rows(fitted(features).normalise(features))
    before = before - before.mean(dim=0)
    cosines = [torch.nn.functional.normalize(v[:50], dim=1) for v in (before, after)]
    torch.testing.assert_close(cosines[0] @ cosines[0].T, cosines[1] @ cosines[1].T, rtol=1e-4, atol=1e-4)


def test_estimate_equals_the_fit_on_all_its_maps(features):
    found, expected = estimate(iter(features.split(1)), least_maps=4), fitted(features)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.normalise(features), expected.normalise(features), rtol=1e-3, atol=1e-3)


def test_estimate_goes_on_while_cells_are_few(features):
    taken = []
    few = (taken.append(i) or features[i % 4, :, :4, :5][None] for i in range(100))
    estimate(few, least_maps=2)
    assert len(taken) == 10  # 12 channels x 16 cells / 20 cells a map


def test_features_that_are_the_same_everywhere_are_refused():
    with pytest.raises(TrainingError, match="same everywhere"):
        estimate(iter([torch.full((4, 8, 8, 8), 0.3)]), least_maps=1)


@pytest.fixture
def kept(features, tmp_path):
    phi_s, path = fitted(features), tmp_path / "run" / "phi_s.safetensors"
    save_phi_s(path, phi_s, "teacher a")
    return phi_s, path


def test_kept_scales_come_back(kept):
    phi_s, path = kept
    back = load_phi_s(path, "teacher a")
    assert all(torch.equal(getattr(phi_s, name), getattr(back, name)) for name in PhiS.__dataclass_fields__)


@pytest.mark.parametrize(
    ("damage", "teacher", "words"),
    [
        pytest.param(lambda p: p.unlink(), "teacher a", "no readable scales", id="missing"),
        pytest.param(lambda p: p.write_bytes(b"junk"), "teacher a", "no readable scales", id="damaged"),
        pytest.param(lambda p: None, "teacher b", "is of teacher teacher a, the recipe's is now teacher b", id="other"),
    ],
)
def test_scales_that_do_not_belong_are_refused(kept, damage, teacher, words):
    damage(kept[1])
    with pytest.raises(TrainingError, match=words):
        load_phi_s(kept[1], teacher)
