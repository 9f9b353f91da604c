"""Dialing against real listeners on loopback: plain sockets that say nothing, a ROUTER that greets."""

import random
import socket
import time

import pytest
import zmq

from edge.clock import SystemClock
from edge.dialing import Dialer, DialSettings

FAST = {"connect_timeout_s": 5.0, "retry_first_s": 0.05, "retry_most_s": 0.4, "return_s": 0.1, "send_queue": 4}


class Events:
    def __init__(self):
        self.begun, self.failures = [], []

    def __call__(self, endpoint, failure):
        (self.begun if failure is None else self.failures).append((endpoint, failure))


@pytest.fixture
def dial():
    """A dialer with its events; rtt_s is what it takes for known."""
    dialers = []

    def make(*endpoints, rtt_s=None, clock=None, **settings):
        events = Events()
        dialer = Dialer(
            DialSettings(endpoints=endpoints, **{**FAST, **settings}),
            keys=None,
            clock=clock or SystemClock(),
            rng=random.Random(1),
            rtt_s=lambda _: rtt_s,
            on_attempt=events,
        )
        dialers.append(dialer)
        dialer.begin()
        return dialer, events

    yield make
    for dialer in dialers:
        dialer.close()


@pytest.fixture
def gateway():
    """Binds a ROUTER; returns its endpoint."""
    context, routers = zmq.Context(), []

    def bind(endpoint="tcp://127.0.0.1:*"):
        router = context.socket(zmq.ROUTER)
        router.linger = 0
        router.bind(endpoint)
        routers.append(router)
        return router.last_endpoint.decode()

    yield bind
    context.destroy(linger=0)


@pytest.fixture
def mute():
    """A listener that lets everybody connect and never says a word; returns (socket, endpoint)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, f"tcp://127.0.0.1:{server.getsockname()[1]}"


def connect(dialer, below=None, within_s=10.0):
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if (connection := dialer.step(10, below)) is not None:
            return connection
    raise AssertionError("no connection")


def run(dialer, seconds):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        assert dialer.step(5) is None


def test_first_endpoint_that_works_is_taken_in_their_order(dial, gateway):
    first, second = gateway(), gateway()
    connection = connect(dial(first, second)[0])
    assert (connection.index, connection.endpoint) == (0, first)
    connection.close()


def test_second_endpoint_is_taken_where_the_first_does_not_answer(dial, gateway, mute):
    connection = connect(dial(mute[1], gateway())[0])
    assert connection.index == 1
    connection.close()


def test_better_endpoint_is_found_again_while_another_is_in_use(dial, gateway):
    home = gateway()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        first = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
    dialer, events = dial(first, home)
    connection = connect(dialer)
    dialer.stay(connection)
    events.begun.clear()
    gateway(first)
    better = connect(dialer, below=connection.index)
    assert better.endpoint == first
    assert {endpoint for endpoint, _ in events.begun} == {first}
    connection.close()
    better.close()


def test_attempts_go_on_beside_one_that_hangs(dial, mute):
    """A listener that says nothing stands for a path that swallows everything once TCP is up."""
    dialer, events = dial(mute[1], rtt_s=0.005)
    run(dialer, 1.0)
    assert 3 <= len(events.begun) <= 5  # each given a quarter of a second to be greeted
    assert events.failures == []


def test_thin_link_that_nothing_is_known_of_is_not_filled_with_handshakes(dial, mute):
    dialer, events = dial(mute[1])
    run(dialer, 1.0)
    assert len(events.begun) == 1


def test_proxy_with_nothing_behind_it_does_not_make_the_pauses_grow(dial, mute):
    server, endpoint = mute
    server.settimeout(0.001)
    dialer, events = dial(endpoint)
    end_s = time.monotonic() + 1.0
    while time.monotonic() < end_s:
        dialer.step(5)
        try:
            server.accept()[0].close()
        except TimeoutError:
            continue
    assert len(events.failures) >= 10  # 1 s / 0.05 s less what the machine has to do beside


def test_where_somebody_answers_and_refuses_the_pauses_grow_at_random(dial, gateway, monkeypatch):
    dialer, _ = dial(gateway(), retry_first_s=0.5, retry_most_s=8.0)
    bounds = []
    monkeypatch.setattr(dialer._random, "uniform", lambda low, high: bounds.append((low, high)) or 0.0)
    connection = connect(dialer)
    bounds.clear()
    for _ in range(8):
        dialer.lost(connection, was_welcome=False)
    dialer.lost(connection, was_welcome=True)
    assert bounds == [(0, most) for most in (0.5, 0.5, 1, 2, 4, 8, 8, 8, 0.5)]
    connection.close()


def test_pauses_while_nobody_answers_do_not_grow_and_differ_between_craft(fake_clock, dial):
    gaps = []
    for seed in range(60):
        dialer, _ = dial("tcp://127.0.0.1:9", clock=fake_clock, retry_first_s=0.5)
        dialer._random.seed(seed)
        dialer.step(0)
        gaps.append(dialer._lines[0].next_s - fake_clock.now_s)
    assert 0.25 <= min(gaps) < 0.27
    assert 0.48 < max(gaps) <= 0.5


@pytest.mark.parametrize(
    ("rtt_s", "silences", "timeouts_ms"),
    [
        pytest.param(None, 0, (5000, 5000), id="unknown"),
        pytest.param(0.02, 0, (1080, 5000), id="lan"),
        pytest.param(0.6, 0, (3400, 7200), id="geostationary"),
        pytest.param(0.02, 3, (5000, 5000), id="another path perhaps"),
    ],
)
def test_connect_timeout_follows_the_round_trip_time(dial, rtt_s, silences, timeouts_ms):
    dialer, _ = dial("tcp://127.0.0.1:9", rtt_s=rtt_s)
    assert dialer.timeouts_ms("tcp://127.0.0.1:9", silences) == timeouts_ms


def test_attempt_of_which_nothing_is_heard_ends(dial):
    dialer, events = dial("tcp://nosuch.invalid:7600", connect_timeout_s=0.2)
    run(dialer, 0.6)
    assert events.failures
