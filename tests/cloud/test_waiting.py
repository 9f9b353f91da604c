"""Which waiting cases go next: crafts in turn, the freshest of a craft, nothing too late before what is not."""

import math

import pytest
from builders import make_case

from cloud.store import StoredCase
from cloud.waiting import WaitingCase, WaitingCases

FAR = math.inf


def waiting_case(craft="a", came_s=0.0, payload=None, **fields):
    return WaitingCase(StoredCase(craft, make_case(b"imagery", **fields), "stored", "", None, 0.0), came_s, payload)


@pytest.fixture
def waiting():
    return WaitingCases(100)


def take(waiting, most=99, now_s=10.0, ahead_s=0.0, most_pixels=FAR):
    return waiting.take(now_s, ahead_s, most, most_pixels)


def test_without_a_time_to_live_the_oldest_goes_first(waiting):
    cases = [waiting_case(came_s=float(second)) for second in range(3)]
    waiting.add(cases)
    assert [take(waiting, 1) for _ in range(4)] == [[cases[0]], [cases[1]], [cases[2]], []]
    assert len(waiting) == 0


def test_crafts_have_turns_however_many_cases_each_has(waiting):
    waiting.add(waiting_case("flood") for _ in range(20))
    waiting.add(waiting_case("quiet") for _ in range(2))
    crafts = [case.stored.craft for case in take(waiting, 4)]
    assert sorted(crafts) == ["flood", "flood", "quiet", "quiet"]


def test_craft_that_was_silent_has_no_claim_to_what_it_left(waiting):
    waiting.add(waiting_case("busy") for _ in range(40))
    take(waiting, 20)
    waiting.add(waiting_case("late-comer") for _ in range(10))
    crafts = [case.stored.craft for case in take(waiting, 10)]
    assert 4 <= crafts.count("busy") <= 6


def test_craft_of_large_pictures_has_fewer_of_them(waiting):
    waiting.add(waiting_case("large", image_scale=16.0) for _ in range(50))
    waiting.add(waiting_case("small") for _ in range(50))
    crafts = [case.stored.craft for case in take(waiting, 20)]
    assert crafts.count("large") * 3 < crafts.count("small")


def test_newest_live_case_goes_first_and_a_survey_case_has_every_fourth_turn(waiting):
    live = [waiting_case(came_s=float(second), ttl_s=60.0) for second in range(6)]
    survey = [waiting_case(came_s=0.5) for _ in range(3)]
    waiting.add([*live, *survey])
    order = [take(waiting, 1)[0] for _ in range(8)]
    assert order == [live[5], live[4], live[3], survey[0], live[2], live[1], live[0], survey[1]]


def test_of_two_live_cases_the_one_that_is_worth_more_goes_first(waiting):
    poor, rich = waiting_case(came_s=1.0, ttl_s=60.0, hardness=0.1), waiting_case(came_s=0.0, ttl_s=60.0, hardness=0.9)
    waiting.add([poor, rich])
    assert take(waiting, 1) == [rich]


def test_what_would_be_answered_too_late_waits_for_all_others(waiting):
    late, in_time = waiting_case("a", came_s=0.0, ttl_s=12.0), waiting_case("b", came_s=0.0)
    waiting.add([late, in_time])
    assert take(waiting, 1, now_s=10.0, ahead_s=3.0) == [in_time]
    assert take(waiting, 1, now_s=10.0) == [late]


def test_batch_is_bounded_in_pixels_and_what_does_not_fit_is_first_next_time(waiting):
    cases = [waiting_case(came_s=float(second)) for second in range(4)]
    waiting.add(cases)
    room = 2.5 * cases[0].pixels
    assert take(waiting, most_pixels=room) == cases[:2]
    assert (len(waiting), cases[2].key in waiting) == (2, True)
    assert take(waiting, most_pixels=room) == cases[2:]


def test_picture_larger_than_the_bound_goes_alone(waiting):
    cases = [waiting_case(came_s=float(second)) for second in range(2)]
    waiting.add(cases)
    assert take(waiting, most_pixels=1) == cases[:1]


def test_picture_larger_than_what_is_left_waits_for_the_next_batch_and_is_first_there(waiting):
    cases = [waiting_case(came_s=float(second)) for second in range(2)]
    waiting.add(cases)
    assert waiting.take(10.0, 0.0, 99, 1, may_exceed=False) == []
    assert len(waiting) == 2
    assert take(waiting, 1, most_pixels=1) == cases[:1]


def test_no_case_waits_twice_and_no_more_than_there_is_room_for():
    waiting = WaitingCases(2)
    case = waiting_case()
    assert waiting.add([case, case, waiting_case()])
    assert not waiting.add([waiting_case()])
    assert len(waiting) == 2


def test_imagery_in_memory_is_bounded(waiting, monkeypatch):
    monkeypatch.setattr("cloud.waiting.MOST_HELD_BYTES", 10)
    cases = [waiting_case(payload=bytes(8)) for _ in range(2)]
    waiting.add(cases)
    assert [case.payload for case in cases] == [bytes(8), None]
    waiting.add([waiting_case(payload=bytes(8))])
    assert sum(case.payload is not None for case in take(waiting)) == 1
