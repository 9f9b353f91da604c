import math
from collections import Counter

import pytest
from builders import make_case

from edge.boot_times import Moment
from edge.case_queue import CaseQueue, SpooledCase
from protocols.values import Detection

DOUBT = {"doubt": 0.9, "unexplained": 0.0}


class Arrivals:
    """Makes spooled cases one after the other."""

    def __init__(self):
        self.seq = 0

    def __call__(self, value=0.5, *, size=1000, label="Car", ttl_s=None, born_s=0.0):
        self.seq += 1
        found = Detection(box_xyxy=(0, 0, 9, 9), label=label, score=0.5)
        case = make_case(b"x" * size, ttl_s=ttl_s, reasons=DOUBT, detections=(found,))
        deadline_s = math.inf if ttl_s is None else born_s + ttl_s
        return SpooledCase(case, value, Moment("boot", born_s, 1.7e9), deadline_s, self.seq, False)


@pytest.fixture
def arrive():
    return Arrivals()


def sent(queue, count, now_s=0.0, step_s=0.0, bytes_per_s=None):
    """The next cases, each sent and let go."""
    out = []
    for _ in range(count):
        if (entry := queue.best(now_s, (), bytes_per_s)) is None:
            return out
        queue.give(entry, now_s)
        queue.remove(entry)
        out.append(entry)
        now_s += step_s
    return out


def filled(*entries):
    queue = CaseQueue()
    for entry in entries:
        queue.add(entry)
    return queue


def test_most_worth_for_a_byte_comes_first_then_the_older(arrive):
    dear, cheap, old, young = arrive(0.9, size=9000), arrive(0.5, size=500), arrive(0.3), arrive(0.3)
    assert sent(filled(young, dear, old, cheap), 9) == [cheap, old, young, dear]


def test_live_case_loses_worth_and_a_survey_case_keeps_it(arrive):
    live, survey = arrive(0.9, ttl_s=100.0), arrive(0.4)
    queue = filled(live, survey)
    assert queue.best(0.0, ()) is live
    assert queue.best(99.0, ()) is survey
    assert live.log_worth(0.0) - live.log_worth(100.0) == pytest.approx(4.0)
    assert survey.log_worth(0.0) == survey.log_worth(1e6)


def test_of_two_alike_live_ones_the_newer_is_worth_more(arrive):
    old, new = arrive(ttl_s=100.0), arrive(ttl_s=100.0, born_s=50.0)
    assert sent(filled(old, new), 2, now_s=60.0) == [new, old]


def test_what_can_still_be_in_time_goes_first_and_the_rest_is_not_forgotten(arrive):
    hopeless, small = arrive(0.9, size=50_000, ttl_s=10.0), arrive(0.01, size=1000, ttl_s=10.0)
    queue = filled(hopeless, small)
    assert queue.best(0.0, (), 2000.0) is small
    assert queue.best(0.0, (small.case.case_id,), 2000.0) is hopeless


def test_no_class_starves_however_much_more_another_is_worth(arrive):
    queue = filled(*(arrive(0.9) for _ in range(500)), *(arrive(0.1, label="Bicycle") for _ in range(500)))
    counts = Counter(entry.class_name for entry in sent(queue, 500, step_s=0.1))
    assert counts["Bicycle"] >= 0.06 * 500
    assert counts["Car"] > 6 * counts["Bicycle"]  # in proportion to their worth


def test_classes_worth_the_same_share_alike(arrive):
    labels = ("Car", "Bicycle", "Person")
    queue = filled(*(arrive(0.5, label=label) for label in labels for _ in range(200)))
    counts = Counter(entry.class_name for entry in sent(queue, 300, step_s=0.1))
    assert all(90 <= counts[label] <= 110 for label in labels)


def test_a_class_that_had_nothing_lately_goes_next(arrive):
    queue = filled(*(arrive(0.9) for _ in range(20)))
    sent(queue, 10)
    new = arrive(0.2, label="Bicycle")
    queue.add(new)
    assert queue.best(0.0, ()) is new


def test_the_least_worth_of_the_class_that_fills_most_makes_room(arrive):
    cars, bicycle = [arrive(0.9), arrive(0.8), arrive(0.7)], arrive(0.1, label="Bicycle")
    queue = filled(*cars, bicycle)
    assert queue.least(0.0) is cars[2]
    queue.add(arrive(0.75))
    assert queue.least(0.0) is cars[2]
    low = arrive(0.6)
    queue.add(low)
    assert queue.least(0.0) is low


def test_bytes_before_are_those_worth_more_now(arrive):
    queue = filled(arrive(0.9, size=1000), arrive(0.5, size=2000), arrive(0.9, size=500, ttl_s=100.0))
    assert queue.bytes_before(0.4 / 4000, 0.0) == 3500
    assert queue.bytes_before(0.9 / 3000 + 1e-9, 0.0) == 500
    assert queue.bytes_before(0.9 / 3000 + 1e-9, 99.0) == 0


def test_class_of_which_nothing_waits_any_more_is_forgotten(arrive):
    queue = CaseQueue()
    for number in range(5):
        queue.add(entry := arrive(label=f"Car {number}"))
        queue.remove(entry)
    assert queue._bytes == queue._lanes == {}


def test_removing_what_is_not_there_changes_nothing(arrive):
    entry = arrive()
    queue = filled(entry)
    queue.remove(arrive())
    queue.remove(entry)
    queue.remove(entry)
    assert queue.best(0.0, ()) is None
    assert queue.least(0.0) is None
