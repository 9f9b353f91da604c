"""The case store: once and only once, durable, shared between threads and processes."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cloud.errors import BankMoved, RequestError, StoreError
from cloud.imagery_files import ImageryFiles
from cloud.store import CaseStore, Review
from protocols import Case, Detection, FrameHeader, Interpretation, Prompt, PromptBank, Vectors, new_case_id

KEY_A, KEY_B = "a" * 40, "b" * 40


def make_case(payload: bytes, case_id: str | None = None, ttl_s: float | None = None) -> Case:
    return Case(
        ttl_s=ttl_s,
        case_id=case_id or new_case_id(),
        frame=FrameHeader(index=0, source_id="test", captured_at_s=1.0, width=640, height=512),
        region_xyxy=(0, 0, 640, 512),
        hardness=0.5,
        space_id="space-0001",
        variant="fp32",
        media_type="image/jpeg",
        payload_bytes=len(payload),
        payload_sha256=hashlib.sha256(payload).hexdigest(),
    )


def make_interpretation(case_id: str, by: str = "teacher", label: str = "debris") -> Interpretation:
    return Interpretation(
        case_id=case_id,
        detections=(Detection(box_xyxy=(1, 2, 3, 4), label=label, score=0.9, provenance="cloud"),),
        confidence=0.9,
        by=by,
        interpreter="test",
        made_at_s=5.0,
    )


def make_prompt(prompt_id: str, label: str = "debris", scope: str = "craft") -> Prompt:
    vectors = Vectors.from_array(np.eye(2, 8, dtype=np.float32))
    return Prompt(
        prompt_id=prompt_id,
        label=label,
        space_id="space-0001",
        variant="fp32",
        positives=vectors,
        negatives=vectors,
        threshold=0.5,
        scope=scope,
        issued_at_s=1.0,
        origin="person",
        confidence=1.0,
    )


@pytest.fixture
def store(tmp_path):
    opened = CaseStore(tmp_path / "data")
    yield opened
    opened.close()


def test_add_cases_keeps_each_digest_once(store):
    case = make_case(b"one")
    other = make_case(b"two", case.case_id)
    assert store.add_cases([("a", case, b"one")]) == ["stored"]
    assert store.add_cases([("a", case, b"one"), ("a", other, b"two"), ("b", other, b"two")]) == [
        "duplicate",
        "conflict",
        "stored",
    ]
    assert store.read_imagery(store.load_case(case.case_id, "a")) == b"one"


def test_cases_are_counted_by_craft_and_once(store):
    assert store.count_cases() == {}
    case, other = make_case(b"one"), make_case(b"two")
    store.add_cases([("a", case, b"one"), ("a", other, b"two"), ("b", other, b"two"), ("a", case, b"one")])
    assert store.count_cases() == {"a": 2, "b": 1}


def test_add_cases_same_case_twice_in_one_group(store):
    case = make_case(b"one")
    assert store.add_cases([("a", case, b"one"), ("a", case, b"one")]) == ["stored", "duplicate"]


def test_add_cases_disk_full_keeps_nothing(store, monkeypatch):
    cases = [make_case(b"one"), make_case(b"two")]
    real, calls = os.replace, []

    def full(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(target))
        return real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        store.add_cases([("a", cases[0], b"one"), ("a", cases[1], b"two")])
    assert [store.case_state("a", case.case_id) for case in cases] == [None, None]
    assert [path for path in store.data_dir.rglob("imagery/*/*") if path.is_file()] == []


def test_imagery_syncs_new_folders_into_their_parents(tmp_path, monkeypatch):
    seen, fsync = [], os.fsync

    def note(handle):
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        seen.extend(path.iterdir() if path.is_dir() else ())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    files = ImageryFiles(tmp_path / "data" / "imagery")
    files.write([("a", "12ab", b"one")])
    path = files.path("a", "12ab")
    assert {files.folder.parent, files.folder, path.parent, path} <= set(seen)


def test_add_cases_database_full_keeps_nothing(store):
    payload = b"x"
    with store._db.writing() as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON cases BEGIN SELECT RAISE(FAIL, 'disk'); END"
        )
    with pytest.raises(StoreError, match="disk"):
        store.add_cases([("a", make_case(payload), payload)])
    assert [path for path in store.data_dir.rglob("imagery/*/*") if path.is_file()] == []


def test_add_cases_from_many_threads(store):
    cases = [make_case(bytes([i + 1])) for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda i: store.add_cases([("a", cases[i // 2], bytes([i // 2 + 1]))]), range(32)))
    assert sorted(v[0] for v in verdicts) == ["duplicate"] * 16 + ["stored"] * 16


def test_acknowledged_case_survives_kill(tmp_path):
    script = (
        "import os, sys, signal; from pathlib import Path; from cloud.store import CaseStore;"
        "from protocols import Case;"
        "store = CaseStore(Path(sys.argv[1]));"
        "store.add_cases([('a', Case.model_validate_json(sys.argv[2]), b'one')]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    case = make_case(b"one")
    subprocess.run([sys.executable, "-c", script, str(tmp_path), case.model_dump_json()], check=False, timeout=60)
    store = CaseStore(tmp_path)
    assert [kept.case for kept in store.waiting_cases(10)] == [case]
    assert store.read_imagery(store.load_case(case.case_id)) == b"one"
    store.close()


def _revoke_elsewhere(data_dir: Path) -> None:
    CaseStore(data_dir).revoke("uav")


def test_data_version_moves_when_another_process_writes(store):
    store.enroll("uav", KEY_A)
    before = store.data_version()
    assert store.data_version() == before
    process = multiprocessing.get_context("spawn").Process(target=_revoke_elsewhere, args=(store.data_dir,))
    process.start()
    process.join(60)
    assert store.data_version() != before
    assert store.enrolled().get(KEY_A) is None


def test_data_version_moves_on_own_writes(store):
    before = store.data_version()
    store.enroll("uav", KEY_A)
    assert store.data_version() != before


def test_enroll_revoke_and_enroll_again(store):
    store.enroll("uav", KEY_A)
    store.enroll("uav", KEY_A)
    assert store.enrolled().get(KEY_A) == "uav"
    store.revoke("uav")
    assert store.enrolled().get(KEY_A) is None
    store.enroll("uav", KEY_B)
    assert (store.enrolled().get(KEY_A), store.enrolled().get(KEY_B)) == (None, "uav")


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("../etc", KEY_B, "craft name"),
        ("sat", "short", "40 Z85"),
        ("uav", KEY_B, "another key"),
        ("sat", KEY_A, "enrolled as 'uav'"),
    ],
)
def test_enroll_refuses_bad_identity(store, name, key, message):
    store.enroll("uav", KEY_A)
    with pytest.raises(RequestError, match=message):
        store.enroll(name, key)


def test_revoke_unknown_craft(store):
    with pytest.raises(RequestError, match="no craft"):
        store.revoke("uav")


def test_craft_profile_is_kept(store):
    store.enroll("uav", KEY_A)
    store.set_craft_profile("uav", "space-0001", "u8s8", ("Car", "Person"))
    assert store.craft("uav").labels == ("Car", "Person")


def test_teacher_interpretation_is_kept_once(store):
    case_id = new_case_id()
    assert store.add_interpretation("a", make_interpretation(case_id))
    assert not store.add_interpretation("a", make_interpretation(case_id, label="other"))
    assert [i.detections[0].label for i in store.undelivered("a", 9)] == ["debris"]
    store.mark_delivered("a", case_id)
    assert not store.add_interpretation("a", make_interpretation(case_id))
    assert store.undelivered("a", 9) == []


def test_person_may_correct_an_answer(store):
    case_id = new_case_id()
    store.add_interpretation("a", make_interpretation(case_id, "person", "car"))
    store.mark_delivered("a", case_id, "person")
    assert store.add_interpretation("a", make_interpretation(case_id, "person", "truck"))
    assert [i.detections[0].label for i in store.undelivered("a", 9)] == ["truck"]


def test_case_state_reviewed_is_final(store):
    case = make_case(b"one")
    store.add_cases([("a", case, b"one")])
    store.set_case_state("a", case.case_id, "unsure", "low", 0.3)
    assert [kept.reason for kept in store.list_cases()] == ["low"]
    store.set_case_state("a", case.case_id, "reviewed")
    store.set_case_state("a", case.case_id, "interpreted")
    assert store.case_state("a", case.case_id) == (case.payload_sha256, "reviewed")
    assert store.list_cases() == []
    assert len(store.list_cases(unsure_only=False)) == 1


def test_load_case_takes_a_unique_prefix(store):
    cases = [make_case(b"one", "aaaaaa" + "0" * 26), make_case(b"one", "aaaaaa" + "1" * 26)]
    store.add_cases([("a", case, b"one") for case in cases])
    assert store.load_case("aaaaaa0").case == cases[0]
    for prefix, message in [("aaaaaa", "several"), ("bbbbbb", "no case"), ("a%", "hex digits")]:
        with pytest.raises(RequestError, match=message):
            store.load_case(prefix)


def test_bank_keeps_epoch_and_history(store):
    first = store.bank("a")
    assert store.bank("a") == first
    second = PromptBank(epoch=first.epoch, revision=1, prompts=(make_prompt("p1"),))
    store.save_bank("a", second)
    assert store.bank("a") == second
    assert store.bank_at("a", first.ref) == first
    assert store.bank_at("b", first.ref) is None
    with pytest.raises(BankMoved):
        store.save_bank("a", second)


def test_bank_history_is_bounded(store):
    bank = first = store.bank("a")
    for revision in range(1, 20):
        bank = PromptBank(epoch=bank.epoch, revision=revision)
        store.save_bank("a", bank)
    assert store.bank_at("a", first.ref) is None
    assert store.bank("a").revision == 19


def test_fleet_prompts_until_forbidden(store):
    store.add_fleet_prompt(make_prompt("p1", scope="fleet"))
    assert [prompt.prompt_id for prompt in store.fleet_prompts()] == ["p1"]
    store.forbid_prompt("p1")
    assert store.is_forbidden("p1")
    assert store.fleet_prompts() == []
    store.allow_prompt("p1")
    assert not store.is_forbidden("p1")


def test_reviews_wait_until_finished(store):
    review = Review("a", new_case_id(), "debris", ((1.0, 2.0, 3.0, 4.0),), "fleet", "ann", 7.0)
    number = store.add_review(review)
    assert [(r.label, r.boxes_xyxy, r.review_id) for r in store.waiting_reviews()] == [
        ("debris", ((1.0, 2.0, 3.0, 4.0),), number)
    ]
    store.finish_review(number, "failed", "too small")
    assert store.waiting_reviews() == []
    assert store.review_outcome(number) == ("failed", "too small")


def test_background_of_recent_cases_outlives_the_process_and_is_bounded(store, tmp_path):
    vectors = np.eye(6, 8, dtype=np.float32)
    for i in range(6):
        store.add_background("a", "old", vectors[i : i + 1], keep=2)
    for i in range(3):
        store.add_background("a", "new", vectors[i : i + 2], keep=2)
    store.add_background("b", "new", vectors[:0], keep=2)
    again = CaseStore(store.data_dir)
    assert [len(case) for case in again.background("a", "new")] == [2, 2]
    np.testing.assert_allclose(np.concatenate(again.background("a", "old")), vectors[4:], atol=1e-3)
    assert [case.shape for case in again.background("b", "new")] == [(0, 8)]
    for i in range(3):
        again.add_background("a", "third", vectors[i : i + 1], keep=2)
    assert again.background("a", "old") == []
    again.close()


def test_open_refuses_other_schema(tmp_path):
    CaseStore(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "skyloop.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema version 99"):
        CaseStore(tmp_path)


def test_open_refuses_what_is_no_database(tmp_path):
    (tmp_path / "skyloop.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        CaseStore(tmp_path)


def test_reviews_are_told_whether_used_or_not(store):
    reviews = [Review("a", "0" * 32, label, ((1.0, 2.0, 3.0, 4.0),), "craft", "ann", 5.0) for label in ("x", "y")]
    store.finish_review(store.add_review(reviews[0]), "done")
    store.add_review(reviews[1])
    assert [(r.label, r.boxes_xyxy) for r in store.reviews()] == [(r.label, r.boxes_xyxy) for r in reviews]


def test_teacher_detections_leave_out_the_persons(store):
    case = make_case(b"one")
    store.add_cases([("a", case, b"one")])
    stored = store.load_case(case.case_id)
    assert store.teacher_detections(stored) == ()
    for by in ("teacher", "person"):
        store.add_interpretation("a", make_interpretation(case.case_id, by, by))
    assert [found.label for found in store.teacher_detections(stored)] == ["teacher"]
    assert store.imagery_path(stored).read_bytes() == b"one"


def kept_cases(store: CaseStore, *ttls_s: float | None) -> list[str]:
    """Cases kept one after the other; their ids."""
    cases = [make_case(bytes([number]), ttl_s=ttl_s) for number, ttl_s in enumerate(ttls_s, 1)]
    store.add_cases([("alpha", case, bytes([number])) for number, case in enumerate(cases, 1)])
    return [case.case_id for case in cases]


def waiting(store: CaseStore, limit: int) -> list[str]:
    return [stored.case.case_id for stored in store.waiting_cases(limit)]


def test_where_all_fit_waiting_cases_come_in_order(tmp_path):
    with closing(CaseStore(tmp_path)) as store:
        ids = kept_cases(store, None, 60.0, 1e-6, 60.0)
        assert waiting(store, 9) == ids


def test_under_overload_the_newest_live_case_comes_first(tmp_path):
    with closing(CaseStore(tmp_path)) as store:
        _, _, newest = kept_cases(store, None, 60.0, 60.0)
        assert waiting(store, 1) == [newest]


def test_a_survey_case_keeps_its_place_in_every_batch(tmp_path):
    with closing(CaseStore(tmp_path)) as store:
        survey, _, live, newest, _ = kept_cases(store, None, 60.0, 60.0, 60.0, None)
        assert waiting(store, 3) == [survey, live, newest]


def test_a_live_case_that_came_too_long_ago_waits_for_all_others(tmp_path):
    with closing(CaseStore(tmp_path)) as store:
        _, survey, live = kept_cases(store, 1e-6, None, 60.0)
        assert waiting(store, 2) == [survey, live]


def test_news_differs_for_the_craft_that_has_some_alone(tmp_path):
    with closing(CaseStore(tmp_path)) as store:
        assert store.news() == {}
        before = [store.bank(craft) and store.news() for craft in ("alpha", "beta")][-1]
        (case_id,) = kept_cases(store, None)
        store.add_interpretation("alpha", make_interpretation(case_id))
        answered = store.news()
        store.mark_delivered("alpha", case_id)
        store.save_bank("alpha", PromptBank(epoch=store.bank("alpha").epoch, revision=1))
        taught = store.news()
    assert before["beta"] == answered["beta"] == taught["beta"]
    assert len({before["alpha"], answered["alpha"], taught["alpha"]}) == 3
