import numpy as np
import pytest

from sim.delay_line import DelayLine, LineSettings, TokenBucket


def test_a_full_bucket_lets_one_packet_pass_and_then_keeps_the_rate():
    bucket = TokenBucket(8_000)  # 1,000 bytes a second
    assert bucket.take(1500, 10.0) == 10.0
    assert bucket.take(500, 10.0) == pytest.approx(10.5)
    assert bucket.take(500, 10.0) == pytest.approx(11.0)


def test_a_pause_fills_the_bucket_to_its_depth_and_no_further():
    bucket = TokenBucket(8_000)
    bucket.take(1500, 0.0)
    assert bucket.take(2500, 100.0) == pytest.approx(101.0)


def line(seed=3, **settings):
    return DelayLine(LineSettings(**{"rate_bps": 1e9, **settings}), seed)


def arrivals(line, packets, size=1500, every_s=0.001):
    return [line.send(bytes(size), number * every_s).arrives_s - number * every_s for number in range(packets)]


def test_order_is_kept_whatever_the_jitter():
    found = arrivals(line(latency_ms=10, jitter_ms=50, loss=0.05), 1000, size=100)
    at_s = np.asarray(found) + np.arange(1000) * 0.001
    assert (np.diff(at_s) >= 0).all()
    assert min(found) >= 0.01


def test_the_same_seed_gives_the_same_delays_and_another_one_others():
    jittery = {"latency_ms": 10, "jitter_ms": 50, "loss": 0.05}
    assert arrivals(line(**jittery), 9) == arrivals(line(**jittery), 9)
    assert arrivals(line(**jittery), 9) != arrivals(line(seed=4, **jittery), 9)


def test_a_packets_fate_does_not_depend_on_how_bytes_are_cut():
    whole, cut = (line(latency_ms=10, loss=0.3, bit_error_rate=1e-4) for _ in range(2))
    data = bytes(30_000)
    pieces = [cut.send(data[at : at + 2000], 0.0) for at in range(0, len(data), 2000)]
    passage = whole.send(data, 0.0)
    assert passage.data == b"".join(piece.data for piece in pieces) != data
    assert passage.arrives_s - passage.left_s == pytest.approx(pieces[-1].arrives_s - pieces[-1].left_s, abs=1e-3)


def test_loss_delays_the_share_of_packets_it_says_by_a_round_trip_or_more():
    late = np.asarray(arrivals(line(latency_ms=10, loss=0.02), 20_000, every_s=1.0)) - 0.01
    lost = late > 1e-3
    assert lost.mean() == pytest.approx(0.02, abs=0.004)
    assert np.median(late[lost]) == pytest.approx(0.02, abs=1e-3)  # found after one round trip
    assert late.max() >= 0.02 + 0.22 - 1e-3  # some were lost twice: a timeout more


def test_bits_flip_at_the_rate_they_should():
    noisy = line(bit_error_rate=1e-5)
    arrived = b"".join(noisy.send(bytes(1500), 0.0).data for _ in range(2_000))
    flipped = int(np.unpackbits(np.frombuffer(arrived, np.uint8)).sum())
    assert flipped == pytest.approx(2_000 * 12_000 * 1e-5, rel=0.25)  # 240, standard deviation 15


def test_change_makes_another_line_of_it():
    slow = line(rate_bps=12_000)
    slow.send(bytes(1500), 0.0)
    slow.change(LineSettings(rate_bps=12e6, latency_ms=100))
    assert slow.send(bytes(1500), 0.0).arrives_s == pytest.approx(0.101, abs=1e-3)


@pytest.mark.parametrize(("silent_s", "more_s"), [(0.05, 0.17), (0.5, 0.16), (1.5, 0.04), (20.0, 7.94)])
def test_tcp_learns_of_a_path_that_is_back_at_its_next_timeout(silent_s, more_s):
    """Timeouts of 0.22 s and their doubles end at 0.22, 0.66, 1.54, 3.3, 6.82, 13.86 and 27.94 s."""
    assert line(latency_ms=10).retry_after_s(silent_s) == pytest.approx(more_s, abs=1e-6)


@pytest.mark.parametrize(("bps", "piece"), [(1_000, 1500), (8e6, 10_000), (1e9, 16_384)])
def test_pieces_fit_the_rate(bps, piece):
    assert line(rate_bps=bps).piece_bytes == piece
