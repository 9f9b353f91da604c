from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from sgp4.io import compute_checksum
from skyfield.api import EarthSatellite, load, wgs84

from sim.craft.orbit import orbit_from_tle
from sim.errors import ScenarioError

# The ISS on 2008-09-20, as printed in many texts on the format.
ISS = (
    "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927",
    "2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537",
)
ISS_START = datetime(2008, 9, 20, 13, 0, tzinfo=timezone.utc)

# Object 00005 of the verification set of AIAA 2006-6753 and its TEME positions in km, minutes after the epoch.
VANGUARD = (
    "1 00005U 58002B   00179.78495062  .00000023  00000-0  28098-4 0  4753",
    "2 00005  34.2682 348.7242 1859667 331.7664  19.3264 10.82419157413667",
)
VANGUARD_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc) + timedelta(days=178.78495062)
VERIFIED_KM = {
    0: (7022.46529266, -1400.08296755, 0.03995155),
    360: (-7154.03120202, -3783.17682504, -3536.19412294),
    1440: (-938.55923943, -6268.18748831, -4294.02924751),
}


def changed(line: str, start: int, text: str) -> str:
    line = line[:start] + text + line[start + len(text) :]
    return line[:-1] + str(compute_checksum(line))


def test_positions_match_the_published_verification_vectors():
    orbit = orbit_from_tle("vanguard", VANGUARD, VANGUARD_EPOCH)
    found = orbit.inertial_km(np.array([60.0 * minutes for minutes in VERIFIED_KM]))
    # A datetime knows the epoch to a microsecond, in which the craft moves a centimetre.
    np.testing.assert_allclose(found, list(VERIFIED_KM.values()), atol=2e-5)


def test_ground_track_matches_skyfield():
    orbit = orbit_from_tle("iss", ISS, ISS_START)
    times_s = np.array([0.0, 1_000.0, 5_000.0, 86_400.0])
    track = orbit.ground_track(times_s)
    scale = load.timescale(builtin=True)
    craft = EarthSatellite(*ISS, "iss", scale)
    for i, time_s in enumerate(times_s):
        point = wgs84.geographic_position_of(craft.at(scale.from_datetime(ISS_START + timedelta(seconds=time_s))))
        assert track.lat_deg[i] == pytest.approx(point.latitude.degrees, abs=1e-6)
        # UT1 - UTC is held constant here; it moves by about a millisecond a day, which turns the Earth by 4e-6 degrees.
        assert track.lon_deg[i] == pytest.approx(point.longitude.degrees, abs=1e-5)
        assert track.height_m[i] == pytest.approx(point.elevation.m, abs=0.1)


def test_track_stays_within_the_inclination_and_low_orbit():
    track = orbit_from_tle("iss", ISS, ISS_START).ground_track(np.arange(0.0, 6_000.0, 30.0))
    assert track.lat_deg.max() == pytest.approx(51.8, abs=0.2)  # geodetic latitude is a little above geocentric
    assert 330e3 < track.height_m.min() < track.height_m.max() < 390e3


def test_craft_is_dark_for_about_a_third_of_a_low_orbit():
    orbit = orbit_from_tle("iss", ISS, ISS_START)
    lit = orbit.in_sunlight(np.arange(0.0, 5_490.0, 10.0))
    assert 0.58 < lit.mean() < 0.68


@pytest.mark.parametrize(
    ("tle", "words"),
    [
        pytest.param((ISS[0][:-1] + "3", ISS[1]), "checksum", id="wrong checksum"),
        pytest.param((ISS[0][:40], ISS[1]), "40 characters", id="cut"),
        pytest.param((ISS[1], ISS[0]), "a 1 in front", id="lines exchanged"),
        pytest.param((VANGUARD[0], ISS[1]), "two craft", id="lines of two sets"),
        pytest.param((ISS[0][:-1] + "x", ISS[1]), "checksum digit", id="no checksum"),
        pytest.param((ISS[0], changed(ISS[1], 52, "ab.cdefghij")), "TLE", id="letters for numbers"),
    ],
)
def test_malformed_tle_is_refused(tle, words):
    with pytest.raises(ScenarioError, match=words):
        orbit_from_tle("iss", tle, ISS_START)


@pytest.mark.parametrize(("days", "word"), [(400, "older"), (-30, "newer")])
def test_tle_of_another_time_is_refused_with_its_age_and_a_cure(days, word):
    with pytest.raises(ScenarioError, match=rf"iss: the TLE is [\d.]+ days {word} .* limit is 14; take a TLE"):
        orbit_from_tle("iss", ISS, ISS_START + timedelta(days=days))


def test_decayed_craft_is_refused():
    low = (ISS[0], changed(ISS[1], 52, "17.20000000"))
    with pytest.raises(ScenarioError, match=r"iss: no orbit 0\.0 h after the start .*decayed"):
        orbit_from_tle("iss", low, ISS_START)


def test_start_without_time_zone_is_refused():
    with pytest.raises(ScenarioError, match="no time zone"):
        orbit_from_tle("iss", ISS, ISS_START.replace(tzinfo=None))
