"""Cases on their way through the gateway: repeated, cut, damaged, refused."""

import hashlib
import os
import threading

import pytest
from gateway_peers import PAYLOAD, answer_to, big_case, until

from cloud.errors import StoreError
from protocols import (
    CaseChunk,
    CaseOffer,
    MessageError,
    slices,
)


def test_same_case_again_gets_the_same_receipt_and_is_stored_once(cloud, connect):
    peer, case = connect("alpha"), big_case()
    peer.join()
    receipts = [peer.upload(case) for _ in range(2)]
    assert receipts[0] == receipts[1]
    assert receipts[0].state == "stored"
    cloud.store.add_interpretation("alpha", answer_to(case))
    peer.send(CaseOffer(case=case))
    assert peer.receive("Interpretation")[0].interpretation == answer_to(case)
    assert len(cloud.store.waiting_cases(9)) == 1


@pytest.mark.parametrize("finished", [True, False], ids=["stored", "unfinished"])
def test_same_id_with_other_bytes_is_a_conflict(cloud, connect, finished):
    peer, case = connect("alpha"), big_case()
    peer.join()
    if finished:
        peer.upload(case)
    else:
        peer.send(CaseOffer(case=case))
    peer.send(CaseOffer(case=case.model_copy(update={"payload_sha256": "0" * 64})))
    problem = peer.receive("Problem")[0]
    assert (problem.code, problem.about) == ("case_conflict", case.case_id)


def test_offer_that_brings_all_of_its_case_gets_one_receipt_and_the_same_again(cloud, connect):
    peer, case = connect("alpha"), big_case()
    welcome = peer.join()
    assert welcome.chunk_bytes >= len(PAYLOAD)
    for _ in range(2):
        peer.send(CaseOffer(case=case), PAYLOAD)
        receipt = peer.receive("CaseReceipt")[0]
        assert (receipt.state, receipt.next_offset) == ("stored", len(PAYLOAD))
    stored = cloud.store.load_case(case.case_id)
    assert (cloud.store.read_imagery(stored), cloud.store.count_cases()) == (PAYLOAD, {"alpha": 1})
    peer.send(CaseOffer(case=case.model_copy(update={"payload_sha256": "0" * 64})), bytes(len(PAYLOAD)))
    assert peer.receive("Problem")[0].code == "bad_digest"


def test_offer_that_brings_a_part_of_its_case_is_gone_on_with_from_there(cloud, connect):
    peer, case = connect("alpha"), big_case()
    peer.join()
    peer.send(CaseOffer(case=case), PAYLOAD[:1000])
    assert peer.receive("CaseReceipt")[0].next_offset == 1000
    peer.send(CaseChunk(case_id=case.case_id, offset=1000), PAYLOAD[1000:])
    assert peer.receive("CaseReceipt")[0].state == "stored"


def test_wrong_bytes_are_never_stored_and_may_be_sent_again(cloud, connect):
    peer, case = connect("alpha"), big_case()
    peer.join()
    peer.send(CaseOffer(case=case))
    for offset, blob in slices(bytes(len(PAYLOAD))):
        peer.send(CaseChunk(case_id=case.case_id, offset=offset), blob)
    assert peer.receive("Problem")[0].code == "bad_digest"
    assert not cloud.store.waiting_cases(9)
    assert peer.upload(case).state == "stored"


def test_lost_link_resumes_at_the_offset_held(cloud, connect, keys_of):
    keys, case = keys_of("alpha"), big_case()
    peer = connect(keys)
    peer.join()
    peer.send(CaseOffer(case=case))
    peer.send(CaseChunk(case_id=case.case_id, offset=0), PAYLOAD[:16000])
    while peer.receive("CaseReceipt")[0].next_offset != 16000:
        pass
    peer.close()
    peer = connect(keys)
    peer.join()
    peer.send(CaseOffer(case=case))
    assert peer.receive("CaseReceipt")[0].next_offset == 16000
    assert peer.upload(case).state == "stored"


def test_chunk_behind_a_gap_is_refused(cloud, connect):
    peer, case = connect("alpha"), big_case()
    peer.join()
    peer.send(CaseOffer(case=case))
    peer.send(CaseChunk(case_id=case.case_id, offset=100), b"x")
    problem = peer.receive("Problem")[0]
    assert (problem.code, problem.about) == ("gap", case.case_id)


def test_restarted_gateway_finishes_an_upload_begun_before(cloud, keys_of, fly):
    cloud.stop()
    cloud.start(credit_bytes=16 * 1024)  # a round trip for each chunk, so that the restart comes under way
    link, spool, _, _ = fly(keys_of("alpha"))
    until(lambda: link.stats().connected)
    payload = os.urandom(2**21)
    case = big_case(payload)
    spool.put(case, payload, 1.0)
    until(lambda: cloud.gateway.stats.messages["edge_to_cloud", "CaseChunk"] >= 3)
    cloud.stop()
    cloud.start()
    until(lambda: link.stats().cases_delivered == 1)
    assert cloud.store.read_imagery(cloud.store.load_case(case.case_id)) == payload
    assert link.stats().connects == 2


