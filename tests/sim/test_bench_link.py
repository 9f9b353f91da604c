"""The link benchmark: its parts for a few seconds with real processes, and what it tells."""

import itertools
import json
import os

import pytest
from typer.testing import CliRunner

from sim import bench_link as module
from sim.bench_link import LinkBench, bench_link
from sim.cli import app
from sim.display import Display
from sim.errors import OptionError, ProcessError
from sim.frame_age import frame_ages_ms
from sim.link_bench_parts import percentiles, write_pictures
from sim.link_frame_rate import WAYS, FrameRateBench, FrameRates, bench_frame_rate
from sim.link_peers import PEERS, PeerRun, run_peer
from sim.link_recovery import KINDS, Fault, Recovery, bench_recovery, random_faults, told_outages
from sim.link_throughput import ours_mb_s
from sim.many_edges_bench import ManyEdges, bench_many_edges, processor_s


def test_faults_are_of_every_kind_as_often_and_the_same_for_the_same_seed():
    faults = random_faults(70, 3)
    assert {kind: sum(fault.kind == kind for fault in faults) for kind in KINDS} == dict.fromkeys(KINDS, 10)
    assert faults == random_faults(70, 3) != random_faults(70, 4)
    assert all(0 < fault.for_s <= 1 for fault in faults)


def test_told_outages_are_silent_and_refusing_ones():
    assert [(fault.kind, fault.for_s) for fault in told_outages([1, 20])] == [
        ("outage", 1), ("cut", 1), ("outage", 20), ("cut", 20),
    ]  # fmt: skip


def test_a_recovery_sums_itself_up():
    found = Recovery([("cut", 1.0, 0.5), ("cut", 1.0, 1.5), ("outage", 1.0, 4.0)], lost=1, doubled=2, accepted=9)
    assert found.summary() == {"points": 3, "lost": 1, "doubled": 2, "resume_s": {"p50": 1.5, "max": 4.0}}
    assert found.by_kind() == {
        "cut": {"points": 2, "p50": 1.0, "max": 1.5}, "outage": {"points": 1, "p50": 4.0, "max": 4.0},
    }  # fmt: skip


def test_cases_flow_again_after_a_cut_and_none_is_lost(tmp_path):
    told = []
    found = bench_recovery([Fault("cut", 0.2, 0.2)], tmp_path, 1, lambda *words: told.append(words))
    assert told == [(0, "cut")]
    assert found.lost == 0
    assert found.accepted > 1
    assert 0 < found.resume_s[0][2] < 60


@pytest.mark.slow
def test_nothing_is_lost_whatever_breaks(tmp_path):
    found = bench_recovery(random_faults(21, 2), tmp_path, 2)
    assert len(found.resume_s) == 21
    assert found.lost == 0


