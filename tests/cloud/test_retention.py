"""What goes when a data folder grows too old or too large, in which order, and what never goes."""

import asyncio
import json
import os
import random
import time

import numpy as np
import pytest
from builders import make_case
from pydantic import ValidationError
from sqlalchemy import select
from typer.testing import CliRunner

from cloud import cli
from cloud.errors import StoreError
from cloud.janitor import Janitor
from cloud.retention import PREFIXES, Retention
from cloud.retention_settings import RetentionSettings
from cloud.store import CaseStore, Review
from cloud.tables import CaseRow, InterpretationRow
from protocols import Interpretation, Prompt, Vectors
from protocols.messages import RefineRequest, TrackTarget
from protocols.values import FrameRef

DAY_S = 86400.0
NOTHING = {
    "imagery_days": 0,
    "imagery_bytes": 0,
    "case_days": 0,
    "cases": 0,
    "event_days": 0,
    "events": 0,
    "digest_days": 0,
}
"""Settings without a bound."""


class Now:
    def wall_s(self):
        return time.time()

    def monotonic_s(self):
        return time.monotonic()


@pytest.fixture
def store(tmp_path):
    opened = CaseStore(tmp_path / "data")
    opened.enroll("uav", "c" * 40)
    yield opened
    opened.close()


def add(store, state="interpreted", **facts):
    """A case in a state; returns its id."""
    return add_many(store, [{"state": state, **facts}])[0]


def add_many(store, specs):
    """Cases as `add` makes them, in two transactions."""
    payloads = [random.Random(0).randbytes(spec.get("size", 100)) for spec in specs]
    cases = [make_case(payload) for payload in payloads]
    store.add_cases([("uav", case, payload) for case, payload in zip(cases, payloads, strict=True)])
    with store._db.writing() as session:
        for spec, case in zip(specs, cases, strict=True):
            row = session.scalars(select(CaseRow).where(CaseRow.case_id == case.case_id)).one()
            row.state, row.received_at_s = spec["state"], time.time() - spec.get("age_days", 0) * DAY_S
            key = {"craft": "uav", "case_id": case.case_id}
            if spec["state"] in ("interpreted", "unsure", "reviewed"):
                told = {"confidence": 0.5, "by": "teacher", "interpreter": "t", "made_at_s": 2.0}
                answer = Interpretation(case_id=case.case_id, **told).model_dump_json()
                is_delivered = spec.get("delivered", True)
                session.add(
                    InterpretationRow(**key, by="teacher", interpretation_json=answer, is_delivered=is_delivered)
                )
    for spec, case in zip(specs, cases, strict=True):
        if spec["state"] == "reviewed":
            number = store.add_review(Review("uav", case.case_id, "Debris", (), "craft", "ann", 3.0))
            store.finish_review(number, "done")
    return [case.case_id for case in cases]


def prune(store, **settings):
    """One whole round; what went, by kind."""
    retention = Retention(store, RetentionSettings(**NOTHING | settings), Now())
    gone = {}
    for step in retention.steps(folders=len(PREFIXES)):
        gone[step.kind] = gone.get(step.kind, 0) + step.gone.count
    return gone


def held(store):
    """Which of the cases have imagery, and that it is really there."""
    found = {}
    for stored in store.list_cases(unsure_only=False, limit=10_000):
        found[stored.case.case_id] = stored.has_imagery
        assert store.imagery_path(stored).exists() == stored.has_imagery
    return found


def test_nothing_goes_without_bounds(store):
    add(store, age_days=10_000)
    assert prune(store) == {}


def test_imagery_goes_by_age_before_the_row(store):
    old, young = add(store, age_days=11), add(store, age_days=9)
    assert prune(store, imagery_days=10) == {"imagery": 1}
    assert held(store) == {old: False, young: True}
    assert prune(store, imagery_days=10) == {}


def test_imagery_that_went_is_explained(store):
    case_id = add(store, age_days=11)
    prune(store, imagery_days=10)
    with pytest.raises(StoreError, match=r"imagery of case .* was dropped .*; keep more with \[retention\]"):
        store.read_imagery(store.load_case(case_id))


