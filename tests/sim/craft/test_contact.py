import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from sgp4.api import WGS72, Satrec
from sgp4.exporter import export_tle
from skyfield.api import EarthSatellite, load, wgs84

from sim.craft.contact import Station, contact_windows, require_window
from sim.craft.orbit import orbit_from_tle
from sim.errors import ScenarioError

START = datetime(2026, 3, 20, tzinfo=timezone.utc)
TURNS_A_DAY = 15.0
STATION_KM, EARTH_KM = 6378.137, 398600.8 ** (1 / 3) * (86_400 / (2 * math.pi * TURNS_A_DAY)) ** (2 / 3)


def made_tle(turns_a_day: float = TURNS_A_DAY, inclination_deg: float = 0.0) -> tuple[str, str]:
    craft = Satrec()
    days = (START - datetime(1949, 12, 31, tzinfo=timezone.utc)).total_seconds() / 86_400
    motion = turns_a_day * 2 * math.pi / 1440
    craft.sgp4init(
        WGS72, "i", 99001, days, 0.0, 0.0, 0.0, 1e-6, 0.0, math.radians(inclination_deg), 0.0, motion, 0.0
    )  # fmt: skip
    return export_tle(craft)


def orbit(**changes):
    return orbit_from_tle("probe", made_tle(**changes), START)


def test_equatorial_passes_last_as_long_as_geometry_says():
    # Circle of radius r, station on the equator, least elevation e: the craft is seen within the central angle
    # acos(R cos(e) / r) - e to either side, and moves on at the mean motion less the Earth's rotation.
    least = math.radians(10.0)
    half = math.acos(STATION_KM * math.cos(least) / EARTH_KM) - least
    rate = TURNS_A_DAY * 2 * math.pi / 86_400 - 7.2921e-5
    windows = contact_windows(orbit(), Station("equator", 0.0, 40.0, min_elevation_deg=10.0), 0.0, 86_400.0)
    whole = [w for w in windows if w.start_s > 0 and w.end_s < 86_400]
    assert len(whole) in (13, 14)  # 15 turns less one of the Earth
    # The oblate Earth's pull, which SGP4 adds, quickens the craft by about 0.3 %.
    assert [w.duration_s for w in whole] == pytest.approx([2 * half / rate] * len(whole), rel=0.01)
    assert min(w.max_elevation_deg for w in whole) > 89.0


def test_windows_match_the_search_of_skyfield():
    tle = made_tle(inclination_deg=97.6)
    station = Station("north", 68.0, 20.0, 300.0, min_elevation_deg=5.0)
    found = contact_windows(orbit_from_tle("probe", tle, START), station, 0.0, 86_400.0)
    scale = load.timescale(builtin=True)
    place = wgs84.latlon(68.0, 20.0, elevation_m=300.0)
    times, kinds = EarthSatellite(*tle, "probe", scale).find_events(
        place, scale.from_datetime(START), scale.from_datetime(START + timedelta(days=1)), altitude_degrees=5.0
    )
    seconds = np.array([(t.utc_datetime() - START).total_seconds() for t in times])
    # skyfield stops its own search at half a second.
    np.testing.assert_allclose([w.start_s for w in found if w.start_s > 0], seconds[kinds == 0], atol=1.0)
    np.testing.assert_allclose([w.end_s for w in found if w.end_s < 86_400], seconds[kinds == 2], atol=1.0)


def test_pass_between_two_samples_is_found():
    station = Station("equator", 0.0, 40.0)
    top = max(contact_windows(orbit(inclination_deg=20.0), station, 0.0, 86_400.0), key=lambda w: w.max_elevation_deg)
    narrow = Station("narrow", 0.0, 40.0, min_elevation_deg=top.max_elevation_deg - 0.05)
    found = contact_windows(orbit(inclination_deg=20.0), narrow, 0.0, 86_400.0)
    assert len(found) == 1
    assert 0 < found[0].duration_s < 30


def test_window_open_all_the_time_spans_everything():
    windows = contact_windows(orbit(turns_a_day=1.0027), below_geostationary(), 0.0, 7_200.0)
    assert [(w.start_s, w.end_s) for w in windows] == [(0.0, 7_200.0)]


def below_geostationary() -> Station:
    track = orbit(turns_a_day=1.0027).ground_track(np.zeros(1))
    return Station("below", 0.0, float(track.lon_deg[0]))


def test_station_that_never_sees_the_craft_is_named_with_a_cure():
    far = Station("pole", 89.0, 0.0)
    assert contact_windows(orbit(), far, 0.0, 86_400.0) == []
    with pytest.raises(ScenarioError, match=r"probe: no contact window over pole in 24 h; .* add a station"):
        require_window(orbit(), [far], 86_400.0)


def test_one_station_that_sees_the_craft_is_enough():
    require_window(orbit(), [Station("pole", 89.0, 0.0), Station("equator", 0.0, 40.0)], 86_400.0)
