import hashlib
import itertools
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import msgpack
import pytest

from edge import case_files
from edge.errors import SpoolError
from edge.spool import MAX_WAITING_CASES, Spool
from protocols.limits import MAX_CASE_BYTES

ROOT = Path(__file__).parents[2]


def test_most_valuable_case_comes_first_and_ties_by_age(tmp_path, fill):
    spool = Spool(tmp_path)
    ids = fill(spool, [1.0, 3.0, 3.0, 2.0])
    order = []
    while (best := spool.best()) is not None:
        order.append(ids.index(best.case.case_id))
        spool.done(best.case.case_id)
    assert order == [1, 2, 3, 0]
    assert len(spool) == 0
    assert list(tmp_path.iterdir()) == []


def test_put_touches_no_disk_and_flush_makes_durable(tmp_path, make_case):
    spool, case = Spool(tmp_path), make_case()
    assert spool.put(case, b"imagery", 1.0)
    assert (list(tmp_path.iterdir()), len(spool), Spool(tmp_path).best()) == ([], 1, None)
    assert spool.flush() == 1
    assert Spool(tmp_path).best().case == case


def test_case_may_leave_before_it_is_written_and_then_never_is(tmp_path, make_case):
    spool, case = Spool(tmp_path), make_case()
    spool.put(case, b"imagery", 1.0)
    assert (spool.best().case, spool.payload(case.case_id), spool.find(case.case_id).case) == (case, b"imagery", case)
    spool.done(case.case_id)
    assert (spool.flush(), len(spool), spool.best(), list(tmp_path.iterdir())) == (0, 0, None, [])


def test_best_of_memory_and_disk_comes_first(tmp_path, fill, make_case):
    spool = Spool(tmp_path)
    low, high = fill(spool, [1.0, 3.0])
    middle = make_case()
    spool.put(middle, b"imagery", 2.0)
    assert spool.best().case.case_id == high
    assert spool.best({high}).case == middle
    assert spool.best({high, middle.case_id}).case.case_id == low


@pytest.mark.parametrize("step", [0, 1], ids=["file", "folder"])
@pytest.mark.parametrize("leave", [Spool.done, Spool.hold], ids=["done", "held"])
def test_case_delivered_while_it_is_written_leaves_nothing(tmp_path, make_case, monkeypatch, step, leave):
    spool, case, steps, fsync = Spool(tmp_path), make_case(), iter([0, 1]), os.fsync

    def deliver(handle):
        if next(steps) == step:
            leave(spool, case.case_id)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", deliver)
    spool.put(case, b"imagery", 1.0)
    spool.flush()
    assert (len(spool), spool.best()) == (0, None)
    spool.done(case.case_id)
    assert list(tmp_path.iterdir()) == []


def test_case_held_before_it_was_written_stays_in_memory_and_can_be_queued_again(tmp_path, make_case):
    spool, case = Spool(tmp_path), make_case()
    spool.put(case, b"imagery", 1.0)
    assert spool.hold(case.case_id)
    assert (spool.flush(), len(spool), spool.held(case.case_id).case) == (0, 0, case)
    spool.take_back(case.case_id)
    assert (spool.best().case, spool.flush()) == (case, 1)
    assert Spool(tmp_path).payload(case.case_id) == b"imagery"


def test_cases_held_in_memory_are_the_first_to_make_room_there(tmp_path, make_case):
    spool, held, payload = Spool(tmp_path), make_case(), bytes(MAX_CASE_BYTES)
    spool.put(held, b"imagery", 9.0)
    spool.hold(held.case_id)
    cases = [make_case(payload) for _ in range(4)]
    assert all(spool.put(case, payload, 1.0) for case in cases)
    assert (spool.held(held.case_id), spool.stats.dropped, len(spool)) == (None, 0, 4)


def test_case_that_is_being_written_counts(tmp_path, make_case, monkeypatch):
    spool, case, seen, fsync = Spool(tmp_path), make_case(), [], os.fsync

    def look(handle):
        seen.append((case.case_id in spool, len(spool), spool.total_bytes))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", look)
    spool.put(case, b"imagery", 1.0)
    spool.flush()
    assert seen == [(True, 1, 7)] * 2  # the file, the folder


def test_case_that_was_refused_counts_no_more(tmp_path, make_case, files_at_most):
    spool = Spool(tmp_path)
    spool.put(make_case(), b"imagery", 1.0)
    with files_at_most(64), pytest.raises(SpoolError, match="free some space"):
        spool.flush()
    assert (len(spool), spool.total_bytes) == (0, 0)


def test_reopened_spool_has_the_same_cases_in_the_same_order(tmp_path, fill):
    ids = fill(Spool(tmp_path), [1.0, 2.0], payload=b"picture")
    spool = Spool(tmp_path)
    assert spool.best().case.case_id == ids[1]
    assert spool.payload(ids[0]) == b"picture"
    assert (len(spool), spool.total_bytes, spool.stats.set_aside) == (2, 14, 0)


