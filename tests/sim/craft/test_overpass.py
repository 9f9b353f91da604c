import itertools
import math
from datetime import datetime, timezone

import numpy as np
import pytest

from sim.craft.earth import Epoch, local_up, place_m
from sim.craft.overpass import LOWEST_DEG, Overpass, circular_sky, sky_of_orbit
from sim.errors import ScenarioError


def _overpass(seconds=90.0, off_nadir_deg=0.0, jitter_deg=0.0):
    return Overpass(circular_sky(500.0, off_nadir_deg, seconds), 600.0, jitter_deg, np.random.default_rng(1))


@pytest.mark.parametrize("off_nadir_deg", [0.0, 0.01, 12.0, -30.0])
def test_image_never_flips_and_its_upper_edge_points_along_the_track(off_nadir_deg):
    flight = _overpass(off_nadir_deg=off_nadir_deg)
    poses = [flight.pose_at(t) for t in np.linspace(0.0, 90.0, 181)]
    turns = [a.rotation @ b.rotation.T for a, b in itertools.pairwise(poses)]
    assert max(math.degrees(math.acos(min((np.trace(turn) - 1) / 2, 1.0))) for turn in turns) < 1.0
    for pose in poses:
        right, down, _ = pose.rotation
        assert abs(right[1]) < 1e-3  # the track runs north, of which nothing is left and right
        assert -down[1] > 0.8


def test_camera_looks_at_the_middle_and_told_angles_stay_in_their_ranges():
    flight = _overpass(off_nadir_deg=20.0, jitter_deg=0.5)
    for time_s in np.linspace(0.0, 90.0, 31):
        pose = flight.pose_at(time_s)
        forward = pose.rotation[2]
        meets = pose.position() - forward * pose.up_m / forward[2]
        assert np.hypot(*meets[:2]) < 15_000.0  # half a degree of unrest, seen from 500 km
        assert -90.0 <= pose.pitch_deg < -20.0
        assert -180.0 <= pose.roll_deg <= 180.0


@pytest.mark.parametrize(("off_nadir_deg", "longest_s"), [(0.0, 295), (30.0, 283)])
def test_circle_is_refused_where_its_ends_lie_low(off_nadir_deg, longest_s):
    with pytest.raises(
        ScenarioError, match=rf"seconds = 900: a satellite at 500 km .* give at most {longest_s}, or fly higher"
    ):
        circular_sky(500.0, off_nadir_deg, 900.0)
    end = circular_sky(500.0, off_nadir_deg, longest_s).place_m(longest_s)
    assert math.degrees(math.asin(end[2] / np.linalg.norm(end))) == pytest.approx(LOWEST_DEG, abs=0.2)


class _Fixed:
    """Passes over 47 N, 8 E on a straight line from south to north, 500 km high, above it 200 s after the start."""

    name = "sat"
    epoch = Epoch.at(datetime(2026, 5, 1, 12, tzinfo=timezone.utc))

    def positions_m(self, times_s):
        lat, lon = np.array([47.0]), np.array([8.0])
        north = local_up(lat + 90.0, lon)[0]
        return place_m(47.0, 8.0, 500e3) + np.outer(7500.0 * (np.asarray(times_s) - 200.0), north)


def test_orbit_is_refused_with_the_part_of_the_pass_that_is_high_enough():
    # 20 deg of elevation are 1,373 km beside 500 km of height: 183 s before and after.
    with pytest.raises(ScenarioError, match="sat stands above 20 deg only from 17 to 383 s; set start_utc 17 s later"):
        sky_of_orbit(_Fixed(), 47.0, 8.0, 500.0)
    with pytest.raises(ScenarioError, match=r"sat: stands at most .*; set start_utc = 2026-05-01T12:00:20Z, when"):
        sky_of_orbit(_Fixed(), 47.0, 8.0, 10.0)
    with pytest.raises(ScenarioError, match="only from 17 to 100 s; set start_utc 17 s later"):
        sky_of_orbit(_Fixed(), 47.0, 8.0, 100.0)
