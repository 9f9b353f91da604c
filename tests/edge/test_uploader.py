import random

import pytest
from builders import make_case

from edge.link_stats import LinkCounter
from edge.receipt_audit import ReceiptAudit
from edge.spool import Spool
from edge.uploader import Uploader
from protocols import CaseChunk, CaseOffer, CaseReceipt, Problem
from protocols.limits import CHUNK_BYTES, MAX_CHUNK_BYTES, OPEN_CASES

PAYLOAD = bytes(range(256)) * 256  # four chunks


@pytest.fixture
def case(tmp_path, make_case, fake_clock):
    """A case that an earlier run left, so that the cloud is asked from where it wants it."""
    case, spool = make_case(PAYLOAD), Spool(tmp_path, clock=fake_clock)
    spool.put(case, PAYLOAD, 1.0)
    spool.flush()
    return case


@pytest.fixture
def spool(tmp_path, case, fake_clock):
    return Spool(tmp_path, clock=fake_clock)


@pytest.fixture
def counter():
    return LinkCounter()


@pytest.fixture
def uploader(spool, counter, fake_clock):
    uploader = Uploader(spool, fake_clock, counter, patience_s=20)
    learn(uploader.path)
    uploader.reset(window_bytes=2 * CHUNK_BYTES)
    return uploader


def learn(path):
    """Lets a path be one that takes a whole chunk in half a second, so that chunks are as large as they may be."""
    path.covered(path.sent(CHUNK_BYTES, 999.5), 1000.0)  # the fake clock's present


@pytest.fixture
def put(spool, make_case):
    """Puts a new case of a value into the spool."""

    def make(value, payload=PAYLOAD):
        case = make_case(payload)
        spool.put(case, payload, value)
        spool.flush()
        return case

    return make


def receipt(case, state="partial", next_offset=0, credit_bytes=2 * CHUNK_BYTES, **more):
    return CaseReceipt(
        case_id=case.case_id,
        payload_sha256=case.payload_sha256,
        state=state,
        next_offset=next_offset,
        credit_bytes=credit_bytes,
        **more,
    )


def send(uploader):
    """Sends all there is to send; returns the messages."""
    messages = []
    while (item := uploader.next_message()) is not None:
        uploader.sent(*item)
        messages.append(item[0])
    return messages


def test_case_is_offered_then_sent_within_the_credit(uploader, case):
    assert send(uploader) == [CaseOffer(case=case)]
    uploader.on_receipt(receipt(case))
    assert [chunk.offset for chunk in send(uploader)] == [0, CHUNK_BYTES]
    uploader.on_receipt(receipt(case, next_offset=CHUNK_BYTES))
    assert [chunk.offset for chunk in send(uploader)] == [2 * CHUNK_BYTES]


def test_stored_lets_the_case_go(uploader, case, spool):
    send(uploader)
    uploader.on_receipt(receipt(case, "stored", len(PAYLOAD)))
    assert (len(spool), send(uploader)) == (0, [])


def test_upload_resumes_where_the_cloud_says(uploader, case):
    send(uploader)
    uploader.on_receipt(receipt(case, next_offset=CHUNK_BYTES + 5))
    message, blob = uploader.next_message()
    assert message.offset == CHUNK_BYTES + 5
    assert blob == PAYLOAD[CHUNK_BYTES + 5 :][:CHUNK_BYTES]


def test_no_credit_is_a_pause_and_small_credit_makes_small_chunks(uploader, case):
    send(uploader)
    uploader.on_receipt(receipt(case, credit_bytes=0))
    assert send(uploader) == []
    uploader.window_bytes = 100
    assert len(uploader.next_message()[1]) == 100


def test_receipt_for_other_bytes_is_ignored(uploader, case, spool):
    send(uploader)
    uploader.on_receipt(receipt(case, "stored", len(PAYLOAD)).model_copy(update={"payload_sha256": "0" * 64}))
    assert len(spool) == 1


def test_refused_for_good_lets_the_case_go_but_refused_for_now_keeps_it(uploader, case, spool, make_case, fake_clock):
    send(uploader)
    uploader.on_receipt(receipt(case, "refused", retry_after_s=5))
    assert (send(uploader), len(spool)) == ([], 1)
    fake_clock.advance(6)
    assert send(uploader) == [CaseOffer(case=case)]
    uploader.on_receipt(receipt(case, "refused", reason="no"))
    assert len(spool) == 0


