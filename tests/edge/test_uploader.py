import pytest

from edge.link_stats import LinkCounter
from edge.spool import Spool
from edge.uploader import Uploader
from protocols import CaseChunk, CaseOffer, CaseReceipt, Problem
from protocols.limits import CHUNK_BYTES

PAYLOAD = bytes(range(256)) * 256  # four chunks


@pytest.fixture
def spool(tmp_path, fake_clock):
    return Spool(tmp_path, clock=fake_clock)


@pytest.fixture
def uploader(spool, fake_clock):
    uploader = Uploader(spool, fake_clock, LinkCounter(), patience_s=20)
    uploader.reset(window_bytes=2 * CHUNK_BYTES)
    return uploader


@pytest.fixture
def case(spool, make_case):
    case = make_case(PAYLOAD)
    spool.put(case, PAYLOAD, 1.0)
    spool.flush()
    return case


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
