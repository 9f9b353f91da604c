"""The window fills a link without a queue on it, and keeps to its budget."""

import pytest

from edge.bundle_fetch import BundleFetch
from edge.fetch_window import LEAST_BYTES, MOST_BYTES, QUEUE_S, FetchWindow
from protocols.messages import BundleChunk


class Link:
    """A link of a rate and a delay that a fetch pulls bytes through; time is simulated."""

    def __init__(self, fetch, rate_bytes_per_s, delay_s):
        self.fetch, self.rate, self.delay_s = fetch, rate_bytes_per_s, delay_s
        self.now_s = self.free_s = 0.0
        self.sent = 0
        self.on_way = []  # (arrives, offset, size)
        self.most_queue_s = 0.0

    def run(self, until_s, *, is_busy=False):
        while self.now_s < until_s and self.fetch.is_open:
            self.now_s += 0.02
            while self.on_way and self.on_way[0][0] <= self.now_s:
                _, offset, size = self.on_way.pop(0)
                chunk = BundleChunk(offer_id="o", part="archive", offset=offset)
                assert self.fetch.take(chunk, bytes(size), self.now_s)
                self.fetch.wrote(offset + size)
            credit = self.fetch.ask(self.now_s, is_busy=is_busy)
            if credit is not None:
                self.send(self.fetch.held + credit, credit)

    def send(self, until, credit):
        while self.sent < until:
            size = min(until - self.sent, 16384, max(credit // 4, 2048))
            self.free_s = max(self.free_s, self.now_s + self.delay_s) + size / self.rate
            self.most_queue_s = max(self.most_queue_s, self.free_s - self.now_s - 2 * self.delay_s)
            self.on_way.append((self.free_s + self.delay_s, self.sent, size))
            self.sent += size


def fetch_of(total, budget=1e9):
    fetch = BundleFetch(FetchWindow(budget, 0.0))
    fetch.begin("o", "archive", 0, total)
    return fetch


@pytest.mark.parametrize(("rate", "delay_s"), [(32_000, 0.05), (32_000, 0.3), (1_000_000, 0.02), (4_000, 0.3)])
def test_link_is_filled_and_nothing_waits_long_behind_the_bundle(rate, delay_s):
    link = Link(fetch_of(20 * rate), rate, delay_s)
    link.run(60.0)
    assert not link.fetch.is_open
    assert link.now_s < 20 / 0.8
    assert link.most_queue_s < 2.5 * QUEUE_S + LEAST_BYTES / rate


def test_budget_bounds_the_mean():
    link = Link(fetch_of(10**9, budget=20_000), 1e6, 0.02)
    link.run(30.0)
    assert link.fetch.held == pytest.approx(20_000 * 32, rel=0.1)  # two seconds' worth at first


def test_only_the_least_is_under_way_while_cases_are():
    link = Link(fetch_of(10**9), 1e6, 0.05)
    link.run(10.0, is_busy=True)
    busy = link.fetch.held
    link.run(20.0)
    assert busy <= 10 / 0.1 * LEAST_BYTES
    assert link.fetch.held - busy > 10 * busy


def test_what_was_not_asked_for_or_does_not_come_next_is_dropped():
    fetch = fetch_of(100_000)
    credit = fetch.ask(0.0, is_busy=False)
    assert credit == LEAST_BYTES
    for offer, part, offset, size in (
        ("other", "archive", 0, 10),
        ("o", "metadata", 0, 10),
        ("o", "archive", 10, 10),
        ("o", "archive", 0, credit + 1),
    ):
        assert not fetch.take(BundleChunk(offer_id=offer, part=part, offset=offset), bytes(size), 0.0)
    assert fetch.held == 0
    assert fetch.take(BundleChunk(offer_id="o", part="archive", offset=0), bytes(10), 0.0)
    assert not fetch.take(BundleChunk(offer_id="o", part="archive", offset=0), bytes(10), 0.0)


def test_silence_is_asked_about_again():
    fetch = fetch_of(100_000)
    assert fetch.ask(0.0, is_busy=False) == LEAST_BYTES
    assert fetch.ask(10.0, is_busy=False) is None
    assert fetch.ask(16.0, is_busy=False) == LEAST_BYTES


def test_slow_disk_pauses():
    window = FetchWindow(1e9, 0.0)
    window._window = MOST_BYTES
    fetch = BundleFetch(window)
    fetch.begin("o", "archive", 0, 10**8)
    now_s = 0.0
    while (credit := fetch.ask(now_s, is_busy=False)) is not None:
        for _ in range(0, credit, 4096):
            fetch.take(BundleChunk(offer_id="o", part="archive", offset=fetch.held), bytes(4096), now_s)
        now_s += 0.01
        assert fetch.held < 4 * 2**20
    fetch.wrote(fetch.held)
    assert fetch.ask(now_s, is_busy=False)
