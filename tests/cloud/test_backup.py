"""Backups of a folder in use are whole, checked before anything is replaced, and never lose what was there."""

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from builders import make_case
from bundle_fleet import Signing
from server_process import arguments_of, serving_process
from typer.testing import CliRunner

from cloud import cli
from cloud.backup import make_backup
from cloud.data_lock import keeping, serving
from cloud.errors import CloudError, RequestError, StoreError
from cloud.publishing import publish
from cloud.registry import Registry
from cloud.restore import restore_backup, verify_backup
from cloud.retention import Retention
from cloud.retention_settings import RetentionSettings
from cloud.store import CaseStore, Review
from edge.clock import SystemClock
from edge.keys import new_keys
from protocols.errors import SkyloopError


@pytest.fixture
def store(tmp_path):
    opened = CaseStore(tmp_path / "data")
    opened.enroll("uav", "c" * 40)
    new_keys(tmp_path / "data" / "keys", "cloud")
    yield opened
    opened.close()


def add(store, count=3):
    payloads = [os.urandom(2000) for _ in range(count)]
    cases = [make_case(payload) for payload in payloads]
    store.add_cases([("uav", case, payload) for case, payload in zip(cases, payloads, strict=True)])
    return [case.case_id for case in cases]


def ids(folder):
    """Ids of the cases in a data folder, each with its imagery whole."""
    with closing(CaseStore(folder)) as store:
        found = store.list_cases(unsure_only=False, limit=10_000)
        for stored in found:
            assert len(store.read_imagery(stored)) == stored.case.payload_bytes
        return {stored.case.case_id for stored in found}


@pytest.mark.parametrize(("name", "link"), [("copy", False), ("linked", True), ("copy.tar", False)])
def test_backup_restores_rows_imagery_and_keys(store, tmp_path, name, link):
    expected = set(add(store))
    store.add_review(Review("uav", min(expected), "Debris", (), "craft", "ann", 3.0))
    made = make_backup(store.data_dir, tmp_path / name, link=link)
    assert (made.cases, made.imagery_bytes, made.left_out) == (3, 6000, ())
    assert verify_backup(tmp_path / name) == made
    restore_backup(tmp_path / name, tmp_path / "new")
    assert ids(tmp_path / "new") == expected
    with closing(CaseStore(tmp_path / "new")) as restored:
        assert [review.reviewer for review in restored.reviews()] == ["ann"]
        assert [craft.name for craft in restored.crafts()] == ["uav"]
    key = tmp_path / "new" / "keys" / "cloud.key"
    assert key.read_bytes() == (store.data_dir / "keys" / "cloud.key").read_bytes()
    assert key.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", name, "new"])


def test_links_share_the_imagery_and_outlive_it(store, tmp_path):
    (case_id,) = add(store, 1)
    make_backup(store.data_dir, tmp_path / "linked", link=True)
    path = store.imagery_path(store.load_case(case_id))
    assert path.stat().st_nlink == 2
    path.unlink()
    verify_backup(tmp_path / "linked")


def test_keys_stay_where_told(store, tmp_path):
    add(store)
    make_backup(store.data_dir, tmp_path / "copy", with_keys=False)
    assert not (tmp_path / "copy" / "keys").exists()


def test_restored_folder_begins_new_epochs_and_logs_everybody_out(store, tmp_path):
    bank = store.bank("uav")
    store.add_user("ann", "hash", "viewer", 1.0)
    cookie = store.open_login("ann", time.time(), 3600)
    make_backup(store.data_dir, tmp_path / "copy")
    restore_backup(tmp_path / "copy", tmp_path / "new")
    with closing(CaseStore(tmp_path / "new")) as restored:
        assert restored.bank("uav").epoch != bank.epoch
        assert restored.login(cookie, time.time()) is None
        assert [event.what for event in restored.events()] == ["restored from a backup"]


def test_retention_waits_while_a_backup_is_made(store, tmp_path, monkeypatch):
    (case_id,) = add(store, 1)
    store.set_case_state("uav", case_id, "failed")
    settings = RetentionSettings(imagery_bytes=1)
    with keeping(store.data_dir):
        assert list(Retention(store, settings, SystemClock()).steps()) == []
        monkeypatch.setattr("cloud.data_lock._STEP_WAIT_S", 0.05)
        with pytest.raises(CloudError, match="another backup is being made"):
            make_backup(store.data_dir, tmp_path / "second")
    assert [step.kind for step in Retention(store, settings, SystemClock()).steps()] == ["imagery"]


