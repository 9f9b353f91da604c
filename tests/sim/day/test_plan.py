"""When a satellite sees the place and the stations: from its TLE, by daylight, out of contact."""

from itertools import pairwise

import numpy as np
import pytest
from small_day import MAGADAN, small_day

from sim.craft.contact import Station, contact_windows
from sim.day.plan import mission_file, plan_day
from sim.errors import ScenarioError
from sim.link_profiles import satellite_of
from sim.mission_cli import MISSIONS


def refused(**values) -> str:
    with pytest.raises(ScenarioError) as error:
        plan_day(small_day(**values))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_day_is_overpass_pass_pass_overpass(plan):
    times = [
        *(plan.overpasses[0].start_s, plan.overpasses[0].end_s),
        *(time_s for one in plan.passes for time_s in (one.start_s, one.end_s)),
        *(plan.overpasses[1].start_s, plan.overpasses[1].end_s),
    ]
    assert all(before < after for before, after in pairwise(times))
    assert plan.left_out > 0


def test_the_place_is_imaged_from_high_up_while_no_station_hears(plan):
    orbit, stations = satellite_of(MISSIONS / "constellation.toml", "sat-b1")
    for number in (0, 1):
        above = Station("magadan", 59.56, 150.80).elevation_deg(orbit.positions_m(times(plan.imaged_s(number))))
        assert above[0] >= 50
        for station in stations:
            assert station.elevation_deg(orbit.positions_m(times(plan.imaged_s(number))))[0] < 10


def times(at_s: float):
    return np.array([at_s])


def test_the_passes_are_the_first_two_after_the_overpass(plan):
    orbit, stations = satellite_of(MISSIONS / "constellation.toml", "sat-b1")
    starts = sorted(w.start_s for s in stations for w in contact_windows(orbit, s, 0.0, 108_000.0))
    after = [start for start in starts if start > plan.overpasses[0].end_s]
    assert [one.start_s for one in plan.passes] == after[:2]


def test_a_pass_can_carry_what_its_rates_allow(plan):
    for one in plan.passes:
        rates = [stretch.profile.edge_to_cloud_bps for stretch in one.stretches]
        assert rates[0] == rates[-1] == pytest.approx(490_243)
        assert max(rates) > rates[0]
        assert min(rates) * one.duration_s / 8 < one.edge_to_cloud_bytes() < max(rates) * one.duration_s / 8
        assert one.cloud_to_edge_bytes() == pytest.approx(19_200 * one.duration_s / 8)
        assert [stretch.state for stretch in one.stretches] == ["up"] * len(rates)


def test_a_place_that_is_never_seen_by_daylight_is_told_in_one_line():
    told = refused(place={**MAGADAN, "lat_deg": 84.0, "min_sun_deg": 60})
    assert "never stands 50 deg above Magadan in 30 h by daylight" in told
    assert "lower place.min_elevation_deg or place.min_sun_deg" in told


def test_one_overpass_is_not_enough():
    assert "once stands 50 deg above Magadan in 12 h" in refused(hours=12)


def test_a_day_without_a_pass_is_told_in_one_line(tmp_path):
    path = tmp_path / "deaf.toml"
    path.write_text((MISSIONS / "constellation.toml").read_text().replace("deg = 10.0", "deg = 89.9"))
    assert refused(mission=str(path)).startswith("sat-b1: no station hears it in 30 h; add a station")


def test_a_single_station_that_hears_one_pass_between_is_too_little(tmp_path):
    text = (MISSIONS / "constellation.toml").read_text()
    head, _, rest = text.partition("[[stations]]")
    stations, _, craft = rest.partition("# --- what craft have in common")
    one = stations.split("[[stations]]")[0].replace("min_elevation_deg = 10.0", "min_elevation_deg = 83.0")
    path = tmp_path / "one.toml"
    path.write_text(f"{head}[[stations]]{one}# --- {craft}")
    assert "no two stations' passes lie between" in refused(mission=str(path))


def test_a_satellite_that_is_not_there_and_an_old_tle_are_refused(tmp_path):
    assert "no satellite 'sat-z'; there are sat-a1" in refused(craft="sat-z")
    path = tmp_path / "old.toml"
    path.write_text((MISSIONS / "constellation.toml").read_text().replace("start = 2026-03-20", "start = 2026-05-20"))
    assert "the limit is 14; take a TLE of that day" in refused(mission=str(path))


def test_a_mission_is_a_bundled_one_or_a_file():
    assert mission_file("constellation") == MISSIONS / "constellation.toml"
    assert str(mission_file("my/constellation")) == "my/constellation"
    assert "cannot be read" in refused(mission="nowhere.toml")
