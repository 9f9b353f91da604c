"""Canaries tell a student that is run as its twin was from one that is not."""

import numpy as np
import pytest

from cloud.canaries import make_canaries
from edge.bundle import bundled_student, load_bundle
from edge.canary import MAX_OBJECTNESS_CHANGE, check_canaries, pack_canaries, unpack_canaries
from edge.errors import UpdateError
from edge.student import Student


@pytest.fixture(scope="module")
def student():
    return Student.open(load_bundle(bundled_student(), "fp32"), threads=1)


@pytest.fixture(scope="module")
def canaries(student):
    return make_canaries(student)


def test_canaries_survive_their_file(canaries):
    assert len(canaries) == 8
    assert unpack_canaries(pack_canaries(canaries)) == canaries


def test_quantized_files_pass_with_room_to_spare(canaries):
    for variant in ("fp32", "u8s8"):
        report = check_canaries(Student.open(load_bundle(bundled_student(), variant), threads=1), canaries)
        assert report.cosine > 0.98
        assert report.objectness_change < MAX_OBJECTNESS_CHANGE / 3


def test_student_that_sees_nothing_any_more_is_found_out(student, canaries):
    class Blind:
        name = "blind"

        def run(self, image):
            raw = student.backend.run(image)
            raw.objectness[:] = -20.0
            return raw

    seen = max(canary.objectness for canary in canaries)
    assert seen > MAX_OBJECTNESS_CHANGE
    blind = Student(student.bundle, Blind())
    with pytest.raises(UpdateError, match="objectness off by"):
        check_canaries(blind, tuple(canary for canary in canaries if canary.objectness > MAX_OBJECTNESS_CHANGE))


@pytest.mark.parametrize("content", [b"", b"\x90", b"\xdd\xff\xff\xff\xff", b"\x91\x80", bytes(10**6)])
def test_file_that_holds_no_canaries_is_refused(content):
    with pytest.raises(UpdateError, match="publish the bundle anew"):
        unpack_canaries(content)


def test_vectors_of_another_length_are_refused(tiny_bundle, canaries):
    with pytest.raises(UpdateError, match="its vectors have 8 numbers"):
        check_canaries(Student.open(tiny_bundle, threads=1), canaries)


def test_numbers_that_are_none_are_refused(student, canaries):
    class Broken:
        name = "broken"

        def run(self, image):
            raw = student.backend.run(image)
            raw.objectness[:] = np.nan
            return raw

    with pytest.raises(UpdateError):
        check_canaries(Student(student.bundle, Broken()), canaries)
