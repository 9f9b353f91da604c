"""The order in which people see cases, and what a look at one is worth."""

import pytest
from builders import make_case

from cloud.case_filter import CaseFilter
from cloud.case_value import expected_value
from cloud.errors import RequestError
from cloud.queue_shelf import QueuePlace, parse_place
from protocols.values import Detection, Interpretation


def add(store, *detections, craft="uav", **changes):
    payload = b"imagery"
    case = make_case(payload, detections=detections, **changes)
    store.add_cases([(craft, case, payload)])
    return case


def found(label):
    return Detection(box_xyxy=(1, 1, 9, 9), label=label, score=0.5)


def ids(store, **wanted):
    places = store.queue(CaseFilter(**wanted))
    return [stored.case.case_id for stored in store.cases_at([place.row_id for place in places])]


@pytest.mark.parametrize(
    ("state", "confidence", "value"),
    [
        ("stored", None, 0.8),
        ("unsure", 0.2, 0.64),
        ("unsure", 0.9, 0.4),
        ("interpreted", 0.9, 0.08),
        ("reviewed", 0.1, 0.0),
        ("failed", None, 0.0),
    ],
)
def test_value_is_what_the_teacher_left_open_of_the_hardness(state, confidence, value):
    assert expected_value(state, 0.8, confidence) == pytest.approx(value)


def test_what_is_worth_more_comes_first_and_the_newer_of_equals(open_store):
    cases = [add(open_store, hardness=hardness) for hardness in (0.2, 0.9, 0.5, 0.9)]
    assert ids(open_store) == [cases[i].case_id for i in (3, 1, 2, 0)]
    open_store.set_case_state("uav", cases[3].case_id, "interpreted", confidence=0.95)
    assert ids(open_store) == [cases[i].case_id for i in (1, 2, 0, 3)]


def test_page_begins_after_a_place_and_the_one_before_is_known(open_store):
    for hardness in (0.1, 0.2, 0.2, 0.3):
        add(open_store, hardness=hardness)
    first = open_store.queue(CaseFilter(), limit=2)
    rest = open_store.queue(CaseFilter(), parse_place(str(first[-1])), limit=9)
    assert first + rest == open_store.queue(CaseFilter())
    assert open_store.queue_before(CaseFilter(), rest[0]) == first[-1]
    assert open_store.queue_before(CaseFilter(), first[0]) is None


@pytest.mark.parametrize("label", ["Car", 'a"b', "50%", "_", "Überholer", "back\\slash"])
def test_label_is_found_exactly_whoever_gave_it(open_store, label):
    mine, told, _ = add(open_store, found(label)), add(open_store), add(open_store, found(f"{label}x"))
    answer = {"confidence": 0.5, "by": "teacher", "interpreter": "t", "made_at_s": 2.0}
    open_store.add_interpretation("uav", Interpretation(case_id=told.case_id, detections=(found(label),), **answer))
    assert sorted(ids(open_store, label=label)) == sorted([mine.case_id, told.case_id])
    assert label in open_store.case_labels()


@pytest.mark.parametrize("text", ["", "1", "~1", "-1~2", "inf~1", "1~x", "1e5~1", "0.5~1; DROP TABLE cases"])
def test_place_that_is_none_is_refused(text):
    with pytest.raises(RequestError, match="is no place in the queue"):
        parse_place(text)


def test_place_survives_an_address():
    for value in (0.0, 1.0, 0.1 + 0.2, 1e-7, 0.30000000000000004):
        place = QueuePlace(7, value)
        assert parse_place(str(place)) == place


def test_states_are_counted(open_store):
    case = add(open_store)
    add(open_store)
    open_store.set_case_state("uav", case.case_id, "unsure", "why")
    assert open_store.count_states() == {"stored": 1, "unsure": 1}
