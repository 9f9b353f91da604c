"""The link against a scripted cloud: a plain ROUTER on loopback, which is what `plaintext` is there for."""

import time

import pytest
import zmq

from edge.bank import BankStore
from edge.case_files import CaseFiles
from edge.errors import ConfigError
from edge.keys import new_keys
from edge.link import HelloProfile, Link, LinkSettings, PathState
from edge.spool import Spool
from protocols import (
    KINDS,
    CaseReceipt,
    Heartbeat,
    Interpretation,
    InterpretationMessage,
    Welcome,
    decode,
    encode,
    new_case_id,
)

PROFILE = HelloProfile("space", "fp32", ("Car",))
FAST = {"retry_first_s": 0.02, "retry_most_s": 0.1, "plaintext": True}


class ScriptedCloud:
    """Answers as told, one received message at a time."""

    def __init__(self, endpoint="tcp://127.0.0.1:*"):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.rcvtimeo = 20_000
        self.socket.bind(endpoint)
        self.endpoint = self.socket.last_endpoint.decode()

    def receive(self, kind):
        """(route, message, blob) of the next message of a kind; others are skipped."""
        while True:
            route, *frames = self.socket.recv_multipart()
            message, blob = decode(frames)
            if message.kind == kind:
                return route, message, blob

    def send(self, route, message, blob=b""):
        self.socket.send_multipart([route, *encode(message, blob)])

    def greet(self):
        """Welcomes the next Hello; returns its route."""
        route, hello, _ = self.receive("Hello")
        welcome = Welcome(
            server_software="scripted",
            session_id=hello.session_id,
            kinds=KINDS,
            credit_bytes=32 * 1024,
            heartbeat_s=0.05,
            wall_time_s=1.7e9,
            bank=hello.bank,
        )
        self.send(route, welcome)
        return route

    def receive_case(self, route, case):
        """Takes a whole case chunk by chunk; returns its imagery."""
        self.receive("CaseOffer")
        imagery = b""
        while True:
            stored = len(imagery) == case.payload_bytes
            self.send(
                route,
                CaseReceipt(
                    case_id=case.case_id,
                    payload_sha256=case.payload_sha256,
                    state="stored" if stored else "partial",
                    next_offset=len(imagery),
                    credit_bytes=32 * 1024,
                ),
            )
            if stored:
                return imagery
            imagery += self.receive("CaseChunk")[2]

    def close(self):
        self.context.destroy(linger=0)


@pytest.fixture
def cloud():
    cloud = ScriptedCloud()
    yield cloud
    cloud.close()


@pytest.fixture
def start_link(tmp_path):
    links = []

    def start(endpoint, **settings):
        spool, bank = Spool(tmp_path / "spool"), BankStore(tmp_path / "bank")
        link = Link(LinkSettings(endpoint=endpoint, **{**FAST, **settings}), None, None, spool, bank, PROFILE)
        links.append(link)
        link.start()
        return link, spool

    yield start
    assert all(link.close() for link in links)


def test_case_travels_from_spool_to_receipt(cloud, start_link, make_case, until):
    link, spool = start_link(cloud.endpoint)
    route = cloud.greet()
    until(lambda: link.stats().connected)
    payload = bytes(range(256)) * 300
    case = make_case(payload)
    spool.put(case, payload, 1.0)
    assert cloud.receive_case(route, case) == payload
    until(lambda: link.stats().cases_delivered == 1)
    assert len(spool) == 0
    assert link.stats().bytes_sent > len(payload)


def test_close_writes_what_waits_though_the_disk_refuses_some_of_it(start_link, make_case, tmp_path, monkeypatch):
    link, spool = start_link("tcp://127.0.0.1:9")
    cases, write = [make_case() for _ in range(3)], CaseFiles.write

    def refuse_the_first(files, entry, payload):
        if entry.case == cases[0]:
            raise OSError(5, "Input/output error")
        write(files, entry, payload)

    monkeypatch.setattr(CaseFiles, "write", refuse_the_first)
    for case in cases:
        spool.put(case, b"imagery", 1.0)
    assert link.close()
    assert [case.case_id in Spool(tmp_path / "spool") for case in cases] == [False, True, True]
    assert (link.stats().spool_errors, len(spool)) == (1, 2)


def test_link_sends_heartbeats_and_gives_up_a_silent_cloud(cloud, start_link, until):
    link, _ = start_link(cloud.endpoint, liveness_s=0.3)
    route = cloud.greet()
    for _ in range(3):
        cloud.receive("Heartbeat")
        cloud.send(route, Heartbeat(seq=1, wall_time_s=1.7e9))
    until(lambda: not link.stats().connected)
    cloud.greet()  # it comes again, with a new Hello
    until(lambda: link.stats().connects == 2)


def test_restarted_cloud_is_found_again(start_link, until):
    cloud = ScriptedCloud()
    link, _ = start_link(cloud.endpoint)
    cloud.greet()
    until(lambda: link.stats().connected)
    cloud.close()
    until(lambda: not link.stats().connected)
    cloud = ScriptedCloud(cloud.endpoint)
    cloud.greet()
    until(lambda: link.stats().connected)
    cloud.close()
    assert link.stats().connects == 2


def test_dead_endpoint_is_tried_again_and_nobody_waits(start_link, make_case, until):
    link, spool = start_link("tcp://127.0.0.1:9")  # "discard": nobody serves it
    begin = time.perf_counter()
    for value in range(50):
        spool.put(make_case(), b"imagery", float(value))
        link.stats()
    assert time.perf_counter() - begin < 1.0  # 50 frames; one blocked connect alone would take seconds
    until(lambda: link.stats().reconnects >= 5)
    until(lambda: len(list(spool._folder.glob("*.case"))) == len(spool))
    assert not link.stats().connected


