import numpy as np
import pytest

from edge.errors import RuntimeUnavailable
from edge.runtime import RawOutputs, open_backend
from edge.runtime.agreement import check_agreement, check_picture, mean_cosine


class Changed:
    """The CPU's answer with one thing changed."""

    name = "changed"

    def __init__(self, bundle, change):
        self.honest, self.change = open_backend(bundle, threads=1), change

    def run(self, image):
        raw = self.honest.run(image)
        return self.change(raw)


def test_check_agreement_of_the_cpu_with_itself_is_one(tiny_bundle):
    assert check_agreement(tiny_bundle, open_backend(tiny_bundle, threads=1)) == pytest.approx(1.0)


def not_finite(raw):
    raw.objectness[3, 4] = np.nan
    return raw


def mirrored(raw):
    return RawOutputs(raw.embedding[:, :, ::-1], raw.objectness, raw.box_ltrb, raw.class_logits)


def crashed(raw):
    raise OSError("illegal memory access")


@pytest.mark.parametrize(
    ("change", "reason"),
    [(not_finite, "cosine nan"), (mirrored, "cosine 0"), (crashed, "fails on the first picture .illegal memory")],
)
def test_check_agreement_refuses(tiny_bundle, change, reason):
    with pytest.raises(RuntimeUnavailable, match=reason):
        check_agreement(tiny_bundle, Changed(tiny_bundle, change))


@pytest.mark.parametrize("bands", [1, 3, 6])
def test_check_picture_is_the_same_every_time_and_not_flat(bands):
    picture = check_picture(bands)
    assert (picture.shape, picture.dtype) == ((512, 640, bands), np.uint8)
    np.testing.assert_array_equal(picture, check_picture(bands))
    assert picture.std() > 30


def test_mean_cosine_equals_the_slow_way():
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=(5, 3, 4)).astype(np.float32) for _ in range(2))
    pairs = [(a[:, y, x], b[:, y, x]) for y in range(3) for x in range(4)]
    slow = [p @ q / np.linalg.norm(p) / np.linalg.norm(q) for p, q in pairs]
    rest = (np.zeros((3, 4)), np.zeros((4, 3, 4)), np.zeros((1, 3, 4)))
    assert mean_cosine(RawOutputs(a, *rest), RawOutputs(b, *rest)) == pytest.approx(np.mean(slow), abs=1e-6)
