import pytest

from sim.scenario.intervals import up_spans


@pytest.mark.parametrize(
    ("windows", "cuts", "left"),
    [
        pytest.param([], [], [(0, 20)], id="always"),
        pytest.param([], [(5, 8)], [(0, 5), (8, 20)], id="one cut"),
        pytest.param([(2, 6), (10, 40)], [], [(2, 6), (10, 20)], id="windows end with the flight"),
        pytest.param([(2, 6), (10, 14)], [(5, 11)], [(2, 5), (11, 14)], id="a cut over two windows"),
        pytest.param([(12, 14), (2, 6)], [], [(2, 6), (12, 14)], id="windows in any order"),
        pytest.param([(2, 6)], [(0, 9)], [], id="all of it"),
        pytest.param([], [(0, 3), (2, 5), (18, 30)], [(5, 18)], id="cuts that overlap"),
    ],
)
def test_a_link_is_up_in_its_windows_less_the_cuts(windows, cuts, left):
    assert up_spans(20, windows, cuts) == left
