import math

import pytest

from edge.path_estimate import PathEstimate
from protocols.limits import CHUNK_BYTES, MAX_CHUNK_BYTES


class Pipe:
    """A path of a rate and a delay, with receipts that come each so often, and a sender that fills what it may."""

    def __init__(self, bytes_per_s, rtt_s, bunch_s=0.0):
        self.bytes_per_s, self.rtt_s, self.bunch_s, self.path = bytes_per_s, rtt_s, bunch_s, PathEstimate()
        self.now_s = self.free_s = 0.0
        self.flying = []
        self.begun_s = self.now_s

    def run(self, seconds):
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.fill()
            self.now_s = self.flying[0][1]
            while self.flying and self.flying[0][1] == self.now_s:
                _, _, chunk = self.flying.pop(0)
                self.path.covered(chunk, self.now_s)
                self.path.answered(self.now_s - chunk.sent_s, self.now_s, chunk.in_flight)

    def fill(self):
        while self.path.state(self.now_s).in_flight_bytes + self.path.chunk_bytes <= self.path.allowance_bytes:
            size = self.path.chunk_bytes
            self.free_s = max(self.free_s, self.now_s) + size / self.bytes_per_s
            arrives_s = self.free_s + self.rtt_s
            if self.bunch_s:
                arrives_s = math.ceil(arrives_s / self.bunch_s) * self.bunch_s
            self.flying.append((size, arrives_s, self.path.sent(size, self.now_s)))


@pytest.mark.parametrize(
    ("bytes_per_s", "rtt_s"),
    [
        pytest.param(1_200, 0.7, id="9.6 kbit/s"),
        pytest.param(16_000, 0.6, id="geo-satcom"),
        pytest.param(250_000, 0.05, id="lte"),
        pytest.param(12_500_000, 0.002, id="lan"),
    ],
)
def test_rate_of_the_path_is_found_and_its_queue_kept_short(bytes_per_s, rtt_s):
    pipe = Pipe(bytes_per_s, rtt_s)
    pipe.run(60 * max(rtt_s, CHUNK_BYTES / bytes_per_s, 0.1))
    state = pipe.path.state(pipe.now_s)
    assert state.edge_to_cloud_bps == pytest.approx(8 * bytes_per_s, rel=0.05)
    assert not state.is_bps_floor
    # Twice what the path holds, measured with two chunks on it: so long waits who comes behind.
    assert pipe.path.chunk_bytes / bytes_per_s <= 1.05
    assert state.rtt_s <= 2 * (rtt_s + 0.05 + 2 * pipe.path.chunk_bytes / bytes_per_s)


@pytest.mark.parametrize(("rtt_s", "bunch_s"), [(0.01, 0.02), (0.01, 0.05), (0.05, 0.05)])
def test_receipts_that_come_in_bunches_raise_no_rate(rtt_s, bunch_s):
    pipe = Pipe(250_000, rtt_s, bunch_s)
    pipe.run(15)
    assert 0.85 <= pipe.path.state(pipe.now_s).edge_to_cloud_bps / (8 * 250_000) <= 1.02


@pytest.mark.parametrize(
    ("bytes_per_s", "chunk_bytes"),
    [(1_200, 1_200), (250_000, CHUNK_BYTES), (10_000_000, 50_000), (100_000_000, MAX_CHUNK_BYTES)],
)
def test_large_chunks_are_for_paths_that_take_them_in_no_time(bytes_per_s, chunk_bytes):
    path = PathEstimate()
    path.begin(MAX_CHUNK_BYTES)
    path.covered(path.sent(bytes_per_s, 0.0), 1.0)
    assert path.chunk_bytes == chunk_bytes
    path.begin()
    assert path.chunk_bytes == min(chunk_bytes, CHUNK_BYTES)


@pytest.mark.parametrize(("rtt_s", "chunk_bytes"), [(0.001, CHUNK_BYTES), (0.07, 7142), (0.6, 2048), (5.0, 2048)])
def test_first_chunk_is_what_the_greeting_says_that_the_path_takes(rtt_s, chunk_bytes):
    path = PathEstimate()
    path.greeted(500, rtt_s, 0.0)
    assert (path.chunk_bytes, path.rtt_s, path.allowance_bytes) == (chunk_bytes, rtt_s, 2 * chunk_bytes)


