from dataclasses import replace

import numpy as np
import pytest
from builders import make_case

from edge import recent_frames
from edge.recent_frames import RecentFrames, RecentFramesSettings
from edge.refinements import MAX_WAITING, Refinements
from edge.scheduler import CasePace, SchedulerSettings
from protocols.imagery import decode_image
from protocols.limits import MAX_REFINEMENTS
from protocols.messages import RefineRequest
from protocols.values import CasePart, FrameHeader, new_case_id

SIZE = (64, 64)
STILL = np.eye(2, 3, dtype=np.float32)
CASE = make_case(further=(CasePart(region_xyxy=(32, 32, 64, 48), payload_bytes=3),))


def request(case_id=CASE.case_id, number=0, **fields):
    return RefineRequest(request_id=f"r{number}", case_id=case_id, **fields)


def pace(**settings):
    return CasePace(SchedulerSettings(**settings))


def ring(count=1, **settings):
    """Frames a tenth of a second apart, each one brightness; the case is about the first."""
    frames = RecentFrames(RecentFramesSettings(**settings))
    for index in range(count):
        frames.add(index, index / 10, np.full((*SIZE, 3), 50 + index, np.uint8), STILL)
    return frames


@pytest.fixture
def refinements():
    known = Refinements()
    known.note(CASE, 0.0)
    return known


def shown(refinements, frames=None, paid=None, now_s=0.0):
    """What is made of the oldest request, kept."""
    refined = refinements.answer(ring() if frames is None else frames, paid or pace(), now_s)
    if refined is not None:
        refinements.settle(refined, is_kept=True)
    return refined


def refusal(refinements, asked, frames=None):
    """(code, detail) of the one Problem that a request brings."""
    refinements.receive(asked)
    assert refinements.answer(ring() if frames is None else frames, pace(), 0.0) is None
    (problem,) = refinements.due(9)
    assert problem.about == asked.request_id
    assert refinements.refused == 1
    return problem.code, problem.detail


def test_case_is_shown_again_in_better_quality(refinements):
    refinements.receive(request(quality=95))
    refined = shown(refinements, ring(3), now_s=0.2)
    case, payload = refined.planned.case, refined.planned.payload
    assert (case.refines, case.quality, refined.captured_s) == (CASE.case_id, 95, 0.0)
    assert [part.region_xyxy for part in case.parts] == [(0, 0, 32, 32), (32, 32, 64, 48)]
    shapes = [decode_image(data, case.media_type) for _, data in case.cut(payload)]
    assert [shape.shape[:2] for shape in shapes] == [(32, 32), (16, 32)]
    assert abs(float(shapes[0].mean()) - 50) < 2  # of its own frame, not the newest
    assert refinements.counts == {"asked": 1, "answered": 1, "refused": 0}


def test_another_part_of_the_frame_is_shown_in_whole_pixels(refinements):
    refinements.receive(request(region_xyxy=(10.5, 0, 40.2, 64)))
    refined = shown(refinements)
    assert refined.planned.case.region_xyxy == (10, 0, 41, 64)
    assert refined.planned.case.further == ()


