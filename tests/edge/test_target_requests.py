import numpy as np
import pytest
from builders import scene

from edge.capture import Frame
from edge.correlation import CorrelationTracker
from edge.errors import ConfigError, TargetError
from edge.pipeline import FramePipeline
from edge.student import Student
from edge.target_requests import TargetRequest, begin, parse_target
from edge.targets import TargetTracker
from protocols.values import FrameHeader

RED = (40, 40, 250)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("10,20,30.5,40", TargetRequest((10, 20, 30.5, 40))),
        (" 10, 20, 30, 40 ", TargetRequest((10, 20, 30, 40))),
        ("Bicycle", TargetRequest(None, "Bicycle")),
    ],
    ids=["box", "box-with-blanks", "label"],
)
def test_parse_target_reads_boxes_and_labels(text, request_):
    assert parse_target(text) == request_


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("10,20,30", "neither"),
        ("10", "neither"),
        ("", "neither"),
        ("10,20,nan,40", "neither"),
        ("10,20,x,40", "neither"),
        ("10,20,3,40", "under 4 px"),
        ("10,20,30,-40", "under 4 px"),
    ],
)
def test_parse_target_refuses_anything_else_in_one_line(text, word):
    with pytest.raises(ConfigError, match=word) as refusal:
        parse_target(text)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def pipeline(tiny_bundle):
    return FramePipeline(Student.open(tiny_bundle, threads=1))


def fly(pipeline, *images):
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        header = FrameHeader(index=index, source_id="s", captured_at_s=float(index), width=width, height=height)
        yield pipeline.process(Frame(header, image, float(index))).targets


def test_target_by_label_begins_when_it_is_first_seen(pipeline):
    pipeline.follow(TargetRequest(None, "Red"))
    empty, there = scene(), scene((60, 60, RED))
    found = list(fly(pipeline, empty, empty, there, there))
    assert [len(targets) for targets in found] == [0, 0, 1, 1]
    np.testing.assert_allclose(found[2][0].box_xyxy, (52, 52, 68, 68), atol=4)


def test_one_label_asked_for_twice_takes_two_things(pipeline):
    for _ in range(2):
        pipeline.follow(TargetRequest(None, "Red"))
    (first,) = fly(pipeline, scene((30, 60, RED), (110, 60, RED)))
    assert sorted(round(float(t.box_xyxy[0])) // 40 for t in first) == [0, 2]


def test_one_thing_is_not_taken_twice(pipeline):
    for _ in range(2):
        pipeline.follow(TargetRequest(None, "Red"))
    (first,) = fly(pipeline, scene((30, 60, RED)))
    assert len(first) == 1


def test_stop_ends_a_target_between_frames(pipeline):
    pipeline.follow(TargetRequest((22, 52, 16, 16)))
    frames = fly(pipeline, *[scene((30, 60, RED))] * 2)
    assert len(next(frames)) == 1
    pipeline.stop(1)
    assert next(frames) == ()


def test_box_outside_the_frame_is_refused_and_begins_nothing(pipeline):
    tracker, image = TargetTracker(CorrelationTracker), scene()
    with pytest.raises(TargetError, match="outside the frame of 160x128"):
        begin([TargetRequest((200, 20, 30, 30))], tracker, image, pipeline.student.perceive(image), {})
    assert tracker.targets == ()


def test_detections_are_the_same_with_and_without_a_target(tiny_bundle):
    images = [scene((30 + 3 * i, 60, RED)) for i in range(4)]
    found = []
    for requests in ([], [TargetRequest((22, 52, 16, 16))]):
        pipeline = FramePipeline(Student.open(tiny_bundle, threads=1))
        for request in requests:
            pipeline.follow(request)
        rows = []
        for index, image in enumerate(images):
            header = FrameHeader(index=index, source_id="s", captured_at_s=float(index), width=160, height=128)
            rows.append(pipeline.process(Frame(header, image, float(index))).detections)
        found.append(rows)
    assert found[0] == found[1]