def test_store_that_cannot_keep_a_case_says_busy_and_gets_it_later(cloud, connect, monkeypatch):
    """The full disk is a StoreError from the store, which has its own tests of what causes one."""

    def full(items):
        raise StoreError("disk full")

    peer, case = connect("alpha"), big_case()
    peer.join()
    monkeypatch.setattr(cloud.store, "add_cases", full)
    peer.send(CaseOffer(case=case))
    for offset, blob in slices(PAYLOAD):
        peer.send(CaseChunk(case_id=case.case_id, offset=offset), blob)
    problem = peer.receive("Problem")[0]
    assert (problem.code, problem.about, problem.retry_after_s) == ("busy", case.case_id, 0.1)
    monkeypatch.undo()
    assert peer.upload(case).state == "stored"


def test_chunks_beyond_the_credit_are_refused(cloud, keys_of, connect):
    cloud.stop()
    cloud.start(credit_bytes=16 * 1024)
    peer, case = connect("alpha"), big_case(bytes(2**20))
    peer.join()
    peer.send(CaseOffer(case=case))
    for offset, blob in slices(bytes(2**20)):
        peer.send(CaseChunk(case_id=case.case_id, offset=offset), blob)
    assert peer.receive("Problem")[0].code in ("busy", "gap")
    until(lambda: cloud.gateway.stats.messages["edge_to_cloud", "CaseChunk"] == 64)
    assert peer.upload(big_case(b"small"), b"small").state == "stored"


def test_stop_finishes_the_commit_and_says_stored(cloud, connect, monkeypatch):
    began, go_on, add_cases = threading.Event(), threading.Event(), cloud.store.add_cases

    def slow(items):
        began.set()
        assert go_on.wait(30)
        return add_cases(items)

    monkeypatch.setattr(cloud.store, "add_cases", slow)
    peer, case = connect("alpha"), big_case()
    peer.join()
    peer.send(CaseOffer(case=case))
    for offset, blob in slices(PAYLOAD):
        peer.send(CaseChunk(case_id=case.case_id, offset=offset), blob)
    assert began.wait(30)
    stopping = threading.Thread(target=cloud.stop)
    stopping.start()
    go_on.set()
    while peer.receive("CaseReceipt")[0].state != "stored":
        pass
    stopping.join(30)
    assert cloud.store.case_state("alpha", case.case_id) is not None


def test_case_that_could_not_be_answered_in_time_is_refused_at_its_offer_with_a_time(cloud, connect):
    peer, case = connect("alpha"), big_case(ttl_s=1.0)
    peer.join()
    admission = cloud.gateway.admission
    for number in range(20):
        admission.stored(f"craft-{number}")
    admission.answered(["craft-0"], 1.0)  # a case takes a second
    peer.send(CaseOffer(case=case))
    problem, _ = peer.receive("Problem")
    assert (problem.code, problem.about) == ("busy", case.case_id)
    assert 10 < problem.retry_after_s < 60
    assert admission.refused == {"late": 1}


def test_every_offer_that_is_refused_is_told_so_however_many_are(cloud, connect):
    peer = connect("alpha")
    peer.join()
    cloud.gateway.admission.begin({"alpha": 10_000})
    cases = [big_case(ttl_s=None) for _ in range(30)]
    for case in cases:
        peer.send(CaseOffer(case=case))
    told = [peer.receive("Problem")[0] for _ in cases]
    assert [(problem.code, problem.about) for problem in told] == [("busy", case.case_id) for case in cases]


@pytest.mark.parametrize("verdict", ["stored", "duplicate", "conflict", "failed", "no room"])
def test_case_is_not_counted_on_once_its_verdict_is_there(cloud, connect, monkeypatch, verdict):
    def full(items):
        raise StoreError("disk full")

    def no_room(craft, size):
        raise MessageError("cases wait for the disk", code="busy")

    peer, case = connect("alpha"), big_case(PAYLOAD[:1000])
    peer.join()
    if verdict in ("duplicate", "conflict"):
        peer.send(CaseOffer(case=case), PAYLOAD[:1000])
        assert peer.receipt_of(case).state == "stored"
    blob = bytes(1000) if verdict == "conflict" else PAYLOAD[:1000]
    again = case.model_copy(update={"payload_sha256": hashlib.sha256(blob).hexdigest()})
    if verdict == "failed":
        monkeypatch.setattr(cloud.store, "add_cases", full)
    elif verdict == "no room":
        monkeypatch.setattr(cloud.gateway._desk.uploads, "_make_room", no_room)
    peer.send(CaseOffer(case=again), blob)
    if verdict in ("stored", "duplicate"):
        assert peer.receipt_of(again).state == "stored"
    else:
        assert peer.receive("Problem")[0].about == case.case_id
    assert cloud.gateway.admission._promises() == 0


def test_case_that_is_stored_is_said_so_again_however_much_waits(cloud, connect):
    peer, case = connect("alpha"), big_case(PAYLOAD[:1000])
    peer.join()
    peer.send(CaseOffer(case=case), PAYLOAD[:1000])
    assert peer.receipt_of(case).state == "stored"
    cloud.gateway.admission.begin({"beta": 10_000})
    peer.send(CaseOffer(case=case), PAYLOAD[:1000])
    assert peer.receipt_of(case).state == "stored"
