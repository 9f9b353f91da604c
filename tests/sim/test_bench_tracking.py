import json
from typing import ClassVar

import numpy as np
import pytest
from moving_target import MovingTarget
from typer.testing import CliRunner

from sim import bench_tracking as bench
from sim.bench_cli import bench_app
from sim.bench_tracking import CONTROL, LEADER, TrackingBench, _turns, bench_tracking
from sim.display import Display
from sim.errors import OptionError, ProcessError
from sim.peers import Followed


@pytest.fixture
def data(tmp_path):
    MovingTarget().write(tmp_path / "data" / "near", 5)
    MovingTarget(step_px=(1, 1)).write(tmp_path / "data" / "slow", 4, absent=(2,))
    return tmp_path / "data"


class Still:
    """A tracker that never moves, and tells when it was asked."""

    asked: ClassVar[list[str]] = []

    def __init__(self, name, *_):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def start(self, image, box):
        self.box = box
        Still.asked.append(f"{self.name} starts")
        return 0.1

    def update(self, image):
        Still.asked.append(self.name)
        return Followed(self.box, 0.02)


@pytest.fixture
def still(monkeypatch, data):
    monkeypatch.setattr(bench, "_open", lambda name, options, stack: Still(name))
    Still.asked = []
    return bench_tracking(TrackingBench(data, ("skyloop", "csrt")), Display())


def test_trackers_take_turns_and_nobody_is_always_first(still):
    assert Still.asked[:6] == ["skyloop starts", "csrt starts", "csrt", "skyloop", "skyloop", "csrt"]


def test_result_has_the_agreed_shape(still):
    assert list(still["mean"]) == ["skyloop", "csrt"]
    assert list(still["sequences"]) == ["near", "slow"]
    row = still["sequences"]["slow"]["csrt"]
    assert row["fps"] == 50
    assert row["absent"] == 1
    for rows in (still["mean"]["csrt"], row):
        assert {"auc", "p20", "fps", "false_tracked", "reacquire_s", "requests_per_100", "bytes"} <= set(rows)
    assert still["mean"]["csrt"]["auc"] == pytest.approx(
        np.mean([still["sequences"][name]["csrt"]["auc"] for name in ("near", "slow")]), abs=1e-4
    )
    low, high = still["mean"]["csrt"]["auc_interval"]
    assert low <= still["mean"]["csrt"]["auc"] <= high


def test_ours_is_measured_for_real(data):
    done = CliRunner().invoke(bench_app, ["tracking", "--data", str(data), "--trackers", "skyloop", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["mean"]["skyloop"]["auc"] > 0.7
    assert result["mean"]["skyloop"]["fps"] > 1


def test_unknown_tracker_is_refused(data):
    with pytest.raises(OptionError, match="'magic': is none of skyloop"):
        bench_tracking(TrackingBench(data, ("skyloop", "magic")), Display())


def test_tracker_with_a_cloud_wants_one(data):
    with pytest.raises(OptionError, match="those with @ want --cloud"):
        bench_tracking(TrackingBench(data, ("skyloop@operator",)), Display())


def test_control_without_its_leader_is_refused(data):
    with pytest.raises(OptionError, match=r"hears what skyloop\+nano@operator is answered; name both"):
        bench_tracking(TrackingBench(data, ("nano-reinit@operator",), "operator"), Display())


def test_unknown_cloud_is_refused(data):
    done = CliRunner().invoke(bench_app, ["tracking", "--data", str(data), "--cloud", "heaven"])
    assert isinstance(done.exception, OptionError)
    assert "'heaven': is none of off, teacher, operator" in str(done.exception)


def test_control_comes_right_after_its_leader_in_every_frame():
    names = ["skyloop", LEADER, "nano", CONTROL]
    turns = [_turns(names, index) for index in range(3)]
    assert [order[0] for order in turns] == ["skyloop", LEADER, "nano"]
    assert all(order.index(CONTROL) == order.index(LEADER) + 1 for order in turns)


def test_person_puts_a_lost_target_right_at_the_frame_asked_about(tmp_path):
    """The thing jumps away in one frame, so that every tracker alone loses it for good."""
    video = MovingTarget(step_px=(0.5, 0.3))
    steady = video.box
    video.box = lambda index: steady(index) + np.float32(110 if index >= 20 else 0)
    video.write(tmp_path / "data" / "jump", 90)
    names = ("skyloop", "skyloop@operator")
    result = bench_tracking(TrackingBench(tmp_path / "data", names, "operator", 0.5), Display())
    alone, asked = (result["mean"][name] for name in names)
    assert asked["auc"] > alone["auc"] + 0.15
    assert 0 < asked["requests_per_100"] <= 2
    assert asked["bytes_up"] > 5000 > asked["bytes_down"] > 100
    assert asked["bytes"] == asked["bytes_up"] + asked["bytes_down"]
    assert alone["requests_per_100"] == alone["bytes"] == 0


def test_peers_without_their_environment_say_what_makes_it(data, tmp_path):
    with pytest.raises(ProcessError, match="skyloop-sim bench setup"):
        bench_tracking(TrackingBench(data, ("csrt",), peers=tmp_path / "none"), Display())


def test_nano_without_weights_says_so(data, tmp_path):
    with pytest.raises(OptionError, match=r"nanotrack_backbone_sim\.onnx is missing"):
        bench_tracking(TrackingBench(data, ("nano",), nano=tmp_path), Display())
