import threading

import pytest
import zmq

from edge.bell import Bell


@pytest.fixture
def bell():
    bell = Bell()
    yield bell
    bell.close()


def test_ring_wakes_who_waits_until_it_is_silenced(bell):
    poller = zmq.Poller()
    poller.register(bell, zmq.POLLIN)
    assert poller.poll(0) == []
    thread = threading.Thread(target=bell.ring)
    thread.start()
    assert poller.poll(20_000)
    thread.join()
    bell.silence()
    assert poller.poll(0) == []


def test_ringing_without_end_and_after_the_end_harms_nobody(bell):
    for _ in range(100_000):
        bell.ring()
    bell.silence()
    bell.close()
    bell.ring()
    bell.silence()
