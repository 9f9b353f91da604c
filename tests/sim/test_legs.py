import json

import pytest
from tiny_run import rendered

from edge.capture import open_source
from sim.legs import Leg, flown_frames, joined_summary, leg_source, put_leg_aside


def flown(edge, frames: int) -> None:
    edge.mkdir(exist_ok=True)
    lines = [
        {"frame": i, "time_s": 50 + i / 5, "bank_revision": 0, "hardness": 0, "detections": []} for i in range(frames)
    ]
    (edge / "detections.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts = {"frames": frames, "fps": 5.0, "cases": {"planned": 2}, "loop_ms": {"count": frames, "p50": 1.0 * frames}}
    (edge / "summary.json").write_text(json.dumps({**counts, "link": {"bytes_sent": 10, "connected": True}}))


def test_the_tail_of_a_flight_is_a_source_from_second_0(tmp_path):
    rendered(tmp_path / "flight", 6)
    tail = leg_source(tmp_path / "flight", 2, 4)
    source = open_source(str(tail), paced=False)
    assert [frame.header.index for frame in source] == [0, 1]
    assert json.loads((tail / "frames.jsonl").read_text().splitlines()[0])["time_s"] == 0
    assert len(list((tmp_path / "flight" / "images").iterdir())) == 6


def test_legs_are_joined_with_the_whole_flights_index_and_time(tmp_path):
    flown(tmp_path, 5)
    put_leg_aside(tmp_path, 1)
    flown(tmp_path, 3)
    legs = [Leg(0, tmp_path), Leg(10, tmp_path)]
    frames = flown_frames(tmp_path, legs, 5.0)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4, 10, 11, 12]
    assert frames[5].time_s == 2.0
    summary = joined_summary(tmp_path, legs)
    assert (summary["frames"], summary["cases"], summary["loop_ms"]["p50"]) == (8, {"planned": 4}, 5.0)
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
    flown(tmp_path, 5)
    summary = joined_summary(tmp_path, [Leg(0, tmp_path)], speed=4.0)
    assert summary["fps"] == 1.25
    assert summary["loop_ms"] == {"count": 5, "p50": 20.0}


def test_a_last_leg_of_one_frame_has_no_frame_rate(tmp_path):
    flown(tmp_path, 1)
    summary = json.loads((tmp_path / "summary.json").read_text())
    (tmp_path / "summary.json").write_text(json.dumps({**summary, "fps": None}))
    assert joined_summary(tmp_path, [Leg(0, tmp_path)], speed=4.0)["fps"] is None
