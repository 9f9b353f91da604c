"""The gateway on loopback: real sockets, real CURVE, the real store; peers that keep to the protocol or do not."""

import asyncio
import os
import threading
import time

import numpy as np
import pytest
import zmq
from builders import make_case

from cloud.errors import CloudError, StoreError
from cloud.gateway import Gateway, GatewaySettings
from cloud.store import CaseStore
from edge.bank import BankStore
from edge.keys import KeyPair, new_keys
from edge.link import HelloProfile, Link, LinkSettings
from edge.spool import Spool
from protocols import (
    KINDS,
    CaseChunk,
    CaseOffer,
    Heartbeat,
    Hello,
    Interpretation,
    InterpretationReceipt,
    Prompt,
    PromptBank,
    PromptReceipt,
    Vectors,
    decode,
    encode,
    new_case_id,
    slices,
)

PAYLOAD = bytes(range(256)) * 200  # 50 KiB: four chunks


def until(condition, timeout_s=30.0):
    """Waits for an event: until the condition holds, or fails after a generous bound."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return result


def big_case(payload=PAYLOAD, **changes):
    return make_case(payload, **changes)


def answer_to(case):
    return Interpretation(case_id=case.case_id, confidence=0.9, by="teacher", interpreter="test", made_at_s=1.7e9)


def next_bank(bank, label):
    vectors = Vectors.from_array(np.eye(2, 8, dtype=np.float32))
    prompt = Prompt(
        prompt_id=f"p-{label}",
        label=label,
        space_id="space",
        variant="fp32",
        positives=vectors,
        negatives=vectors,
        threshold=0.5,
        issued_at_s=1.7e9,
        origin="person",
        confidence=1,
    )
    return PromptBank(epoch=bank.epoch, revision=bank.revision + 1, prompts=(*bank.prompts, prompt))


class Cloud:
    """A gateway in an event loop of its own thread."""

    def __init__(self, store, keys):
        self.store, self.keys, self.stored = store, keys, threading.Event()
        self.endpoint = "tcp://127.0.0.1:*"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def start(self, **settings):
        fields = {"bind": self.endpoint, "heartbeat_s": 0.2, "retry_after_s": 0.1, **settings}
        self.gateway = Gateway(GatewaySettings(**fields), self.store, self.keys)
        self.gateway.on_case_stored = self.stored.set
        self._run(self.gateway.start())
        self.endpoint = self.gateway.endpoint
        return self.gateway

    def stop(self):
        gateway, self.gateway = self.gateway, None
        self._run(gateway.stop())

    def close(self):
        if self.gateway is not None:
            self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class Peer:
    """A craft by hand, on a bare DEALER."""

    def __init__(self, endpoint, keys, server_key, routing_id=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = self.socket.sndtimeo = 20_000
        self.socket.curve_publickey, self.socket.curve_secretkey = keys.public, keys.secret
        self.socket.curve_serverkey = server_key
        if routing_id is not None:
            self.socket.routing_id = routing_id
        self.socket.connect(endpoint)

    def send(self, message, blob=b""):
        self.socket.send_multipart(encode(message, blob))

    def receive(self, kind):
        """(message, blob) of the next message of a kind; others are skipped."""
        while True:
            message, blob = decode(self.socket.recv_multipart())
            if message.kind == kind:
                return message, blob

    def hello(self, bank=None):
        session_id = new_case_id()
        message = Hello(
            craft_software="peer",
            boot_id="boot",
            session_id=session_id,
            kinds=KINDS,
            space_id="space",
            variant="fp32",
            labels=("Car",),
            bank=bank or PromptBank.empty("none").ref,
            wall_time_s=1.7e9,
        )
        self.send(message)
        return session_id

    def join(self, bank=None):
        self.hello(bank)
        return self.receive("Welcome")[0]

    def upload(self, case, payload=PAYLOAD):
        """Offers and sends a whole case; returns its last receipt."""
        self.send(CaseOffer(case=case))
        receipt = self.receipt_of(case)
        if receipt.state == "partial":
            for offset, blob in slices(payload, receipt.next_offset):
                self.send(CaseChunk(case_id=case.case_id, offset=offset), blob)
        while receipt.state == "partial":
            receipt = self.receipt_of(case)
        return receipt

    def receipt_of(self, case):
        while (receipt := self.receive("CaseReceipt")[0]).case_id != case.case_id:
            pass
        return receipt

    def hears_nothing_for(self, milliseconds):
        """Whether no message comes; the bound is many heartbeats long."""
        return not self.socket.poll(milliseconds)

    def close(self):
        self.context.destroy(linger=0)


@pytest.fixture
def cloud(tmp_path):
    store = CaseStore(tmp_path / "data")
    cloud = Cloud(store, new_keys(tmp_path / "cloud-keys", "cloud"))
    cloud.start()
    yield cloud
    cloud.close()
    store.close()


@pytest.fixture
def keys_of(cloud, tmp_path):
    """Keys of a craft, enrolled under its name."""

    def make(name, enrolled=True):
        keys = new_keys(tmp_path / f"keys-{name}", "edge")
        if enrolled:
            cloud.store.enroll(name, keys.public.decode())
        return keys

    return make


@pytest.fixture
def connect(cloud, keys_of):
    """A peer with the keys of a craft."""
    peers = []

    def make(name_or_keys, **options):
        keys = name_or_keys if isinstance(name_or_keys, KeyPair) else keys_of(name_or_keys)
        peer = Peer(cloud.endpoint, keys, cloud.keys.public, **options)
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def fly(cloud, tmp_path):
    """A whole edge link with its spool and bank."""
    links = []

    def make(keys):
        settings = LinkSettings(endpoint=cloud.endpoint, retry_first_s=0.05, retry_most_s=0.2)
        spool, bank, answers = Spool(tmp_path / "spool"), BankStore(tmp_path / "bank"), []
        profile = HelloProfile("space", "fp32", ("Car",))
        link = Link(settings, keys, cloud.keys.public, spool, bank, profile, on_interpretation=answers.append)
        links.append(link)
        link.start()
        return link, spool, bank, answers

    yield make
    assert all(link.close() for link in links)


# --- the loop ---


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


def test_stranger_gets_nothing(cloud, connect, keys_of):
    peer = connect(keys_of("stranger", enrolled=False))
    peer.socket.setsockopt(zmq.IMMEDIATE, 1)
    peer.hello()
    until(lambda: cloud.gateway.access.handshakes["refused"])
    assert peer.hears_nothing_for(300)
    assert not cloud.gateway.stats.messages


def test_plaintext_peer_gets_nothing(cloud):
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(cloud.endpoint)
        socket.send_multipart(encode(Heartbeat(seq=1, wall_time_s=1.7e9)))
        assert not socket.poll(300)
    assert not cloud.gateway.stats.messages


def test_claimed_routing_id_is_refused(cloud, connect):
    alpha, mallory = connect("alpha"), connect("mallory", routing_id=b"alpha")
    alpha.join()
    mallory.hello()
    assert mallory.receive("Problem")[0].code == "bad_value"
    cloud.store.add_interpretation("alpha", answer_to(big_case()))
    cloud.gateway.notify("alpha")
    alpha.receive("Interpretation")
    assert mallory.hears_nothing_for(300)


def test_craft_is_its_key_and_gets_only_its_own(cloud, connect):
    alpha, mallory = connect("alpha"), connect("mallory")
    alpha.join()
    mallory.join()
    case = big_case()
    alpha.upload(case)
    cloud.store.add_interpretation("alpha", answer_to(case))
    mallory.send(InterpretationReceipt(case_id=case.case_id))  # claims alpha's answer
    mallory.send(CaseChunk(case_id=case.case_id, offset=0), b"mine")  # and its upload
    assert mallory.receive("Problem")[0].code == "unknown_case"
    assert mallory.upload(case).state == "stored"  # the same id is another case under another key
    assert {stored.craft for stored in cloud.store.waiting_cases(9)} == {"alpha", "mallory"}
    cloud.gateway.notify("alpha")
    alpha.receive("Interpretation")
    assert not cloud.store.undelivered("mallory", 9)


def test_key_revoked_while_connected_gets_nothing_further(cloud, connect):
    peer = connect("alpha")
    peer.join()
    peer.receive("Heartbeat")
    cloud.store.revoke("alpha")
    cloud.store.add_interpretation("alpha", answer_to(big_case()))
    cloud.gateway.notify("alpha")
    while peer.socket.poll(600):  # what was on its way before
        assert decode(peer.socket.recv_multipart())[0].kind in ("Heartbeat", "PromptUpdate")
    before = cloud.gateway.stats.not_enrolled
    peer.hello()
    peer.send(CaseOffer(case=big_case()))
    until(lambda: cloud.gateway.stats.not_enrolled == before + 2)
    assert peer.hears_nothing_for(600)
    assert not cloud.store.waiting_cases(9)


def test_latest_hello_takes_over_and_the_older_connection_is_told(cloud, connect, keys_of):
    keys = keys_of("alpha")
    older, newer = connect(keys), connect(keys)
    older.join()
    newer.join()
    older.send(Heartbeat(seq=1, wall_time_s=1.7e9))
    assert older.receive("Problem")[0].code == "not_welcome"
    newer.receive("Heartbeat")
    assert cloud.gateway.stats.crafts_online == 1


def test_nothing_is_taken_before_hello(cloud, connect):
    peer = connect("alpha")
    peer.send(CaseOffer(case=big_case()))
    assert peer.receive("Problem")[0].code == "not_welcome"


# --- once and only once ---


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


def test_interpretation_is_repeated_until_its_receipt_has_come(cloud, connect, keys_of):
    keys, case = keys_of("alpha"), big_case()
    cloud.store.add_interpretation("alpha", answer_to(case))
    for _ in range(2):
        peer = connect(keys)
        peer.join()
        assert peer.receive("Interpretation")[0].interpretation == answer_to(case)
    peer.send(InterpretationReceipt(case_id=case.case_id))
    until(lambda: not cloud.store.undelivered("alpha", 9))
    assert cloud.gateway.stats.interpretations_delivered == 1


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
        pytest.param([b"\x80", b"x" * 20_000], "too_large", id="large-blob"),
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
