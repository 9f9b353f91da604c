"""Who gets in at the gateway: real sockets, real CURVE."""

import zmq
from gateway_peers import answer_to, big_case, until

from protocols import (
    CaseChunk,
    CaseOffer,
    Heartbeat,
    InterpretationReceipt,
    decode,
    encode,
)


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
