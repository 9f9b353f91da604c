import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from edge import outputs
from edge.capture import Frame
from edge.outputs import RunOutputs
from protocols.values import FrameHeader, Interpretation, new_case_id


def frame(index: int) -> Frame:
    header = FrameHeader(index=index, source_id="flight", captured_at_s=1.0, width=32, height=32)
    return Frame(header, np.zeros((32, 32, 3), np.uint8), captured_s=0.0)


def test_lines_are_on_disk_while_the_run_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "detections.jsonl"
    with RunOutputs(tmp_path, fps=10, video=False) as out:
        out.write(frame(0), (), {})
        assert path.read_text() == ""
        monkeypatch.setattr(outputs, "_FLUSH_S", 0.0)
        out.write(frame(1), (), {})
        assert len(path.read_text().splitlines()) == 2


def test_case_and_answer_of_an_earlier_run_are_still_there_after_a_restart(tmp_path):
    case_id = new_case_id()
    with RunOutputs(tmp_path, fps=10, video=False) as out:
        out.write(frame(7), (), {"case_id": case_id, "region_xyxy": [0, 0, 32, 32]})
    answer = Interpretation(case_id=case_id, confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)
    with RunOutputs(tmp_path, fps=10, video=False) as out:
        out.write_interpretation(answer)
        (case,), (told,) = (
            [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
            for name in ("cases.jsonl", "interpretations.jsonl")
        )
    assert (case["case_id"], case["frame"], case["source"]) == (told["case_id"], 7, "flight")


def test_frame_of_a_question_is_told_beside_that_of_a_case(tmp_path):
    case_id, question_id = new_case_id(), new_case_id()
    extra = {"question_id": question_id, "question_xyxy": [8, 8, 24, 24]}
    with RunOutputs(tmp_path, fps=10, video=False) as out:
        out.write(frame(7), (), extra)
        out.write(frame(8), (), {"case_id": case_id, "region_xyxy": [0, 0, 32, 32]} | extra)
    lines = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert [(line["case_id"], line["frame"], line["region_xyxy"]) for line in lines] == [
        (question_id, 7, [8, 8, 24, 24]),
        (case_id, 8, [0, 0, 32, 32]),
        (question_id, 8, [8, 8, 24, 24]),
    ]


def test_answer_that_the_cloud_repeats_is_kept_once_also_by_a_later_run(tmp_path):
    answer = Interpretation(case_id=new_case_id(), confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)
    other = answer.model_copy(update={"by": "person"})
    for _ in range(2):
        with RunOutputs(tmp_path, fps=10, video=False) as out:
            for told in (answer, answer, other):
                out.write_interpretation(told)
    lines = (tmp_path / "interpretations.jsonl").read_text().splitlines()
    assert [json.loads(line)["by"] for line in lines] == ["teacher", "person"]


def test_line_cut_by_power_loss_spoils_no_other(tmp_path):
    path = tmp_path / "interpretations.jsonl"
    path.write_text('{"case_id": "12')
    answer = Interpretation(case_id=new_case_id(), confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)
    with RunOutputs(tmp_path, fps=10, video=False) as out:
        out.write_interpretation(answer)
    assert Interpretation.model_validate_json(path.read_text().splitlines()[1]) == answer


def test_full_disk_is_told_and_leaves_no_half_line(tmp_path, files_at_most):
    answer = Interpretation(case_id=new_case_id(), confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)
    later = answer.model_copy(update={"by": "person"})
    with RunOutputs(tmp_path, fps=10, video=False) as out:
        out.write_interpretation(answer)
        size = (tmp_path / "interpretations.jsonl").stat().st_size
        with files_at_most(size + 20), pytest.raises(OSError, match="too large"):
            out.write_interpretation(later)
        assert (tmp_path / "interpretations.jsonl").stat().st_size == size
        out.write_interpretation(later)
    lines = (tmp_path / "interpretations.jsonl").read_text().splitlines()
    assert [json.loads(line)["by"] for line in lines] == ["teacher", "person"]


def test_answers_are_kept_again_once_a_disk_that_refused_everything_is_well(tmp_path, monkeypatch):
    path = tmp_path / "interpretations.jsonl"
    answer = Interpretation(case_id=new_case_id(), confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    with RunOutputs(tmp_path, fps=10, video=False) as out:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            patch.setattr(os, "truncate", refuse)
            for _ in range(2):
                with pytest.raises(OSError, match="Input/output"):
                    out.write_interpretation(answer)
        out.write_interpretation(answer)
    assert [Interpretation.model_validate_json(line) for line in path.read_text().splitlines()] == [answer]


def test_line_cut_by_power_loss_stays_apart_from_the_next_when_the_disk_refuses_that(tmp_path, files_at_most):
    path = tmp_path / "interpretations.jsonl"
    path.write_text('{"case_id": "12')
    answer = Interpretation(case_id=new_case_id(), confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)
    with RunOutputs(tmp_path, fps=10, video=False) as out:
        with files_at_most(40), pytest.raises(OSError, match="too large"):
            out.write_interpretation(answer)
        out.write_interpretation(answer)
    assert Interpretation.model_validate_json(path.read_text().splitlines()[1]) == answer


def test_new_folders_and_the_new_file_of_answers_are_synced_into_their_parents(tmp_path, monkeypatch):
    seen, fsync = [], os.fsync

    def note(handle):
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        seen.extend(path.iterdir() if path.is_dir() else ())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    folder = tmp_path / "flights" / "1"
    with RunOutputs(folder, fps=10, video=False):
        assert {folder.parent, folder, folder / "interpretations.jsonl"} <= set(seen)