@pytest.mark.parametrize("code", ["case_conflict", "too_large", "bad_value"])
def test_hopeless_problem_lets_the_case_go(uploader, case, spool, code):
    send(uploader)
    uploader.on_problem(Problem(code=code, detail="", about=case.case_id))
    assert len(spool) == 0


def test_busy_waits_as_long_as_told(uploader, case, fake_clock):
    send(uploader)
    uploader.on_problem(Problem(code="busy", detail="", about=case.case_id, retry_after_s=7))
    assert send(uploader) == []
    fake_clock.advance(8)
    assert send(uploader) == [CaseOffer(case=case)]


def test_gap_and_bad_digest_offer_again(uploader, case):
    for code in ("gap", "bad_digest"):
        send(uploader)
        uploader.on_receipt(receipt(case))
        assert isinstance(send(uploader)[0], CaseChunk)
        uploader.on_problem(Problem(code=code, detail="", about=case.case_id))
        uploader.on_problem(Problem(code="gap", detail="stale", about=case.case_id))
        assert isinstance(uploader.next_message()[0], CaseOffer)


def test_case_without_any_receipt_is_offered_again(uploader, case, fake_clock):
    send(uploader)
    fake_clock.advance(21)
    assert send(uploader) == [CaseOffer(case=case)]


def test_new_connection_starts_with_an_offer(uploader, case):
    send(uploader)
    uploader.on_receipt(receipt(case))
    send(uploader)
    uploader.reset(CHUNK_BYTES)
    assert send(uploader) == [CaseOffer(case=case)]


def test_new_case_is_sent_without_waiting_and_an_earlier_one_is_asked_about(uploader, case, spool, put):
    new = put(2.0, b"imagery")
    assert send(uploader) == [CaseOffer(case=new), CaseOffer(case=case), CaseChunk(case_id=new.case_id, offset=0)]


def test_new_case_offered_on_a_lost_connection_is_asked_about(uploader, case, spool, put):
    spool.done(case.case_id)
    new = put(2.0)
    send(uploader)
    uploader.reset(2 * CHUNK_BYTES)
    assert send(uploader) == [CaseOffer(case=new)]
    uploader.on_receipt(receipt(new, next_offset=CHUNK_BYTES))
    assert send(uploader)[0] == CaseChunk(case_id=new.case_id, offset=CHUNK_BYTES)


def test_several_small_cases_are_on_their_way_and_share_one_window(uploader, case, put):
    cases = [put(value, b"x" * 10_000) for value in (6.0, 5.0, 4.0, 3.0, 2.0)]
    sent = send(uploader)
    assert [message.case for message in sent[:OPEN_CASES]] == cases[:OPEN_CASES]
    assert [message.case_id for message in sent[OPEN_CASES:]] == [one.case_id for one in cases[:3]]  # 30 of 32 KiB
    uploader.on_receipt(receipt(cases[0], "stored", 10_000))
    assert [message.kind for message in send(uploader)] == ["CaseOffer", "CaseChunk"]


def test_cloud_that_takes_more_gets_larger_chunks_on_a_fast_path_and_more_cases(uploader, spool, put, make_case):
    cases = [put(value, b"x" * 1000) for value in (6.0, 5.0, 4.0, 3.0, 2.0)]
    uploader.path.covered(uploader.path.sent(2**20, 0.0), 0.01)
    uploader.reset(2**20, chunk_bytes=MAX_CHUNK_BYTES, open_cases=5)
    assert [message.case for message in send(uploader) if isinstance(message, CaseOffer)] == cases
    for one in cases:
        uploader.on_receipt(receipt(one, "stored", 1000, credit_bytes=2**20))
    whole = put(9.0, bytes(MAX_CHUNK_BYTES))
    assert uploader.next_message() == (CaseOffer(case=whole), bytes(MAX_CHUNK_BYTES))
    assert [message for message in send(uploader) if isinstance(message, CaseChunk)] == []
    uploader.on_receipt(receipt(whole, "stored", MAX_CHUNK_BYTES, credit_bytes=2**20))
    assert whole.case_id not in spool


def test_no_more_imagery_is_on_its_way_than_the_cloud_holds_of_a_craft(uploader, spool, case, put):
    spool.done(case.case_id)
    cases = [put(20.0 - number, bytes(2**20)) for number in range(18)]
    uploader.path.covered(uploader.path.sent(2**26, 1000.0), 1000.1)
    uploader.path.greeted(500, 0.1, 1000.1)
    uploader.reset(2**26, open_cases=32)
    assert [message.case for message in send(uploader) if isinstance(message, CaseOffer)] == cases[:16]
    uploader.on_receipt(receipt(cases[0], "stored", 2**20, credit_bytes=2**26))
    assert send(uploader)[0] == CaseOffer(case=cases[16])


