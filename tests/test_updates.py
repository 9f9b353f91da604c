"""Bundles over the air between the real programs: published, rolled out, flown, and back."""

import itertools
import json
import math
import time

import numpy as np
import pytest
from bundle_fleet import FRAMES_PER_S, Fleet, blind_in_the_dark, sibling, until

from edge.bundle import bundled_student
from sim.link import LinkProxy
from sim.link_schedule import in_spans
from sim.scenario.conditions import LinkProfile

RATE_BPS = 256_000.0
OUTAGES = ((20.0, 26.0), (55.0, 63.0))


def assert_no_frame_was_lost(fleet):
    """Every frame of the film has its line, and none came late by more than a few frames."""
    lines = fleet.lines()
    assert [line["frame"] for line in lines] == list(range(len(lines)))
    times_s = [line["clock_s"] for line in lines]
    assert max(b - a for a, b in itertools.pairwise(times_s)) < 5 / FRAMES_PER_S
    summary = json.loads((fleet.folder / "out" / "summary.json").read_text())
    assert (summary["frames_dropped"], summary["frames_undecodable"]) == (0, 0)
    return summary


@pytest.fixture
def fleet(tmp_path, tiny_bundle):
    return Fleet(tmp_path, tiny_bundle.folder)


def test_rollout_reaches_the_craft_which_flies_it_without_losing_a_frame_and_goes_back_when_told(fleet, tiny_bundle):
    fleet.trust()
    bundle = fleet.signing.publish(sibling(tiny_bundle.folder, fleet.folder / "new"))
    with fleet.cloud(), fleet.craft(fleet.film(60)) as craft:
        rollout = fleet.roll_out(bundle)
        until(lambda: fleet.state() == "in_force")
        assert fleet.status().flies == bundle.bundle_id
        fleet.roll_back(rollout)
        until(lambda: fleet.state() == "taken_back")
        assert fleet.status().flies is None
        craft.end()
        craft.wait(30)
    assert assert_no_frame_was_lost(fleet)["bundle"]["bundle_id"] is None


def test_bundle_that_does_not_do_well_gives_way_and_the_cloud_is_told(fleet, tiny_bundle):
    fleet.trust()
    bundle = fleet.signing.publish(blind_in_the_dark(tiny_bundle.folder, fleet.folder / "blind"))
    with fleet.cloud(), fleet.craft(fleet.film(60)) as craft:
        fleet.roll_out(bundle)
        until(lambda: fleet.state() == "gone_back")
        told = fleet.status()
        assert (told.flies, told.newest.reason) == (None, "it gives numbers that are not finite")
        with fleet.store() as store:
            fleet.roll_out(bundle)
            assert store.due_offer("uav1") is None  # nobody tries it on this craft again
        craft.end()
        craft.wait(30)
    assert assert_no_frame_was_lost(fleet)["bundle"]["bundle_id"] is None


@pytest.mark.slow
def test_update_outlives_kill_9_in_the_middle_of_fetch_and_of_trial(fleet, tiny_bundle):
    fleet.configure(budget_bytes_per_s=8_000.0, trial_s=3.0)  # the archive takes four seconds or so
    fleet.trust()
    bundle = fleet.signing.publish(sibling(tiny_bundle.folder, fleet.folder / "new"))
    assert bundle.archive_bytes > 35_000
    film, part = fleet.film(60), fleet.updates / "archive.part"
    with fleet.cloud():
        fleet.roll_out(bundle)
        with fleet.craft(film, log="first.log") as craft:
            until(lambda: part.exists() and part.stat().st_size > bundle.archive_bytes / 3)
            craft.kill()
        held = part.stat().st_size
        assert bundle.archive_bytes / 3 < held < bundle.archive_bytes
        with fleet.craft(film, log="second.log") as craft:
            until(lambda: fleet.state() == "on_trial")
            craft.kill()
        assert "bundle verified" in fleet.log("second.log")
        with fleet.craft(film, log="third.log") as craft:
            until(lambda: fleet.state() == "in_force")
            craft.end()
            craft.wait(30)
    assert assert_no_frame_was_lost(fleet)["bundle"]["bundle_id"] == bundle.bundle_id


@pytest.mark.slow
def test_craft_that_dies_in_every_trial_goes_back_at_its_third_start(fleet, tiny_bundle):
    fleet.configure(trial_s=1000.0)
    fleet.trust()
    bundle = fleet.signing.publish(sibling(tiny_bundle.folder, fleet.folder / "new"))
    film = fleet.film(60)
    with fleet.cloud():
        fleet.roll_out(bundle)
        for log in ("first.log", "second.log"):
            with fleet.craft(film, log=log) as craft:
                until(lambda: fleet.status().flies == bundle.bundle_id)
                craft.kill()
            with fleet.store() as store:
                store.note_flown("uav1", None, 0.0)
        with fleet.craft(film, log="third.log") as craft:
            until(lambda: fleet.state() == "gone_back" and len(fleet.lines()) > 3)
            craft.end()
            craft.wait(30)
    assert "ended 2 times while it was on trial" in fleet.status().newest.reason
    assert assert_no_frame_was_lost(fleet)["bundle"]["bundle_id"] is None


@pytest.mark.slow
def test_update_of_3_mb_crosses_256_kbit_s_with_two_outages_and_no_frame_is_lost(tmp_path):
    fleet = Fleet(tmp_path, bundled_student())
    fleet.trust()
    bundle = fleet.signing.publish(sibling(bundled_student(), tmp_path / "new"))
    assert bundle.archive_bytes > 3e6
    profile = LinkProfile(edge_to_cloud_bps=RATE_BPS, cloud_to_edge_bps=RATE_BPS, latency_ms=100)
    spans = [(0.0, OUTAGES[0][0]), (OUTAGES[0][1], OUTAGES[1][0]), (OUTAGES[1][1], math.inf)]
    rng = np.random.default_rng(1)
    film = fleet.film(240)
    with fleet.cloud(), LinkProxy(in_spans(profile, spans), ("127.0.0.1", fleet.cloud_port), rng) as link:
        fleet.roll_out(bundle)
        with fleet.craft(film, port=link.port) as craft:
            link.begin()
            begin_s = time.monotonic()
            until(lambda: fleet.state() == "in_force", 230)
            took_s, sent_bytes = time.monotonic() - begin_s, link.cloud_to_edge_bytes
            craft.end()
            craft.wait(30)
    assert fleet.status().flies == bundle.bundle_id
    assert bundle.archive_bytes < sent_bytes < 1.15 * bundle.archive_bytes  # outages cost what was on its way, no more
    assert assert_no_frame_was_lost(fleet)["bundle"]["bundle_id"] == bundle.bundle_id
    times_s = [line["clock_s"] for line in fleet.lines()]
    longest_s = max(b - a for a, b in itertools.pairwise(times_s))
    told = f"{bundle.archive_bytes} bytes in force after {took_s:.0f} s, {sent_bytes} sent, {len(times_s)} frames"
    print(f"{told}, at most {1000 * longest_s:.0f} ms apart")  # noqa: T201 - for docs/updates.md
