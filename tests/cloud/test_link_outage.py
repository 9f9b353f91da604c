"""The whole link through outages, on real sockets: a relay that swallows everything, a gateway that goes and comes."""

import contextlib
import selectors
import socket
import threading
import time

import pytest
from gateway_peers import answer_to, big_case, until

from edge.bank import BankStore
from edge.link import HelloProfile, Link, LinkSettings
from edge.spool import Spool


class Relay:
    """TCP passed on to a port of loopback.

    While `is_black` whatever comes is swallowed for good, and nothing closes. While `is_slow` the gateway's bytes come
    through by four, twice a second.
    """

    def __init__(self, endpoint):
        self.is_black = self.is_slow = self.is_closing = False
        self.target = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self.server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.server, selectors.EVENT_READ)
        self.sockets, self.lost, self.held, self.trickled_s = [self.server], set(), {}, 0.0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.is_closing:
            for key, _ in self.selector.select(0.02):
                if key.fileobj is self.server:
                    self._accept()
                else:
                    self._pass_on(key.fileobj, *key.data)
            if self.held and time.monotonic() - self.trickled_s > 0.5:
                self.trickled_s = time.monotonic()
                for near, data in self.held.items():
                    near.sendall(data[:4])
                    del data[:4]

    def _accept(self):
        near, far = self.server.accept()[0], socket.create_connection(self.target)
        self.sockets += [near, far]
        self.selector.register(near, selectors.EVENT_READ, (far, near, False))
        self.selector.register(far, selectors.EVENT_READ, (near, near, True))

    def _pass_on(self, source, other, connection, is_cloud_to_edge):
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(65536)
        if not data:
            self.selector.unregister(source)
        if self.is_black:
            self.lost.add(connection)
        if connection in self.lost:
            return
        if self.is_slow and is_cloud_to_edge:
            self.held.setdefault(other, bytearray()).extend(data)
            return
        with contextlib.suppress(OSError):
            if data:
                other.sendall(data)
            else:
                other.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.is_closing = True
        self.thread.join()
        self.selector.close()
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def relays(cloud):
    """Two ways to the gateway, which beats once a second as it usually does."""
    cloud.stop()
    cloud.start(heartbeat_s=1.0)
    made = [Relay(cloud.endpoint) for _ in range(2)]
    yield made
    for relay in made:
        relay.close()


@pytest.fixture
def fly_over(cloud, keys_of, tmp_path):
    """A link with the usual settings over some endpoints."""
    links = []

    def make(*endpoints, **settings):
        spool = Spool(tmp_path / "spool")
        chosen = LinkSettings(endpoint=",".join(endpoints), **settings)
        profile = HelloProfile("space", "fp32", ("Car",))
        link = Link(chosen, keys_of("kestrel"), cloud.keys.public, spool, BankStore(tmp_path / "bank"), profile)
        links.append(link)
        link.start()
        until(lambda: link.stats().connected)
        return link, spool

    yield make
    assert all(link.close() for link in links)


def seconds_until(condition):
    begin_s = time.monotonic()
    until(condition)
    return time.monotonic() - begin_s


def test_half_open_connection_is_found_within_three_seconds_and_the_way_back_within_one(relays, fly_over):
    link, spool = fly_over(relays[0].endpoint)
    relays[0].is_black = True
    assert seconds_until(lambda: not link.stats().connected) <= 3.0
    case = big_case()
    spool.put(case, bytes(range(256)) * 200, 1.0)
    time.sleep(1.5)  # attempts fail, one after the other, all of them into the dark
    relays[0].is_black = False
    assert seconds_until(lambda: link.stats().connected) <= 1.0 + 6 * link.path().rtt_s
    until(lambda: link.stats().cases_delivered == 1)


def test_slow_connection_that_brings_bytes_is_no_half_open_one(relays, fly_over):
    link, _ = fly_over(relays[0].endpoint)
    relays[0].is_slow = True
    with pytest.raises(AssertionError, match="waited in vain"):
        until(lambda: not link.stats().connected, timeout_s=4.0)
    assert link.stats().connects == 1


def test_gateway_that_dies_and_comes_again_is_found_within_a_second(cloud, fly_over):
    link, _ = fly_over(cloud.endpoint)
    cloud.stop()
    until(lambda: not link.stats().connected)
    time.sleep(1.5)
    cloud.start()
    assert seconds_until(lambda: link.stats().connected) <= 1.0 + 6 * link.path().rtt_s


def test_second_way_is_taken_and_the_first_one_again_once_it_is_back(relays, fly_over, cloud):
    link, spool = fly_over(relays[0].endpoint, relays[1].endpoint, return_s=0.5)
    relays[0].is_black = True
    until(lambda: link.stats().connects == 2)
    relays[0].is_black = False
    until(lambda: link.stats().connects == 3)
    relays[1].is_black = True
    case = big_case()
    spool.put(case, bytes(range(256)) * 200, 1.0)
    until(lambda: link.stats().cases_delivered == 1)
    assert link.stats().connects == 3


def test_case_of_an_earlier_run_is_delivered_and_its_answer_reaches_a_later_one(cloud, keys_of, tmp_path, fly):
    case, payload, keys = big_case(), bytes(range(256)) * 200, keys_of("kestrel")
    earlier = Spool(tmp_path / "spool")
    earlier.put(case, payload, 1.0)
    earlier.flush()
    link, _, _, _ = fly(keys)
    until(lambda: link.stats().cases_delivered == 1)
    assert link.close()
    cloud.store.add_interpretation("kestrel", answer_to(case))  # the craft is off
    _, _, _, answers = fly(keys)
    until(lambda: answers)
    assert answers == [answer_to(case)]
