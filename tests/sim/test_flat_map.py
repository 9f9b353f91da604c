import pytest

from sim.flat_map import to_degrees, to_metres


def test_degrees_and_metres_are_each_others_inverse():
    assert to_metres(*to_degrees(120.0, -75.0)) == pytest.approx((120.0, -75.0), abs=1e-6)


def test_a_degree_of_longitude_is_shorter_than_one_of_latitude():
    east_m, _ = to_metres(47.0, 9.0)
    _, north_m = to_metres(48.0, 8.0)
    assert east_m == pytest.approx(75_920, rel=1e-3)
    assert north_m == pytest.approx(111_320)
