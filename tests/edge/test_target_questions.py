"""When the cloud is asked about targets, what a question shows, and what its answers do."""

import numpy as np
import pytest
from moving_target import MovingTarget
from structlog.testing import capture_logs

from edge.correlation import CorrelationTracker
from edge.recent_frames import RecentFrames, RecentFramesSettings
from edge.student import NO_MAPS, Perception, unit_rows
from edge.target_memory import TargetMemory, cut_chip
from edge.target_questions import QuestionSettings, Surroundings, TargetQuestions, choose_view
from edge.targets import TargetTracker
from protocols.boxes import box_iou
from protocols.imagery import decode_image
from protocols.limits import MAX_TARGET_CHIP_BYTES
from protocols.target_questions import TargetAnswer
from protocols.values import FrameHeader, Interpretation
from protocols.vectors import Vectors

STILL = np.eye(2, 3, dtype=np.float32)


class Purse:
    """A byte budget."""

    def __init__(self, is_full=True):
        self.is_full, self.spent = is_full, []

    def affords(self, now_s, name=""):
        return self.is_full

    def charge(self, payload_bytes, name=""):
        self.spent.append(payload_bytes)


class Flight:
    """Targets with questions, over a made-up video of 10 frames a second."""

    def __init__(self, absent=(), seconds=4.0, space_id="space", **settings):
        self.video, self.absent, self.index = MovingTarget(step_px=(0.5, 0.2)), absent, -1
        self.gone = MovingTarget()
        self.gone.box = lambda index: np.array([-60, -60, -32, -40], np.float32)
        self.frames = RecentFrames(RecentFramesSettings(seconds=seconds))
        self.tracker = TargetTracker(CorrelationTracker, space_id=space_id, embedding_dim=2)
        self.questions, self.purse = TargetQuestions(QuestionSettings(**settings)), Purse()
        self.asked = []

    def fly(self, frames, seen=None):
        for _ in range(frames):
            self.index += 1
            image = (self.gone if self.index in self.absent else self.video).image(self.index)
            self.frames.add(self.index, self.index / 10, image, STILL)
            if self.index == 0:
                self.tracker.start(image, self.video.box(0), "car")
            else:
                self.tracker.update(image, STILL, seen)
            header = FrameHeader(index=self.index, source_id="s", captured_at_s=self.index / 10, width=320, height=240)
            around = Surroundings(header, seen, 4, ("space", "fp32"))
            question = self.questions.consider(self.tracker, self.frames, around, self.purse)
            if question is not None:
                self.asked.append(question)
        return self

    def answer(self, verdict, box=None, *, by="person", question=0, made_at_s=0.0, **fields):
        case = self.asked[question].case
        answer = TargetAnswer(
            target_id=case.target.target_id,
            verdict=verdict,
            box_xyxy=None if box is None else tuple(box.tolist()),
            **fields,
        )
        told = Interpretation(
            case_id=case.case_id, confidence=1.0, by=by, interpreter="x", made_at_s=made_at_s, target=answer
        )
        return self.questions.heed(told, self.tracker, self.frames)


def whys(flight):
    return [(question.case.frame.index, question.case.target.why) for question in flight.asked]


def test_audits_never_exceed_what_is_earned():
    flight = Flight().fly(160)
    assert whys(flight) == [(50, "audit")]  # no answer: nothing else is asked
    flight = Flight(patience_s=0.1).fly(160)
    assert whys(flight) == [(50, "audit"), (100, "audit"), (150, "audit")]


def test_answer_puts_the_next_audit_off():
    flight = Flight(per_100_frames=20, audit_frames=30).fly(36)
    assert whys(flight) == [(30, "audit")]
    flight.answer("here", flight.video.box(30))
    assert whys(flight.fly(20)) == [(30, "audit")]
    assert whys(flight.fly(10)) == [(30, "audit"), (60, "audit")]


def test_unspent_questions_are_few():
    flight = Flight(per_100_frames=50, unspent=2.0, audit_frames=1000).fly(60)
    assert flight.questions._earned == 2.0


def test_nothing_is_asked_where_nothing_is_earned():
    assert whys(Flight(per_100_frames=0).fly(80)) == []


def test_nothing_is_asked_beyond_the_byte_budget():
    flight = Flight()
    flight.purse.is_full = False
    assert whys(flight.fly(80)) == []
    flight.purse.is_full = True
    assert whys(flight.fly(1)) == [(80, "audit")]
    asked = flight.asked[0]
    assert flight.purse.spent == [len(asked.payload) + sum(len(chip.jpeg) for chip in asked.case.target.chips)]


