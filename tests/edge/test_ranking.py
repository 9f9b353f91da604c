from dataclasses import dataclass

import pytest

from edge.ranking import first_to_drop, first_to_send, rank


@dataclass(frozen=True)
class Waiting:
    value: float
    seq: int

    @property
    def order(self):
        return rank(self.value, self.seq)


KEPT = [Waiting(1.0, 0), Waiting(3.0, 1), Waiting(3.0, 2), Waiting(1.0, 3)]


def test_most_valuable_is_sent_first_and_older_among_equals():
    assert first_to_send(KEPT) == Waiting(3.0, 1)
    assert first_to_send([]) is None


@pytest.mark.parametrize(
    ("new", "dropped"),
    [
        pytest.param(Waiting(2.0, 4), Waiting(1.0, 3), id="newer of the least valuable"),
        pytest.param(Waiting(1.0, 4), Waiting(1.0, 4), id="new one that is worth no more"),
        pytest.param(Waiting(0.5, 4), Waiting(0.5, 4), id="new one that is worth less"),
    ],
)
def test_least_valuable_is_dropped_first_and_newer_among_equals(new, dropped):
    assert first_to_drop(KEPT, new) == dropped


def test_new_one_alone_is_dropped_itself():
    assert first_to_drop([], Waiting(9.0, 0)) == Waiting(9.0, 0)
