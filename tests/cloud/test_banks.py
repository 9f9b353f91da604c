"""Issuing revisions: the next one, within the limits, for one craft or all."""

import numpy as np
import pytest

from cloud import banks
from cloud.errors import BankMoved, RequestError
from protocols import Chip, Prompt, Vectors, limits

VECTORS = Vectors.from_array(np.eye(2, 8, dtype=np.float32))


def prompt(prompt_id="p1", **changes):
    fields = {
        "prompt_id": prompt_id,
        "label": "debris",
        "space_id": "space-0001",
        "variant": "fp32",
        "positives": VECTORS,
        "negatives": VECTORS,
        "threshold": 0.5,
        "issued_at_s": 1.0,
        "origin": "teacher",
        "confidence": 0.5,
    }
    return Prompt(**{**fields, **changes})


def test_upsert_issues_the_next_revision(open_store):
    first = banks.upsert(open_store, "uav", [prompt()], 2.0)
    second = banks.upsert(open_store, "uav", [prompt(label="tree")], 2.0)
    assert (first.revision, second.revision, second.epoch) == (1, 2, first.epoch)
    assert [p.label for p in open_store.bank("uav").prompts] == ["tree"]


def test_bank_is_decoded_once(open_store):
    before = open_store.bank("uav")
    open_store.save_bank("uav", before.model_copy(update={"revision": before.revision + 1}))
    read = open_store.bank("uav")
    assert (read.revision, open_store.bank("uav") is read) == (before.revision + 1, True)


def test_upsert_of_the_same_is_no_revision(open_store):
    banks.upsert(open_store, "uav", [prompt()], 2.0)
    assert banks.upsert(open_store, "uav", [prompt()], 2.0).revision == 1


def test_issue_goes_on_when_another_process_was_faster(open_store, monkeypatch):
    real, moved = open_store.save_bank, []

    def save(craft, bank):
        if not moved:
            moved.append(True)
            real(craft, bank.model_copy(update={"prompts": (prompt("other"),)}))
            raise BankMoved("moved")
        real(craft, bank)

    monkeypatch.setattr(open_store, "save_bank", save)
    bank = banks.upsert(open_store, "uav", [prompt()], 2.0)
    assert [p.prompt_id for p in bank.prompts] == ["other", "p1"]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"expires_at_s": 1.5}),
        ({"priority": 1}, {"origin": "person"}),
        ({"origin": "person", "confidence": 0.1}, {}),
        ({"confidence": 0.6}, {"issued_at_s": 2.0}),
        ({"issued_at_s": 2.0}, {}),
    ],
    ids=["expired", "priority", "person", "confidence", "age"],
)
def test_fit_evicts_the_least_worth(better, worse):
    others = [prompt(f"x{i}", priority=2) for i in range(limits.MAX_PROMPTS - 1)]
    kept = banks.fit([prompt("a", **worse), prompt("b", **better), *others], now_s=3.0)
    assert {"a", "b"} & {p.prompt_id for p in kept} == {"b"}


def test_fit_keeps_within_the_bytes(open_store):
    chip = Chip(jpeg=b"x" * limits.MAX_CHIP_BYTES, box_xyxy=(0, 0, 1, 1), scale=1.0)
    many = [prompt(f"p{i}", chips=(chip,) * 3) for i in range(limits.MAX_PROMPTS)]
    bank = banks.upsert(open_store, "uav", many, 2.0)
    assert 30 < len(bank.prompts) < limits.MAX_PROMPTS


def test_share_reaches_crafts_of_the_same_space(open_store):
    open_store.enroll("same", "d" * 40)
    open_store.enroll("other", "e" * 40)
    open_store.set_craft_profile("same", "space-0001", "fp32", ())
    open_store.set_craft_profile("other", "space-0002", "fp32", ())
    assert banks.share(open_store, prompt(scope="mission"), 2.0) == ["same", "uav"]
    assert open_store.bank("other").prompts == ()


def test_fleet_prompt_reaches_a_craft_enrolled_later(open_store):
    banks.share(open_store, prompt(scope="fleet"), 2.0)
    open_store.enroll("late", "d" * 40)
    assert banks.join_fleet(open_store, 3.0) == ["late"]
    assert banks.join_fleet(open_store, 3.0) == []


def test_withdraw_takes_a_prompt_from_all(open_store):
    banks.share(open_store, prompt(scope="fleet"), 2.0)
    assert banks.withdraw(open_store, "p1") == ["uav"]
    assert open_store.bank("uav").prompts == ()
    assert open_store.is_forbidden("p1")
    assert banks.join_fleet(open_store, 3.0) == []
    with pytest.raises(RequestError, match="no bank holds"):
        banks.withdraw(open_store, "p1")
