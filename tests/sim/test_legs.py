import json

import pytest
from tiny_run import rendered

from edge.capture import open_source
from sim.legs import Leg, flown_frames, joined_summary, leg_source, put_leg_aside
from sim.record import FlightRecord


def flown(edge, frames: int, fps: float | None = 5.0, loops_ms=()) -> None:
    edge.mkdir(exist_ok=True)
    still = {"bank_revision": 0, "hardness": 0, "detections": []}
    lines = [{"frame": i, "time_s": 50 + i / 5, "clock_s": i / (fps or 5), **still} for i in range(frames)]
    (edge / "detections.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    loops = [{"case_id": f"{number:032x}", "ms": ms} for number, ms in enumerate(loops_ms)]
    counts = {"frames": frames, "fps": fps, "cases": {"planned": 2}, "loops": loops}
    (edge / "summary.json").write_text(json.dumps({**counts, "link": {"bytes_sent": 10, "connected": True}}))


def test_the_tail_of_a_flight_is_a_source_from_second_0(tmp_path):
    rendered(tmp_path / "flight", 6)
    tail = leg_source(tmp_path / "flight", 2, 4)
    source = open_source(str(tail), paced=False)
    assert [frame.header.index for frame in source] == [0, 1]
    assert json.loads((tail / "frames.jsonl").read_text().splitlines()[0])["time_s"] == 0
    assert len(list((tmp_path / "flight" / "images").iterdir())) == 6


def test_legs_are_joined_with_the_whole_flights_index_and_time(tmp_path):
    flown(tmp_path, 5, loops_ms=[100.0, 300.0])
    put_leg_aside(tmp_path, 1)
    flown(tmp_path, 3, loops_ms=[800.0])
    legs = [Leg(0, tmp_path), Leg(10, tmp_path)]
    frames = flown_frames(tmp_path, legs, 5.0)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4, 10, 11, 12]
    assert frames[5].time_s == 2.0
    summary = joined_summary(tmp_path, legs)
    assert (summary["frames"], summary["cases"], summary["loop_ms"]["p50"]) == (8, {"planned": 4}, 300.0)
    assert summary["link"] == {"bytes_sent": 20, "connected": True}


def test_a_hurried_leg_has_a_source_of_its_own_and_the_flight_keeps_its_times(tmp_path):
    flight = tmp_path / "flight"
    rendered(flight, 3, fps=5)
    before = (flight / "frames.jsonl").read_bytes()
    assert leg_source(flight, 1) == flight
    source = leg_source(flight, 1, speed=4.0)
    times = [json.loads(line)["time_s"] for line in (source / "frames.jsonl").read_text().splitlines()]
    assert times == pytest.approx([0.0, 0.05, 0.1])
    assert float((source / "fps.txt").read_text()) == 20.0
    assert ((flight / "frames.jsonl").read_bytes(), float((flight / "fps.txt").read_text())) == (before, 5.0)


def test_a_hurried_summary_is_told_in_seconds_of_flight(tmp_path):
    flown(tmp_path, 5, loops_ms=[5.0])
    summary = joined_summary(tmp_path, [Leg(0, tmp_path)], speed=4.0)
    assert summary["fps"] == 1.25
    assert summary["loop_ms"] == {"count": 1, "p50": 20.0, "p99": None}
    assert flown_frames(tmp_path, [Leg(0, tmp_path)], 5.0, speed=4.0)[-1].clock_s == pytest.approx(3.2)


def test_a_last_leg_of_one_frame_has_no_frame_rate(tmp_path):
    flown(tmp_path, 1, fps=None)
    assert joined_summary(tmp_path, [Leg(0, tmp_path)], speed=4.0)["fps"] is None


def test_frame_rate_and_slowdown_count_every_leg_and_not_the_time_between(tmp_path):
    flown(tmp_path, 6, fps=2.5)
    put_leg_aside(tmp_path, 1)
    flown(tmp_path, 3)
    legs = [Leg(0, tmp_path), Leg(20, tmp_path)]
    frames = flown_frames(tmp_path, legs, 5.0)
    assert joined_summary(tmp_path, legs)["fps"] == 2.92  # 7 steps in 2.0 s and 0.4 s
    record = FlightRecord(frames, [None] * 23, {})
    assert record.slowdown == pytest.approx(2.4 / 1.4)


@pytest.mark.parametrize(("count", "p99"), [(19, None), (20, 20.0)])
def test_few_loops_have_no_p99(tmp_path, count, p99):
    flown(tmp_path, 2, loops_ms=[20.0] * count)
    assert joined_summary(tmp_path, [Leg(0, tmp_path)])["loop_ms"] == {"count": count, "p50": 20.0, "p99": p99}
