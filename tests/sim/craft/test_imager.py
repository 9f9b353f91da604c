import math

import pytest

from sim.craft.imager import Imager
from sim.errors import ScenarioError

# 5.5 um pixels behind 1 m from 500 km: 2.75 m.
NADIR = Imager(focal_length_m=1.0, pixel_pitch_m=5.5e-6)
HEIGHT_M = 500e3


def test_gsd_straight_down_is_height_times_pixel_angle():
    assert NADIR.ground_sample(HEIGHT_M).gsd_m == pytest.approx(2.75)


def test_gsd_off_nadir_grows_by_slant_and_incidence():
    # On a flat Earth: 1/cos along, 1/cos^2 across. The round Earth adds a little to both.
    sample = Imager(1.0, 5.5e-6, off_nadir_deg=30.0).ground_sample(HEIGHT_M)
    assert sample.along_m == pytest.approx(2.75 / math.cos(math.radians(30)), rel=0.03)
    assert sample.across_m == pytest.approx(2.75 / math.cos(math.radians(30)) ** 2, rel=0.06)
    assert sample.across_m > sample.along_m > 2.75


def test_look_past_the_limb_is_refused_with_the_limit():
    with pytest.raises(ScenarioError, match=r"misses the Earth, whose limb is at 68\.0 deg"):
        Imager(1.0, 5.5e-6, off_nadir_deg=70.0).ground_sample(HEIGHT_M)


@pytest.mark.parametrize("bad", [(0.0, 1e-6, 0.0), (1.0, 0.0, 0.0), (1.0, 1e-6, 90.0)])
def test_impossible_camera_is_refused(bad):
    with pytest.raises(ScenarioError, match="must be positive"):
        Imager(*bad)
