"""Who cannot be answered in time is told so at the offer, and when to come back; one craft's flood shuts nobody out."""

import pytest
from builders import make_case

from cloud.admission import Admission, AdmissionSettings


@pytest.fixture
def admission(fake_clock):
    return make(fake_clock)


def make(clock, **settings):
    admission = Admission(AdmissionSettings(**settings), clock, seed=1)
    admission.answered(["a"], 0.1)  # a case takes 100 ms
    return admission


def store(admission, craft, count):
    for _ in range(count):
        admission.stored(craft)


def test_idle_service_takes_everything(fake_clock):
    admission = Admission(AdmissionSettings(max_delay_s=0.001), fake_clock)
    assert admission.admit("a", make_case(b"imagery", ttl_s=0.001)) is None


def test_case_whose_wait_is_too_long_is_refused_with_the_time_until_it_is_not(fake_clock):
    admission = make(fake_clock, max_delay_s=1.0)
    store(admission, "a", 30)
    refusal = admission.admit("a", make_case(b"imagery"))
    assert refusal.why == "late"
    assert 2.5 <= refusal.retry_after_s <= 4.0  # 3.1 s wait, 0.5 s may; half as much again at most
    assert "offer it again in" in refusal.reason
    assert admission.refused == {"late": 1}


def test_craft_with_little_waiting_is_taken_beside_one_that_floods(fake_clock):
    admission = make(fake_clock, max_delay_s=1.0)
    store(admission, "flood", 200)
    assert admission.admit("flood", make_case(b"imagery")) is not None
    assert admission.admit("quiet", make_case(b"imagery")) is None


def test_time_to_live_that_the_crafts_turns_do_not_meet_is_refused(admission):
    for number in range(30):
        store(admission, f"craft-{number}", 1)
    assert admission.admit("new", make_case(b"imagery", ttl_s=1.0)).why == "late"
    assert admission.admit("new", make_case(b"imagery", ttl_s=10.0)) is None
    assert admission.admit("new", make_case(b"imagery")) is None


def test_newest_case_of_a_craft_is_taken_though_its_older_ones_wait(admission):
    store(admission, "a", 100)
    assert admission.admit("a", make_case(b"imagery", ttl_s=1.0)) is None


def test_bound_of_waiting_cases_holds_with_those_on_their_way(fake_clock):
    admission = make(fake_clock, max_waiting=10)
    taken = [admission.admit(f"craft-{number}", make_case(b"imagery")) is None for number in range(12)]
    assert taken == [True] * 10 + [False] * 2
    assert admission.admit("more", make_case(b"imagery")).why == "full"


def test_flood_fills_not_the_places_of_a_quiet_craft(fake_clock):
    admission = make(fake_clock, max_waiting=16)
    store(admission, "flood", 14)
    assert admission.admit("flood", make_case(b"imagery")).why == "full"
    taken = [admission.admit("quiet", make_case(b"imagery")) is None for _ in range(3)]
    assert taken == [True, True, False]  # the bound holds for all


def test_craft_over_its_share_of_a_full_house_is_refused_before_one_under_it(fake_clock):
    admission = make(fake_clock, max_waiting=80)
    for craft, count in (("most", 40), ("even", 25), ("least", 5)):  # of 70, 23 for each
        store(admission, craft, count)
    refused = [admission.admit(craft, make_case(b"imagery")) for craft in ("most", "even")]
    assert ["70 cases wait, at most 70 do" in refusal.reason for refusal in refused] == [True, True]
    assert [admission.admit("least", make_case(b"imagery")) for _ in range(10)] == [None] * 10
    assert admission.admit("least", make_case(b"imagery")).why == "full"


def test_case_that_never_came_is_forgotten(fake_clock):
    admission = make(fake_clock, max_waiting=1)
    assert admission.admit("a", make_case(b"imagery")) is None
    assert admission.admit("b", make_case(b"imagery")) is not None
    fake_clock.advance(11)
    assert admission.admit("b", make_case(b"imagery")) is None


def test_case_offered_anew_holds_up_the_end_of_no_older_promise(fake_clock):
    admission = make(fake_clock)
    again, lost = make_case(b"imagery"), make_case(b"imagery")
    admission.admit("a", again)
    admission.admit("b", lost)
    fake_clock.advance(6)
    admission.admit("a", again)
    fake_clock.advance(6)
    assert admission._promises() == 1


def test_kept_and_stored_case_counts_once(fake_clock):
    admission, case = make(fake_clock, max_waiting=2), make_case(b"imagery")
    admission.admit("a", case)
    admission.arrived("a", case.case_id)
    admission.stored("a")
    assert admission.waiting == 1
    assert admission.admit("a", make_case(b"imagery")) is None


def test_answered_cases_make_room_and_tell_the_rate(fake_clock):
    admission = make(fake_clock, max_delay_s=1.0)
    store(admission, "a", 20)
    assert admission.admit("a", make_case(b"imagery")) is not None
    admission.answered(["a"] * 19, 1.9)
    assert (admission.waiting, admission.case_s) == (1, pytest.approx(0.1))
    assert admission.admit("a", make_case(b"imagery")) is None


def test_refused_ones_do_not_come_back_all_at_once(fake_clock):
    admission = make(fake_clock, max_delay_s=1.0)
    store(admission, "a", 30)
    times = {admission.admit("a", make_case(b"imagery")).retry_after_s for _ in range(10)}
    assert len(times) == 10
