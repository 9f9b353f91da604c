import json

import numpy as np
import pytest
from moving_target import MovingTarget
from typer.testing import CliRunner

from sim.bench_cli import bench_app
from sim.changing_looks import changed
from sim.tracking_data import read_sequence


@pytest.fixture
def video(tmp_path):
    MovingTarget(size=(480, 360), step_px=(1, 1)).write(tmp_path / "one", 8)
    return read_sequence(tmp_path / "one", "one")


def test_changed_begins_with_the_target_as_it_was_but_for_the_zoom(video):
    harder = changed(video)
    zoom = harder.first_zoom
    np.testing.assert_allclose(harder.truth_xywh[0, 2:], video.truth_xywh[0, 2:] * zoom, rtol=1e-3)
    assert harder.image(0).shape == video.image(0).shape


def test_changed_is_the_same_each_time_and_another_with_another_seed(video):
    np.testing.assert_array_equal(changed(video).image(20), changed(video).image(20))
    assert not np.allclose(changed(video).truth_xywh, changed(video, seed=1).truth_xywh)


def test_changed_target_changes_shape_and_stays_in_the_picture(video):
    truth = changed(video).truth_xywh
    assert len(truth) == 90
    aspect = truth[:, 2] / truth[:, 3]
    assert aspect.max() / aspect.min() > 1.1
    middle = truth[:, :2] + truth[:, 2:] / 2
    assert ((middle > 0) & (middle < (480, 360))).all()


def test_target_that_is_cut_off_or_absent_is_not_changed(tmp_path):
    MovingTarget(step_px=(-20, 0)).write(tmp_path / "leaving", 8)
    MovingTarget().write(tmp_path / "absent", 8, absent=(3,))
    assert all(changed(read_sequence(tmp_path / name, name)) is None for name in ("leaving", "absent"))


def test_bench_tracking_follows_changing_targets(video, tmp_path):
    command = ["tracking", "--data", str(tmp_path), "--trackers", "skyloop", "--changing", "--json"]
    result = json.loads(CliRunner().invoke(bench_app, command).stdout)
    assert 0 <= result["mean"]["skyloop"]["auc"] <= 1
