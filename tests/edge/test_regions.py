import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.regions import are_shown, choose_regions, grown

SIZE = (1280, 720)


def boxes(*corners):
    return np.array(corners, np.float32).reshape(-1, 4)


NEAR, FAR = (100, 100, 116, 116), (1100, 600, 1116, 616)


def test_nothing_to_show_shows_the_whole_frame():
    assert choose_regions(boxes(), SIZE, 320, 4) == [(0, 0, *SIZE)]


def test_things_that_are_near_share_a_crop_and_far_ones_do_not():
    near = choose_regions(boxes(NEAR, (300, 100, 316, 116)), SIZE, 320, 4)
    far = choose_regions(boxes(NEAR, FAR), SIZE, 320, 4)
    assert (len(near), len(far)) == (1, 2)
    assert far[0][0] < NEAR[0] < NEAR[2] < far[0][2] < far[1][0] < FAR[0]


def test_the_most_important_are_shown_where_crops_run_out():
    assert choose_regions(boxes(FAR, NEAR), SIZE, 320, 1) == choose_regions(boxes(FAR), SIZE, 320, 1)


@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 650), st.integers(4, 80)), min_size=1, max_size=12))
def test_crops_show_the_first_thing_and_no_more_pixels_than_one_crop_each(places):
    things = boxes(*((x, y, x + side, min(y + side, 720)) for x, y, side in places))
    regions = choose_regions(things, SIZE, 64, len(things))
    alone = [choose_regions(thing[None], SIZE, 64, 1)[0] for thing in things]
    area = [sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in crops) for crops in (regions, alone)]
    assert area[0] <= area[1]
    assert are_shown(things[:1], regions).all()
    assert all(0 <= x1 < x2 <= 1280 and 0 <= y1 < y2 <= 720 for x1, y1, x2, y2 in regions)


def test_crops_that_join_show_no_more_than_so_many_apart():
    row = boxes(*((x, 300, x + 16, 316) for x in range(40, 1200, 120)))
    regions = choose_regions(row, SIZE, 320, 2)
    assert sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in regions) <= 2 * 384**2
    assert are_shown(row, regions).sum() > 3


@pytest.mark.parametrize(
    ("factor", "expected"), [(2.0, (0, 100, 300, 500)), (1.0, (0, 200, 200, 400)), (99.0, (0, 0, *SIZE))]
)
def test_grown_stays_in_the_frame(factor, expected):
    assert grown((0, 200, 200, 400), SIZE, factor) == expected