@pytest.mark.parametrize(("rtt_s", "offers"), [(2.0, 3), (0.001, 17)])
def test_no_more_offers_are_unanswered_than_the_path_takes_imagery(
    spool, case, put, counter, fake_clock, rtt_s, offers
):
    uploader = Uploader(spool, fake_clock, counter, patience_s=20)
    spool.done(case.case_id)
    cases = [put(40.0 - number, b"few") for number in range(32)]
    uploader.path.greeted(500, rtt_s, 1000.0)
    uploader.reset(2**20, open_cases=32)
    assert [message.case for message in send(uploader) if isinstance(message, CaseOffer)] == cases[:offers]
    uploader.on_receipt(receipt(cases[0], "stored", 3))
    assert send(uploader)[0] == CaseOffer(case=cases[offers])


def test_no_case_is_offered_long_before_its_turn(uploader, case, put):
    first, second = put(3.0), put(2.0)
    assert [message.kind for message in send(uploader)] == ["CaseOffer", "CaseChunk", "CaseChunk"]
    uploader.on_receipt(receipt(first, next_offset=CHUNK_BYTES, credit_bytes=2 * CHUNK_BYTES))
    assert [getattr(message, "case", None) for message in send(uploader)] == [None, second]


def test_more_valuable_case_goes_first_between_two_chunks(uploader, case, put):
    send(uploader)
    uploader.on_receipt(receipt(case))
    send(uploader)
    better = put(9.0)
    assert send(uploader) == [CaseOffer(case=better)]
    uploader.on_receipt(receipt(case, next_offset=2 * CHUNK_BYTES))
    assert {message.case_id for message in send(uploader)} == {better.case_id}


def test_cloud_that_holds_fewer_unfinished_uploads_gets_fewer(uploader, case, put):
    for value in (5.0, 4.0, 3.0, 2.0):
        put(value, b"x" * 1000)
    offered = [message.case for message in send(uploader) if isinstance(message, CaseOffer)]
    for one in offered[1:]:
        uploader.on_problem(Problem(code="busy", detail="", about=one.case_id, retry_after_s=0.001))
    assert [message for message in send(uploader) if isinstance(message, CaseOffer)] == []


def test_case_that_expired_on_its_way_is_sent_no_further(uploader, case, spool, make_case, fake_clock):
    spool.done(case.case_id)
    short = make_case(PAYLOAD, ttl_s=10)
    spool.put(short, PAYLOAD, 1.0)
    spool.flush()
    assert len(send(uploader)) == 3
    fake_clock.advance(11)
    uploader.on_receipt(receipt(short, next_offset=2 * CHUNK_BYTES))
    spool.flush()
    assert (send(uploader), spool.stats.expired) == ([], 1)


def test_case_that_made_room_is_finished_where_it_has_begun_and_left_where_not(tmp_path, case, counter, fake_clock):
    spool = Spool(tmp_path, max_cases=1, clock=fake_clock)
    uploader = Uploader(spool, fake_clock, counter, patience_s=20)
    uploader.reset(window_bytes=2**20)
    send(uploader)
    uploader.on_receipt(receipt(case, credit_bytes=2**20))
    send(uploader)
    newer = [make_case(PAYLOAD) for _ in range(2)]
    for value, one in enumerate(newer, 2):
        spool.put(one, PAYLOAD, float(value))
        spool.flush()
    kinds = [(message.kind, getattr(message, "case_id", "")) for message in send(uploader)]
    assert case.case_id not in spool
    assert newer[0].case_id not in {case_id for _, case_id in kinds}
    uploader.on_receipt(receipt(case, "stored", len(PAYLOAD)))
    assert counter.stats.cases_delivered == 1


def test_receipt_for_an_unknown_case_is_counted_and_its_credit_heeded(uploader, case, make_case, counter):
    uploader.on_receipt(receipt(make_case(b"another"), "stored", 7, credit_bytes=5))
    assert (counter.stats.receipts_unknown, counter.stats.cases_delivered, uploader.window_bytes) == (1, 0, 5)


def test_receipt_that_crossed_the_end_of_its_case_is_no_unknown_one(uploader, case, counter):
    send(uploader)
    for _ in range(2):
        uploader.on_receipt(receipt(case, "stored", len(PAYLOAD)))
    assert (counter.stats.receipts_unknown, counter.stats.cases_delivered) == (0, 1)


