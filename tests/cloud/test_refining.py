"""When a better picture is asked for, and what becomes of its answer."""

import pytest

from cloud.config import CloudSettings, PromptSettings, RefineSettings
from cloud.errors import RequestError
from cloud.interpreter import Interpreter
from cloud.refining import better_picture
from protocols import Detection, Interpretation, RefineRequest

SETTINGS = CloudSettings(max_batch=4, unsure_below=0.5, prompts=PromptSettings(min_score=0.5))
CENTRE = (50, 50)


@pytest.fixture
def interpreter(open_store, teacher, desk, metrics, monkeypatch):
    monkeypatch.setattr("cloud.store.time.time", desk.clock.wall_s)
    return Interpreter(open_store, teacher, desk, SETTINGS, metrics)


@pytest.fixture
def add(open_store, painting):
    def add_case(*spots, **changes):
        case, payload = painting.make_case(painting.paint(*spots), **changes)
        open_store.add_cases([("uav", case, payload)])
        return case

    return add_case


def answer_all(store, interpreter):
    notified = []
    interpreter.answer(store.waiting_cases(10), notified.append)
    return notified


@pytest.fixture
def coarse(add, painting):
    """A case of low quality, of a green thing."""
    return lambda **changes: add((*CENTRE, painting.GREEN), **({"quality": 20} | changes))


def asked_for(store, case):
    return store.refinements_of("uav", case.case_id)


def test_unsure_of_a_coarse_picture_asks_for_the_thing_in_better_quality(open_store, interpreter, teacher, coarse):
    teacher.score = 0.3
    case = coarse(origin=(100, 40))
    assert set(answer_all(open_store, interpreter)) == {"uav"}
    (refinement,) = asked_for(open_store, case)
    x1, y1, x2, y2 = refinement.request.region_xyxy
    assert (refinement.state, refinement.by, refinement.request.quality) == ("queued", "teacher", 90)
    assert x1 <= 142 < 158 <= x2
    assert y1 <= 82 < 98 <= y2
    assert min(x2 - x1, y2 - y1) >= SETTINGS.refine.side_px
    assert [r.request for r in open_store.open_refinements("uav", 1000.0)] == [refinement.request]


@pytest.mark.parametrize(
    ("score", "changes"),
    [
        pytest.param(0.9, {}, id="sure"),
        pytest.param(0.1, {}, id="below the floor"),
        pytest.param(0.3, {"quality": 85}, id="good picture"),
        pytest.param(0.3, {"quality": None}, id="nobody says how good"),
        pytest.param(0.3, {"reasons": {"audit": 1.0}}, id="audit"),
        pytest.param(0.3, {"refines": "e" * 32}, id="better picture itself"),
    ],
)
def test_nothing_is_asked_where_a_better_picture_is_not_the_cure(
    open_store, interpreter, teacher, coarse, score, changes
):
    teacher.score = score
    case = coarse(**changes)
    answer_all(open_store, interpreter)
    assert asked_for(open_store, case) == []


def doubt(box):
    found = Detection(box_xyxy=box, label="debris", score=0.3, provenance="cloud")
    return Interpretation(
        case_id="0" * 32, detections=(found,), confidence=0.3, by="teacher", interpreter="t", made_at_s=1.0
    )


def test_thing_cut_by_the_border_of_its_crop_is_asked_for_with_more_around_it(open_store, add, painting):
    case = add((150, 50, painting.GREEN), origin=(100, 40), quality=85)
    (stored,) = open_store.waiting_cases(1)
    ask = better_picture(stored, doubt((230, 60, 259, 90)), 0.5, RefineSettings(), stored.received_at_s)
    assert ask.region_xyxy[2] > case.region_xyxy[2]
    late = better_picture(stored, doubt((230, 60, 259, 90)), 0.5, RefineSettings(), stored.received_at_s + 9)
    whole = better_picture(stored, doubt((150, 60, 180, 90)), 0.5, RefineSettings(), stored.received_at_s)
    assert (late, whole) == (None, None)


def test_answer_to_the_better_picture_stands_in_for_the_first(open_store, interpreter, teacher, coarse, add, painting):
    teacher.score = 0.3
    first = coarse()
    answer_all(open_store, interpreter)
    assert open_store.case_state("uav", first.case_id)[1] == "unsure"
    teacher.score = 0.9
    better = add((*CENTRE, painting.GREEN), refines=first.case_id, quality=90)
    answer_all(open_store, interpreter)
    (told,) = open_store.undelivered("uav", 9)
    assert (told.case_id, told.supersedes, told.confidence) == (better.case_id, first.case_id, pytest.approx(0.9))
    assert len(told.detections) == 1
    assert open_store.case_state("uav", first.case_id)[1] == "interpreted"
    (refinement,) = asked_for(open_store, first)
    assert (refinement.state, refinement.new_case_id) == ("answered", better.case_id)


