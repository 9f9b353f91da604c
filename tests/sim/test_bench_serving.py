"""The serving benchmark: its parts work with the real server, and its numbers are those of its requests."""

import math
import time

import numpy as np
import pytest

from cloud.teachers import open_teacher
from distill.evaluate import bundle_folder
from edge.bundle import load_bundle
from sim.batch_axis import batched_bundle
from sim.bench_serving import ServingBench, bench_serving
from sim.display import Display
from sim.errors import ProcessError
from sim.serving_load import Tally


@pytest.fixture(scope="module")
def student():
    return load_bundle(bundle_folder("student"))


def test_batched_bundle_answers_as_the_one_it_was_made_of_in_one_run(student, tmp_path):
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (64, 96, 3)).astype(np.uint8) for _ in range(3)] + [np.zeros((64, 64, 3), np.uint8)]
    batched = open_teacher(str(batched_bundle(student, tmp_path / "batched")), threads=1)
    runs, backend = [], batched._student.backend
    run_all = backend.run_all
    backend.run_all = lambda images: runs.append(len(images)) or run_all(images)
    answers = batched.interpret(images)
    assert sorted(runs) == [1, 3]  # one run for each size
    single = open_teacher(str(student.folder), threads=1)
    for answer, alone in zip(answers, single.interpret(images), strict=True):
        assert answer.labels == alone.labels
        assert np.allclose(answer.boxes_xyxy, alone.boxes_xyxy, atol=1e-2)
        assert np.allclose(answer.scores, alone.scores, atol=1e-3)


def test_cases_go_the_whole_way_and_the_session_is_the_ceiling():
    options = ServingBench(side_px=64, concurrency=(4,), rounds=1, seconds=1.0, warm_s=0.5)
    found = bench_serving(options, Display(), ("skyloop", "session"))
    assert found.keys() == {"4"}
    for systems in found.values():
        for row in systems.values():
            assert row.keys() == {"rps", "p50_ms", "p99_ms", "errors"}
            assert (row["rps"] > 1, row["errors"]) == (True, 0)
            assert 0 < row["p50_ms"] <= row["p99_ms"]


def test_without_the_peers_environment_it_says_what_makes_it(tmp_path):
    with pytest.raises(ProcessError, match="bench setup"):
        bench_serving(ServingBench(peers=tmp_path), Display())


def test_requests_count_that_end_while_it_is_measured():
    tally = Tally(0.0, 10.0)
    tally.answered(time.perf_counter() - 0.2)
    tally.end_s = tally.begin_s + 1
    summary = tally.summary()
    assert summary["rps"] == 1
    assert summary["p50_ms"] == pytest.approx(200, abs=50)
    late = Tally(5.0, 1.0)
    late.answered(time.perf_counter())
    assert (late.times_s, math.isnan(late.summary()["p50_ms"])) == ([], True)
