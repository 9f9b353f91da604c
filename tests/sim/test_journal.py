import time
from contextlib import closing

from sim.camera_clock import CameraClock
from sim.journal import Journal, JournalReader


def test_what_is_noted_is_read_once(tmp_path):
    reader = JournalReader(tmp_path / "j")
    with closing(Journal(tmp_path / "j")) as journal:
        journal.note("ready", port=5)
    (event,) = reader.new()
    assert (event["kind"], event["port"]) == ("ready", 5)
    assert abs(event["s"] - time.monotonic()) < 10
    assert list(reader.new()) == []


def test_a_line_that_is_half_written_waits(tmp_path):
    reader = JournalReader(tmp_path / "j")
    assert list(reader.new()) == []
    with (tmp_path / "j").open("w", buffering=1) as file:
        file.write('{"kind": "a"}\n{"ki')
        file.flush()
        assert [event["kind"] for event in reader.new()] == ["a"]
        file.write('nd": "b"}\n')
        assert [event["kind"] for event in reader.new()] == ["b"]


def test_a_program_that_is_started_again_goes_on_in_its_journal(tmp_path):
    for kind in ("first", "second"):
        with closing(Journal(tmp_path / "j")) as journal:
            journal.note(kind)
    assert [event["kind"] for event in JournalReader(tmp_path / "j").new()] == ["first", "second"]


def test_camera_gives_the_newest_frame_and_each_once():
    camera = CameraClock(time.monotonic() - 10.0, 20.0)
    first = camera.newest()
    assert 200 <= first <= 230  # ten seconds of frames were missed
    begin_s = time.monotonic()
    assert camera.newest() > first
    assert time.monotonic() - begin_s < 5
    assert camera.captured_s(first + 20) - camera.captured_s(first) == 1.0


def test_camera_waits_for_its_first_frame():
    begin_s = time.monotonic() + 0.2
    assert CameraClock(begin_s, 20.0).newest() == 0
    assert time.monotonic() >= begin_s
