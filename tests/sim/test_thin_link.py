"""A large case over a thin link that breaks twice: real gateway, real link, and the bytes counted on the wire."""

import math
import os
import signal
import time

import numpy as np
import pytest

from cloud.store import CaseStore
from sim.journal import JournalReader
from sim.link import LinkProxy
from sim.link_bench_parts import Site
from sim.link_schedule import in_spans
from sim.scenario.conditions import LinkProfile

CASE_BYTES = 400_000
RATE_BPS = 128_000.0
OUTAGES = ((6.0, 9.0), (15.0, 19.0))


@pytest.mark.slow
def test_a_400_kb_case_crosses_128_kbit_s_with_two_outages_once(tmp_path):
    site = Site.build(tmp_path)
    picture = tmp_path / "large.jpg"
    picture.write_bytes(np.random.default_rng(1).bytes(CASE_BYTES))
    profile = LinkProfile(edge_to_cloud_bps=RATE_BPS, cloud_to_edge_bps=RATE_BPS, latency_ms=100)
    spans = [(0.0, OUTAGES[0][0]), (OUTAGES[0][1], OUTAGES[1][0]), (OUTAGES[1][1], math.inf)]
    rng = np.random.default_rng(1)
    with site.cloud(None), LinkProxy(in_spans(profile, spans), ("127.0.0.1", site.port), rng) as link:
        link.begin()
        endpoint = f"tcp://127.0.0.1:{link.port}"
        with site.sender([picture], way="paced", most=1, endpoint=endpoint) as edge:
            time.sleep(1.0)
            os.kill(edge.pid, signal.SIGUSR1)  # no further case; it ends once this one is delivered
            edge.wait(90.0)
        sent_bytes = link.edge_to_cloud_bytes
    store = CaseStore(site.data)
    (case,) = store.list_cases(unsure_only=False)
    assert store.read_imagery(case) == picture.read_bytes()
    store.close()
    accepted = [event["case_id"] for event in JournalReader(site.edge_journal).new() if event["kind"] == "accepted"]
    assert accepted == [case.case.case_id]
    assert CASE_BYTES < sent_bytes < 1.25 * CASE_BYTES  # what was on its way in an outage goes again, and no more
