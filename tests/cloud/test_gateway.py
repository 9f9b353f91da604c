"""The gateway on loopback: real sockets, real CURVE, the real store; peers that keep to the protocol or do not."""

import asyncio
import os

import numpy as np
import pytest
from gateway_peers import PAYLOAD, answer_to, big_case, next_bank, until

from cloud.errors import CloudError
from cloud.gateway import Gateway, GatewaySettings
from cloud.store import CaseStore
from edge.bank import BankStore
from protocols import (
    Heartbeat,
    InterpretationReceipt,
    PromptReceipt,
)
from protocols.limits import MAX_CHUNK_BYTES


def test_case_is_stored_answered_and_receipted(cloud, keys_of, fly):
    link, spool, _, answers = fly(keys_of("alpha"))
    case = big_case()
    spool.put(case, PAYLOAD, 1.0)
    assert cloud.stored.wait(30)
    cloud.store.add_interpretation("alpha", answer_to(case))
    cloud.gateway.notify("alpha")
    until(lambda: answers == [answer_to(case)])
    until(lambda: not cloud.store.undelivered("alpha", 9))
    until(lambda: link.stats().cases_delivered == 1)
    assert cloud.store.read_imagery(cloud.store.load_case(case.case_id)) == PAYLOAD
    assert cloud.store.craft("alpha").labels == ("Car",)
    assert link.stats().faults == cloud.gateway.stats.faults == 0


def test_prompts_reach_the_craft_as_they_change_and_stay(cloud, keys_of, fly, tmp_path):
    link, _, bank, _ = fly(keys_of("alpha"))
    for label in ("debris", "bicycle"):
        new = next_bank(cloud.store.bank("alpha"), label)
        cloud.store.save_bank("alpha", new)
        cloud.gateway.notify("alpha")
        until(lambda ref=new.ref: bank.current.ref == ref)
    until(lambda: link.stats().prompts_applied == 2)
    assert BankStore(tmp_path / "bank").current == new


def test_news_written_by_another_process_is_found_without_notify(cloud, connect, tmp_path):
    peer = connect("alpha")
    peer.join()
    other = CaseStore(tmp_path / "data")
    other.add_interpretation("alpha", answer_to(big_case()))
    other.close()
    peer.receive("Interpretation")


def test_many_cases_arrive_each_once(cloud, keys_of, fly):
    link, spool, _, _ = fly(keys_of("alpha"))
    payloads = [os.urandom(1 + 9000 * number) for number in range(12)]
    cases = [big_case(payload) for payload in payloads]
    for case, payload in zip(cases, payloads, strict=True):
        spool.put(case, payload, 1.0)
    until(lambda: link.stats().cases_delivered == 12)
    assert len(spool) == 0
    assert {stored.case.case_id for stored in cloud.store.waiting_cases(99)} == {c.case_id for c in cases}


# --- who may speak ---


def test_interpretation_is_repeated_until_its_receipt_has_come(cloud, connect, keys_of):
    keys, case = keys_of("alpha"), big_case()
    cloud.store.add_interpretation("alpha", answer_to(case))
    for _ in range(2):
        peer = connect(keys)
        peer.join()
        assert peer.receive("Interpretation")[0].interpretation == answer_to(case)
    peer.send(InterpretationReceipt(case_id=case.case_id))
    until(lambda: cloud.gateway.stats.interpretations_delivered == 1)
    assert not cloud.store.undelivered("alpha", 9)


def test_answer_corrected_while_the_one_before_is_on_its_way_is_delivered_too(cloud, connect):
    case = big_case()
    first = answer_to(case).model_copy(update={"by": "person", "made_at_s": 100.0})
    second = first.model_copy(update={"detections": (), "made_at_s": 101.0})
    cloud.store.add_interpretation("alpha", first)
    peer = connect("alpha")
    peer.join()
    assert peer.receive("Interpretation")[0].interpretation == first
    cloud.store.add_interpretation("alpha", second)
    cloud.gateway.notify("alpha")
    peer.send(InterpretationReceipt(case_id=case.case_id))
    assert peer.receive("Interpretation")[0].interpretation == second
    assert cloud.store.undelivered("alpha", 9) == [second]
    peer.send(InterpretationReceipt(case_id=case.case_id))
    until(lambda: not cloud.store.undelivered("alpha", 9))


# --- prompts ---


def test_craft_that_refuses_a_delta_gets_a_snapshot(cloud, connect):
    first = next_bank(cloud.store.bank("alpha"), "debris")
    cloud.store.save_bank("alpha", first)
    second = next_bank(first, "bicycle")
    cloud.store.save_bank("alpha", second)
    peer = connect("alpha")
    peer.join(first.ref)
    update, _ = peer.receive("PromptUpdate")
    peer.send(PromptReceipt(update_id=update.update_id, bank=first.ref, applied=False, reason="lost it"))
    again, blob = peer.receive("PromptUpdate")
    assert (again.target, len(blob) > 0) == (second.ref, True)
    assert again.total_bytes > update.total_bytes
    peer.send(PromptReceipt(update_id=again.update_id, bank=second.ref, applied=True))
    until(lambda: cloud.gateway.stats.prompts["applied"] == 1)