def test_same_case_again_is_kept_once(tmp_path, make_case):
    spool, case = Spool(tmp_path), make_case()
    for _ in range(3):
        assert spool.put(case, b"imagery", 1.0)
        spool.flush()
    assert len(spool) == 1


@pytest.mark.parametrize(
    ("limits", "kept"), [({"max_cases": 2}, [1, 2]), ({"max_bytes": 15}, [1, 2]), ({"max_bytes": 6}, [])]
)
def test_full_spool_drops_the_least_valuable_and_counts(tmp_path, fill, limits, kept):
    spool = Spool(tmp_path, **limits)
    ids = fill(spool, [1.0, 3.0, 2.0])
    assert {ids[i] for i in kept} == {entry.stem for entry in tmp_path.iterdir()}
    assert spool.stats.dropped == 3 - len(kept)


def test_memory_before_flush_is_bounded(tmp_path, make_case):
    spool = Spool(tmp_path)
    kept = [spool.put(make_case(), b"imagery", float(value)) for value in range(MAX_WAITING_CASES + 3, 0, -1)]
    assert kept == [True] * MAX_WAITING_CASES + [False] * 3
    assert spool.stats.dropped == 3


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:-1], id="cut"),
        pytest.param(lambda data: data + b"x", id="longer"),
        pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), id="flipped"),
        pytest.param(lambda data: os.urandom(len(data)), id="random"),
    ],
)
def test_damaged_file_is_set_aside_and_counted(tmp_path, fill, damage):
    good, bad = fill(Spool(tmp_path), [1.0, 2.0])
    path = tmp_path / f"{bad}.case"
    path.write_bytes(damage(path.read_bytes()))
    spool = Spool(tmp_path)
    assert (spool.best().case.case_id, len(spool), spool.stats.set_aside) == (good, 1, 1)
    assert path.with_suffix(".corrupt").exists()


def test_file_damaged_later_is_set_aside_when_read(tmp_path, fill):
    spool = Spool(tmp_path)
    (case_id,) = fill(spool, [1.0])
    (tmp_path / f"{case_id}.case").write_bytes(b"rot")
    with pytest.raises(SpoolError, match="set aside"):
        spool.payload(case_id)
    assert spool.best() is None


def test_half_written_file_is_named_counted_and_set_aside(tmp_path, capsys):
    (tmp_path / "aaaa.case.partial").write_bytes(b"half")
    spool = Spool(tmp_path)
    assert (len(spool), spool.stats.set_aside, (tmp_path / "aaaa.corrupt").read_bytes()) == (0, 1, b"half")
    assert "aaaa.case.partial" in capsys.readouterr().out


def test_file_of_a_newer_version_is_named_counted_and_kept_for_it(tmp_path, fill, capsys):
    (case_id,) = fill(Spool(tmp_path), [1.0])
    path = tmp_path / f"{case_id}.case"
    ours = path.read_bytes()
    path.write_bytes(ours[:7] + b"2" + ours[8:])
    spool = Spool(tmp_path)
    assert (len(spool), spool.stats.newer, spool.stats.set_aside) == (0, 1, 0)
    assert "newer version" in capsys.readouterr().out
    path.with_suffix(".newer").write_bytes(ours)  # as if that version, which reads it, were back
    assert Spool(tmp_path).best().case.case_id == case_id


def test_file_of_the_first_release_is_read(tmp_path, make_case):
    case = make_case()
    header = msgpack.packb({"case": case.model_dump(), "value": 2.5, "stored_at_s": 1.7e9})
    digest = hashlib.sha256(header + b"imagery").digest()
    head = struct.pack("<8sII32s", b"SKYCASE1", len(header), 7, digest)
    (tmp_path / f"{case.case_id}.case").write_bytes(head + header + b"imagery")
    spool = Spool(tmp_path)
    best = spool.best()
    assert (best.case, best.value, spool.payload(case.case_id)) == (case, 2.5, b"imagery")


def test_order_of_equals_survives_restarts_and_a_wall_clock_set_back(tmp_path, fill, fake_clock):
    ids = []
    for _ in range(3):
        spool = Spool(tmp_path, clock=fake_clock)
        ids += fill(spool, [1.0, 1.0])
        fake_clock.wall_now_s -= 3600
    spool.done(ids.pop(0))
    found = []
    spool = Spool(tmp_path, clock=fake_clock)
    while (best := spool.best()) is not None:
        found.append(best.case.case_id)
        spool.done(best.case.case_id)
    assert found == ids


def test_caps_lowered_between_runs_hold_from_the_start(tmp_path, fill):
    ids = fill(Spool(tmp_path), [1.0, 3.0, 2.0])
    spool = Spool(tmp_path, max_cases=1)
    assert ([path.stem for path in tmp_path.iterdir()], spool.stats.dropped) == ([ids[1]], 2)


