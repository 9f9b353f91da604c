"""Where a student sees what is like a thing."""

import cv2
import numpy as np
import pytest

from cloud.case_images import CaseImage
from cloud.evidence import look, pool_things
from cloud.similarity import cosines, draw_map


@pytest.fixture
def values(twin, painting):
    """A map of a green thing at (50, 50), with another at (110, 50) and a blue one at (50, 110), 150 px high."""
    spots = ((50, 50, painting.GREEN), (110, 50, painting.GREEN), (50, 110, painting.BLUE))
    evidence = look(twin, CaseImage(painting.paint(*spots)[:150]), None)
    vectors = pool_things(evidence, painting.box_at((50, 50)), None, 4)
    return cosines(evidence, vectors, 4)


def test_map_is_highest_where_the_like_is_and_leaves_padding_out(values):
    assert values.shape == (38, 40)
    assert values[12, 12] == pytest.approx(1.0, abs=1e-3)
    assert values[12, 27] == pytest.approx(1.0, abs=1e-3)
    assert values[27, 12] < 0.9


def test_picture_is_as_large_as_the_map_and_clear_where_nothing_is_like_it(values):
    found = draw_map(values)
    picture = cv2.imdecode(np.frombuffer(found.png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (38, 40, 4)
    assert (found.width, found.height) == (40, 38)
    assert picture[12, 12, 3] > 190
    assert np.median(picture[..., 3]) == 0
    assert found.low < found.high == pytest.approx(1.0, abs=1e-3)


def test_map_without_any_difference_is_clear():
    found = draw_map(np.full((4, 5), 0.3, np.float32))
    assert cv2.imdecode(np.frombuffer(found.png, np.uint8), cv2.IMREAD_UNCHANGED)[..., 3].max() == 0