def test_oldest_imagery_goes_until_the_rest_fits(store):
    ids = add_many(store, [{"state": "interpreted", "age_days": days} for days in (3, 5, 1, 4)])
    assert prune(store, imagery_bytes=250) == {"imagery": 2}
    assert held(store) == dict(zip(ids, (True, False, True, False), strict=True))
    assert store.imagery_bytes() == 200


def test_rows_go_by_age_and_by_count_with_all_that_hangs_on_them(store):
    old, older, young = (add(store, age_days=days) for days in (20, 30, 1))
    store.add_refinement("uav", refinement_of(old), by="teacher", now_s=1.0)
    store.note_refinement("uav", "r1", "refused")
    assert prune(store, imagery_days=5, case_days=25) == {"imagery": 2, "case": 1}
    assert sorted(held(store)) == sorted([old, young])
    assert prune(store, cases=1) == {"case": 1}
    assert list(held(store)) == [young]
    assert store.teacher_answer("uav", old) is store.teacher_answer("uav", older) is None
    assert store.refinements_of("uav", old) == []


def refinement_of(case_id):
    return RefineRequest(request_id="r1", case_id=case_id, region_xyxy=(0, 0, 8, 8), quality=90)


def test_case_offered_again_after_its_row_went_is_known(store):
    payload = b"once"
    case = make_case(payload)
    store.add_cases([("uav", case, payload)])
    store.set_case_state("uav", case.case_id, "interpreted")
    with store._db.writing() as session:
        session.query(CaseRow).update({"received_at_s": 0.0})
    assert prune(store, imagery_days=1, case_days=1) == {"imagery": 1, "case": 1}
    other = make_case(b"else", case_id=case.case_id)
    assert store.kept_digest("uav", case.case_id) == case.payload_sha256
    assert store.add_cases([("uav", case, payload), ("uav", other, b"else")]) == ["duplicate", "conflict"]
    assert store.waiting_cases(10) == []
    assert not store._files.path("uav", case.case_id).exists()


def test_digests_go_when_no_craft_can_offer_the_case_any_more(store):
    case_id = add(store, age_days=30)
    prune(store, imagery_days=1, case_days=1)
    assert prune(store, digest_days=1) == {}
    with store._db.writing() as session:
        session.connection().exec_driver_sql("UPDATE forgotten_cases SET forgotten_at_s = 0")
    assert prune(store, digest_days=1) == {"digest": 1}
    assert store.kept_digest("uav", case_id) is None


def test_events_go_by_age_and_by_number(store):
    for number in range(10):
        store.note_event("ann", "look", str(number))
    with store._db.writing() as session:
        session.connection().exec_driver_sql("UPDATE events SET at_s = 0 WHERE about IN ('0', '1')")
    settings = RetentionSettings(**NOTHING | {"event_days": 5, "events": 6})
    assert sum(step.gone.count for step in Retention(store, settings, Now()).plan()) == 4
    assert prune(store, event_days=5, events=6) == {"event": 4}
    assert [event.about for event in store.events()] == ["9", "8", "7", "6", "5", "4"]


ALL = {"imagery_days": 1, "imagery_bytes": 1, "case_days": 1, "cases": 1}


@pytest.mark.parametrize("state", ["stored", "unsure", "reviewed"])
def test_what_waits_or_teaches_never_goes(store, state):
    case_id = add(store, state, age_days=900)
    assert prune(store, **ALL) == {}
    assert held(store) == {case_id: True}


def test_undelivered_answer_keeps_its_case(store):
    case_id = add(store, age_days=900, delivered=False)
    assert prune(store, **ALL) == {}
    store.mark_delivered("uav", case_id)
    assert prune(store, **ALL) == {"imagery": 1, "case": 1}


def test_open_request_for_a_better_picture_keeps_its_case(store):
    case_id = add(store, age_days=900)
    store.add_refinement("uav", refinement_of(case_id), by="ann", now_s=time.time())
    assert prune(store, **ALL) == {}


@pytest.mark.parametrize("reviewed_too", [False, True])
def test_waiting_review_keeps_its_case(store, reviewed_too):
    case_id = add(store, age_days=900)
    store.add_review(Review("uav", case_id, "Debris", (), "craft", "ann", 3.0))
    assert prune(store, **ALL, drop_reviewed=reviewed_too) == {}


