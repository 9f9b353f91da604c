"""Bundles over the air between the real programs: published, rolled out, flown, and back."""

import itertools
import json
import math

import numpy as np
import pytest
from bundle_fleet import FRAMES_PER_S, Fleet, sibling, until

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
            until(lambda: fleet.state() == "in_force", 230)
            sent_bytes = link.cloud_to_edge_bytes
            craft.end()
            craft.wait(30)
    assert fleet.status().flies == bundle.bundle_id
    assert bundle.archive_bytes < sent_bytes < 1.15 * bundle.archive_bytes  # outages cost what was on its way, no more
    assert assert_no_frame_was_lost(fleet)["bundle"]["bundle_id"] == bundle.bundle_id
