import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from sim.errors import ScenarioError
from sim.mission import MissionSettings, event_digest, run_mission, summarize


def by_kind(result, kind: str) -> list[dict]:
    return [{"time_s": e.time_s, "craft": e.craft, **dict(e.fields)} for e in result.events if e.kind == kind]


def test_same_seed_gives_the_same_events_and_another_seed_others(constellation, flown):
    again = run_mission(constellation, seed=1, hours=6.0)
    other = run_mission(constellation, seed=2, hours=6.0)
    assert event_digest(again.events) == event_digest(flown.events)
    assert event_digest(other.events) != event_digest(flown.events)


def test_events_are_in_order_of_time(flown):
    times = [event.time_s for event in flown.events]
    assert times == sorted(times)
    assert times[-1] <= 6 * 3600


def test_every_case_ends_in_exactly_one_way(flown):
    for craft in flown.craft:
        ended = craft.radio.counts.delivered + craft.spool.dropped + craft.spool.expired + craft.spool.waiting
        assert craft.counts.cases == ended, craft.name
    stored = Counter(item["case_id"] for item in by_kind(flown, "case_stored"))
    assert set(stored.values()) == {1}
    lost = {item["case_id"] for kind in ("case_dropped", "case_expired") for item in by_kind(flown, kind)}
    assert not lost & set(stored)


def test_every_tick_is_accounted_for(flown):
    for craft in flown.craft:
        counts = craft.counts
        ticks = len(flown.timetable.ephemerides[craft.name].can_see)
        assert counts.captures + counts.dark + counts.resting + counts.skipped == ticks


def test_cases_are_stored_only_while_a_window_is_open(flown):
    latency_s = 0.5  # more than any link of the file has
    for item in by_kind(flown, "case_stored"):
        passes = flown.timetable.passes[item["craft"]]
        assert any(p.start_s <= item["time_s"] <= p.end_s + latency_s for p in passes)


def test_prompt_explains_its_kind_from_then_on(flown):
    applied = {(item["craft"], item["strange_kind"]): item["time_s"] for item in by_kind(flown, "prompt_applied")}
    kinds = {craft.name: craft.captures.kind for craft in flown.craft}
    hard_after = defaultdict(list)
    for item in by_kind(flown, "case_made"):
        craft = next(c for c in flown.craft if c.name == item["craft"])
        tick = round(item["time_s"] / craft.profile.camera.capture_every_s)
        known_s = applied.get((craft.name, kinds[craft.name][tick]))
        hard_after[known_s is not None and item["time_s"] > known_s].append(item["hardness"])
    assert len(applied) > 100
    assert len(hard_after[True]) < 0.05 * len(hard_after[False])


def test_satellites_look_only_at_lit_ground(flown):
    sat, drone = flown.craft[0].counts, flown.craft[-1].counts
    assert sat.dark > sat.captures / 2
    assert drone.dark == 0


def test_energy_is_conserved(flown):
    for craft in flown.craft:
        power = craft.power
        change_wh = power.charge_wh - power.start_wh
        assert change_wh == pytest.approx(power.charged_wh - power.used_wh + power.unmet_wh, abs=1e-6), craft.name


def test_drone_lands_for_a_new_battery(flown):
    swaps = [item for item in by_kind(flown, "battery_swapped") if item["craft"] == "drone-1"]
    rests = [item for item in by_kind(flown, "resting") if item["craft"] == "drone-1"]
    assert len(swaps) >= 5
    assert swaps[0]["time_s"] - rests[0]["time_s"] == pytest.approx(900.0)


def test_weak_battery_rests_until_the_sun_has_filled_it(mission_table):
    battery = mission_table["profiles"]["cubesat"]["power"]["battery"]
    battery.update(capacity_wh=12.0, base_w=7.0)
    result = run_mission(MissionSettings.model_validate(mission_table), hours=12.0)
    resting, working = by_kind(result, "resting"), by_kind(result, "working")
    assert any(item["craft"].startswith("sat") for item in resting)
    assert working
    assert all(item["battery_share"] >= 0.5 for item in working)