def test_late_receipt_delivers_a_case_that_waits_in_the_spool(uploader, case, spool, counter):
    uploader.on_receipt(receipt(case, "stored", len(PAYLOAD)))
    assert (len(spool), counter.stats.cases_delivered, send(uploader)) == (0, 1, [])


def test_round_trip_and_bandwidth_are_learned_from_receipts(uploader, case, fake_clock):
    uploader.window_bytes = 2**20
    send(uploader)
    fake_clock.advance(0.5)
    uploader.on_receipt(receipt(case, credit_bytes=2**20))
    for covered in range(1, 5):
        send(uploader)
        fake_clock.advance(0.25)
        uploader.on_receipt(receipt(case, next_offset=covered * CHUNK_BYTES, credit_bytes=2**20))
    state = uploader.path.state(fake_clock.now_s)
    assert 0.25 <= state.rtt_least_s <= 0.5
    assert state.edge_to_cloud_bps == pytest.approx(8 * CHUNK_BYTES / 0.25)
    assert state.in_flight_bytes == 0


# --- a cloud that acknowledges and forgets ---


@pytest.fixture
def audited(spool, counter, fake_clock):
    audit = ReceiptAudit(spool, 1.0, rng=random.Random(1))
    uploader = Uploader(spool, fake_clock, counter, patience_s=20, audit=audit)
    learn(uploader.path)
    uploader.reset(window_bytes=2**20)
    return uploader


def deliver(uploader, case):
    sent = send(uploader)
    uploader.on_receipt(receipt(case, "stored", len(PAYLOAD)))
    return sent


def test_delivered_case_is_asked_about_once_and_then_let_go(audited, case, spool, fake_clock, tmp_path, counter):
    deliver(audited, case)
    assert (len(spool), spool.total_bytes, send(audited)) == (0, 0, [])
    fake_clock.advance(61)
    assert deliver(audited, case) == [CaseOffer(case=case)]
    assert list(tmp_path.iterdir()) == []
    assert (counter.stats.cases_delivered, counter.stats.cases_forgotten) == (1, 0)


def test_forgotten_case_is_named_counted_and_sent_again(audited, case, spool, counter, capsys):
    deliver(audited, case)
    audited.reset(2**20)  # the cloud started again
    assert send(audited) == [CaseOffer(case=case)]
    audited.on_receipt(receipt(case))
    assert (counter.stats.cases_forgotten, len(spool)) == (1, 1)
    assert "forgot" in capsys.readouterr().out
    sent = deliver(audited, case)
    assert sent[0] == CaseOffer(case=case)
    assert counter.stats.cases_delivered == 2


def test_cloud_that_forgot_one_is_asked_about_all_until_it_has_proven_itself(spool, case, put, counter, fake_clock):
    audit = ReceiptAudit(spool, 0.0)
    audit.failed("0" * 32)
    assert audit.hold(case.case_id, 0.0)
    for _ in range(20):
        audit.passed("0" * 32)
    assert not audit.hold(put(1.0).case_id, 0.0)


def test_cases_held_for_the_audit_are_bounded_and_make_room_first(tmp_path, spool, put):
    audit = ReceiptAudit(spool, 1.0, rng=random.Random(1))
    cases = [put(1.0) for _ in range(12)]
    assert [audit.hold(one.case_id, 0.0) for one in cases] == [True] * 8 + [False] * 4
    small = Spool(tmp_path, max_cases=100, max_bytes=spool.total_bytes + 8 * len(PAYLOAD))
    assert len(small) == 13  # after a restart they are cases like any other: offered, and answered the same


def test_what_can_still_be_in_time_goes_before_what_cannot(tmp_path, make_case, fake_clock, counter):
    spool = Spool(tmp_path / "other", clock=fake_clock)
    uploader = Uploader(spool, fake_clock, counter, patience_s=20)
    large, small = make_case(PAYLOAD, ttl_s=3.0), make_case(b"few", ttl_s=3.0)
    spool.put(large, PAYLOAD, 1000.0)
    spool.put(small, b"few", 0.001)
    spool.flush()
    learn(uploader.path)  # 32 KiB a second: the large one takes two
    uploader.reset(window_bytes=2 * CHUNK_BYTES)
    assert uploader.next_message()[0].case == large
    fake_clock.advance(1.5)
    uploader.reset(window_bytes=2 * CHUNK_BYTES)
    assert uploader.next_message()[0].case == small


def busy(case, retry_after_s):
    return Problem(code="busy", detail="", about=case.case_id, retry_after_s=retry_after_s)


def put_live(spool, ttl_s, value=9.0):
    live = make_case(PAYLOAD, ttl_s=ttl_s)
    spool.put(live, PAYLOAD, value)
    return live


