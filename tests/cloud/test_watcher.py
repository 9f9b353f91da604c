"""People's answers from other processes are put to use, once, and their outcome is told."""

import pytest

from cloud import banks
from cloud.store import CaseStore, Review
from cloud.watcher import Watcher


@pytest.fixture
def watcher(open_store, desk, metrics):
    return Watcher(open_store, desk, metrics)


@pytest.fixture
def case(open_store, painting):
    picture = painting.paint((50, 50, painting.GREEN), (110, 50, painting.BLUE))
    stored, payload = painting.make_case(picture, origin=(100, 40))
    open_store.add_cases([("uav", stored, payload)])
    return stored


def review(case, box=(142.0, 82.0, 158.0, 98.0), scope="craft"):
    return Review("uav", case.case_id, "debris", (box,), scope, "ann", 7.0)


def test_review_answers_the_case_and_makes_a_prompt(open_store, watcher, case):
    number = open_store.add_review(review(case))
    assert watcher.look() == ["uav"]
    assert open_store.review_outcome(number) == ("done", "")
    (told,) = open_store.undelivered("uav", 9)
    assert (told.by, told.interpreter, told.detections[0].provenance) == ("person", "ann", "person")
    (prompt,) = open_store.bank("uav").prompts
    assert (prompt.origin, prompt.label) == ("person", "debris")
    assert open_store.case_state("uav", case.case_id)[1] == "reviewed"
    assert watcher.look() == []


def test_review_without_a_good_prompt_says_why(open_store, watcher, case):
    number = open_store.add_review(review(case, box=(100.0, 40.0, 100.5, 41.0)))
    assert watcher.look() == ["uav"]
    state, reason = open_store.review_outcome(number)
    assert state == "failed"
    assert "no box lies within" in reason


def test_review_of_a_lost_case_fails(open_store, watcher, case):
    open_store._files.path("uav", case.case_id).unlink()
    number = open_store.add_review(review(case))
    watcher.look()
    assert open_store.review_outcome(number)[0] == "failed"


def test_unforeseen_error_fails_one_review_only(open_store, watcher, case, desk, monkeypatch):
    numbers = [open_store.add_review(review(case)), open_store.add_review(review(case))]
    real, calls = desk.answer, []

    def answer(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise ValueError("bug")
        return real(*arguments)

    monkeypatch.setattr(desk, "answer", answer)
    watcher.look()
    assert [open_store.review_outcome(number)[0] for number in numbers] == ["failed", "done"]


def test_fleet_review_reaches_every_craft(open_store, watcher, case):
    open_store.enroll("second", "d" * 40)
    open_store.add_review(review(case, scope="fleet"))
    assert watcher.look() == ["second", "uav"]
    open_store.enroll("third", "e" * 40)
    assert watcher.look() == ["third"]


def test_prompt_taken_back_by_another_process_is_noticed(open_store, watcher, case):
    open_store.add_review(review(case))
    watcher.look()
    other = CaseStore(open_store.data_dir)
    (prompt,) = other.bank("uav").prompts
    assert watcher.is_due
    banks.withdraw(other, prompt.prompt_id)
    other.close()
    assert watcher.is_due
    assert watcher.look() == ["uav"]
    assert not watcher.is_due
