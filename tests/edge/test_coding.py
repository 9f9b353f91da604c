import numpy as np
import pytest

from edge.coding import CODINGS, REFERENCE, WEBP_PIXELS, choose_coding, encode_as, encode_worthily
from protocols.imagery import decode_image

CROP = 320 * 320


def chosen(worth=1.0, scarcity=1.0, size=16_000, pixels=CROP):
    return choose_coding(size, pixels, worth, scarcity)


def test_free_bytes_buy_the_best_picture():
    assert chosen(scarcity=0.0) is REFERENCE


def test_scarce_bytes_go_where_they_bring_most_each():
    gains = [coding.kept / (coding.size * 16_000 + 2000) for coding in CODINGS]
    assert chosen() is CODINGS[int(np.argmax(gains))]


def test_the_scarcer_the_bytes_the_fewer_are_spent():
    sizes = [chosen(worth=2.0, scarcity=scarcity).size for scarcity in np.linspace(0, 1, 11)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_the_more_a_case_is_worth_the_better_its_picture():
    kept = [chosen(worth=worth).kept for worth in (1.0, 2.0, 4.0, 50.0)]
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]


def test_large_picture_is_no_webp():
    assert chosen(pixels=WEBP_PIXELS + 1, size=300_000).media_type == "image/jpeg"
    assert chosen(pixels=WEBP_PIXELS, size=300_000).media_type == "image/webp"


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1), (64, 64, 3)])
@pytest.mark.parametrize("coding", [CODINGS[0], REFERENCE], ids=["webp", "jpeg"])
def test_every_picture_is_encoded_as_it_says(shape, coding):
    decoded = decode_image(encode_as(np.full(shape, 90, np.uint8), coding), coding.media_type)
    assert decoded.shape[:2] == (64, 64)
    assert abs(float(decoded.mean()) - 90) < 3


def test_pictures_of_one_case_share_a_coding_and_take_what_it_takes():
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    _, dear = encode_worthily([noise, noise], worth=1.0, scarcity=0.0)
    coding, cheap = encode_worthily([noise, noise], worth=1.0, scarcity=1.0)
    assert len(dear) == len(cheap) == 2
    assert sum(map(len, cheap)) < sum(map(len, dear)) / 2
    assert all(decode_image(data, coding.media_type).shape == noise.shape for data in cheap)


def test_kept_grows_with_size_within_a_codec():
    for media_type in ("image/jpeg", "image/webp"):
        own = sorted((c for c in CODINGS if c.media_type == media_type), key=lambda c: c.quality)
        assert [c.kept for c in own] == sorted(c.kept for c in own)
        assert [c.size for c in own] == sorted(c.size for c in own)
