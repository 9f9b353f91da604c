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
    assert sent[0].region_xyxy == (0, 0, 96, 96)


def test_first_prompted_frame_is_the_first_with_the_revision_in_force(record):
    assert record.first_prompted("Debris").index == 15


def test_a_bank_of_other_labels_does_not_count(record):
    other = replace(record, banks=[BankSeen(1, ("Bicycle",), ())])
    assert other.first_revision("Debris") is None
    assert other.first_prompted("Debris") is None


def test_loop_is_from_the_case_to_its_prompt_in_force(record):
    ((taken_s, loop_ms),) = record.loops()
    assert taken_s == pytest.approx(0.9)
    assert loop_ms == pytest.approx(600.0)


def test_loop_on_a_busy_machine_is_stretched_to_the_edges_clock(record):
    slow = replace(record, summary={**record.summary, "fps": 5.0})
    assert slow.slowdown == pytest.approx(2.0)
    assert slow.loops()[0][1] == pytest.approx(1200.0)


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
