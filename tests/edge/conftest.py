"""Cases, prompts and a clock for the tests of the edge's link to the cloud."""

import contextlib
import resource
import time

import numpy as np
import pytest
from builders import make_case

from protocols import Prompt, PromptBank, Vectors


class FakeClock:
    def __init__(self):
        self.now_s, self.wall_now_s = 1000.0, 1.7e9

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return self.wall_now_s

    def advance(self, seconds):
        self.now_s += seconds
        self.wall_now_s += seconds


@pytest.fixture
def fake_clock():
    return FakeClock()


@pytest.fixture(name="make_case")
def make_case_fixture():
    return make_case


@pytest.fixture
def fill(make_case):
    """Puts one case per value and flushes; returns their ids in order."""

    def put(spool, values, payload=b"imagery", **changes):
        cases = [make_case(payload, **changes) for _ in values]
        for case, value in zip(cases, values, strict=True):
            spool.put(case, payload, value)
        spool.flush()
        return [case.case_id for case in cases]

    return put


@pytest.fixture
def make_bank():
    def make(revision=1, labels=("debris",), epoch="e1"):
        vectors = Vectors.from_array(np.eye(2, 8, dtype=np.float32))
        prompts = [
            Prompt(
                prompt_id=f"p-{label}",
                label=label,
                space_id="space",
                variant="fp32",
                positives=vectors,
                negatives=vectors,
                threshold=0.5,
                issued_at_s=1.7e9,
                origin="person",
                confidence=1.0,
            )
            for label in labels
        ]
        return PromptBank(epoch=epoch, revision=revision, prompts=tuple(prompts))

    return make


@pytest.fixture
def until():
    """Waits for an event: until a condition holds, or fails after a generous bound."""

    def wait(condition, timeout_s=20.0):
        deadline = time.monotonic() + timeout_s
        while not (result := condition()):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.005)
        return result

    return wait


@pytest.fixture
def files_at_most():
    """A disk that refuses: the kernel fails every write beyond a file size, as it does when space runs out.

    A really full file system needs root to mount; RLIMIT_FSIZE takes the same path (OSError from write).
    """

    @contextlib.contextmanager
    def limit(size_bytes):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
