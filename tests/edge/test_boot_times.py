import json

import pytest

from edge.boot_times import BootTimes, ClockJumps


def test_what_the_cloud_said_is_kept_for_the_next_boot(tmp_path, fake_clock):
    times = BootTimes(tmp_path / "boots.json", fake_clock, "one")
    moment = times.now()
    times.hear(1.7e9)
    fake_clock.now_s = 3.0
    later = BootTimes(tmp_path / "boots.json", fake_clock, "two")
    assert later.age_s(moment) is None
    later.hear(1.7e9 + 60)
    assert later.age_s(moment) == pytest.approx(60)


def test_cloud_that_changes_its_mind_is_heeded_and_counted(tmp_path, fake_clock):
    times = BootTimes(tmp_path / "boots.json", fake_clock, "one")
    for told_s in (1.7e9, 1.7e9 + 0.5, 1.7e9 + 100):
        times.hear(told_s)
    assert times.jumps == ClockJumps(wall=0, cloud=1)


def test_clock_that_is_pulled_right_gradually_does_not_jump(tmp_path, fake_clock):
    times = BootTimes(tmp_path / "boots.json", fake_clock, "one")
    for _ in range(10):
        fake_clock.advance(3600)
        fake_clock.wall_now_s += 3600 * 500e-6
        times.now()
    assert times.jumps == ClockJumps()


def test_boots_remembered_are_bounded_and_the_newest_stay(tmp_path, fake_clock):
    for boot in range(100):
        BootTimes(tmp_path / "boots.json", fake_clock, f"b{boot}").hear(1.7e9)
    kept = json.loads((tmp_path / "boots.json").read_text())
    assert (len(kept), list(kept)[-1]) == (64, "b99")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"one": "x"}', '{"one": null}'])
def test_damaged_file_is_as_good_as_none(tmp_path, fake_clock, text):
    (tmp_path / "boots.json").write_text(text)
    times = BootTimes(tmp_path / "boots.json", fake_clock, "two")
    times.hear(1.7e9)
    assert list(json.loads((tmp_path / "boots.json").read_text())) == ["two"]


def test_disk_that_refuses_forgets_only_for_the_next_boot(tmp_path, fake_clock):
    (tmp_path / "boots.json.partial").mkdir()  # in the way: opening it raises OSError
    times = BootTimes(tmp_path / "boots.json", fake_clock, "one")
    times.hear(1.7e9)
    assert not (tmp_path / "boots.json").exists()
    assert times.age_s(times.now()) == 0