def test_case_whose_imagery_is_gone_or_damaged_is_named_and_the_rest_kept(store, tmp_path):
    gone, damaged, whole = add(store)
    store.imagery_path(store.load_case(gone)).unlink()
    store.imagery_path(store.load_case(damaged)).write_bytes(b"x")
    made = make_backup(store.data_dir, tmp_path / "copy")
    assert made.cases == 1
    assert sorted(line.split()[1] for line in made.left_out) == sorted([gone, damaged])
    restore_backup(tmp_path / "copy", tmp_path / "new")
    with closing(CaseStore(tmp_path / "new")) as restored:
        assert {case_id for case_id in (gone, damaged, whole) if restored.load_case(case_id).has_imagery} == {whole}


def test_nothing_is_overwritten_and_nothing_half_made_left(store, tmp_path, monkeypatch):
    add(store)
    (tmp_path / "there").mkdir()
    with pytest.raises(RequestError, match="is there already"):
        make_backup(store.data_dir, tmp_path / "there")
    with pytest.raises(RequestError, match="lies in the data folder itself"):
        make_backup(store.data_dir, store.data_dir / "backup")
    with pytest.raises(RequestError, match="holds copies"):
        make_backup(store.data_dir, tmp_path / "b.tar", link=True)
    with pytest.raises(RequestError, match="no case store there"):
        make_backup(tmp_path / "there", tmp_path / "b.tar")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cloud.backup.shutil.copy", full)
    with pytest.raises(CloudError, match="No space left"):
        make_backup(store.data_dir, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "there"]


def test_second_backup_to_the_same_place_takes_nothing_from_the_first(store, tmp_path, monkeypatch):
    add(store)
    monkeypatch.setattr("cloud.data_lock._STEP_WAIT_S", 0.05)
    refused = []

    def begin_second(*_):
        if not refused:
            with pytest.raises(CloudError) as caught:
                make_backup(store.data_dir, tmp_path / "copy.tar")
            refused.append(str(caught.value))

    make_backup(store.data_dir, tmp_path / "copy.tar", advance=begin_second)
    assert "another backup is being made" in refused[0]
    assert verify_backup(tmp_path / "copy.tar").cases == 3


def test_backup_that_was_made_meanwhile_is_not_overwritten(store, tmp_path):
    add(store)

    def make_it(*_):
        (tmp_path / "copy.tar").write_bytes(b"somebody's")

    with pytest.raises(RequestError, match="was made meanwhile"):
        make_backup(store.data_dir, tmp_path / "copy.tar", advance=make_it)
    assert (tmp_path / "copy.tar").read_bytes() == b"somebody's"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.tar", "data"]


def test_registry_that_is_refreshed_meanwhile_is_restored_whole(store, tmp_path, tiny_bundle):
    add(store)
    signing = Signing(store.data_dir, tmp_path / "signing")
    signing.publish(tiny_bundle.folder)

    def refresh(done, of):
        if done < 3:
            signing.registry.refresh(signing.signers)

    make_backup(store.data_dir, tmp_path / "copy", advance=refresh)
    verify_backup(tmp_path / "copy")
    restore_backup(tmp_path / "copy", tmp_path / "new")
    assert Registry(tmp_path / "new").signed() == signing.registry.signed()


def test_registry_is_held_while_it_is_copied(store, tmp_path, tiny_bundle, monkeypatch):
    Signing(store.data_dir, tmp_path / "signing").publish(tiny_bundle.folder)
    copy, held = shutil.copy, []

    def look(source, target):
        if "registry" in source.parts:
            with (store.data_dir / "registry" / "lock").open("r") as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(source)
        copy(source, target)

    monkeypatch.setattr("cloud.backup.shutil.copy", look)
    make_backup(store.data_dir, tmp_path / "copy")
    assert held