def test_path_that_grew_narrow_is_believed_after_ten_seconds():
    pipe = Pipe(1_000_000, 0.05)
    pipe.run(5)
    pipe.bytes_per_s = 50_000
    pipe.run(25)
    assert pipe.path.state(pipe.now_s).edge_to_cloud_bps == pytest.approx(8 * 50_000, rel=0.1)


def test_little_to_send_gives_a_floor_and_never_lowers_what_was_found():
    path = PathEstimate()
    chunk = path.sent(1000, 0.0)
    path.ran_dry()
    path.covered(chunk, 1.0)
    assert (path.state(1.0).edge_to_cloud_bps, path.state(1.0).is_bps_floor) == (8000, True)
    slower = path.sent(1000, 10.0)
    path.ran_dry()
    path.covered(slower, 15.0)
    assert path.state(1.0).edge_to_cloud_bps == 8000


@pytest.mark.parametrize(("took_s", "is_floor"), [(0.95, False), (0.5, True)])
def test_found_rate_stays_found_but_for_a_much_higher_floor(took_s, is_floor):
    path = PathEstimate()
    path.covered(path.sent(1000, 0.0), 1.0)
    chunk = path.sent(1000, 2.0)
    path.ran_dry()
    path.covered(chunk, 2.0 + took_s)
    assert (path.state(1.0).is_bps_floor, path.state(1.0).edge_to_cloud_bps) == (is_floor, pytest.approx(8000 / took_s))


def test_round_trip_is_smoothed_as_in_rfc_6298():
    path = PathEstimate()
    path.answered(0.8, 0.0)
    assert (path.rtt_s, path.state(1.0).rtt_spread_s) == (0.8, 0.4)
    path.answered(1.6, 1.0)
    assert (path.rtt_s, path.state(1.0).rtt_spread_s) == pytest.approx((0.9, 0.5))
    assert path.state(1.0).rtt_least_s == 0.8


def test_least_round_trip_is_looked_at_anew_with_an_empty_path_after_a_minute():
    pipe = Pipe(1_000_000, 0.05)
    pipe.run(5)
    pipe.rtt_s = 0.2
    pipe.run(60)
    assert pipe.path.state(pipe.now_s).rtt_least_s == pytest.approx(0.2, rel=0.2)
    assert pipe.path.state(pipe.now_s).edge_to_cloud_bps == pytest.approx(8e6, rel=0.05)


def test_path_that_swallowed_all_of_the_last_connection_is_begun_anew_and_small():
    path = PathEstimate()
    first = path.chunk_bytes
    path.covered(path.sent(CHUNK_BYTES, 0.0), 0.1)
    path.begin()
    path.sent(CHUNK_BYTES, 1.0)
    path.begin()
    assert (path.state(1.0).edge_to_cloud_bps, path.chunk_bytes) == (None, first)


def test_new_connection_has_nothing_in_flight_and_keeps_what_was_learned():
    path = PathEstimate()
    path.covered(path.sent(CHUNK_BYTES, 0.0), 0.5)
    path.sent(CHUNK_BYTES, 0.5)
    path.begin()
    assert (path.state(1.0).in_flight_bytes, path.state(1.0).edge_to_cloud_bps) == (0, 16 * CHUNK_BYTES)


@pytest.mark.parametrize(("least_s", "believed_s"), [(0.6, 30.0), (7.0, 70.0)])
def test_rate_that_nothing_confirmed_lately_is_unknown(least_s, believed_s):
    path = PathEstimate()
    path.answered(least_s, 0.0)
    path.covered(path.sent(500, 0.0), 1.0)
    path.begin()
    assert (path.state(1.0 + believed_s).edge_to_cloud_bps, path.bytes_per_s(1.0 + believed_s)) == (4000, 500)
    assert (path.state(1.1 + believed_s).edge_to_cloud_bps, path.bytes_per_s(1.1 + believed_s)) == (None, None)
    path.covered(path.sent(500, 2.0 + believed_s), 3.0 + believed_s)
    assert path.bytes_per_s(3.0 + believed_s) == 500
