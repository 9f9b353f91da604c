import numpy as np

from distill.evaluate import ImageDetections
from protocols.limits import CHUNK_BYTES
from sim.frontier_wire import case_bytes


def found(count: int) -> ImageDetections:
    return ImageDetections(np.zeros((count, 4), np.float32), ["Car"] * count, np.full(count, 0.5, np.float32))


def test_case_costs_its_imagery_and_about_a_kilobyte():
    assert 700 < case_bytes(b"x" * 5000, "image/webp", found(0), found(0)) - 5000 < 1200


def test_every_detection_and_every_chunk_costs():
    bare = case_bytes(b"x", "image/webp", found(0), found(0))
    assert case_bytes(b"x", "image/webp", found(3), found(0)) - bare > 3 * 80
    assert case_bytes(b"x", "image/webp", found(0), found(3)) - bare > 3 * 80
    longer = case_bytes(b"x" * (CHUNK_BYTES + 1), "image/webp", found(0), found(0))
    assert 50 < longer - bare - CHUNK_BYTES < 400  # with the receipt between them


def test_craft_without_student_tells_less():
    assert case_bytes(b"x", "image/jpeg", None, found(1)) < case_bytes(b"x", "image/jpeg", found(0), found(1))