@pytest.mark.parametrize("lost", ["metadata/*.snapshot.json", "targets/*.tar"])
def test_backup_whose_registry_lacks_a_file_that_it_names_is_refused(store, tmp_path, tiny_bundle, lost):
    Signing(store.data_dir, tmp_path / "signing").publish(tiny_bundle.folder)
    for path in (store.data_dir / "registry").glob(lost):
        path.unlink()
    make_backup(store.data_dir, tmp_path / "copy.tar")
    for refuse in (verify_backup, lambda copy: restore_backup(copy, tmp_path / "new")):
        with pytest.raises(RequestError, match=r"registry cannot be read|lacks registry/targets/"):
            refuse(tmp_path / "copy.tar")
    assert not (tmp_path / "new").exists()


def test_release_that_was_given_after_the_backup_is_not_given_again(store, tmp_path, tiny_bundle):
    signing = Signing(store.data_dir, tmp_path / "signing")
    signing.publish(tiny_bundle.folder)
    make_backup(store.data_dir, tmp_path / "copy")
    given = signing.publish(tiny_bundle.folder)
    restore_backup(tmp_path / "copy", tmp_path / "new")
    numbers = [publish(Registry(tmp_path / "new"), tiny_bundle.folder, signing.signers).release for _ in range(2)]
    assert given.release == 2
    assert numbers[0] >= int(time.time()) - 600
    assert numbers[1] == numbers[0] + 1


def damage_file(folder):
    path = next(path for path in (folder / "imagery").rglob("*") if path.is_file())
    path.write_bytes(b"x" + path.read_bytes()[1:])


def damage_rows(folder):
    with (folder / "skyloop.sqlite").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def lose_file(folder):
    next(path for path in (folder / "imagery").rglob("*") if path.is_file()).unlink()


def add_file(folder):
    (folder / "imagery" / "planted").write_bytes(b"x")


def tell_otherwise(**changes):
    def change(folder):
        manifest = json.loads((folder / "backup.json").read_text())
        (folder / "backup.json").write_text(json.dumps(manifest | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_file, "is damaged"),
        (damage_rows, "no sound database|is damaged"),
        (lose_file, "lacks imagery"),
        (add_file, "holds imagery/planted, which it does not know of"),
        (lambda folder: (folder / "backup.json").unlink(), "is no backup"),
        (lambda folder: (folder / "backup.json").write_text("{"), "is no backup"),
        (tell_otherwise(format=2), "format 2, this software reads 1"),
        (tell_otherwise(cases="many"), "cases"),
        (tell_otherwise(sha256={"../../etc/passwd": "0"}), "outside the backup"),
    ],
    ids=["file", "rows", "lost", "planted", "no manifest", "cut manifest", "newer", "odd", "outside"],
)
def test_damaged_backup_is_refused_and_nothing_is_put_in_place(store, tmp_path, damage, message):
    add(store)
    make_backup(store.data_dir, tmp_path / "copy")
    damage(tmp_path / "copy")
    for refuse in (verify_backup, lambda copy: restore_backup(copy, tmp_path / "new")):
        with pytest.raises((RequestError, StoreError), match=message):
            refuse(tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "data"]