def test_our_frame_ages_do_not_grow(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.frame_age.PEERS", {})
    monkeypatch.setattr("sim.link_peers.peers_python", lambda folder: folder)
    (row,) = frame_ages_ms(4.0, tmp_path, tmp_path, lambda name: None).values()
    assert 0 < row["p50"] <= row["p99"] < 2000  # queued in order they would be 3 s old


@pytest.mark.parametrize("is_durable", [pytest.param(True, marks=pytest.mark.slow), False])
def test_our_throughput_is_what_the_gateway_acknowledged(tmp_path, is_durable):
    if not is_durable and not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm")
    assert 0.05 < ours_mb_s(1.0, tmp_path, is_durable=is_durable) < 1e4


def test_many_edges_get_their_receipts(tmp_path):
    found = bench_many_edges(ManyEdges(edges=8, every_s=1.0, seconds=2.0, settle_s=1.0), tmp_path)
    assert found["edges"] == 8
    assert 0 < found["cores"] < 2
    assert 0 < found["receipt_ms"]["p50"] <= found["receipt_ms"]["p99"]


def test_processor_time_of_this_process_grows():
    before_s = processor_s(os.getpid())
    while processor_s(os.getpid()) < before_s + 0.05:
        sum(range(10_000))


def test_pictures_are_the_same_for_the_same_seed_and_of_some_size(tmp_path):
    one, two = (write_pictures(tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert 60_000 < one[0].stat().st_size < 120_000
    assert all(a.read_bytes() != b.read_bytes() for a, b in itertools.pairwise(one))


def test_percentiles_of_nothing_say_so():
    assert percentiles([1.0, 2.0, 3.0]) == {"p50": 2.0, "p99": 2.98}
    with pytest.raises(ProcessError, match="nothing arrived"):
        percentiles([])


def test_a_peer_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ProcessError, match="skyloop-sim bench setup"):
        PeerRun.of(tmp_path, [], 1.0)


def test_a_peer_that_fails_is_named(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    (name, *_) = PEERS
    with pytest.raises(ProcessError, match=f"{name}: its receiver ended with exit code 3"):
        run_peer(name, PeerRun(python, [], 1.0), tmp_path)


def test_an_unknown_part_is_refused():
    with pytest.raises(OptionError, match="latency"):
        bench_link(LinkBench(parts=("latency",)), Display())


def test_the_agent_flies_on_whatever_the_link_does(tmp_path):
    told = []
    options = FrameRateBench(rounds=1, frames=6, pictures=2, settle_s=1.0)
    found = bench_frame_rate(options, tmp_path, lambda *words: told.append(words))
    assert sorted(told) == sorted((0, name) for name in WAYS)
    assert all(rates[0] > 0 for rates in found.fps.values())
    assert found.delivered["dead"] == found.delivered["black-holed"] == 0
    summary = found.summary()
    assert summary["ratio"].keys() == summary["quartiles"].keys() == WAYS.keys() - {"good"}


def test_frame_rates_are_compared_round_by_round():
    slow, fast = {name: 10.0 for name in WAYS}, {name: 20.0 for name in WAYS}
    fast["dead"], slow["dead"] = 15.0, 10.0
    found = FrameRates({name: [slow[name], fast[name], fast[name]] for name in WAYS})
    assert found.summary()["ratio"] == {"dead": 0.75, "black-holed": 1.0, "crawling": 1.0}
    assert found.summary()["fps"]["good"] == 20.0


@pytest.fixture
def made_up(monkeypatch):
    """Every part with a made-up result."""
    found = Recovery([("cut", 1.0, 0.5)], accepted=3)
    monkeypatch.setattr(module, "bench_recovery", lambda *told: found)
    monkeypatch.setattr(module, "peers_python", lambda folder: folder)
    monkeypatch.setattr(module, "frame_ages_ms", lambda *told: {"ours": {"p50": 60.0, "p99": 99.0}})
    monkeypatch.setattr(module, "ours_mb_s", lambda *told, is_durable: 2.0 if is_durable else 5.0)
    monkeypatch.setattr(module.PeerRun, "of", lambda *told: None)
    monkeypatch.setattr(module, "run_peer", lambda *told: {"bytes": 8e6, "s": 2.0})
    many = {"edges": 1000, "cores": 0.5, "receipt_ms": {"p50": 20.0, "p99": 90.0}}
    monkeypatch.setattr(module, "bench_many_edges", lambda *told: many)
    rates = FrameRates({name: [30.0, 31.0] for name in WAYS})
    monkeypatch.setattr(module, "bench_frame_rate", lambda *told: rates)


@pytest.mark.usefixtures("made_up")
def test_json_has_the_keys_that_programs_read():
    answer = CliRunner().invoke(app, ["bench", "link", "--json"])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout.splitlines()[-1])
    assert list(found) == ["recovery", "age_ms", "throughput_mb_s", "many_edges", "agent_frame_rate"]
    assert found["recovery"] == {"points": 1, "lost": 0, "doubled": 0, "resume_s": {"p50": 0.5, "max": 0.5}}
    assert found["throughput_mb_s"]["skyloop, CURVE, durable"] == 2.0
    assert found["throughput_mb_s"]["imagezmq 1.2.0 REQ/REP, plain"] == 4.0


@pytest.mark.usefixtures("made_up")
def test_tables_show_what_was_asked_for():
    answer = CliRunner().invoke(app, ["bench", "link", "--parts", "recovery,edges,frame-rate"])
    assert answer.exit_code == 0, answer.output
    assert "0 cases lost" in answer.stdout
    assert "crawling" in answer.stdout
    assert "MB/s" not in answer.stdout
