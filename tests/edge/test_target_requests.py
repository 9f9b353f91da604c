import numpy as np
import pytest
from builders import scene

from edge.capture import Frame
from edge.errors import ConfigError
from edge.followed_target import TargetSettings
from edge.pipeline import FramePipeline, PipelineSettings
from edge.student import Student
from edge.target_requests import TargetRequest, parse_target
from protocols.limits import MAX_DETAIL_CHARS
from protocols.values import FrameHeader, FrameRef

RED = (40, 40, 250)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("10,20,30.5,40", TargetRequest((10, 20, 30.5, 40))),
        (" 10, 20, 30, 40 ", TargetRequest((10, 20, 30, 40))),
        ("Bicycle", TargetRequest(None, "Bicycle")),
        ("moving car", TargetRequest(None, "moving car")),
        ("10,20", TargetRequest(point_xy=(10, 20))),
        ("0.25:0.5:0.75:1", TargetRequest((0.25, 0.5, 0.5, 0.5), is_normalised=True)),
        ("0.5:0.25", TargetRequest(point_xy=(0.5, 0.25), is_normalised=True)),
        ("0.5:0.25:0.125", TargetRequest(point_xy=(0.5, 0.25), radius=0.125, is_normalised=True)),
    ],
    ids=["box", "box-with-blanks", "label", "label-of-two-words", "point", "rectangle", "share-point", "radius"],
)
def test_parse_target_reads_every_form(text, request_):
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
        ("10,nan", "neither"),
        ("0.1:0.2:0.3:0.4:0.5", "neither"),
        ("0.1:0.2:0.3:nan", "neither"),
        ("0.1:0.2:1.3:0.4", "not in shares"),
        ("-0.1:0.2", "not in shares"),
        ("0.3:0.2:0.1:0.4", "no area"),
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


def begun(pipeline, image, *requests):
    """What became of requests in one frame."""
    for request in requests:
        pipeline.follow(request)
    height, width = image.shape[:2]
    header = FrameHeader(index=0, source_id="s", captured_at_s=0.0, width=width, height=height)
    result = pipeline.process(Frame(header, image, 0.0))
    return result.begun, result.targets


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (TargetRequest((200, 20, 30, 30)), "outside the frame of 160x128"),
        (TargetRequest((20, 20, 3, 30)), "under 4 px"),
        (TargetRequest((float("nan"), 20, 30, 30)), "not four numbers"),
        (TargetRequest((0.5, 0.5, 0.01, 0.5), is_normalised=True), "under 4 px"),
        (TargetRequest(point_xy=(161, 20)), "outside the frame of 160x128"),
        (TargetRequest(point_xy=(float("nan"), 20)), "outside the frame"),
    ],
    ids=["box-outside", "box-small", "box-nan", "rectangle-small", "point-outside", "point-nan"],
)
def test_what_no_frame_can_hold_is_refused_and_the_others_begin(pipeline, request_, word):
    good = TargetRequest((22, 52, 16, 16))
    answers, targets = begun(pipeline, scene((30, 60, RED)), request_, good)
    assert [(a.request, a.target_id) for a in answers] == [(request_, None), (good, 1)]
    assert word in answers[0].reason
    assert [target.target_id for target in targets] == [1]


def test_rectangle_in_shares_is_that_of_the_frame(pipeline):
    _, (target,) = begun(pipeline, scene(), TargetRequest((0.25, 0.5, 0.125, 0.25), is_normalised=True))
    np.testing.assert_allclose(target.box_xyxy, (40, 64, 60, 96))


@pytest.mark.parametrize("point", [(60, 60), (55, 66), (49.5, 60)], ids=["middle", "inside", "just-beside"])
def test_point_takes_the_students_candidate_there(pipeline, point):
    _, (target,) = begun(pipeline, scene((60, 60, RED), (120, 60, RED)), TargetRequest(point_xy=point))
    np.testing.assert_allclose(target.box_xyxy, (52, 52, 68, 68), atol=4)
    assert target.reason == "just begun, the student's candidate at the point"


