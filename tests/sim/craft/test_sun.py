from datetime import datetime, timezone

import numpy as np
import pytest

from sim.craft.earth import Epoch, GroundTrack
from sim.craft.sun import in_sunlight, sun_direction, sun_elevation_deg

NOW = np.zeros(1)


def test_direction_matches_the_example_of_meeus():
    # Meeus, "Astronomical Algorithms", example 25.a: 1992 October 13, 0h TD, apparent position.
    x, y, z = sun_direction(Epoch.at(datetime(1992, 10, 13, tzinfo=timezone.utc)), NOW)[0]
    assert np.degrees(np.arctan2(y, x)) % 360 == pytest.approx(198.38083, abs=0.01)
    assert np.degrees(np.arcsin(z)) == pytest.approx(-7.78507, abs=0.01)


def elevation(when: datetime, lat_deg: float, lon_deg: float) -> float:
    place = GroundTrack(np.array([lat_deg]), np.array([lon_deg]), np.zeros(1))
    return float(sun_elevation_deg(Epoch.at(when), place, NOW)[0])


def test_elevation_at_noon_of_the_solstice_on_the_tropic_is_overhead():
    # 2026-06-21, equation of time -1.8 min: the sun crosses Greenwich's meridian at 12:01:48.
    assert elevation(datetime(2026, 6, 21, 12, 1, 48, tzinfo=timezone.utc), 23.436, 0.0) > 89.9


def test_elevation_at_midnight_is_below_the_horizon():
    assert elevation(datetime(2026, 3, 20, 0, 7, tzinfo=timezone.utc), 0.0, 0.0) < -89.0


def test_shadow_is_behind_the_earth_alone():
    epoch = Epoch.at(datetime(2026, 3, 20, 12, tzinfo=timezone.utc))
    sun = epoch.to_fixed(sun_direction(epoch, NOW), NOW)[0]
    beside = np.cross(sun, [0.0, 0.0, 1.0])
    places = 7e6 * np.stack([sun, -sun, beside, -sun + 1.2 * beside])
    assert in_sunlight(epoch, places, np.zeros(4)).tolist() == [True, False, True, True]
