import numpy as np
import pytest

from sim.craft.flight import Flight, FlightStyle

CORNER = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 80.0]])


@pytest.fixture
def flight():
    return Flight(CORNER, FlightStyle(speed_mps=8.0), np.random.default_rng(3))


def test_flight_starts_and_ends_at_its_waypoints(flight):
    first, last = flight.pose_at(0.0), flight.pose_at(flight.duration_s)
    assert (first.east_m, first.north_m) == pytest.approx((0.0, 0.0), abs=1.5)
    assert (last.east_m, last.north_m) == pytest.approx((100.0, 80.0), abs=1.5)


def test_flight_keeps_speed_altitude_and_pitch(flight):
    times = np.arange(0.0, flight.duration_s, 0.1)
    poses = [flight.pose_at(t) for t in times]
    steps = np.hypot(np.diff([p.east_m for p in poses]), np.diff([p.north_m for p in poses]))
    assert steps.max() <= 0.81
    assert all(49.0 <= p.up_m <= 71.0 for p in poses)
    assert all(-90.0 <= p.pitch_deg <= -63.0 for p in poses)


def test_flight_turns_smoothly(flight):
    yaws = [flight.pose_at(t).yaw_deg for t in np.arange(0.0, flight.duration_s, 0.1)]
    assert np.abs(np.diff(yaws)).max() < 5.0
    assert yaws[0] - yaws[-1] == pytest.approx(90.0, abs=5.0)


def test_flight_is_a_function_of_time(flight):
    again = Flight(CORNER, FlightStyle(speed_mps=8.0), np.random.default_rng(3))
    assert again.pose_at(7.3) == flight.pose_at(7.3)


def test_flight_without_a_way_is_refused():
    with pytest.raises(ValueError, match="2 waypoints"):
        Flight(CORNER[:1], FlightStyle(), np.random.default_rng(0))
