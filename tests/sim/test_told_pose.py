import json
import statistics

import numpy as np
import pytest
from tiny_run import tiny_scenario

from sim.craft.camera import CameraPose
from sim.scenario.flights import PoseErrors
from sim.scene_plan import scenes_of
from sim.told_pose import spoil_poses, told_pose

RECORD = {"file": "images/000000.jpg", "index": 0, "time_s": 1.0, "pose": {"lat_deg": 47.0}}


@pytest.fixture
def sidecar(tmp_path):
    path = tmp_path / "frames.jsonl"
    path.write_text(json.dumps(RECORD) + "\n")
    return path


@pytest.fixture(scope="module")
def scene():
    return scenes_of(tiny_scenario(), 1)[0]


def test_without_errors_nothing_changes(sidecar, scene):
    spoil_poses(sidecar, scene, PoseErrors(), np.random.default_rng(1))
    assert json.loads(sidecar.read_text()) == RECORD


def test_a_late_pose_is_that_of_an_earlier_moment(sidecar, scene):
    from sim.dataset import pose_record

    spoil_poses(sidecar, scene, PoseErrors(pose_latency_ms=400), np.random.default_rng(1))
    record = json.loads(sidecar.read_text())
    assert record["pose"] == pytest.approx(pose_record(scene, scene.flight.pose_at(0.6)))
    assert record["true_pose"] == RECORD["pose"]


def test_noise_has_the_size_asked_for_and_repeats_with_its_seed():
    true, errors = CameraPose(0, 0, 50, 10, -70, 0), PoseErrors(pose_noise_m=2, pose_noise_deg=0.5)
    told = [told_pose(true, errors, rng) for rng in [np.random.default_rng(1)] for _ in range(2000)]
    assert statistics.stdev(p.east_m for p in told) == pytest.approx(2, rel=0.1)
    assert statistics.stdev(p.yaw_deg for p in told) == pytest.approx(0.5, rel=0.1)
    assert told[0] == told_pose(true, errors, np.random.default_rng(1))


def test_a_told_pose_stays_possible():
    errors = PoseErrors(pose_noise_m=100, pose_noise_deg=30)
    for seed in range(50):
        pose = told_pose(CameraPose(0, 0, 12, 0, -89, 170), errors, np.random.default_rng(seed))
        assert pose.up_m > 0
        assert pose.pitch_deg >= -90
        assert -180 <= pose.roll_deg <= 180
