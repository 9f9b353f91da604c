"""A disk that is full, really (a small tmpfs, where we may mount one) or by a quota of the test's own."""

import errno
import subprocess

import pytest

from edge import case_files
from edge.errors import SpoolError
from edge.spool import Spool

CASE = b"x" * 20_000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB: room for two cases of `CASE`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """A folder in which files of more than 60 kB together are refused, as by a full disk."""
    write = case_files.write_durably

    def refuse_or_write(path, *parts, **options):
        if sum(file.stat().st_size for file in path.parent.iterdir()) + sum(map(len, parts)) > 60_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *parts, **options)

    monkeypatch.setattr(case_files, "write_durably", refuse_or_write)
    return tmp_path


@pytest.fixture(params=["small_disk", "quota"])
def folder(request):
    return request.getfixturevalue(request.param)


def test_full_disk_drops_what_is_worth_least_and_keeps_the_rest(folder, fill):
    spool = Spool(folder)
    ids = [fill(spool, [value], CASE)[0] for value in (1.0, 3.0, 2.0, 4.0)]
    assert {path.stem for path in folder.iterdir()} == {ids[1], ids[3]}
    assert (spool.stats.dropped, spool.stats.write_errors, len(spool)) == (2, 0, 2)
    assert [len(Spool(folder).payload(ids[i])) for i in (1, 3)] == [len(CASE)] * 2


def test_full_disk_refuses_what_is_worth_less_than_all_it_holds(folder, fill, make_case):
    spool = Spool(folder)
    ids = fill(spool, [2.0, 3.0], CASE)
    spool.put(make_case(CASE), CASE, 1.0)
    with pytest.raises(SpoolError, match="free some space"):
        spool.flush()
    assert {path.stem for path in folder.iterdir()} == set(ids)
    assert (spool.stats.dropped, spool.stats.write_errors) == (0, 1)


def test_what_was_set_aside_goes_before_any_case(folder, fill):
    (folder / "aaaa.corrupt").write_bytes(CASE)
    spool = Spool(folder)
    ids = fill(spool, [2.0, 1.0], CASE)
    assert {path.stem for path in folder.iterdir()} == set(ids)


def test_full_disk_is_an_error_that_loses_one_case_and_leaves_no_rest(tmp_path, fill, make_case, files_at_most):
    spool = Spool(tmp_path)
    (kept,) = fill(spool, [1.0])
    spool.put(make_case(), b"imagery", 2.0)
    with files_at_most(64), pytest.raises(SpoolError, match="free some space"):
        spool.flush()
    assert spool.stats.write_errors == 1
    assert [path.stem for path in tmp_path.iterdir()] == [kept]
    fill(spool, [3.0])
    assert len(Spool(tmp_path)) == 2


def test_folder_that_cannot_be_synced_keeps_nothing_and_offers_nothing(tmp_path, make_case, monkeypatch):
    def fail(folder):
        raise OSError(errno.EIO, "Input/output error")

    spool = Spool(tmp_path)
    monkeypatch.setattr(case_files, "sync_folder", fail)
    for _ in range(2):
        spool.put(make_case(), b"imagery", 1.0)
    with pytest.raises(SpoolError, match="2 cases not kept"):
        spool.flush()
    assert (spool.best(), len(spool), spool.stats.write_errors) == (None, 0, 2)


def test_one_flush_syncs_the_folder_once(tmp_path, make_case, monkeypatch):
    syncs = []
    monkeypatch.setattr(case_files, "sync_folder", syncs.append)
    spool = Spool(tmp_path)
    for _ in range(5):
        spool.put(make_case(), b"imagery", 1.0)
    assert spool.flush() == 5
    assert syncs == [tmp_path]


@pytest.mark.parametrize("leave", [Spool.done, Spool.hold], ids=["done", "held"])
def test_nothing_makes_room_on_a_full_disk_for_a_case_that_has_left(tmp_path, fill, make_case, monkeypatch, leave):
    spool, new = Spool(tmp_path), make_case()
    (kept,) = fill(spool, [1.0])

    def refuse(*args, **options):
        leave(spool, new.case_id)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(case_files, "write_durably", refuse)
    spool.put(new, b"imagery", 2.0)
    assert spool.flush() == 0
    assert (kept in spool, spool.stats.dropped, spool.stats.write_errors) == (True, 0, 0)
    assert (spool.held(new.case_id) is None) == (leave is Spool.done)


def test_nothing_makes_room_under_the_cap_for_a_case_that_has_left(tmp_path, fill, make_case, monkeypatch):
    spool, new = Spool(tmp_path, max_cases=1), make_case()
    (kept,) = fill(spool, [1.0])
    drop_held = Spool._drop_held

    def deliver_first(spool):
        spool.done(new.case_id)
        return drop_held(spool)

    monkeypatch.setattr(Spool, "_drop_held", deliver_first)
    spool.put(new, b"imagery", 2.0)
    assert spool.flush() == 0
    assert (kept in spool, spool.stats.dropped) == (True, 0)