def test_target_whose_presence_falls_is_asked_about_before_any_audit():
    flight = Flight(absent=range(20, 40), per_100_frames=10, audit_frames=1000).fly(40)
    ((index, why),) = whys(flight)
    assert 20 <= index <= 26
    assert why in ("presence", "lost")


def test_target_that_is_lost_early_may_be_asked_about_in_advance():
    settings = {"audit_frames": 1000, "patience_s": 0.1}
    (early, *_) = whys(Flight(absent=range(10, 70), **settings).fly(60))
    assert early[0] == 25
    (later, *_) = whys(Flight(absent=range(10, 70), advance=0.0, **settings).fly(60))
    assert later[0] == 50
    asked = whys(Flight(absent=range(10, 200), **settings).fly(200))
    assert [index for index, _ in asked] == [25, 75, 125, 175]  # what was spent in advance is earned first


def test_question_shows_the_place_and_remembers_the_target():
    (question,) = Flight().fly(60).asked
    case, picture = question.case, decode_image(question.payload, "image/jpeg")
    video = MovingTarget(step_px=(0.5, 0.2))
    assert picture.shape == (240, 320, 3)
    assert case.region_xyxy == (0, 0, 320, 240)
    assert box_iou(np.array([case.target.box_xyxy], np.float32), video.box(50)[None])[0, 0] > 0.7
    assert case.target.label == "car"
    assert (case.space_id, case.variant) == ("space", "fp32")
    first = decode_image(case.target.chips[0].jpeg, "image/jpeg")
    x1, y1, x2, y2 = (round(v) for v in case.target.chips[0].box_xyxy)
    shown = first[y1:y2, x1:x2].astype(int)
    assert np.abs(shown - video.image(0)[70:90, 86:114]).mean() < 15


def test_something_alike_near_the_target_is_a_rival():
    boxes = np.array([[86, 70, 114, 90], [140, 70, 168, 90]], np.float32)

    def seen(likeness):
        side = np.sqrt(1 - likeness**2)
        return Perception(
            boxes_xyxy=boxes,
            objectness=np.full(2, 0.9, np.float32),
            is_object=np.ones(2, np.bool_),
            class_scores=np.zeros((2, 1), np.float32),
            embeddings=unit_rows(np.array([[1, 0], [likeness, side]], np.float32)),
            raw=NO_MAPS,
        )

    settings = {"per_100_frames": 100, "audit_frames": 1000, "presence_below": 0.0}
    assert whys(Flight(**settings).fly(3, seen(0.9))) == [(1, "rivals")]
    assert whys(Flight(**settings).fly(3, seen(0.5))) == []


def test_persons_answer_moves_the_target_and_shows_it_next_time():
    flight = Flight(per_100_frames=10, audit_frames=10).fly(14)
    other = np.array([200, 150, 228, 170], np.float32)
    assert flight.answer("here", other)
    flight.fly(20)
    (target,) = flight.tracker.targets
    assert box_iou(target.box_xyxy[None], other[None])[0, 0] > 0.8
    assert len(flight.asked[-1].case.target.chips) == 2
    assert flight.questions.answered == 1


def test_answer_that_does_not_know_changes_nothing_and_frees_the_question():
    flight = Flight(per_100_frames=100, audit_frames=10).fly(12)
    before = flight.tracker.targets
    assert not flight.answer("unknown", by="teacher")
    assert flight.tracker.targets == before
    assert len(flight.fly(1).asked) == 2


def test_person_may_correct_what_the_teacher_said():
    flight = Flight(per_100_frames=10, audit_frames=10).fly(12)
    flight.answer("here", flight.video.box(10), by="teacher")
    assert flight.answer("gone", by="person")
    assert flight.tracker.targets[0].state == "lost"


def test_person_may_take_an_answer_back():
    flight = Flight(per_100_frames=10, audit_frames=10).fly(12)
    assert flight.answer("gone", made_at_s=1.0)
    assert flight.answer("here", flight.video.box(10), made_at_s=2.0)
    assert flight.fly(3).tracker.targets[0].state != "lost"


def test_repeated_answer_is_heeded_once():
    flight = Flight(per_100_frames=10, audit_frames=10).fly(12)
    assert flight.answer("gone")
    assert not flight.answer("gone")
    assert flight.questions.answered == 1


