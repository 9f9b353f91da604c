import io
import json

import numpy as np
import pytest
from moving_target import MovingTarget

from cloud.teachers import Places
from protocols.boxes import box_iou
from protocols.messages import decode
from sim.tracking_asking import (
    AskingTracker,
    Operator,
    TeacherAlone,
    packed,
    question_in,
    serve_answers,
    serve_tracker,
    unpacked,
)


def asked(video, frames=60):
    """The first question about a video, and the frame that it is about."""
    tracker = AskingTracker("correlation", 30.0)
    x1, y1, x2, y2 = video.box(0).tolist()
    tracker.start(video.image(0), [x1, y1, x2 - x1, y2 - y1])
    for index in range(1, frames):
        _, _, messages = tracker.update(video.image(index), [])
        if messages:
            return messages, index
    raise AssertionError("nothing was asked")


@pytest.fixture(scope="module")
def slow():
    return MovingTarget(step_px=(0.5, 0.3))


@pytest.fixture(scope="module")
def question(slow):
    return asked(slow)[0]


def test_question_shows_the_target_and_what_it_looked_like(slow, question):
    case, image = question_in(question)
    assert (case.frame.index, case.target.why) == (50, "audit")
    assert box_iou(np.array([case.target.box_xyxy], np.float32), slow.box(50)[None])[0, 0] > 0.6
    assert 1 <= len(case.target.chips) <= 3
    x1, y1, x2, y2 = case.region_xyxy
    assert image.image.shape[:2] == (y2 - y1, x2 - x1)


def test_operator_tells_the_true_box_of_the_frame_asked_about(slow, question, tmp_path):
    operator = Operator()
    operator.watch(slow.write(tmp_path / "slow", 60))
    told = decode(operator.answer(question))[0].interpretation
    assert (told.by, told.target.verdict) == ("person", "here")
    assert told.target.box_xyxy == pytest.approx(slow.box(50).tolist(), abs=0.01)


def test_operator_says_where_the_target_is_not(slow, question, tmp_path):
    operator = Operator()
    operator.watch(slow.write(tmp_path / "slow", 60, absent=(50,)))
    assert decode(operator.answer(question))[0].interpretation.target.verdict == "gone"


class Sees:
    """A teacher that finds the places it is given."""

    name, labels = "sees", ()

    def __init__(self, boxes, scores):
        self.places = Places(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))

    def find(self, chips, frames):
        assert chips
        return [self.places for _ in frames]


def test_teacher_tells_what_it_finds(slow, question):
    box = slow.box(50) - np.tile(np.array(question_in(question)[0].region_xyxy[:2], np.float32), 2)
    told = decode(TeacherAlone(Sees([box], [0.9])).answer(question))[0].interpretation
    assert (told.by, told.interpreter, told.target.verdict) == ("teacher", "sees", "here")
    assert told.target.box_xyxy == pytest.approx(slow.box(50).tolist(), abs=1)


def test_tracker_is_served_with_its_answers(slow, tmp_path):
    """Both sides through their pipes: an answer that comes in the frame after the question."""
    lines = [json.dumps({"shape": [240, 320, 3], "box": [86, 70, 28, 20], "fps": 30}).encode() + b"\n"]
    lines[0] += slow.image(0).tobytes()
    for index in range(1, 52):
        lines.append(json.dumps({"shape": [240, 320, 3], "box": None}).encode() + b"\n" + slow.image(index).tobytes())
    answers = io.BytesIO()
    serve_tracker(AskingTracker("correlation"), io.BytesIO(b"".join(lines)), answers)
    found = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [index for index, answer in enumerate(found) if answer["messages"]] == [50]
    watch = json.dumps({"watch": str(slow.write(tmp_path / "slow", 60))})
    ask = json.dumps({"messages": found[50]["messages"]})
    told = io.BytesIO()
    serve_answers(Operator(), io.BytesIO(f"{watch}\n{ask}\n".encode()), told)
    nothing, answer = (json.loads(line)["messages"] for line in told.getvalue().splitlines())
    assert nothing == []
    assert decode(unpacked(answer)[0])[0].interpretation.target.verdict == "here"


def test_messages_survive_their_packing(question):
    assert unpacked(json.loads(json.dumps(packed(question)))) == question
