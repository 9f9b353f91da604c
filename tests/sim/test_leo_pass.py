import itertools
import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from structlog.testing import capture_logs

from sim.craft.contact import Station, contact_windows
from sim.craft.orbit import orbit_from_tle
from sim.errors import OptionError, ScenarioError
from sim.leo_pass import MODCODS, PassRadio, first_pass_s, pass_schedule
from sim.link_profiles import NAMES, PROFILES, leo_pass, schedule_named
from sim.mission import load_mission
from sim.mission_cli import MISSIONS

TLE = (
    "1 99001U 26001A   26079.00000000  .00000000  00000-0  30000-4 0    13",
    "2 99001  97.5000 337.5000 0011000  90.0000   0.0000 15.15000000    14",
)
ORBIT = orbit_from_tle("sat", TLE, datetime(2026, 3, 20, tzinfo=timezone.utc))
STATION = Station("svalbard", 78.23, 15.39, 450.0, 10.0)
START_S, DAY_S = 3000.0, 86_400.0  # between two passes
MISSION = MISSIONS / "constellation.toml"


@pytest.fixture(scope="module")
def day():
    return pass_schedule(ORBIT, [STATION], (START_S, DAY_S))


def test_the_link_is_up_in_the_contact_windows_and_cut_between_them(day):
    windows = contact_windows(ORBIT, STATION, START_S, DAY_S)
    assert len(windows) > 8
    rises = [START_S + b.from_s for a, b in itertools.pairwise(day) if (a.state, b.state) == ("cut", "up")]
    falls = [START_S + b.from_s for a, b in itertools.pairwise(day) if (a.state, b.state) == ("up", "cut")]
    assert rises == pytest.approx([window.start_s for window in windows])
    assert falls == pytest.approx([window.end_s for window in windows])


def test_rate_and_delay_follow_the_slant_range(day):
    best = max(contact_windows(ORBIT, STATION, START_S, DAY_S), key=lambda w: w.max_elevation_deg)
    ups = [s for s in day if s.state == "up" and best.start_s <= START_S + s.from_s < best.end_s]
    rates, delays = ([getattr(s.profile, name) for s in ups] for name in ("edge_to_cloud_bps", "latency_ms"))
    assert rates[0] == rates[-1] == pytest.approx(490_243)
    top = int(np.argmax(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    # At 10 degrees 520 km up the craft is 1,700 km away, overhead 520 km: 10 dB, and 5 ms of light.
    gained_db = 20 * math.log10((delays[0] - 20) / (min(delays) - 20))
    fastest = max(bits for es_n0_db, bits in MODCODS if es_n0_db <= MODCODS[0][0] + gained_db + 0.5)
    assert max(rates) == pytest.approx(1e6 * fastest, rel=0.15)
    assert delays[0] - 20 == pytest.approx(1.7e6 / 299_792.458, rel=0.05)


def test_modes_that_need_more_carry_more():
    assert list(MODCODS) == sorted(MODCODS)
    assert [bits for _, bits in MODCODS] == sorted(bits for _, bits in MODCODS)


def test_a_pass_that_has_begun_has_the_same_rates_as_the_whole_one(day):
    window = contact_windows(ORBIT, STATION, START_S, DAY_S)[0]
    middle_s = (window.start_s + window.end_s) / 2
    rest = pass_schedule(ORBIT, [STATION], (middle_s, 600.0))
    assert (rest[0].from_s, rest[0].state) == (0.0, "up")
    whole = [s.profile.edge_to_cloud_bps for s in day if START_S + s.from_s <= middle_s][-1]
    assert rest[0].profile.edge_to_cloud_bps == pytest.approx(whole, rel=0.3)


def test_one_station_at_a_time_and_no_stretch_is_empty():
    near = Station("near", 78.0, 16.0, 0.0, 10.0)
    schedule = pass_schedule(ORBIT, [STATION, near], (START_S, DAY_S), PassRadio(symbols_per_s=2e6))
    starts = [s.from_s for s in schedule]
    assert all(b > a for a, b in itertools.pairwise(starts))
    assert schedule[1].profile.edge_to_cloud_bps == pytest.approx(980_486)


SATELLITES = [craft.name for craft in load_mission(MISSION).craft if craft.tle]


@pytest.mark.parametrize("name", ["", *SATELLITES])
def test_the_bundled_leo_pass_begins_five_seconds_before_a_whole_pass(name):
    schedule = leo_pass(MISSION, name)
    assert [s.state for s in schedule[:2]] == ["cut", "up"]
    assert schedule[1].from_s == pytest.approx(5.0)
    assert schedule[1].profile.edge_to_cloud_bps == pytest.approx(490_243)  # low above the horizon


def test_a_pass_under_way_or_close_behind_another_is_not_the_first():
    window = contact_windows(ORBIT, STATION, START_S, DAY_S)[0]
    during = orbit_from_tle("sat", TLE, ORBIT.epoch.start + timedelta(seconds=window.start_s + 60.0))
    east = Station("east", 78.23, 60.0, 0.0, 10.0)  # sees it before and after svalbard does
    windows = sorted(w.start_s for w in contact_windows(during, STATION, 0.0, DAY_S))
    assert windows[0] == 0.0
    assert first_pass_s(during, [STATION], DAY_S) == windows[1]
    both = first_pass_s(ORBIT, [STATION, east], DAY_S, 5.0)
    seen = [w for s in (STATION, east) for w in contact_windows(ORBIT, s, 0.0, DAY_S)]
    assert not any(w.start_s < both and w.end_s > both - 5.0 for w in seen)


def test_an_old_tle_is_warned_of_and_a_fresh_one_is_not(tmp_path):
    assert ORBIT.stale_words() is None
    later = MISSION.read_text().replace("start = 2026-03-20T", "start = 2026-03-25T")
    (tmp_path / "later.toml").write_text(later)
    with capture_logs() as logs:
        assert leo_pass(tmp_path / "later.toml")[1].from_s == pytest.approx(5.0)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "5.0 days from the start" in logs[0]["event"]
    assert "5 to 15 km" in logs[0]["event"]


def test_first_pass_is_none_where_there_is_none():
    assert first_pass_s(ORBIT, [Station("equator", 0.0, 0.0, 0.0, 89.0)], 3600.0) is None


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_a_schedule(name):
    assert schedule_named(name, MISSION)[0].from_s == 0.0


def test_an_unknown_name_or_satellite_is_refused():
    with pytest.raises(OptionError, match="lte-edge-of-cell"):
        schedule_named("carrier-pigeon", MISSION)
    with pytest.raises(ScenarioError, match="sat-a1"):
        leo_pass(MISSION, "sat-z9")


def test_profiles_are_ordered_as_one_knows_them():
    rates = [profile.edge_to_cloud_bps for profile in PROFILES.values()]
    assert rates[0] > rates[1] > rates[2]
    assert PROFILES["geo-satcom"].latency_ms > 4 * PROFILES["lte"].latency_ms
