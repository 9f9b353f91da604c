"""The link with real sockets on loopback: an echo server behind it, a client before it."""

import contextlib
import math
import socket
import socketserver
import threading
import time

import numpy as np
import pytest

from sim.link import LinkProxy
from sim.link_schedule import Stretch, in_spans
from sim.scenario.conditions import LinkProfile

FAST = {"edge_to_cloud_bps": 1e9, "cloud_to_edge_bps": 1e9, "latency_ms": 0, "jitter_ms": 0}


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while data := self.request.recv(65_536):
                self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False  # each ends with its connection, and is waited for


@pytest.fixture
def echo():
    with Server(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def proxy(port: int, up=((0, math.inf),), seed: int = 1, **profile) -> LinkProxy:
    link = LinkProfile(**{**FAST, **profile})
    return LinkProxy(in_spans(link, up), ("127.0.0.1", port), np.random.default_rng(seed))


def client(link: LinkProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout=10)


def exchange(sock: socket.socket, data: bytes) -> tuple[bytes, float]:
    """What comes back, and how long that took."""
    begin_s, back = time.monotonic(), bytearray()
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    while len(back) < len(data):
        piece = sock.recv(65_536)
        if not piece:
            break
        back += piece
    sender.join()
    return bytes(back), time.monotonic() - begin_s


def eventually(condition) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def connects(link: LinkProxy) -> bool:
    try:
        client(link).close()
    except ConnectionRefusedError:
        return False
    return True


def is_cut(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_bytes_pass_unchanged_and_are_counted(echo):
    data = np.random.default_rng(1).bytes(300_000)
    with proxy(echo) as link, client(link) as sock:
        assert exchange(sock, data)[0] == data
        eventually(lambda: link.cloud_to_edge_bytes == len(data))
        assert link.edge_to_cloud_bytes == len(data)


@pytest.mark.parametrize("slow", ["edge_to_cloud_bps", "cloud_to_edge_bps"])
def test_each_direction_keeps_its_rate(echo, slow):
    data = bytes(100_000)
    with proxy(echo, **{slow: 1_600_000}) as link, client(link) as sock:
        _, took_s = exchange(sock, data)
    assert 0.45 < took_s < 1.2  # 100 kB at 200 kB/s, less what one packet is ahead; a busy machine adds some


def test_two_connections_share_the_rate(echo):
    with proxy(echo, edge_to_cloud_bps=1_600_000) as link, client(link) as one, client(link) as two:
        begin_s = time.monotonic()
        threads = [threading.Thread(target=exchange, args=(sock, bytes(50_000))) for sock in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0.45 < time.monotonic() - begin_s < 1.2


def test_latency_counts_each_way(echo):
    with proxy(echo, latency_ms=80) as link, client(link) as sock:
        trips_s = [exchange(sock, b"x")[1] for _ in range(3)]
    assert all(0.16 <= trip_s < 0.6 for trip_s in trips_s)


def test_jitter_varies_the_latency_and_keeps_the_order(echo):
    data = bytes(range(256)) * 400
    with proxy(echo, latency_ms=5, jitter_ms=40) as link, client(link) as sock:
        assert exchange(sock, data)[0] == data
        trips_s = [exchange(sock, bytes(100))[1] for _ in range(8)]
    assert max(trips_s) - min(trips_s) > 0.01
    assert min(trips_s) >= 0.01


def test_while_the_link_is_down_connections_are_refused(echo):
    with proxy(echo, up=[(3600, 3700)]) as link:
        assert not connects(link)
        link.begin()
        assert not connects(link)
        assert not link.is_up


def test_an_outage_cuts_connections_and_the_link_comes_back(echo):
    with proxy(echo, up=[(0, 0.3), (1.5, float("inf"))]) as link, client(link) as sock:
        assert exchange(sock, b"before")[0] == b"before"
        link.begin()
        assert is_cut(sock)
        assert not connects(link)
        eventually(lambda: link.is_up)
        with client(link) as again:
            assert exchange(again, b"after")[0] == b"after"


def test_before_begin_the_link_is_as_at_second_0(echo):
    with proxy(echo, up=[(0, 0.05)]) as link:
        time.sleep(0.2)
        assert link.is_up
        assert connects(link)


def test_a_sender_feels_the_links_pace(echo):
    with proxy(echo, edge_to_cloud_bps=8_000) as link, client(link) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.sendall(bytes(1_000_000))


def test_a_target_that_is_down_closes_the_connection():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with proxy(taken.getsockname()[1]) as link, client(link) as sock:
            assert is_cut(sock)


def test_what_was_sent_before_closing_still_arrives(echo):
    with proxy(echo, latency_ms=50) as link:
        with client(link) as sock:
            sock.sendall(b"last words")
            sock.shutdown(socket.SHUT_WR)
        eventually(lambda: link.edge_to_cloud_bytes == 10)


def test_traffic_is_told_over_time(echo):
    with proxy(echo) as link, client(link) as sock:
        assert link.traffic() == []
        link.begin()
        exchange(sock, bytes(5000))
        eventually(lambda: link.cloud_to_edge_bytes == 5000)
        seen = link.traffic()
    assert seen[0].edge_to_cloud == 0
    assert seen[-1].edge_to_cloud == seen[-1].cloud_to_edge == 5000
    assert [item.time_s for item in seen] == sorted(item.time_s for item in seen)


def test_leaving_the_context_frees_port_and_thread(echo):
    with proxy(echo) as link:
        held = client(link)
    assert not link._thread.is_alive()
    with held:
        assert is_cut(held)
    with socket.socket() as item:
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        item.bind(("127.0.0.1", link.port))
        item.listen()


def test_in_an_outage_nothing_passes_and_nothing_is_lost(echo):
    with proxy(echo, latency_ms=5) as link, client(link) as sock:
        exchange(sock, b"before")
        link.become("outage")
        sock.sendall(b"during")
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(10)
        link.become("up")
        sock.settimeout(10)
        assert sock.recv(10) == b"during"


def test_tcp_finds_the_end_of_an_outage_by_itself(echo):
    """First sent in vain at 0, again after 0.2, 0.6 and 1.4 s: an outage of 0.7 s ends at 1.4."""
    with proxy(echo) as link, client(link) as sock:
        exchange(sock, b"before")
        link.become("outage")
        begin_s = time.monotonic()
        sock.sendall(b"x")
        time.sleep(0.7)
        link.become("up")
        sock.recv(1)
        assert 1.35 < time.monotonic() - begin_s < 2.2


def test_who_connects_in_an_outage_waits_for_a_connection(echo):
    with proxy(echo) as link:
        link.become("outage")
        with client(link) as sock:
            sock.sendall(b"hello")
            link.become("up")
            assert sock.recv(10) == b"hello"  # the second packet that asks for a connection comes after a second


def test_a_black_hole_accepts_and_swallows_and_cuts_afterwards(echo):
    with proxy(echo) as link, client(link) as old:
        exchange(old, b"before")
        link.become("black-hole")
        with client(link) as new:
            for sock in (old, new):
                sock.sendall(b"lost")
                sock.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    sock.recv(10)
                sock.settimeout(10)
            link.become("up")
            old.sendall(b"anybody?")
            assert is_cut(old)
            assert is_cut(new)
        with client(link) as after:
            assert exchange(after, b"after")[0] == b"after"


def test_half_open_forgets_the_connections_there_are_and_tells_nobody(echo):
    with proxy(echo) as link, client(link) as old:
        exchange(old, b"before")
        link.become("half-open")
        old.sendall(b"lost")
        old.settimeout(0.2)
        with client(link) as new:
            assert exchange(new, b"new")[0] == b"new"
        with pytest.raises(TimeoutError):  # neither an answer nor an end
            old.recv(10)


def test_flipped_bits_arrive(echo):
    data = bytes(200_000)
    with proxy(echo, bit_error_rate=1e-5) as link, client(link) as sock:
        back = exchange(sock, data)[0]
    flips = int(np.unpackbits(np.frombuffer(back, np.uint8)).sum())
    assert 5 < flips < 80  # 32 expected, both ways together


def test_the_schedule_changes_rates_and_delays(echo):
    fast, far = LinkProfile(**FAST), LinkProfile(**{**FAST, "latency_ms": 150})
    schedule = [Stretch(0, "up", fast), Stretch(0.2, "up", far)]
    with LinkProxy(schedule, ("127.0.0.1", echo), np.random.default_rng(1)) as link, client(link) as sock:
        assert exchange(sock, b"x")[1] < 0.15
        link.begin()
        time.sleep(0.3)
        assert exchange(sock, b"x")[1] >= 0.3