def test_tar_that_reaches_outside_or_is_cut_is_refused(store, tmp_path):
    add(store)
    make_backup(store.data_dir, tmp_path / "good.tar")
    content = (tmp_path / "good.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: len(content) // 2])
    (tmp_path / "none.tar").write_bytes(b"no tar at all" * 100)
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(tmp_path / "none.tar", "../evil")
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        member = tarfile.TarInfo("skyloop.sqlite")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    for name in ("cut", "none", "evil", "link", "absent"):
        with pytest.raises(SkyloopError, match=r"no backup|do not use it|truncated|is not there|damaged|lacks"):
            restore_backup(tmp_path / f"{name}.tar", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_folder_that_is_there_is_moved_aside_only_where_told(store, tmp_path):
    before = set(add(store))
    make_backup(store.data_dir, tmp_path / "copy")
    later = set(add(store))
    store.close()
    with pytest.raises(RequestError, match="--replace to move it"):
        restore_backup(tmp_path / "copy", store.data_dir)
    _, aside = restore_backup(tmp_path / "copy", store.data_dir, replace=True)
    assert ids(store.data_dir) == before
    assert ids(aside) == before | later


def test_folder_of_before_is_back_where_the_new_one_cannot_take_its_place(store, tmp_path, monkeypatch):
    before = set(add(store))
    make_backup(store.data_dir, tmp_path / "copy")
    store.close()
    rename = Path.rename

    def fail(self, target):
        if self.name == ".data.restored":
            raise OSError(16, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(CloudError, match="Device or resource busy"):
        restore_backup(tmp_path / "copy", store.data_dir, replace=True)
    assert ids(store.data_dir) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "data"]


def test_mount_point_is_not_restored_to(store, tmp_path):
    make_backup(store.data_dir, tmp_path / "copy")
    with pytest.raises(RequestError, match="is a mount point, which nothing can take the place of"):
        restore_backup(tmp_path / "copy", Path("/proc"), replace=True)


def test_nothing_is_restored_under_a_running_server(store, tmp_path):
    make_backup(store.data_dir, tmp_path / "copy")
    with serving(store.data_dir), pytest.raises(CloudError, match="another server uses this data folder"):
        restore_backup(tmp_path / "copy", store.data_dir, replace=True)


def test_backup_of_an_earlier_schema_is_brought_up_to_date(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "skyloop.sqlite")) as connection:
        sql = os.path.join(os.path.dirname(__file__), "schemas", "1.sql")
        with open(sql) as file:
            connection.executescript(file.read())
    make_backup(folder, tmp_path / "copy")
    restore_backup(tmp_path / "copy", tmp_path / "new")
    with closing(CaseStore(tmp_path / "new")) as restored:
        assert [craft.name for craft in restored.crafts()] == ["uav1"]


def test_commands_say_what_they_did(store, tmp_path):
    add(store)

    def run(*words):
        return CliRunner().invoke(cli.app, list(map(str, words)), catch_exceptions=False).stdout

    copy = tmp_path / "copy.tar"
    assert "3 imagery files of 6,000 bytes" in run("backup", "--out", copy, "--verify", "--data", store.data_dir)
    assert "is sound" in run("restore", "--from", copy, "--verify")
    assert "valid again" in run("restore", "--from", copy, "--data", tmp_path / "new")
    assert json.loads(run("restore", "--from", copy, "--verify", "--json"))["cases"] == 3


WRITER = """
import os, sys, time
from pathlib import Path
from cloud.store import CaseStore
sys.path.insert(0, sys.argv[2])
from builders import make_case
from bundle_fleet import Signing
store = CaseStore(Path(sys.argv[1]))
while True:
    payloads = [os.urandom(5000) for _ in range(4)]
    cases = [make_case(payload) for payload in payloads]
    store.add_cases([("uav", case, payload) for case, payload in zip(cases, payloads)])
    print(*(case.case_id for case in cases), flush=True)
"""
"""Keeps cases as fast as the disk takes them, and tells which are durable."""


def test_backup_under_load_holds_all_that_was_acknowledged_before_it(store, tmp_path, tiny_bundle):
    """A real server answers, another process writes without a pause, retention and the backup run beside them."""
    arguments = arguments_of(tmp_path / "data", tiny_bundle.folder)
    (tmp_path / "cloud.toml").write_text("[retention]\nevery_s = 0.05\nimagery_bytes = 2000000\n")
    tests = os.path.join(os.path.dirname(__file__), os.pardir)
    acknowledged = []
    with serving_process(arguments | {"--config": str(tmp_path / "cloud.toml")}):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.data_dir), tests], stdout=subprocess.PIPE, text=True
        )

        def read():
            for line in writer.stdout:
                acknowledged.extend(line.split())

        reader = threading.Thread(target=read)
        reader.start()
        try:
            while len(acknowledged) < 40:
                time.sleep(0.01)
                assert writer.poll() is None
            before = set(acknowledged)
            made = make_backup(store.data_dir, tmp_path / "copy.tar")
            assert len(acknowledged) > len(before)  # the writer was not kept waiting
        finally:
            writer.send_signal(signal.SIGKILL)
            reader.join()
            writer.wait()
            writer.stdout.close()
    assert made.left_out == ()
    restore_backup(tmp_path / "copy.tar", tmp_path / "new")
    with closing(CaseStore(tmp_path / "new")) as restored:
        kept = {stored.case.case_id for stored in restored.list_cases(unsure_only=False, limit=100_000)}
    assert before <= kept
    with serving_process(arguments_of(tmp_path / "new", tiny_bundle.folder)):
        pass