@pytest.mark.parametrize(
    ("asked", "frames", "code", "said"),
    [
        pytest.param(request("e" * 32), None, "unknown_case", "is none of this run's newest", id="unknown"),
        pytest.param(request(region_xyxy=(0, 0, 65, 10)), None, "bad_value", "leaves the frame of 64x64", id="outside"),
        pytest.param(request(region_xyxy=(5, 5, 5, 9)), None, "bad_value", "is empty", id="empty"),
        pytest.param(request(), ring(60, seconds=1.0), "frame_gone", "frame 0: is not held", id="too late"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(refinements, asked, frames, code, said):
    told = refusal(refinements, asked, frames)
    assert told[0] == code
    assert said in told[1]
    assert "\n" not in told[1]


def test_frame_of_another_source_with_the_same_number_is_not_taken_for_it(refinements):
    frames = RecentFrames()
    frames.add(0, 99.0, np.zeros((*SIZE, 3), np.uint8), STILL)
    assert refusal(refinements, request(), frames)[0] == "frame_gone"


def test_a_case_is_shown_again_some_times_only(refinements):
    for number in range(MAX_REFINEMENTS):
        refinements.receive(request(number=number))
    made = [shown(refinements) for _ in range(MAX_REFINEMENTS)]
    assert None not in made
    assert refusal(refinements, request(number=99))[1].startswith(f"case {CASE.case_id}: was shown again 4 times")


def test_repeated_request_is_answered_once_and_refused_the_same_each_time(refinements):
    for _ in range(2):
        refinements.receive(request())
        refinements.receive(request("e" * 32, number=1))
        made = [shown(refinements) for _ in range(2)]
        (problem,) = refinements.due(9)
        assert problem.about == "r1"
    assert made == [None, None]
    assert refinements.counts == {"asked": 2, "answered": 1, "refused": 1}


def test_request_waits_for_the_byte_budget_while_the_frame_is_held(refinements):
    spent = pace(burst_bytes=1000.0, budget_bytes_per_s=100.0)
    assert spent.affords(0.0)
    spent.charge(2000)
    refinements.receive(request())
    assert shown(refinements, ring(), spent, 1.0) is None
    refined = shown(refinements, ring(), spent, 11.0)
    assert spent.left_bytes == pytest.approx(100 - len(refined.planned.payload))
    assert refinements.due(9) == []


def test_frames_are_opened_only_for_what_is_paid_and_once_a_frame(refinements, monkeypatch):
    opened = []
    decode = recent_frames.decode_image
    monkeypatch.setattr(recent_frames, "decode_image", lambda *data: opened.append(1) or decode(*data))
    frames, spent = ring(raw_bytes=0), pace(burst_bytes=1000.0, budget_bytes_per_s=0.0)
    assert spent.affords(0.0)
    spent.charge(2000)
    for number in range(3):
        refinements.receive(request(number=number))
    assert refinements.answer(frames, spent, 0.0) is None
    assert opened == []
    assert refinements.answer(frames, pace(), 0.0) is not None
    assert opened == [1]


def test_case_that_the_spool_did_not_take_may_be_asked_for_again(refinements):
    for _ in range(MAX_REFINEMENTS + 1):
        refinements.receive(request())
        refinements.settle(refinements.answer(ring(), pace(), 0.0), is_kept=False)
        (problem,) = refinements.due(9)
        assert (problem.code, problem.about) == ("busy", "r0")
        assert problem.retry_after_s
    refinements.receive(request())
    assert shown(refinements) is not None
    assert refinements.answered == 1


def test_more_requests_than_can_wait_are_told_to_come_again(refinements):
    for number in range(MAX_WAITING + 3):
        refinements.receive(request(number=number))
    assert [problem.code for problem in refinements.due(99)] == ["busy"] * 3
    assert refinements.counts["refused"] == 3


def test_refined_cases_and_questions_about_targets_are_not_shown_again(refinements):
    other = make_case(refines=CASE.case_id)
    refinements.note(other, 0.0)
    assert refusal(refinements, request(other.case_id))[0] == "unknown_case"


def test_picture_larger_than_a_case_may_be_is_refused():
    refinements, frames = Refinements(), RecentFrames()
    image = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), np.uint8)
    frames.add(0, 0.0, image, STILL)
    header = FrameHeader(index=0, source_id="test", captured_at_s=1.7e9, width=2000, height=2000)
    case = make_case(case_id=new_case_id(), frame=header)
    refinements.note(case, 0.0)
    asked = request(case.case_id, region_xyxy=(0, 0, 2000, 2000), quality=100)
    assert refusal(refinements, asked, frames)[0] == "too_large"


def test_frame_that_cannot_be_opened_is_refused(refinements):
    frames = RecentFrames()
    frames.add(0, 0.0, np.zeros((*SIZE, 3), np.uint8), STILL)
    frames._frames[0] = replace(frames.at(0), picture=b"no JPEG")
    code, detail = refusal(refinements, request(), frames)
    assert (code, detail) == ("bad_value", "not a JPEG: it does not start with SOI")