def test_slow_inference_skips_captures(mission_table):
    mission_table["profiles"]["cubesat"]["power"]["compute"]["inference_s"] = 13.0
    craft = run_mission(MissionSettings.model_validate(mission_table), hours=3.0).craft[0]
    assert craft.counts.skipped == pytest.approx(craft.counts.captures, abs=10)


def test_small_budget_defers(mission_table):
    mission_table["profiles"]["cubesat"]["scheduler"].update(budget_bytes_per_s=1.0, burst_bytes=200_000.0)
    result = run_mission(MissionSettings.model_validate(mission_table), hours=6.0)
    assert result.craft[0].pace.deferred > 10
    assert result.craft[0].radio.counts.delivered <= 4


def test_small_spool_drops_the_least_valuable(mission_table):
    mission_table["profiles"]["quadcopter"]["spool"]["max_cases"] = 5
    result = run_mission(MissionSettings.model_validate(mission_table), hours=6.0)
    dropped = {item["case_id"]: item["hardness"] for item in by_kind(result, "case_dropped")}
    made = {item["case_id"]: item["hardness"] for item in by_kind(result, "case_made")}
    kept = [hardness for case_id, hardness in made.items() if case_id not in dropped]
    assert len(dropped) > 20
    assert sum(dropped.values()) / len(dropped) < sum(kept) / len(kept)


def test_summary_adds_up(flown):
    told = summarize(flown)
    assert told["overall"]["sent"] == sum(row["sent"] for row in told["craft"])
    assert told["overall"]["answered"] == len(by_kind(flown, "case_answered"))
    assert told["overall"]["prompts"] == len(by_kind(flown, "prompt_applied"))
    assert told["overall"]["windows"] == len(by_kind(flown, "window_opened")) == len(by_kind(flown, "window_closed"))
    assert told["settings"]["craft"][0]["name"] == "sat-a1"
    latency = told["overall"]["latency_s"]
    assert 0 < latency["p50"] < latency["p99"] < 6 * 3600


def test_craft_never_in_view_is_named(mission_table):
    for station in mission_table["stations"]:
        station["min_elevation_deg"] = 89.9
    with pytest.raises(ScenarioError, match=r"sat-a1: no contact window over svalbard, .* in 24 h; the highest"):
        run_mission(MissionSettings.model_validate(mission_table), hours=1.0)


def test_old_tle_is_named(mission_table):
    mission_table["start"] = "2028-03-20T00:00:00Z"
    with pytest.raises(ScenarioError, match=r"sat-a1: the TLE is 731\.0 days older"):
        run_mission(MissionSettings.model_validate(mission_table), hours=1.0)


@pytest.mark.parametrize(
    ("changes", "words"), [({"seed": -1}, "seed -1"), ({"hours": 0.0}, "hours 0"), ({"hours": 1e6}, "up to 1440")]
)
def test_bad_run_is_refused(constellation, changes, words):
    with pytest.raises(ScenarioError, match=words):
        run_mission(constellation, **changes)


def test_too_many_captures_are_refused_before_memory_is_taken(mission_table):
    mission_table["profiles"]["quadcopter"]["camera"]["capture_every_s"] = 0.011
    with pytest.raises(ScenarioError, match=r"raise capture_every_s or simulate fewer hours"):
        run_mission(MissionSettings.model_validate(mission_table))


TWO_DAYS = """
import resource, time
from sim.mission import event_digest, load_mission, run_mission
from sim.mission_cli import MISSIONS
start_s = time.monotonic()
digest = event_digest(run_mission(load_mission(MISSIONS / "constellation.toml")).events)
print(digest, time.monotonic() - start_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_ten_craft_for_two_days_stay_within_time_and_memory(constellation):
    command = [sys.executable, "-c", TWO_DAYS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    digest, wall_s, peak_kib = done.stdout.split()
    assert float(wall_s) < 600
    assert int(peak_kib) < 2 * 1024**2
    assert digest == event_digest(run_mission(constellation).events)