@pytest.mark.parametrize(
    ("spots", "request_", "side", "how"),
    [
        ((), TargetRequest(point_xy=(80, 40)), 16, "of a size that is usual"),
        (((30, 90, RED),), TargetRequest(point_xy=(80, 40)), 16, "as what the student sees elsewhere"),
        ((), TargetRequest(point_xy=(0.5, 0.3125), radius=0.125, is_normalised=True), 40, "as was asked for"),
    ],
    ids=["nothing", "another-thing", "radius"],
)
def test_point_on_nothing_takes_a_box_around_it_and_says_so(pipeline, spots, request_, side, how):
    _, (target,) = begun(pipeline, scene(*spots), request_)
    half = side / 2
    np.testing.assert_allclose(target.box_xyxy, (80 - half, 40 - half, 80 + half, 40 + half), atol=1.5)
    assert how in target.reason


def headed(index, **changes):
    fields = {"index": index, "source_id": "s", "captured_at_s": 100.0 + index, "width": 160, "height": 128}
    return FrameHeader(**(fields | changes))


def fly_past(pipeline, frames=6):
    """A red thing that moves 3 px a frame, from 30 on."""
    for index in range(frames):
        pipeline.process(Frame(headed(index), scene((30 + 3 * index, 60, RED)), 5.0 + index / 30))


def seen_in(index, **changes):
    return FrameRef(**({"source_id": "s", "index": index, "captured_at_s": 100.0 + index} | changes))


@pytest.mark.parametrize("place", [{"box_xywh": (25, 52, 16, 16)}, {"point_xy": (33, 60)}], ids=["box", "point"])
def test_place_in_a_frame_of_the_past_is_followed_to_the_present(pipeline, place):
    fly_past(pipeline)
    pipeline.follow(TargetRequest(**place, seen_in=seen_in(1)))
    for index in range(6, 12):
        result = pipeline.process(Frame(headed(index), scene((30 + 3 * index, 60, RED)), 5.0 + index / 30))
    (target,) = result.targets
    np.testing.assert_allclose(target.box_xyxy[:2], (30 + 33 - 8, 52), atol=4)


@pytest.mark.parametrize(
    ("ref", "newest", "word"),
    [
        (seen_in(1, source_id="other"), 6, "another flight or source"),
        (seen_in(1, captured_at_s=55.0), 6, "another flight or source"),
        (seen_in(99), 6, "another flight or source"),
        (seen_in(0), 300, "frame 0: is no longer held, 300 is the newest"),
    ],
    ids=["source", "time", "future", "gone"],
)
def test_frame_that_is_not_held_is_refused(pipeline, ref, newest, word):
    fly_past(pipeline)
    pipeline.follow(TargetRequest((25, 52, 16, 16), seen_in=ref))
    result = pipeline.process(Frame(headed(newest), scene(), 5.0 + newest / 30))
    (answer,) = result.begun
    assert answer.target_id is None
    assert word in answer.reason
    assert len(answer.reason) < MAX_DETAIL_CHARS
    assert result.targets == ()


def test_targets_beyond_the_cap_are_refused(tiny_bundle):
    settings = PipelineSettings(targets=TargetSettings(most=1))
    pipeline = FramePipeline(Student.open(tiny_bundle, threads=1), settings)
    answers, targets = begun(pipeline, scene(), *[TargetRequest((22, 52, 16, 16))] * 2)
    assert [answer.target_id for answer in answers] == [1, None]
    assert answers[1].reason == "1 targets are followed, at most 1; stop one first"
    assert len(targets) == 1


def test_withdrawn_request_waits_no_longer(pipeline):
    for key in ("a", "b"):
        pipeline.follow(TargetRequest(label="Red", key=key))
    pipeline.withdraw("a")
    answers, _ = begun(pipeline, scene((30, 60, RED), (110, 60, RED)))
    assert [answer.request.key for answer in answers] == ["b"]


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
