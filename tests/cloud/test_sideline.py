"""What people look at is done beside everything else: the newest of each person, and never too many."""

import threading

import pytest

from cloud.errors import RequestError
from cloud.sideline import MOST_WAITING, Sideline, Superseded


@pytest.fixture
def held():
    """A sideline that is busy until its gate is opened."""
    line, gate, begun = Sideline(), threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert gate.wait(10)

    line.submit("somebody", wait)
    assert begun.wait(10)
    yield line, gate
    gate.set()
    line.close()


def test_newest_request_of_a_person_wins(held):
    line, gate = held
    done = []
    old, other = line.submit("ann", lambda: done.append("old")), line.submit("bob", lambda: done.append("other"))
    new = line.submit("ann", lambda: done.append("new"))
    gate.set()
    with pytest.raises(Superseded):
        old.result(10)
    other.result(10)
    new.result(10)
    assert done == ["other", "new"]


def test_too_many_requests_are_refused(held):
    line, gate = held
    waiting = [line.submit(f"person {number}", lambda: None) for number in range(MOST_WAITING - 1)]
    with pytest.raises(RequestError, match="16 previews wait already"):
        line.submit("one more", lambda: None)
    gate.set()
    for future in waiting:
        future.result(10)
    assert line.submit("one more", lambda: 5).result(10) == 5


def test_request_that_is_cancelled_before_it_is_begun_gives_its_place_back(held):
    line, gate = held
    for number in range(MOST_WAITING + 1):
        assert line.submit(f"person {number}", lambda: None).cancel()
    last = line.submit("one more", lambda: 5)
    gate.set()
    assert last.result(10) == 5


def test_error_of_a_request_is_its_own(held):
    line, gate = held
    failing = line.submit("ann", lambda: 1 / 0)
    gate.set()
    with pytest.raises(ZeroDivisionError):
        failing.result(10)
    assert line.submit("ann", lambda: "fine").result(10) == "fine"
