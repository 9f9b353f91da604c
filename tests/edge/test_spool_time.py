"""How long a case lives, through restarts of the program and of the computer, and clocks that jump."""

import pytest

from edge.spool import Spool


@pytest.fixture
def reboot(fake_clock):
    """Starts the computer anew after some seconds: the monotonic clock begins again, the wall clock may be wrong."""

    def start(after_s, wall_error_s=0.0):
        fake_clock.wall_now_s += after_s + wall_error_s
        fake_clock.now_s = 5.0

    return start


def true_s(clock, error_s=0.0):
    return clock.wall_now_s - error_s


def test_case_expires_by_its_time_to_live_also_across_a_restart(tmp_path, fill, fake_clock):
    spool = Spool(tmp_path, clock=fake_clock)
    ids = fill(spool, [1.0, 2.0], ttl_s=10)
    fake_clock.advance(6)
    spool = Spool(tmp_path, clock=fake_clock)
    assert spool.best().case.case_id == ids[1]
    fake_clock.advance(5)
    assert spool.best() is None
    assert (spool.stats.expired, len(spool)) == (2, 0)


@pytest.mark.parametrize("by_s", [-1e6, 1e6])
def test_jump_of_the_wall_clock_neither_shortens_nor_lengthens_a_life_and_is_counted(tmp_path, fill, fake_clock, by_s):
    fill(Spool(tmp_path, clock=fake_clock), [1.0], ttl_s=10)
    fake_clock.advance(6)
    spool = Spool(tmp_path, clock=fake_clock)
    fake_clock.wall_now_s += by_s
    spool.hear_time(1.7e9)
    assert (spool.stats.clock_jumps, len(spool)) == (1, 1)
    fake_clock.advance(5)
    assert spool.best() is None


def test_cap_on_age_rules_over_a_longer_time_to_live(tmp_path, fill, fake_clock):
    spool = Spool(tmp_path, max_age_s=100, clock=fake_clock)
    fill(spool, [1.0], ttl_s=1000)
    fill(spool, [2.0], ttl_s=None)
    fake_clock.advance(101)
    assert (spool.best(), spool.stats.expired) == (None, 2)


@pytest.mark.parametrize("wall_error_s", [pytest.param(-1.7e9, id="woke in 1970"), pytest.param(1e8, id="in 2026")])
def test_after_a_reboot_nothing_expires_until_the_cloud_has_told_the_time(
    tmp_path, fill, fake_clock, reboot, wall_error_s
):
    spool = Spool(tmp_path, clock=fake_clock, boot_id="one")
    old, young = fill(spool, [2.0, 1.0], ttl_s=100)[0], fill(spool, [3.0], ttl_s=1000)[0]
    spool.hear_time(true_s(fake_clock))
    reboot(200, wall_error_s)
    spool = Spool(tmp_path, clock=fake_clock, boot_id="two")
    assert (len(spool), spool.stats.undated) == (3, 3)
    spool.hear_time(true_s(fake_clock, wall_error_s))
    assert (spool.best().case.case_id, spool.stats.expired, spool.stats.undated) == (young, 2, 0)
    fake_clock.advance(801)
    assert spool.best() is None
    assert old not in spool


def test_boot_with_a_wrong_clock_is_dated_by_what_the_cloud_said_in_it(tmp_path, fill, fake_clock, reboot):
    fake_clock.wall_now_s = 60.0  # 1970
    spool = Spool(tmp_path, clock=fake_clock, boot_id="one")
    fill(spool, [1.0], ttl_s=1000)
    fake_clock.advance(10)
    spool.hear_time(1.7e9)
    reboot(500)
    spool = Spool(tmp_path, clock=fake_clock, boot_id="two")
    spool.hear_time(1.7e9 + 500)
    fake_clock.advance(489)
    assert len(spool) == 1
    fake_clock.advance(2)
    assert spool.best() is None


@pytest.mark.parametrize("told_s", [pytest.param(1.6e9, id="before"), pytest.param(1.8e9, id="years after")])
def test_impossible_age_is_clamped_to_what_is_sure(tmp_path, fill, fake_clock, reboot, told_s):
    fill(Spool(tmp_path, clock=fake_clock, boot_id="one"), [1.0], ttl_s=100)
    reboot(0)
    spool = Spool(tmp_path, clock=fake_clock, boot_id="two")
    spool.hear_time(told_s)
    assert (len(spool), spool.stats.undated) == (1, 1)
    fake_clock.advance(101)
    assert spool.best() is None


def test_case_of_an_earlier_boot_keeps_its_place_when_it_is_dated(tmp_path, fill, fake_clock, reboot):
    first, second = fill(Spool(tmp_path, clock=fake_clock, boot_id="one"), [1.0, 1.0], ttl_s=100)
    reboot(10)
    spool = Spool(tmp_path, clock=fake_clock, boot_id="two")
    spool.hear_time(true_s(fake_clock))
    assert [spool.best().case.case_id, spool.best(skip=[first]).case.case_id] == [first, second]
