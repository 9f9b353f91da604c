"""How long a batch waits for more is measured: a GPU's may, a CPU's never."""

import pytest

from cloud.batching import ArrivalRate, RunTimes, pays_to_wait


def times_of(fixed_s, each_s, sizes=(1, 2, 4, 8) * 5):
    times = RunTimes()
    for size in sizes:
        times.ran(size, fixed_s + each_s * size)
    return times


@pytest.mark.parametrize(("fixed_s", "each_s"), [(0.02, 0.001), (0.0, 0.01), (0.05, 0.0)])
def test_fixed_part_and_part_of_each_case_are_told_apart(fixed_s, each_s):
    times = times_of(fixed_s, each_s)
    assert (times.fixed_s, times.each_s) == (pytest.approx(fixed_s, abs=1e-9), pytest.approx(each_s, abs=1e-9))
    assert times.of(4) == pytest.approx(fixed_s + 4 * each_s)


def test_batches_of_one_size_promise_nothing_of_waiting():
    times = times_of(0.02, 0.001, sizes=(3,) * 10)
    assert (times.fixed_s, times.each_s) == (pytest.approx(0), pytest.approx(0.023 / 3))


def test_times_that_change_are_learned_anew():
    times = times_of(0.1, 0.0)
    for size in (1, 2, 4, 8) * 40:
        times.ran(size, 0.001 * size)
    assert times.fixed_s < 0.001


def test_nothing_is_known_before_the_first_run():
    assert (RunTimes().fixed_s, RunTimes().each_s, RunTimes().of(8)) == (0, 0, 0)


def test_arrivals_of_lately_count():
    rate = ArrivalRate()
    for number in range(500):
        rate.came(1, number / 100)
    assert rate.per_s(5.0) == pytest.approx(100, rel=0.05)
    assert rate.per_s(15.0) < 0.01


@pytest.mark.parametrize(
    ("ready", "per_s", "fixed_s", "waits"),
    [
        pytest.param(1, 200, 0.02, True, id="a fast stream to a GPU"),
        pytest.param(1, 2, 0.02, False, id="more is unlikely to come"),
        pytest.param(1, 200, 0.0, False, id="a CPU gains nothing"),
        pytest.param(6, 200, 0.02, False, id="too many would wait for the next"),
        pytest.param(8, 1000, 0.02, False, id="the batch is full"),
    ],
)
def test_it_pays_to_wait_where_the_next_cases_save_more_than_the_ready_ones_lose(ready, per_s, fixed_s, waits):
    assert pays_to_wait(ready, 8, per_s, times_of(fixed_s, 0.001)) is waits
