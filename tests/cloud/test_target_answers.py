"""Where a craft's target is, as a teacher or a person says."""

import numpy as np
import pytest

from cloud.asking import review_label
from cloud.case_filter import CaseFilter
from cloud.case_images import CaseImage, open_case_image
from cloud.config import CloudSettings, TargetAnswerSettings
from cloud.errors import RequestError, TeacherError
from cloud.evidence import look
from cloud.interpreter import Interpreter
from cloud.review_shelf import Review
from cloud.reviews import use_review
from cloud.target_answers import Told, answer_of, find_target
from cloud.teachers import Places, TeacherAnswer
from cloud.track_orders import order_of
from edge.target_memory import cut_chip
from edge.target_requests import TargetRequest
from protocols.messages import TargetStatus
from protocols.target_questions import TargetQuestion

SETTINGS = TargetAnswerSettings()
ORIGIN = (100.0, 40.0)


class Finds:
    """A teacher that finds the same places everywhere, and names what it is told to."""

    name, space, labels = "finds", "none", ("Red", "Green")

    def __init__(self, boxes, scores, named=()):
        self.places = Places(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))
        self.named, self.chips = named, []

    def find(self, chips, frames):
        self.chips.append([chip.image.shape for chip in chips])
        return [self.places for _ in frames]

    def interpret(self, frames):
        boxes = np.array([box for box, _ in self.named], np.float32).reshape(-1, 4)
        names = tuple(name for _, name in self.named)
        return [TeacherAnswer(boxes, names, np.full(len(names), 0.9, np.float32)) for _ in frames]


@pytest.fixture
def ask(painting):
    """A case that asks for the green thing at (50, 50) of its picture."""

    def make(label="thing", why="audit", presence=0.4):
        image = painting.paint((50, 50, painting.GREEN), (110, 50, painting.BLUE))
        box = painting.box_at((50, 50))[0]
        chip = cut_chip(image, box)
        believed = tuple((box + np.tile(np.array(ORIGIN, np.float32), 2)).tolist())
        question = TargetQuestion(
            target_id=4, label=label, box_xyxy=believed, presence=presence, why=why, chips=(chip,)
        )
        case, payload = painting.make_case(image, origin=(100, 40), target=question)
        return case, payload

    return make


def told_by(teacher, asked, **options):
    case, payload = asked
    return find_target(teacher, case, open_case_image(case, payload), SETTINGS, **options)


HERE, NEAR, FAR = [42, 42, 58, 58], [62, 42, 78, 58], [142, 142, 158, 158]


def test_good_place_is_told_in_pixels_of_the_frame(ask):
    assert told_by(Finds([HERE], [0.9]), ask()) == Told("here", (142, 82, 158, 98), pytest.approx(0.9))


@pytest.mark.parametrize(
    ("boxes", "scores", "verdict"),
    [
        ([], [], "unknown"),
        ([HERE], [0.04], "unknown"),
        ([HERE], [0.3], "unknown"),
        ([NEAR, HERE], [0.73, 0.7], "unknown"),
        ([HERE, NEAR], [0.9, 0.7], "here"),
        ([NEAR, HERE], [0.95, 0.9], "unknown"),
        ([FAR], [0.9], "unknown"),
        ([[20, 20, 80, 80]], [0.9], "unknown"),
    ],
    ids=["nothing", "hardly", "faint", "two-near", "clearly-best", "two-alike", "too-far", "too-large"],
)
def test_verdict(ask, boxes, scores, verdict):
    assert told_by(Finds(boxes, scores), ask()).verdict == verdict


@pytest.mark.parametrize(("score", "verdict"), [(0.9, "gone"), (0.3, "unknown")], ids=["knows-it", "does-not"])
def test_only_who_knows_the_target_by_its_chips_says_that_it_is_gone(ask, score, verdict):
    class KnowsChips(Finds):
        def find(self, chips, frames):
            (frame,) = frames
            is_chip = frame.shape == (80, 80, 3)
            box, found = np.array([[32, 32, 48, 48]], np.float32), np.array([score], np.float32)
            return [Places(box, found) if is_chip else Places(box[:0], found[:0])]

    case, payload = ask()
    question = case.target.model_copy(update={"chips": case.target.chips * 2})
    asked = (case.model_copy(update={"target": question}), payload)
    assert told_by(KnowsChips([], []), asked).verdict == verdict
    assert told_by(KnowsChips([], []), (case, payload)).verdict == "unknown"  # one chip alone proves nothing


def test_lost_target_may_have_gone_farther(ask):
    far = Finds([[122, 42, 138, 58]], [0.8])
    assert told_by(far, ask(presence=1.0)).verdict == "unknown"
    assert told_by(far, ask(presence=1.0, why="lost")).verdict == "here"


def test_craft_that_is_sure_wants_a_surer_answer(ask):
    teacher = Finds([HERE], [0.5])
    verdicts = [told_by(teacher, ask(presence=presence)).verdict for presence in (0.0, 0.6, 0.8, 1.0)]
    assert verdicts == ["here", "here", "unknown", "unknown"]


def test_place_that_the_teacher_names_otherwise_counts_less(ask):
    teacher = Finds([HERE], [0.6], named=[(HERE, "Red")])
    assert told_by(teacher, ask(label="Red")).verdict == "here"
    assert told_by(teacher, ask(label="Green")).verdict == "unknown"
    assert told_by(teacher, ask(label="no class")).verdict == "here"


def test_place_that_a_prompt_matches_counts_more(ask):
    prompted = np.array([[142, 82, 158, 98]], np.float32)
    assert told_by(Finds([HERE], [0.3]), ask()).verdict == "unknown"
    assert told_by(Finds([HERE], [0.3]), ask(), prompted_xyxy=prompted).verdict == "here"


