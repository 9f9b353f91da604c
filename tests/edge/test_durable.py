"""Power loss cannot be had here; what it would find is decided by the order of writes, syncs and renames."""

import errno
import os

import pytest

from edge.durable import make_folder, write_durably


@pytest.fixture
def synced(monkeypatch):
    """What was fsynced, in order, each with what its folder showed then."""
    calls, fsync = [], os.fsync

    def note(handle):
        path = os.readlink(f"/proc/self/fd/{handle}")
        calls.append((os.path.basename(path), os.fstat(handle).st_size if os.path.isfile(path) else os.listdir(path)))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    return calls


def test_content_is_synced_before_the_rename_and_the_folder_after_it(tmp_path, synced):
    write_durably(tmp_path / "a", b"new", b" content")
    assert synced == [("a.partial", 11), (tmp_path.name, ["a"])]


def test_every_new_folder_is_synced_into_its_parent(tmp_path, synced):
    make_folder(tmp_path / "x" / "y")
    make_folder(tmp_path / "x" / "y")
    assert synced == [(tmp_path.name, ["x"]), ("x", ["y"])]


@pytest.mark.parametrize("failing", ["file", "folder"])
def test_sync_that_fails_is_an_error_and_never_taken_for_kept(tmp_path, monkeypatch, failing):
    (tmp_path / "a").write_bytes(b"old")

    def fail(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}") == (failing == "folder"):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_durably(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
