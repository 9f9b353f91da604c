from dataclasses import replace

import pytest

from sim.errors import RecordError
from sim.record import BankSeen, read_frames, read_summary


def test_times_start_at_the_first_frame(record):
    assert record.frames[0].time_s == 0.0
    assert record.frames[10].time_s == pytest.approx(1.0)


def test_case_and_region_are_read_back(record):
    sent = [frame for frame in record.frames if frame.is_sent]
    assert [frame.index for frame in sent] == [9]
    assert sent[0].regions_xyxy == ((0, 0, 96, 96),)


def test_first_prompted_frame_is_the_first_with_the_revision_in_force(record):
    assert record.first_prompted("Debris").index == 15


def test_a_bank_of_other_labels_does_not_count(record):
    other = replace(record, banks=[BankSeen(1, ("Bicycle",), ())])
    assert other.first_revision("Debris") is None
    assert other.first_prompted("Debris") is None


def test_loops_are_those_the_edge_measured_at_the_time_their_case_was_taken(record):
    ((taken_s, loop_ms),) = record.loops()
    assert taken_s == pytest.approx(0.9)
    assert loop_ms == 612.0 == record.summary["loop_ms"]["p50"]


def test_a_loop_of_a_case_that_no_line_tells_of_is_left_out(record):
    loops = [*record.summary["loops"], {"case_id": "f" * 32, "ms": 5.0}]
    assert len(replace(record, summary={**record.summary, "loops": loops}).loops()) == 1


def test_an_edge_that_keeps_pace_has_one_time(record):
    assert record.slowdown == pytest.approx(1.0)
    assert record.recorded_s([0.0, 2.5, 5.9, 9.0]) == pytest.approx([0.0, 2.5, 5.9, 9.0])


def test_the_clock_of_a_slow_edge_is_turned_into_recorded_seconds(record):
    slow = replace(record, frames=[replace(frame, clock_s=2 * frame.time_s) for frame in record.frames])
    assert slow.slowdown == pytest.approx(2.0)
    assert slow.recorded_s([0.0, 5.0, 11.8, 14.8]) == pytest.approx([0.0, 2.5, 5.9, 8.9])


def test_damaged_lines_are_one_clear_error(tmp_path):
    (tmp_path / "detections.jsonl").write_text('{"frame": 0}\n')
    with pytest.raises(RecordError, match="not the edge's detections"):
        read_frames(tmp_path / "detections.jsonl")


def test_missing_summary_is_one_clear_error(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        read_summary(tmp_path / "summary.json")


def test_frames_without_truth_are_refused(record):
    with pytest.raises(RecordError, match="frame 59 has no truth"):
        replace(record, truth=replace(record.truth, items=record.truth.items[:59]))