def test_what_the_better_picture_does_not_show_is_kept(open_store, interpreter, teacher, add, painting):
    teacher.score = 0.3
    first = add((30, 30, painting.GREEN), (140, 140, painting.GREEN), quality=20)
    answer_all(open_store, interpreter)
    teacher.score = 0.9
    case, payload = painting.make_case(painting.paint((30, 30, painting.GREEN), size=(64, 64)), refines=first.case_id)
    open_store.add_cases([("uav", case, payload)])
    answer_all(open_store, interpreter)
    (told,) = open_store.undelivered("uav", 9)
    assert [(round(d.score, 1), d.box_xyxy) for d in told.detections] == [
        (0.9, (22, 22, 38, 38)),
        (0.3, (132, 132, 148, 148)),
    ]


def test_better_picture_that_nobody_asked_for_supersedes_nothing(open_store, interpreter, coarse, add, painting):
    first = coarse()
    answer_all(open_store, interpreter)
    add((*CENTRE, painting.GREEN), refines=first.case_id)
    add((*CENTRE, painting.GREEN), refines="e" * 32)
    answer_all(open_store, interpreter)
    assert [told.supersedes for told in open_store.undelivered("uav", 9)] == [None] * 3


def test_answering_the_better_picture_again_after_a_crash_changes_nothing(
    open_store, interpreter, teacher, coarse, add, painting
):
    teacher.score = 0.3
    first = coarse()
    answer_all(open_store, interpreter)
    add((*CENTRE, painting.GREEN), refines=first.case_id, quality=90)
    waiting = open_store.waiting_cases(9)
    for _ in range(2):
        interpreter.answer(waiting, lambda craft: None)
    assert len(open_store.undelivered("uav", 9)) == 1
    assert len(asked_for(open_store, first)) == 1


def test_too_many_requests_about_one_case_are_refused(open_store):
    def ask(number):
        request = RefineRequest(request_id=f"r{number}", case_id="a" * 32)
        open_store.add_refinement("uav", request, by="ann", now_s=1000.0)

    for number in range(4):
        ask(number)
    with pytest.raises(RequestError, match="asked for again 4 times, at most 4"):
        ask(4)


def test_request_is_open_until_it_is_answered_or_too_old(open_store):
    for name in ("gone", "old", "kept"):
        request = RefineRequest(request_id=name, case_id="a" * 32)
        open_store.add_refinement("uav", request, by="ann", now_s=900.0 if name == "old" else 1000.0)
    before = open_store.news()
    assert (open_store.refinement("old").state, open_store.refinement("kept").state) == ("queued", "queued")
    assert open_store.note_refinement("uav", "gone", "refused", "frame 4 is not held")
    assert not open_store.note_refinement("uav", "gone", "sent")
    assert not open_store.note_refinement("other", "kept", "refused")
    assert [r.request.request_id for r in open_store.open_refinements("uav", 1001.0)] == ["kept"]
    assert open_store.news() != before
    old = open_store.refinement("old")
    assert (old.state, old.reason) == ("refused", "not answered in time")


def asked_twice(store, case):
    for name in ("r0", "r1"):
        store.add_refinement("uav", RefineRequest(request_id=name, case_id=case.case_id), by="ann", now_s=1000.0)


def test_better_picture_is_booked_to_the_oldest_open_request_as_soon_as_it_is_here(open_store, add, painting):
    first = add((*CENTRE, painting.GREEN))
    asked_twice(open_store, first)
    assert open_store.note_refinement("uav", "r0", "refused", "frame 4 is not held")
    better = add((*CENTRE, painting.GREEN), refines=first.case_id)
    for _ in range(2):
        assert [(r.state, r.new_case_id) for r in asked_for(open_store, first)] == [
            ("refused", None),
            ("answered", better.case_id),
        ]
        assert open_store.supersede("uav", first.case_id, better.case_id)
    assert not open_store.supersede("uav", first.case_id, "e" * 32)


def test_better_picture_that_comes_after_it_was_given_up_counts(open_store, add, painting):
    first = add((*CENTRE, painting.GREEN))
    asked_twice(open_store, first)
    assert open_store.open_refinements("uav", 1061.0) == []
    better = add((*CENTRE, painting.GREEN), refines=first.case_id)
    assert [(r.state, r.new_case_id) for r in asked_for(open_store, first)] == [
        ("answered", better.case_id),
        ("refused", None),
    ]
