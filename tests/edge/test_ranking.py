import pytest

from edge.ranking import CASE_OVERHEAD_BYTES, rank, worth_per_byte

KEPT = [rank(1.0, 0), rank(3.0, 1), rank(3.0, 2), rank(1.0, 3)]


def test_most_valuable_is_first_and_older_among_equals():
    assert min(KEPT) == rank(3.0, 1)


@pytest.mark.parametrize(
    ("new", "last"),
    [
        pytest.param(rank(2.0, 4), rank(1.0, 3), id="newer of the least valuable"),
        pytest.param(rank(1.0, 4), rank(1.0, 4), id="new one that is worth no more"),
        pytest.param(rank(0.5, 4), rank(0.5, 4), id="new one that is worth less"),
    ],
)
def test_least_valuable_is_last_and_newer_among_equals(new, last):
    assert max([*KEPT, new]) == last


def test_a_case_without_imagery_still_costs_its_messages():
    assert worth_per_byte(1.0, 0) == 1 / CASE_OVERHEAD_BYTES
    assert worth_per_byte(1.0, CASE_OVERHEAD_BYTES) == worth_per_byte(0.5, 0)