@pytest.mark.parametrize("scope", ["craft", "fleet"])
def test_prompt_in_force_keeps_the_case_it_was_made_of(store, scope):
    case_id = add(store, age_days=900)
    vectors = Vectors.from_array(np.eye(2, 8, dtype=np.float32))
    what = {"prompt_id": "p", "label": "debris", "space_id": "space", "variant": "fp32", "origin": "person"}
    shape = {"positives": vectors, "negatives": vectors, "threshold": 0.5, "issued_at_s": 1.0, "confidence": 1.0}
    prompt = Prompt(**what, **shape, case_id=case_id)
    if scope == "fleet":
        store.add_fleet_prompt(prompt)
    else:
        bank = store.bank("uav")
        store.save_bank("uav", bank.model_copy(update={"revision": 1, "prompts": (prompt,)}))
    assert prune(store, **ALL) == {}
    assert held(store) == {case_id: True}


def test_target_that_is_followed_keeps_the_picture_it_was_drawn_in(store):
    case_id = add(store, age_days=900)
    seen_in = FrameRef(source_id="t", index=0, captured_at_s=1.0, case_id=case_id)
    order = TrackTarget(target_key="ab" * 16, action="start", label="x", box_xyxy=(0, 0, 9, 9), seen_in=seen_in)
    store.add_target("uav", order, by="ann", now_s=1.0, expires_at_s=time.time() + 60)
    assert prune(store, **ALL) == {}


def test_reviewed_cases_go_last_and_only_where_told(store):
    reviewed, plain = add(store, "reviewed", age_days=9), add(store, age_days=2)
    failed = add(store, "failed", age_days=1)
    assert prune(store, imagery_bytes=250, drop_reviewed=True) == {"imagery": 1}
    assert held(store) == {reviewed: True, plain: True, failed: False}
    assert prune(store, imagery_bytes=150, drop_reviewed=True) == {"imagery": 1}
    assert held(store) == {reviewed: True, plain: False, failed: False}
    assert prune(store, imagery_bytes=50, drop_reviewed=True) == {"imagery": 1}
    assert held(store)[reviewed] is False
    assert prune(store, cases=1, drop_reviewed=True) == {"case": 2}
    assert [review.case_id for review in store.reviews()] == [reviewed]


def test_bound_that_cannot_be_kept_is_told(store):
    add_many(store, [{"state": "unsure"}] * 3)
    retention = Retention(store, RetentionSettings(**NOTHING | {"imagery_bytes": 50, "cases": 2}), Now())
    assert list(retention.steps()) == []
    assert (retention.over_bytes, retention.over_cases) == (250, 1)


def test_file_without_a_case_is_collected_once_it_is_old(store):
    kept = store.imagery_path(store.load_case(add(store)))
    dropped = store.load_case(add(store, age_days=9))
    prune(store, imagery_days=5)
    orphans = [store._files.path("uav", "ab" * 16), store._files.path("uav", "cd" * 16 + ".part")]
    orphans.append(store.imagery_path(dropped))  # as a crash between the commit and the removal leaves it
    for path in orphans:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left")
    assert prune(store) == {}
    for path in (*orphans, kept):
        os.utime(path, (1, 1))
    assert prune(store) == {"orphan": 3}
    assert not any(path.exists() for path in orphans)
    assert kept.exists()


def test_case_that_comes_while_orphans_are_collected_keeps_its_file(store, monkeypatch):
    """The file of an earlier crash is replaced by the case's own between looking and removing."""
    payload = b"again"
    case = make_case(payload)
    path = store._files.path("uav", case.case_id)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    os.utime(path, (1, 1))
    looked = store.find_orphans
    monkeypatch.setattr(store, "find_orphans", lambda *a: (looked(*a), store.add_cases([("uav", case, payload)]))[0])
    assert store.remove_orphans(case.case_id[:2], time.time() + 60, 10).count == 0
    assert path.read_bytes() == payload