def test_imagery_of_another_size_is_refused(tmp_path, make_case):
    with pytest.raises(SpoolError, match="announced"):
        Spool(tmp_path).put(make_case(b"imagery"), b"image", 1.0)


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="check the folder"):
        Spool(tmp_path / "file" / "spool")


_WRITER = """
import hashlib, itertools, pathlib, sys
from edge.spool import Spool
from protocols import Case, FrameHeader, new_case_id
spool = Spool(pathlib.Path(sys.argv[1]))
frame = FrameHeader(index=0, source_id="test", captured_at_s=1.7e9, width=64, height=64)
for number in itertools.count():
    payload = number.to_bytes(4, "big") * 20000
    case = Case(case_id=new_case_id(), frame=frame, region_xyxy=(0, 0, 32, 32), hardness=0.5, space_id="s",
                variant="v", media_type="image/jpeg", payload_bytes=len(payload),
                payload_sha256=hashlib.sha256(payload).hexdigest())
    spool.put(case, payload, 1.0)
    spool.flush()
    print(case.case_id, flush=True)
"""


def test_everything_flushed_survives_kill_9(tmp_path):
    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    promised = [line.strip() for line in itertools.islice(process.stdout, 5)]
    process.send_signal(signal.SIGKILL)
    promised += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    spool = Spool(tmp_path)
    assert all(len(spool.payload(case_id)) == 80000 for case_id in promised)
    assert len(promised) <= len(spool) <= len(promised) + 1


def test_case_that_is_written_and_not_yet_synced_leaves_memory_to_the_newest(tmp_path, make_case, monkeypatch):
    spool, payload, seen = Spool(tmp_path), bytes(MAX_CASE_BYTES), []
    old, new = [make_case(payload) for _ in range(4)], make_case(payload)
    for case in old:
        spool.put(case, payload, 1.0)

    def arrive(folder):
        if not seen:
            seen.append((spool.put(new, payload, 0.5), spool.payload(old[0].case_id) == payload, len(spool)))

    monkeypatch.setattr(case_files, "sync_folder", arrive)
    assert spool.flush() == 4
    assert seen == [(True, True, 5)]
    assert (spool.stats.dropped, spool.total_bytes) == (0, 5 * MAX_CASE_BYTES)


def test_case_that_is_queued_again_keeps_memory_bounded(tmp_path, make_case):
    spool, held = Spool(tmp_path), make_case()
    spool.put(held, b"imagery", 0.5)
    spool.hold(held.case_id)
    for _ in range(MAX_WAITING_CASES):
        spool.put(make_case(), b"imagery", 1.0)
    spool.take_back(held.case_id)
    assert (len(spool), spool.stats.dropped, held.case_id in spool) == (MAX_WAITING_CASES, 1, False)


def test_long_flush_makes_cases_durable_under_way(tmp_path, make_case, monkeypatch):
    spool, kept = Spool(tmp_path), []
    monkeypatch.setattr(case_files, "sync_folder", lambda folder: kept.append(len(list(folder.iterdir()))))
    for _ in range(70):
        spool.put(make_case(), b"imagery", 1.0)
    assert spool.flush() == 70
    assert kept == [32, 64, 70]


def test_case_held_before_its_sync_leaves_no_file_once_it_makes_room(tmp_path, make_case, monkeypatch):
    spool, case, payload = Spool(tmp_path, max_bytes=MAX_CASE_BYTES), make_case(), bytes(MAX_CASE_BYTES)
    monkeypatch.setattr(case_files, "sync_folder", lambda folder: spool.hold(case.case_id))
    spool.put(case, b"imagery", 1.0)
    spool.flush()
    for _ in range(5):
        spool.put(make_case(payload), payload, 1.0)
    spool.flush()
    assert (spool.held(case.case_id), case.case_id in {path.stem for path in tmp_path.iterdir()}) == (None, False)


class LockThatOthersTake:
    """A lock that somebody else gets hold of each time that it is given back."""

    def __init__(self, then):
        self.lock, self.then = threading.Lock(), then

    def __enter__(self):
        self.lock.acquire()

    def __exit__(self, *error):
        self.lock.release()
        then, self.then = self.then, lambda: None  # what it does takes the lock itself
        then()
        self.then = then


def test_case_that_makes_room_while_it_is_queued_again_is_either_gone_or_queued(tmp_path, fill):
    spool, back = Spool(tmp_path), []
    (held,) = fill(spool, [1.0])
    spool.hold(held)

    def take_back():
        if spool.held(held) is not None:
            back.append(held)
            spool.take_back(held)

    spool._lock = LockThatOthersTake(take_back)
    spool._drop_held()
    assert (held in spool) == bool(back)
