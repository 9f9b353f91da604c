import os
import socket

import pytest

from edge.tcp_wire import TcpWire


@pytest.fixture
def pair():
    """(our end, the other end, endpoint) of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        other, _ = server.accept()
        yield ours, other, f"tcp://127.0.0.1:{server.getsockname()[1]}"
        ours.close()
        other.close()


def test_part_of_a_message_is_seen(pair):
    ours, other, endpoint = pair
    wire = TcpWire(ours.fileno(), endpoint)
    assert wire.received_bytes() == 0
    other.sendall(b"x" * 1234)
    ours.recv(1)
    assert wire.received_bytes() == 1234
    wire.close()
    assert wire.received_bytes() is None


def test_closing_both_handles_ends_the_connection(pair):
    ours, other, endpoint = pair
    wire = TcpWire(ours.fileno(), endpoint)
    ours.close()
    wire.close()
    other.settimeout(5)
    assert other.recv(1) == b""


def test_descriptor_that_leads_elsewhere_is_left_alone(pair, tmp_path):
    ours, _, endpoint = pair
    before = len(os.listdir("/proc/self/fd"))
    with (tmp_path / "file").open("w") as file:
        assert TcpWire(file.fileno(), endpoint).received_bytes() is None
    assert TcpWire(ours.fileno(), "tcp://127.0.0.1:1").received_bytes() is None
    assert TcpWire(10_000, endpoint).received_bytes() is None
    assert TcpWire(ours.fileno(), "ipc:///tmp/x").received_bytes() is None
    assert len(os.listdir("/proc/self/fd")) == before