def test_random_bytes_from_the_cloud_are_counted_and_survived(cloud, start_link, until):
    link, _ = start_link(cloud.endpoint)
    route = cloud.greet()
    for junk in ([b""], [b"x", b"y"], [b"\xc1" * 1000, b""], [b"a"] * 20):
        cloud.socket.send_multipart([route, *junk])
    until(lambda: link.stats().malformed == 4)
    assert link.stats().connected


def test_oversized_frame_costs_the_connection_not_the_link(cloud, start_link, until):
    link, _ = start_link(cloud.endpoint)
    route = cloud.greet()
    until(lambda: link.stats().connected)  # else the frame may take the greeting down with the connection
    cloud.socket.send_multipart([route, b"x" * 100_000, b""])
    cloud.greet()
    until(lambda: link.stats().connects == 2)


def test_fault_in_a_callback_is_logged_counted_and_survived(cloud, start_link, until, monkeypatch):
    link, _ = start_link(cloud.endpoint)
    monkeypatch.setattr(link._ports.uploader, "reset", lambda window_bytes: 1 / 0)
    cloud.greet()
    until(lambda: link.stats().faults >= 1)
    monkeypatch.undo()
    for _ in range(link.stats().faults):
        cloud.greet()
    until(lambda: link.stats().connected)


def test_fault_of_the_spool_is_logged_counted_and_survived(cloud, start_link, make_case, until, monkeypatch):
    link, spool = start_link(cloud.endpoint)
    monkeypatch.setattr(spool, "flush", lambda: 1 / 0)
    until(lambda: link.stats().faults >= 1)
    monkeypatch.undo()
    spool.put(make_case(), b"imagery", 1.0)
    until(lambda: spool.best() is not None)


@pytest.mark.parametrize(
    ("endpoint", "plaintext", "with_keys", "fault"),
    [
        pytest.param("tcp://192.0.2.1:7600", True, False, "only loopback", id="plaintext-off-loopback"),
        pytest.param("tcp://127.0.0.1:7600", False, False, "keys new", id="no-keys"),
        pytest.param("tcp://127.0.0.1:7600", True, True, "exclude", id="plaintext-with-keys"),
        pytest.param("cloud:7600", True, False, "tcp://HOST:PORT", id="no-endpoint"),
        pytest.param("tcp://127.0.0.1:1,tcp://192.0.2.1:1", True, False, "only loopback", id="second-off-loopback"),
        pytest.param("tcp://127.0.0.1:1,", True, False, "tcp://HOST:PORT", id="empty-second-endpoint"),
    ],
)
def test_insecure_or_impossible_settings_are_refused(tmp_path, endpoint, plaintext, with_keys, fault):
    keys = new_keys(tmp_path, "edge") if with_keys else None
    settings = LinkSettings(endpoint=endpoint, plaintext=plaintext)
    spool, bank = Spool(tmp_path / "spool"), BankStore(tmp_path / "bank")
    with pytest.raises(ConfigError, match=fault):
        Link(settings, keys, keys and keys.public, spool, bank, PROFILE)


def test_flood_is_counted_and_made_to_wait_while_the_craft_goes_on(cloud, start_link, make_case, until, capsys):
    link, spool = start_link(cloud.endpoint)
    route = cloud.greet()
    until(lambda: link.stats().connected)
    for seq in range(1500):
        cloud.send(route, Heartbeat(seq=seq, wall_time_s=1.7e9))
    until(lambda: link.stats().floods == 1)
    assert "more than anything here asks for" in capsys.readouterr().out
    case = make_case()
    spool.put(case, b"imagery", 1.0)
    assert cloud.receive_case(route, case) == b"imagery"
    until(lambda: link.stats().cases_delivered == 1)


def test_answer_that_cannot_be_kept_costs_neither_the_link_nor_the_answer(cloud, start_link, until, monkeypatch):
    link, _ = start_link(cloud.endpoint)

    def refuse(_):
        raise OSError(28, "No space left on device")

    object.__setattr__(link._ports, "on_interpretation", refuse)
    route = cloud.greet()
    answer = Interpretation(case_id=new_case_id(), confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)
    cloud.send(route, InterpretationMessage(interpretation=answer))
    until(lambda: link.stats().interpretations_unkept == 1)
    object.__setattr__(link._ports, "on_interpretation", lambda _: None)
    cloud.send(route, InterpretationMessage(interpretation=answer))
    assert cloud.receive("InterpretationReceipt")[1].case_id == answer.case_id
    assert (link.stats().connected, link.stats().faults) == (True, 0)


def test_path_is_told_to_whoever_decides_what_to_send(cloud, start_link, make_case, until):
    link, spool = start_link(cloud.endpoint)
    assert link.path() == PathState()
    route = cloud.greet()
    payload = bytes(range(256)) * 300
    case = make_case(payload)
    spool.put(case, payload, 1.0)
    cloud.receive_case(route, case)
    state = until(lambda: link.path() if link.path().edge_to_cloud_bps else None)
    assert state.connected
    assert 0 < state.rtt_least_s <= 20


def test_profile_beyond_the_limits_is_a_config_error(tmp_path):
    profile = HelloProfile("space", "fp32", tuple(f"label {n}" for n in range(300)))
    settings = LinkSettings(endpoint="tcp://127.0.0.1:9", plaintext=True)
    with pytest.raises(ConfigError, match="labels"):
        Link(settings, None, None, Spool(tmp_path / "spool"), BankStore(tmp_path / "bank"), profile)
