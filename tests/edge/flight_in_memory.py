"""Fly an agent over synthetic frames in this process and print its resident memory (MB): warm, then at the end.

Usage: flight_in_memory.py FRAMES BUNDLE|bundled OUT WIDTH HEIGHT
"""

import sys
from pathlib import Path

import numpy as np

from edge.agent import Agent
from edge.bank import BankStore
from edge.bundle import bundled_student, load_bundle
from edge.capture import Frame
from edge.outputs import RunOutputs
from edge.spool import Spool
from edge.student import Student
from protocols.values import FrameHeader


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def frame(index: int, width: int, height: int) -> Frame:
    """Noise with two coloured things that move, so that tracks, cases and detections all come and go."""
    rng = np.random.default_rng(index)
    image = rng.integers(0, 30, (height, width, 3)).astype(np.uint8)
    for speed, colour in ((3, (40, 40, 250)), (5, (60, 220, 60))):
        x = (index * speed) % (width - 32)
        image[40:56, x : x + 16] = colour
    header = FrameHeader(index=index, source_id="memory", captured_at_s=1e9 + index / 15, width=width, height=height)
    return Frame(header, image, index / 15)


def main() -> None:
    frames, bundle, out, width, height = (*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))
    folder = bundled_student() if bundle == "bundled" else Path(bundle)
    student = Student.open(load_bundle(folder), threads=1)
    spool = Spool(Path(out) / "spool", max_cases=8)
    warm_mb = 0.0
    with RunOutputs(Path(out) / "run", fps=15, video=False) as outputs:
        agent = Agent(student=student, bank=BankStore(Path(out) / "bank"), spool=spool, outputs=outputs)
        for index in range(int(frames)):
            agent.step(frame(index, width, height))
            spool.flush()
            if index == int(frames) // 4:
                warm_mb = resident_mb()
    print(warm_mb, resident_mb())  # noqa: T201 - the answer to the test


main()