def test_answer_about_a_frame_no_longer_held_is_of_use_for_its_looks_alone():
    flight = Flight(seconds=1.0, per_100_frames=10, audit_frames=10).fly(30)
    before = flight.tracker.targets
    looks = {"space_id": "space", "positives": Vectors.from_array(np.array([[1.0, 0.2]], np.float32))}
    with capture_logs() as said:
        assert not flight.answer("here", np.array([200, 150, 228, 170], np.float32), **looks)
    assert flight.tracker.targets == before
    assert "frame 10: is not held (19 to 29)" in said[0]["reason"]
    assert (flight.questions.late, flight.questions.answered) == (1, 0)
    known = flight.tracker._followed[1]._looks
    assert known.likeness(unit_rows(np.array([[1.0, 0.2]], np.float32)))[0] == pytest.approx(1, abs=0.01)


def test_looks_of_another_space_say_nothing():
    flight = Flight(per_100_frames=10, audit_frames=10).fly(12)
    vectors = Vectors.from_array(np.array([[1.0, 0.2]], np.float32))
    flight.answer("here", flight.video.box(10), space_id="other", positives=vectors)
    assert flight.tracker._followed[1]._looks.template is None


def test_looks_of_another_length_say_nothing():
    flight = Flight(per_100_frames=10, audit_frames=10).fly(12)
    flight.answer(
        "here", flight.video.box(10), space_id="space", positives=Vectors.from_array(np.ones((1, 3), np.float32))
    )
    assert flight.tracker._followed[1]._looks.template is None


def test_target_lost_far_from_the_frame_is_not_asked_about():
    flight = Flight(per_100_frames=50, audit_frames=1000).fly(8)
    flight.tracker._followed[1].lose("far away")
    flight.tracker._followed[1]._box = np.array([3e6, 0, 3e6 + 20, 20], np.float32)
    flight.tracker.update = lambda *_: None
    assert whys(flight.fly(10)) == []


def test_answer_about_a_target_that_was_stopped_is_ignored():
    flight = Flight(per_100_frames=10, audit_frames=10).fly(12)
    flight.tracker.stop(1)
    assert not flight.answer("gone")
    flight.fly(1)
    assert not flight.answer("gone", by="teacher")


@pytest.mark.parametrize(
    ("side", "frame", "reach", "region", "scale"),
    [
        (12, (1920, 1080), 1.0, 384, 1.0),
        (48, (1920, 1080), 1.0, 768, 0.5),
        (12, (1920, 1080), 4.0, 768, 0.5),
        (400, (1920, 1080), 1.0, 1920, 0.2),
        (12, (300, 200), 1.0, 300, 1.0),
    ],
    ids=["small", "larger", "lost", "huge", "small-frame"],
)
def test_view_reaches_as_far_as_the_target_stays_to_be_seen(side, frame, reach, region, scale):
    middle = np.array(frame, np.float32) / 2
    box = np.concatenate([middle - side / 2, middle + side / 2])
    (x1, y1, x2, y2), found = choose_view(box, frame, QuestionSettings(), reach)
    assert found == pytest.approx(scale)
    assert region <= x2 - x1 < region + 32  # it begins on the network's grid
    assert min(region, frame[1]) <= y2 - y1 < region + 32
    assert x1 <= box[0]
    assert box[2] <= x2


def test_view_of_a_target_at_the_edge_stays_in_the_frame():
    box = np.array([1905, 1060, 1925, 1085], np.float32)
    (x1, y1, x2, y2), _ = choose_view(box, (1920, 1080), QuestionSettings())
    assert (x2, y2) == (1920, 1080)
    assert x1 <= 1920 - 384
    assert y1 <= 1080 - 384


def test_memory_keeps_the_first_look_and_the_newest_ones():
    video, memory = MovingTarget(), TargetMemory(2)
    for index in range(101):
        memory.learn(index, video.image(0), video.box(0) + np.float32(index / 10), is_sure=index != 25)
    starts = [chip.box_xyxy[0] for chip in memory.chips]
    assert len(starts) == 3
    assert memory.chips[0] == cut_chip(video.image(0), video.box(0))


def test_chips_stay_within_their_bytes():
    noise = np.random.default_rng(0).integers(0, 255, (500, 500, 3)).astype(np.uint8)
    chip = cut_chip(noise, np.array([50, 50, 450, 450], np.float32))
    assert len(chip.jpeg) <= MAX_TARGET_CHIP_BYTES // 4
    assert chip.scale < 0.4
    assert cut_chip(noise, np.array([600, 600, 650, 650], np.float32)) is None
