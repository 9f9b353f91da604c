import numpy as np
import pytest

from sim.delay_line import DelayLine, TokenBucket


def test_a_full_bucket_lets_one_packet_pass_and_then_keeps_the_rate():
    bucket = TokenBucket(8_000)  # 1,000 bytes a second
    assert bucket.take(1500, 10.0) == 10.0
    assert bucket.take(500, 10.0) == pytest.approx(10.5)
    assert bucket.take(500, 10.0) == pytest.approx(11.0)


def test_a_pause_fills_the_bucket_to_its_depth_and_no_further():
    bucket = TokenBucket(8_000)
    bucket.take(1500, 0.0)
    assert bucket.take(2500, 100.0) == pytest.approx(101.0)


def test_order_is_kept_whatever_the_jitter():
    line = DelayLine(1e9, 10, 50, np.random.default_rng(3))
    arrivals = [line.send(100, at_s)[1] for at_s in np.arange(0, 1, 0.001)]
    assert arrivals == sorted(arrivals)
    assert all(arrival >= at_s + 0.01 for arrival, at_s in zip(arrivals, np.arange(0, 1, 0.001), strict=True))


def test_the_same_seed_gives_the_same_delays():
    lines = [DelayLine(1e6, 10, 50, np.random.default_rng(3)) for _ in range(2)]
    assert [lines[0].send(99, t) for t in range(9)] == [lines[1].send(99, t) for t in range(9)]


@pytest.mark.parametrize(("bps", "piece"), [(1_000, 256), (8e6, 10_000), (1e9, 16_384)])
def test_pieces_fit_the_rate(bps, piece):
    assert DelayLine(bps, 0, 0, np.random.default_rng(0)).piece_bytes == piece
