import numpy as np
import pytest

from distill.shapes import KINDS, draw_shape, paste_shape


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", [0, 1, 17, KINDS - 1])
def test_draw_shape_fills_part_of_its_canvas(kind):
    pixels, alpha = draw_shape(kind, gray=False)
    assert (pixels.shape, pixels.dtype, alpha.shape, alpha.dtype) == ((96, 96, 3), np.uint8, (96, 96), np.float32)
    assert 0.01 < (alpha > 0.5).mean() < 0.9
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_draw_shape_same_kind_is_the_same_picture():
    first = draw_shape(5, gray=False)[0].copy()
    draw_shape.cache_clear()
    np.testing.assert_array_equal(draw_shape(5, gray=False)[0], first)


def test_draw_shape_kinds_differ():
    masks = {draw_shape(kind, gray=True)[1].tobytes() for kind in range(50)}
    assert len(masks) == 50


def test_draw_shape_gray_has_three_equal_channels():
    pixels, _ = draw_shape(9, gray=True)
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("kind", range(8))
def test_paste_box_encloses_the_visible_shape(kind):
    # The same paste over black and over white shows what it covers: 1 - difference / 255.
    black, white = np.zeros((128, 160, 3), np.uint8), np.full((128, 160, 3), 255, np.uint8)
    box = paste_shape(black, kind, 40.0, gray=False, rng=rng(kind))
    np.testing.assert_array_equal(paste_shape(white, kind, 40.0, gray=False, rng=rng(kind)), box)
    cover = 1 - (white.astype(float) - black)[..., 0] / 255
    ys, xs = np.nonzero(cover > 0.405)
    np.testing.assert_allclose(box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1)


@pytest.mark.parametrize("side_px", [12.0, 30.0, 60.0])
def test_paste_box_has_about_the_wanted_side(side_px):
    image = np.zeros((256, 256, 3), np.uint8)
    boxes = [paste_shape(image, kind, side_px, gray=True, rng=rng(kind)) for kind in range(20)]
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in boxes]
    # The side is that of the shape before its turn: up to sqrt(2) longer after it, shorter where the patch cuts it.
    assert 0.7 * side_px < np.median(sides) < 1.45 * side_px


def test_paste_into_too_small_an_image_changes_nothing():
    image = np.full((32, 32, 3), 9, np.uint8)
    assert not paste_shape(image, 3, 40.0, gray=False, rng=rng()).any()
    assert (image == 9).all()