def test_plan_tells_what_a_round_does(store):
    rng = random.Random(4)
    states = ["interpreted"] * 12 + ["failed"] * 6 + ["unsure", "stored", "reviewed"]
    ages, sizes = [rng.uniform(0, 30) for _ in range(60)], [rng.randrange(50, 500) for _ in range(60)]
    add_many(
        store,
        [
            {"state": rng.choice(states), "age_days": age, "size": size, "delivered": rng.random() < 0.9}
            for age, size in zip(ages, sizes, strict=True)
        ],
    )
    bounds = {"imagery_days": 20, "imagery_bytes": 8000, "case_days": 25, "cases": 45}
    settings = RetentionSettings(**NOTHING | bounds)
    before = held(store)
    planned = {step.kind: step.gone.count for step in Retention(store, settings, Now()).plan() if step.gone.count}
    assert held(store) == before
    went = prune(store, **bounds)
    assert planned == went
    assert set(went) == {"imagery", "case"}


def test_round_keeps_what_is_needed_whatever_the_mix(store):
    rng = random.Random(5)
    states = [*["interpreted", "failed", "unsure", "stored"] * 4, "reviewed"]
    specs = [
        {"state": rng.choice(states), "age_days": rng.uniform(0, 30), "delivered": rng.random() < 0.5}
        for _ in range(80)
    ]
    waits = [
        s["state"] not in ("interpreted", "failed") or (s["state"], s["delivered"]) == ("interpreted", False)
        for s in specs
    ]
    needed = {case_id for case_id, is_needed in zip(add_many(store, specs), waits, strict=True) if is_needed}
    prune(store, **ALL)
    assert set(held(store)) == needed
    assert all(held(store).values())


def test_steps_are_small(store, monkeypatch):
    monkeypatch.setattr("cloud.retention._STEP", 7)
    add_many(store, [{"state": "interpreted", "age_days": 9}] * 30)
    retention = Retention(store, RetentionSettings(**NOTHING | {"imagery_days": 1, "case_days": 5}), Now())
    steps = [step.gone.count for step in retention.steps(folders=0)]
    assert max(steps) == 7
    assert sum(steps) == 60


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="imagery_days 90 outlasts case_days 30"):
        RetentionSettings(case_days=30)
    with pytest.raises(ValidationError, match="imagery_days 0 outlasts"):
        RetentionSettings(imagery_days=0, case_days=30)


def test_prune_tells_and_does(store, tmp_path):
    old = add(store, age_days=11)
    (tmp_path / "cloud.toml").write_text("[retention]\nimagery_days = 10\n")
    arguments = ["prune", "--data", str(store.data_dir), "--config", str(tmp_path / "cloud.toml"), "--json"]
    planned = json.loads(CliRunner().invoke(cli.app, [*arguments, "--dry-run"], catch_exceptions=False).stdout)
    assert (planned["gone"]["imagery"], planned["freed_bytes"], held(store)) == (1, 100, {old: True})
    done = json.loads(CliRunner().invoke(cli.app, arguments, catch_exceptions=False).stdout)
    assert (done["gone"], held(store)) == (planned["gone"], {old: False})


def test_janitor_lets_go_while_others_write_and_says_so(store, metrics):
    old = add_many(store, [{"state": "interpreted", "age_days": 9}] * 40)
    settings = RetentionSettings(**NOTHING | {"imagery_days": 1, "every_s": 0.05, "imagery_bytes": 50})

    async def scenario():
        stop = asyncio.Event()
        task = asyncio.create_task(Janitor(store, settings, metrics).run(stop))
        while await asyncio.to_thread(lambda: any(store.load_case(case_id).has_imagery for case_id in old)):
            await asyncio.to_thread(add, store, "stored")
            await asyncio.sleep(0.01)
        stop.set()
        await task

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert metrics.registry.get_sample_value("skyloop_retention_dropped_total", {"kind": "imagery"}) == 40
    assert metrics.registry.get_sample_value("skyloop_retention_dropped_bytes_total") == 4000


def test_janitor_that_is_off_lets_nothing_go(store, metrics):
    case_id = add(store, age_days=900)

    async def scenario():
        stop = asyncio.Event()
        task = asyncio.create_task(Janitor(store, RetentionSettings(enabled=False, every_s=0.05), metrics).run(stop))
        await asyncio.sleep(0.2)
        stop.set()
        await task

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert held(store) == {case_id: True}
