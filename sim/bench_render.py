"""How many frames a second the renderer paints on one core."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import cv2

from sim.display import Display
from sim.scenario import find_scenario
from sim.scene_plan import disaster_scene
from sim.scenes import Scene
from sim.world.layout import Look


@dataclass(frozen=True)
class RenderBench:
    """What is measured.

    Attributes:
        rounds: of the whole flight, each with a renderer that has seen nothing yet.
        frames: of one round.
        seed: of the disaster scene.
        look: what its sensor sees.
    """

    rounds: int = 5
    frames: int = 225
    seed: int = 1
    look: Look = Look.RGB


def bench_render(options: RenderBench, display: Display) -> dict[str, Any]:
    """Paint the disaster flight frame by frame, pinned to one core.

    Returns:
        `fps_1core`, the median over rounds; each round's; and the seconds that the ground takes before the first frame.
    """
    fps = find_scenario("disaster").fps
    scene = replace(disaster_scene(options.seed, max(options.frames / fps, 10.0)), look=options.look)
    times_s = [index / fps for index in range(options.frames)]
    rates, prepared = [], []
    with one_core(), display.stage("rendering", options.rounds * options.frames) as advance:
        for number in range(options.rounds):
            done = number * options.frames
            start_s = time.perf_counter()
            prepared_s, rate = _round(scene, times_s, start_s)
            prepared.append(prepared_s)
            rates.append(rate)
            advance(done + options.frames, f"{rate:.0f} frames/s")
    size = f"{scene.camera.width}x{scene.camera.height}"
    return {
        "fps_1core": round(statistics.median(rates), 1),
        "rounds": [round(rate, 1) for rate in rates],
        "prepare_s": round(statistics.median(prepared), 2),
        "scene": f"disaster/{options.seed}",
        "look": options.look.value,
        "size": size,
    }


def _round(scene: Scene, times_s: Sequence[float], start_s: float) -> tuple[float, float]:
    """(seconds until the first frame, frames a second) of one flight."""
    renderer = scene.renderer()
    ready_s = time.perf_counter()
    for time_s in times_s:
        renderer.render(scene.flight.pose_at(time_s), time_s)
    return ready_s - start_s, len(times_s) / (time.perf_counter() - ready_s)


@contextmanager
def one_core() -> Iterator[None]:
    """This process, on one core and with one OpenCV thread, until the end."""
    allowed, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    os.sched_setaffinity(0, {max(allowed)})
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        os.sched_setaffinity(0, allowed)