def test_chips_are_shown_in_pixels_of_the_picture(ask):
    case, payload = ask()
    picture = open_case_image(case, payload).image
    half = CaseImage(np.ascontiguousarray(picture[::2, ::2]), (0.5, 0.5), ORIGIN)
    teacher = Finds([[21, 21, 29, 29]], [0.9])
    told = find_target(teacher, case, half, SETTINGS)
    assert told.box_xyxy == (142, 82, 158, 98)
    assert teacher.chips == [[(40, 40, 3)]]  # 16 px with margins of 32, of 80 px halved


def test_case_that_asks_about_no_target_is_refused(painting):
    case, payload = painting.make_case(painting.paint())
    with pytest.raises(TeacherError, match="asks about no target; interpret it"):
        find_target(Finds([], []), case, open_case_image(case, payload), SETTINGS)


def test_answer_brings_what_the_crafts_student_sees(ask, twin, painting):
    case, payload = ask()
    evidence = look(twin, open_case_image(case, payload), None)
    answer = answer_of(case.target, Told("here", (142, 82, 158, 98), 0.9), twin, evidence)
    green = twin.perceive(painting.paint((50, 50, painting.GREEN))).embeddings[0]
    assert answer.space_id == twin.manifest.space_id
    assert (answer.positives.to_array() @ green)[0] > 0.99
    likeness = answer.negatives.to_array() @ green
    assert len(likeness) <= 1  # the blue one, where the student takes it for alike
    assert (likeness < 0.99).all()


def test_answer_without_a_twin_has_no_vectors(ask):
    case, _ = ask()
    answer = answer_of(case.target, Told("gone", None, 0.9), None, None)
    assert (answer.verdict, answer.positives, answer.space_id) == ("gone", None, None)


def test_engine_answers_where_a_target_is_and_makes_no_prompt(open_store, desk, metrics, ask):
    case, payload = ask()
    open_store.add_cases([("uav", case, payload)])
    notified = []
    Interpreter(open_store, Finds([HERE], [0.9]), desk, CloudSettings(), metrics).answer(
        open_store.waiting_cases(10), notified.append
    )
    (told,) = open_store.undelivered("uav", 9)
    assert (told.by, told.target.verdict, told.target.target_id) == ("teacher", "here", 4)
    assert told.target.box_xyxy == (142, 82, 158, 98)
    assert len(told.target.positives) == 1
    assert open_store.case_state("uav", case.case_id)[1] == "interpreted"
    assert open_store.bank("uav").prompts == ()
    assert notified == ["uav"]


def test_engine_leaves_to_a_person_what_the_teacher_does_not_know(open_store, desk, metrics, ask):
    case, payload = ask()
    open_store.add_cases([("uav", case, payload)])
    Interpreter(open_store, Finds([HERE], [0.1]), desk, CloudSettings(), metrics).answer(
        open_store.waiting_cases(10), lambda craft: None
    )
    (stored,) = open_store.list_cases(unsure_only=True, limit=9)
    assert "where is target 4 (thing)?" in stored.reason
    assert open_store.queue(CaseFilter())[0].value > 0
    key = "0" * 12
    order = order_of(key, TargetRequest(label="thing"), None)
    open_store.add_target("uav", order, by="ann", now_s=1.0, expires_at_s=9.0)
    for state, is_worth_a_look in (("lost", True), ("unknown", False)):
        open_store.note_target("uav", TargetStatus(target_key=key, state=state, reason="why"), 2.0)
        assert (open_store.queue(CaseFilter())[0].value > 0) == is_worth_a_look


def test_engine_survives_a_teacher_that_cannot_find(open_store, desk, metrics, ask):
    class Blind(Finds):
        def find(self, chips, frames):
            raise TeacherError("cannot look for exemplars")

    case, payload = ask()
    open_store.add_cases([("uav", case, payload)])
    Interpreter(open_store, Blind([], []), desk, CloudSettings(), metrics).answer(
        open_store.waiting_cases(10), lambda craft: None
    )
    assert open_store.case_state("uav", case.case_id)[1] == "failed"


@pytest.mark.parametrize("boxes", [((142.0, 82.0, 158.0, 98.0),), ()], ids=["here", "not-in-the-picture"])
def test_persons_answer_places_the_target(open_store, desk, ask, boxes):
    case, payload = ask()
    open_store.add_cases([("uav", case, payload)])
    review = Review("uav", case.case_id, "thing", boxes, "craft", "ann", 0.0)
    use_review(review, open_store, desk)
    (told,) = open_store.undelivered("uav", 9)
    assert (told.by, told.interpreter) == ("person", "ann")
    assert told.target.box_xyxy == (boxes[0] if boxes else None)
    assert told.target.verdict == ("here" if boxes else "gone")
    assert open_store.bank("uav").prompts == ()


def test_review_wants_what_it_is_about(open_store, ask, painting):
    box = (142.0, 82.0, 158.0, 98.0)
    for case, payload in (ask(), painting.make_case(painting.paint())):
        open_store.add_cases([("uav", case, payload)])
    target, plain = sorted(open_store.list_cases(unsure_only=False, limit=9), key=lambda s: s.case.target is None)
    assert review_label(target, None, [box]) == "thing"
    assert review_label(target, None, []) == "thing"
    with pytest.raises(RequestError, match="is one thing; give one --box"):
        review_label(target, None, [box, box])
    with pytest.raises(RequestError, match="--label is missing"):
        review_label(plain, None, [box])
    with pytest.raises(RequestError, match="--box is missing"):
        review_label(plain, "debris", [])
