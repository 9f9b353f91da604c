import random

import pytest
from builders import make_case

from edge.spool import Spool
from sim.mission.settings import SpoolSettings
from sim.mission.spool import MissionCase, MissionSpool

BIG = 4 * 1024 * 1024


def case(seq: int, value: float, payload_bytes: int = 1000, deadline_s: float | None = None) -> MissionCase:
    return MissionCase(f"c-{seq}", seq, value, payload_bytes, 0.0, deadline_s, seq)


def test_full_spool_drops_the_least_valuable_and_counts():
    spool = MissionSpool(SpoolSettings(max_cases=2, max_bytes=BIG))
    cases = [case(0, 0.5), case(1, 0.9), case(2, 0.7), case(3, 0.1)]
    assert [spool.put(c) for c in cases] == [[], [], [cases[0]], [cases[3]]]
    assert (len(spool), spool.dropped, spool.total_bytes) == (2, 2, 2000)


def test_bytes_are_bounded_too():
    spool = MissionSpool(SpoolSettings(max_cases=9, max_bytes=BIG))
    for seq in range(5):
        spool.put(case(seq, seq / 10, BIG // 2))
    assert (len(spool), spool.total_bytes, spool.peak_bytes, spool.dropped) == (2, BIG, BIG, 3)
    assert spool.best().seq == 4


def test_case_on_its_way_is_neither_dropped_nor_expired():
    spool = MissionSpool(SpoolSettings(max_cases=1, max_bytes=BIG))
    first, second = case(0, 0.1, deadline_s=5.0), case(1, 0.9)
    spool.put(first)
    spool.on_its_way = first
    assert spool.put(second) == [second]
    assert spool.expire(10.0) == []


def test_expired_cases_are_counted_and_stored_ones_are_not():
    spool = MissionSpool(SpoolSettings())
    late, stored, fresh = case(0, 0.5, deadline_s=5.0), case(1, 0.5, deadline_s=5.0), case(2, 0.5, deadline_s=50.0)
    stored.is_stored = True
    for item in (late, stored, fresh):
        spool.put(item)
    assert spool.expire(5.0) == [late]
    assert (len(spool), spool.expired) == (1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_order_and_drops_are_those_of_the_real_spool(tmp_path, seed):
    rng = random.Random(seed)
    ours, real = MissionSpool(SpoolSettings(max_cases=5, max_bytes=BIG)), Spool(tmp_path, max_cases=5, max_bytes=BIG)
    seqs = {}
    for seq in range(30):
        value, payload = rng.choice([0.2, 0.4, 0.6, 0.8]), b"x" * rng.randint(1, 50)
        real_case = make_case(payload)
        seqs[real_case.case_id] = seq
        real.put(real_case, payload, value)
        real.flush()
        ours.put(case(seq, value, len(payload)))
        if rng.random() < 0.3:
            best = real.best()
            assert seqs[best.case.case_id] == ours.best().seq
            real.done(best.case.case_id)
            ours.done(ours.best())
    assert (len(real), real.stats.dropped, real.total_bytes) == (len(ours), ours.dropped, ours.total_bytes)
