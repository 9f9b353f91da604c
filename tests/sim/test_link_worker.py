"""The peers' worker with a made-up imagezmq, which need not be installed for the tests."""

import json
import sys
import threading
import time
import types

import pytest

from sim import link_worker
from sim.link_worker import receive_frames, receiver_of, send_frames, sender_of

TOLD = {"port": 1, "settle_s": 0.0, "fps": 0.0, "seconds": 60.0, "case_s": 0.0}


class Wire:
    """What an ImageSender sends, in order; an ImageHub reads it."""

    def __init__(self):
        self.sent, self.replies, self.ends = [], 0, []
        self.ready = threading.Semaphore(0)

    def send(self, name, picture):
        self.sent.append((name, picture))
        self.ready.release()


@pytest.fixture
def wire(monkeypatch):
    wire = Wire()

    class ImageSender:
        def __init__(self, connect_to, REQ_REP=True):
            wire.ends.append(("sender", connect_to, REQ_REP))

        def send_jpg(self, name, picture):
            wire.send(name, picture)

    class ImageHub:
        def __init__(self, open_port, REQ_REP=True):
            wire.ends.append(("hub", open_port, REQ_REP))

        def recv_jpg(self):
            wire.ready.acquire()
            return wire.sent.pop(0)

        def send_reply(self, reply):
            wire.replies += 1

    module = types.SimpleNamespace(ImageSender=ImageSender, ImageHub=ImageHub)
    monkeypatch.setitem(sys.modules, "imagezmq", module)
    return wire


def told(peer, **changes):
    return {**TOLD, "peer": peer, "begin_s": time.monotonic(), **changes}


def test_every_picture_goes_with_its_number(wire):
    send = sender_of(told("imagezmq-req"), [b"a", b"bb"])
    for number in range(3):
        send(number)
    assert wire.sent == [("0", b"a"), ("1", b"bb"), ("2", b"a")]
    assert wire.ends == [("sender", "tcp://127.0.0.1:1", True)]


def test_a_hub_replies_once_it_is_done_with_a_picture(wire):
    for number in (0, 1, -1):
        wire.send(str(number), b"1234")
    found = receive_frames(told("imagezmq-req"), receiver_of(told("imagezmq-req")))
    assert (found["frames"], found["bytes"], found["ages"]) == (2, 4, [])  # bytes after the first frame
    assert wire.replies == 2


def test_ages_are_counted_from_the_cameras_clock(wire):
    for number in (0, 10, -1):
        wire.send(str(number), b"1234")
    way = told("imagezmq-pub", fps=10.0, begin_s=time.monotonic() - 2.0)
    first, second = receive_frames(way, receiver_of(way))["ages"]
    assert 2.0 <= first < 4.0
    assert second == pytest.approx(first - 1.0, abs=0.5)


def test_the_latest_frame_helper_leaves_old_frames_out(wire):
    receive = receiver_of(told("imagezmq-latest"))
    for number in range(5):
        wire.send(str(number), b"1234")
    deadline_s = time.monotonic() + 10
    while wire.sent:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    time.sleep(0.05)
    assert receive() == (4, 4)


def test_a_sender_without_a_camera_sends_as_fast_as_it_is_taken_and_then_the_end():
    sent = []
    send_frames(told("any", seconds=0.05), sent.append)
    assert sent[:3] == [0, 1, 2]
    assert sent[-1] == -1


def test_a_sender_with_a_camera_keeps_its_pace():
    sent = []
    send_frames(told("any", seconds=0.5, fps=20.0), sent.append)
    assert sent[-1] == -1
    assert 5 <= len(sent) <= 13


def test_main_prints_one_line_of_json_at_its_end(wire, monkeypatch, capsys):
    wire.send("-1", b"")
    ended = []
    monkeypatch.setattr(link_worker.os, "_exit", ended.append)
    monkeypatch.setattr(sys, "argv", ["link_worker.py", json.dumps({**told("imagezmq-pub"), "role": "receive"})])
    link_worker.main()
    assert json.loads(capsys.readouterr().out)["frames"] == 0
    assert ended == [0]
