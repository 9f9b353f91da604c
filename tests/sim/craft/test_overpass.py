import itertools
import math

import numpy as np
import pytest

from sim.craft.earth import local_up, place_m
from sim.craft.overpass import LOWEST_DEG, circular_sky, sky_of_orbit
from sim.errors import ScenarioError


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

    def positions_m(self, times_s):
        lat, lon = np.array([47.0]), np.array([8.0])
        north = local_up(lat + 90.0, lon)[0]
        return place_m(47.0, 8.0, 500e3) + np.outer(7500.0 * (np.asarray(times_s) - 200.0), north)


def test_orbit_is_refused_with_the_part_of_the_pass_that_is_high_enough():
    # 20 deg of elevation are 1,373 km beside 500 km of height: 183 s before and after.
    with pytest.raises(ScenarioError, match="sat stands above 20 deg only from 17 to 383 s; set start_utc 17 s later"):
        sky_of_orbit(_Fixed(), 47.0, 8.0, 500.0)
    with pytest.raises(ScenarioError, match=r"stands at most .* choose another start_utc"):
        sky_of_orbit(_Fixed(), 47.0, 8.0, 10.0)
    with pytest.raises(ScenarioError, match="only from 17 to 100 s; set start_utc 17 s later"):
        sky_of_orbit(_Fixed(), 47.0, 8.0, 100.0)
