"""Imagery as pictures, and the way between its pixels and the frame's."""

import numpy as np
import pytest

from cloud import case_images
from cloud.case_images import CaseImage, open_case_image, open_case_images, viewable
from protocols import ImageryError, encode_image
from protocols.values import CasePart


def test_boxes_go_to_the_frame_and_back(painting):
    image = CaseImage(painting.paint(), (0.5, 0.5), (100, 40))
    boxes = painting.box_at((20, 30), (50, 60))
    assert image.to_frame(boxes)[0].tolist() == [124, 84, 156, 116]
    assert image.from_frame(image.to_frame(boxes)) == pytest.approx(boxes)


def test_open_takes_the_scale_from_the_pixels(painting):
    picture = painting.paint(size=(80, 80))
    case, payload = painting.make_case(picture, region_xyxy=(10, 20, 170, 180), image_scale=0.5)
    opened = open_case_image(case, payload)
    assert (opened.scale_xy, opened.origin_xy) == ((0.5, 0.5), (10, 20))
    assert opened.at_frame_scale().image.shape == (160, 160, 3)
    assert opened.at_frame_scale().scale_xy == (1.0, 1.0)


def test_open_refuses_a_picture_of_another_size(painting):
    case, payload = painting.make_case(painting.paint(), region_xyxy=(0, 0, 320, 160))
    with pytest.raises(ImageryError, match="promise 320x160"):
        open_case_image(case, payload)


def test_pictures_of_a_case_are_measured_together_before_any_is_decoded(painting, monkeypatch):
    picture = encode_image(painting.paint(size=(80, 80)), "image/png")
    further = (CasePart(region_xyxy=(80, 0, 160, 80), payload_bytes=len(picture)),)
    case, payload = painting.make_case(
        painting.paint(size=(80, 80)),
        payload=2 * picture,
        media_type="image/png",
        region_xyxy=(0, 0, 80, 80),
        further=further,
    )
    assert len(open_case_images(case, payload)) == 2
    monkeypatch.setattr(case_images, "MAX_IMAGE_PIXELS", 80 * 80)
    decoded = []
    monkeypatch.setattr(case_images, "decode_image", lambda *picture: decoded.append(picture))
    with pytest.raises(ImageryError, match="2 images have 12800 pixels, at most 6400"):
        open_case_images(case, payload)
    monkeypatch.setattr(case_images, "MAX_IMAGE_PIXELS", 1 << 26)
    bigger = case.model_copy(update={"further": (further[0].model_copy(update={"region_xyxy": (80, 0, 90, 10)}),)})
    with pytest.raises(ImageryError, match="promise 10x10"):
        open_case_images(bigger, payload)
    assert decoded == []


def test_at_frame_scale_leaves_huge_regions():
    image = CaseImage(np.zeros((100, 100), np.uint8), (0.01, 0.01))
    assert image.at_frame_scale() is image


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.arange(64, dtype=np.uint16).reshape(8, 8) * 500, (8, 8)),
        (np.random.default_rng(0).normal(size=(8, 8, 7)).astype(np.float32), (8, 8, 3)),
        (np.full((8, 8, 2), np.nan, np.float32), (8, 8)),
    ],
    ids=["16 bit", "seven bands", "not finite"],
)
def test_viewable_stretches_other_depths(array, shape):
    image = viewable(array)
    assert (image.dtype, image.shape) == (np.uint8, shape)


def test_open_raw_imagery(painting):
    raw = np.zeros((64, 64, 5), np.float32)
    payload = encode_image(raw, "application/x-skyloop-raw")
    case, _ = painting.make_case(raw, payload=payload, media_type="application/x-skyloop-raw")
    assert open_case_image(case, payload).image.shape == (64, 64, 3)