def offers(messages):
    return [message.case for message in messages if isinstance(message, CaseOffer)]


def test_busy_cloud_is_offered_nothing_of_the_kind_that_can_wait_no_longer(uploader, case, spool, fake_clock):
    live = put_live(spool, 60.0)
    assert send(uploader)[0] == CaseOffer(case=live)
    uploader.on_problem(busy(live, 20))
    put_live(spool, 30.0)
    assert offers(send(uploader)) == [case]  # it may wait for ever
    fake_clock.advance(19)
    longer = put_live(spool, 120.0)
    assert offers(send(uploader)) == [longer]
    uploader.on_receipt(receipt(case, "stored", len(PAYLOAD)))
    uploader.on_receipt(receipt(longer, "stored", len(PAYLOAD)))
    assert send(uploader) == []
    fake_clock.advance(2)
    assert offers(send(uploader)) == [live]


def test_refused_survey_case_silences_no_question_with_a_time_to_live(uploader, case, put, spool, fake_clock):
    assert offers(send(uploader)) == [case]
    uploader.on_problem(busy(case, 300))
    survey, live = put(1.0), put_live(spool, 5.0)
    sent = send(uploader)
    assert offers(sent) == [live]
    assert sent[1:] == [CaseChunk(case_id=live.case_id, offset=at) for at in (0, CHUNK_BYTES)]  # on trust, as ever
    uploader.on_receipt(receipt(live, "stored", len(PAYLOAD)))
    assert send(uploader) == []
    fake_clock.advance(301)
    assert len(offers(send(uploader))) == 1
    assert survey.case_id in spool


def test_after_a_refusal_one_offer_goes_without_imagery_until_the_cloud_has_room(
    uploader, spool, case, put, fake_clock
):
    spool.done(case.case_id)
    uploader.reset(window_bytes=2 * CHUNK_BYTES, chunk_bytes=CHUNK_BYTES, open_cases=8)
    first, _ = put(3.0), put(2.0)
    message, blob = uploader.next_message()
    uploader.sent(message, blob)
    assert len(blob) == CHUNK_BYTES
    uploader.on_problem(busy(first, 5))
    fake_clock.advance(6)
    message, blob = uploader.next_message()
    uploader.sent(message, blob)
    assert (message.kind, blob) == ("CaseOffer", b"")
    assert send(uploader) == []
    uploader.on_receipt(receipt(message.case))
    assert send(uploader)[0].kind == "CaseChunk"


def test_receipt_of_what_was_taken_before_a_refusal_tells_of_no_room(uploader, spool, case, put, fake_clock):
    spool.done(case.case_id)
    uploader.reset(4 * CHUNK_BYTES, chunk_bytes=CHUNK_BYTES, open_cases=8)
    taken, refused = put(4.0), put(3.0, b"few")
    assert offers(send(uploader)) == [refused, taken]
    uploader.on_problem(busy(refused, 5))
    fake_clock.advance(6)
    uploader.on_receipt(receipt(taken, next_offset=CHUNK_BYTES, credit_bytes=4 * CHUNK_BYTES))
    put(2.0, b"few")
    probes = [uploader.next_message()]
    uploader.sent(*probes[0])
    assert (probes[0][0].kind, probes[0][1]) == ("CaseOffer", b"")
    assert offers(send(uploader)) == []


def test_what_was_picked_before_a_refusal_is_not_offered_in_the_pause(uploader, spool, case, put, fake_clock):
    uploader.reset(4 * CHUNK_BYTES, open_cases=8)
    picked = [put(value, b"few") for value in (3.0, 2.0)]
    first = uploader.next_message()  # all are picked, and one is under way
    uploader.sent(*first)
    uploader.on_problem(busy(first[0].case, 5))
    assert send(uploader) == []
    fake_clock.advance(6)
    assert len(offers(send(uploader))) == 1
    assert all(one.case_id in spool for one in picked)


def test_cloud_that_has_room_again_gets_more_cases_at_a_time_again(uploader, spool, case, put, fake_clock):
    uploader.reset(window_bytes=MAX_CHUNK_BYTES, open_cases=4)
    for _ in range(2):
        send(uploader)
        uploader.on_problem(busy(case, 0.01))
        fake_clock.advance(1)
    assert uploader._most == 1
    for _ in range(4):
        done = put(1.0)
        send(uploader)
        for waiting in (case, done):
            uploader.on_receipt(receipt(waiting, "stored", len(PAYLOAD)))
    assert uploader._most == 4