def test_craft_ahead_of_a_store_restored_from_a_copy_gets_its_bank_in_a_new_epoch(cloud, connect):
    bank = next_bank(cloud.store.bank("alpha"), "debris")
    cloud.store.save_bank("alpha", bank)
    later = next_bank(next_bank(bank, "bicycle"), "tree")
    peer = connect("alpha")
    told = peer.join(later.ref).bank
    assert (told.revision, told.digest) == (0, bank.digest)
    assert told.epoch != bank.epoch
    update, _ = peer.receive("PromptUpdate")
    assert update.target == cloud.store.bank("alpha").ref == told


def test_craft_with_the_right_bank_gets_no_update(cloud, connect):
    bank = next_bank(cloud.store.bank("alpha"), "debris")
    cloud.store.save_bank("alpha", bank)
    peer = connect("alpha")
    assert peer.join(bank.ref).bank == bank.ref
    for _ in range(3):
        peer.receive("Heartbeat")
    assert not cloud.gateway.stats.messages["cloud_to_edge", "PromptUpdate"]


# --- bad input ---


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param([b""], "malformed", id="one-frame"),
        pytest.param([b"x"] * 40, "malformed", id="forty-frames"),
        pytest.param([b"\xc1" * 100, b""], "malformed", id="no-msgpack"),
        pytest.param([b"x" * 60_000, b""], "too_large", id="large-header"),
        pytest.param([b"\x80", b"x" * (MAX_CHUNK_BYTES + 1)], "too_large", id="large-blob"),
        pytest.param([b"\x82\xa1v\x01\xa4kind\xa6FooBar", b""], "unknown_kind", id="unknown-kind"),
        pytest.param([b"\x82\xa1v\x09\xa4kind\xa5Hello", b""], "version", id="version"),
        pytest.param([b"\x82\xa1v\x01\xa4kind\xa5Hello", b""], "bad_value", id="missing-fields"),
    ],
)
@pytest.mark.parametrize("welcome", [True, False], ids=["welcome", "before-hello"])
def test_bad_message_is_counted_answered_and_survived(cloud, connect, frames, code, welcome):
    peer = connect("alpha")
    if welcome:
        peer.join()
    peer.socket.send_multipart(frames)
    assert peer.receive("Problem")[0].code == code
    assert cloud.gateway.stats.refused[code] == 1
    assert peer.join().heartbeat_s == 0.2


def test_flood_of_rubbish_gets_few_answers_and_hurts_no_other_craft(cloud, connect):
    mallory, alpha = connect("mallory"), connect("alpha")
    mallory.join()
    alpha.join()
    rng = np.random.default_rng(7)
    for size in rng.integers(0, 2000, 500):
        mallory.socket.send_multipart([rng.bytes(size), rng.bytes(size // 4)])
    assert alpha.upload(big_case()).state == "stored"
    until(lambda: sum(cloud.gateway.stats.refused.values()) == 500)
    assert cloud.gateway.stats.messages["cloud_to_edge", "Problem"] < 100
    assert cloud.gateway.stats.faults == 0


def test_oversized_frame_closes_only_that_connection(cloud, connect):
    mallory, alpha = connect("mallory"), connect("alpha")
    alpha.join()
    mallory.socket.send_multipart([b"x" * 200_000, b""])
    assert alpha.upload(big_case()).state == "stored"
    assert not cloud.gateway.stats.refused


def test_message_for_the_edge_is_refused_by_the_cloud(cloud, connect):
    peer = connect("alpha")
    welcome = peer.join()
    peer.send(welcome)
    assert peer.receive("Problem")[0].code == "bad_value"


def test_silent_craft_is_taken_for_gone(cloud, connect):
    cloud.stop()
    cloud.start(liveness_s=0.3, heartbeat_s=0.05)
    peer = connect("alpha")
    peer.join()
    until(lambda: cloud.gateway.stats.crafts_online == 1)
    until(lambda: cloud.gateway.stats.crafts_online == 0)
    peer.send(Heartbeat(seq=1, wall_time_s=1.7e9))
    assert peer.receive("Problem")[0].code == "not_welcome"


# --- start and stop ---


def test_port_in_use_is_one_clear_error(cloud):
    second = Gateway(GatewaySettings(bind=cloud.endpoint), cloud.store, cloud.keys)
    with pytest.raises(CloudError, match="another program has this port"):
        asyncio.run(second.start())


def test_address_of_another_machine_is_one_clear_error(cloud):
    second = Gateway(GatewaySettings(bind="tcp://192.0.2.1:7600"), cloud.store, cloud.keys)
    with pytest.raises(CloudError, match="address of this machine"):
        asyncio.run(second.start())
