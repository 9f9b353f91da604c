"""The agent's memory: bounded from the start, and not growing however long the flight."""

import subprocess
import sys
from pathlib import Path

import pytest

FLIGHT = Path(__file__).with_name("flight_in_memory.py")


def fly(frames: int, *arguments: str) -> list[float]:
    """Resident MB of a fresh process after a warm-up and at the end of a flight over synthetic frames."""
    command = [sys.executable, "-W", "ignore", str(FLIGHT), str(frames), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [float(word) for word in done.stdout.splitlines()[-1].split()]


def test_memory_does_not_grow_over_2000_frames(tiny_bundle, tmp_path):
    warm_mb, end_mb = fly(2000, str(tiny_bundle.folder), str(tmp_path), "160", "128")
    assert end_mb - warm_mb < 8


@pytest.mark.slow
def test_memory_does_not_grow_over_20000_frames(tiny_bundle, tmp_path):
    warm_mb, end_mb = fly(20_000, str(tiny_bundle.folder), str(tmp_path), "160", "128")
    assert end_mb - warm_mb < 8


def test_memory_with_the_bundled_student_stays_below_400_mb(tmp_path):
    _, end_mb = fly(40, "bundled", str(tmp_path), "640", "512")
    assert end_mb < 400
