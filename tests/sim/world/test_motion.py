import math

import numpy as np
import pytest

from sim.world.motion import Motion, MotionTable, Route


@pytest.mark.parametrize(
    ("motion", "time_s", "expected"),
    [
        pytest.param(Motion((1.0, 2.0), 0.5), 9.0, (1.0, 2.0, 0.5), id="stands still"),
        pytest.param(Motion((0, 0), 0.0, 2.0, 100.0), 3.0, (6.0, 0.0, 0.0), id="drives"),
        pytest.param(Motion((0, 0), 0.0, 2.0, 10.0, 5.0), 4.0, (3.0, 0.0, 0.0), id="starts over"),
        pytest.param(
            Motion((0, 0), math.pi / 2, 1.0, 10.0, turns_back=True), 12.0, (0.0, 8.0, 1.5 * math.pi), id="turns"
        ),
    ],
)
def test_motion_at(motion, time_s, expected):
    assert motion.at(time_s) == pytest.approx(expected, abs=1e-9)


def test_motion_table_agrees_with_single_motions():
    motions = [Motion((k, -k), 0.3 * k, 0.5 * k, 7.0, k, turns_back=k % 2 == 0) for k in range(6)]
    assert MotionTable(motions).at(11.0) == pytest.approx(np.array([m.at(11.0) for m in motions]))


def test_motion_without_span_is_refused():
    with pytest.raises(ValueError, match="span_m"):
        Motion((0, 0), 0.0, 1.0, 0.0)


ROUTE = Route(((0.0, 0.0), (10.0, 0.0), (10.0, 0.0), (10.0, 20.0)), (0.0, 5.0, 8.0, 12.0))


@pytest.mark.parametrize(
    ("time_s", "place"),
    [(-1.0, (0.0, 0.0)), (2.5, (5.0, 0.0)), (6.0, (10.0, 0.0)), (10.0, (10.0, 10.0)), (99.0, (10.0, 20.0))],
)
def test_route_is_where_it_should_be(time_s, place):
    assert ROUTE.at(time_s)[:2] == pytest.approx(place)


def test_route_heads_where_it_goes_and_keeps_its_heading_at_a_stop():
    assert ROUTE.at(2.0)[2] == pytest.approx(0.0)
    assert ROUTE.at(6.5)[2] == pytest.approx(0.0)
    assert ROUTE.at(11.0)[2] == pytest.approx(math.pi / 2)


def test_route_speed_is_its_highest():
    assert ROUTE.speed_mps == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("points", "times"),
    [(((0.0, 0.0),), (0.0,)), (((0.0, 0.0), (1.0, 0.0)), (1.0, 1.0)), (((0.0, 0.0), (1.0, 0.0)), (0.0, 1.0, 2.0))],
    ids=["one-place", "no-time", "lengths-differ"],
)
def test_impossible_route_is_refused(points, times):
    with pytest.raises(ValueError, match=r"places|rise"):
        Route(points, times)


def test_table_mixes_lines_and_routes():
    line = Motion((0.0, 0.0), 0.0, 2.0, 100.0)
    table = MotionTable([line, ROUTE])
    assert table.at(2.5)[:, :2] == pytest.approx(np.array([[5.0, 0.0], [5.0, 0.0]]))
