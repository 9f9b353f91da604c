import os

import cv2

from sim.bench_render import RenderBench, bench_render, one_core
from sim.display import Display, error_console


def test_bench_says_how_fast_one_core_renders():
    result = bench_render(RenderBench(rounds=2, frames=6), Display(error_console))
    assert len(result["rounds"]) == 2
    assert min(result["rounds"]) <= result["fps_1core"] <= max(result["rounds"])
    assert result["fps_1core"] > 1
    assert result["size"] == "640x512"


def test_one_core_is_given_back():
    allowed, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
        assert cv2.getNumThreads() == 1
    assert (os.sched_getaffinity(0), cv2.getNumThreads()) == (allowed, threads)
