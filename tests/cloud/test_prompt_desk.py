"""Findings become prompts in force, once, unless a person said no."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cloud import banks, prompt_desk
from cloud.case_images import CaseImage
from cloud.config import CloudSettings
from cloud.evidence import look
from cloud.prompt_desk import PromptDesk, prompt_id_for
from cloud.prompting import Finding, replay
from cloud.twins import Twins
from edge.clock import SystemClock
from edge.errors import ModelError
from edge.prompting import PromptMatcher
from protocols import limits
from protocols.vectors import Vectors

NONE = np.zeros((0, 4), np.float32)


def finding(boxes, origin="teacher", scope="craft", label="debris"):
    return Finding(label, boxes, NONE, origin, 0.9, scope, "0" * 32)


@pytest.fixture
def evidence(twin, painting):
    picture = painting.paint((50, 50, painting.GREEN), (110, 50, painting.BLUE))
    return look(twin, CaseImage(picture), None)


@pytest.fixture
def boxes(painting):
    return painting.box_at((50, 50))


def test_case_in_which_the_twin_fails_has_no_view(desk, twin, painting, monkeypatch):
    def fail(*_):
        raise ModelError("out of memory")

    monkeypatch.setattr(prompt_desk, "look", fail)
    monkeypatch.setattr(desk.twins, "student", lambda *_: twin)
    case = SimpleNamespace(case_id="1", space_id="s", variant="fp32", frame=SimpleNamespace(pose=None))
    assert desk.view(case, CaseImage(painting.paint())) == (None, None)


def test_answer_issues_a_prompt(desk, open_store, twin, evidence, boxes):
    outcome = desk.answer(twin, "uav", evidence, finding(boxes))
    assert (outcome.state, outcome.crafts) == ("issued", ("uav",))
    assert [p.label for p in open_store.bank("uav").prompts] == ["debris"]


def test_prompt_of_what_the_craft_sees_no_object_in_says_so(desk, twin, evidence, painting):
    assert "it finds nothing yet" not in desk.answer(twin, "uav", evidence, finding(painting.box_at((50, 50)))).reason
    town = finding(np.asarray([[4, 4, 150, 120]], np.float32), origin="person", label="town")
    outcome = desk.answer(twin, "uav", evidence, town)
    assert (outcome.state, "it finds nothing yet: the craft sees no object" in outcome.reason) == ("issued", True)


def test_answer_is_enough_when_the_craft_finds_it_already(desk, open_store, twin, evidence, boxes):
    desk.answer(twin, "uav", evidence, finding(boxes))
    assert desk.answer(twin, "uav", evidence, finding(boxes)).state == "enough"
    assert open_store.bank("uav").revision == 1


def test_answer_extends_the_same_prompt(desk, open_store, twin, evidence, boxes, painting):
    desk.answer(twin, "uav", evidence, finding(boxes))
    other = look(twin, CaseImage(painting.paint((50, 50, (220, 110, 60)))), None)
    assert desk.answer(twin, "uav", other, finding(boxes)).state == "issued"
    assert len(open_store.bank("uav").prompts) == 1


def test_answer_of_a_person_reaches_the_fleet(desk, open_store, twin, evidence, boxes):
    open_store.enroll("second", "d" * 40)
    outcome = desk.answer(twin, "uav", evidence, finding(boxes, "person", "fleet"))
    assert outcome.crafts == ("second", "uav")
    assert len(open_store.fleet_prompts()) == 1


def test_teacher_does_not_repeat_what_a_person_took_back(desk, open_store, twin, evidence, boxes):
    desk.answer(twin, "uav", evidence, finding(boxes))
    banks.withdraw(open_store, prompt_id_for("uav", finding(boxes)))
    outcome = desk.answer(twin, "uav", evidence, finding(boxes))
    assert outcome.state == "refused"
    assert "took prompt" in outcome.reason


def test_remembered_background_becomes_negatives(desk, open_store, twin, evidence, boxes, painting):
    lonely = look(twin, CaseImage(painting.paint((50, 50, painting.GREEN))), None)
    desk.remember(twin, "uav", evidence, boxes)
    desk.answer(twin, "uav", lonely, finding(boxes))
    (prompt,) = open_store.bank("uav").prompts
    blue = evidence.seen.embeddings[evidence.seen.boxes_xyxy[:, 0] > 80]
    assert (blue @ prompt.negatives.to_array().T).max() > 0.99


def test_remembered_background_outlives_the_server(desk, open_store, twin, evidence, boxes, painting):
    lonely = look(twin, CaseImage(painting.paint((50, 50, painting.GREEN))), None)
    desk.remember(twin, "uav", evidence, boxes)
    again = PromptDesk(open_store, desk.twins, CloudSettings().prompts, desk.clock)
    again.answer(twin, "uav", lonely, finding(boxes))
    (prompt,) = open_store.bank("uav").prompts
    blue = evidence.seen.embeddings[evidence.seen.boxes_xyxy[:, 0] > 80]
    assert (blue @ prompt.negatives.to_array().T).max() > 0.99


def test_correct_teaches_what_the_teacher_calls_otherwise(desk, open_store, twin, evidence, boxes, painting):
    desk.answer(twin, "uav", evidence, finding(boxes))
    near_green = (20, 220, 140)
    other = look(twin, CaseImage(painting.paint((50, 50, near_green))), None)
    before = open_store.bank("uav").prompts[0]
    assert desk.correct("uav", other, {"hedge": boxes})
    assert len(open_store.bank("uav").prompts[0].negatives) > len(before.negatives)
    assert not desk.correct("uav", other, {"debris": boxes})


def test_same_thing_under_two_labels_is_refused_and_changes_nothing(desk, open_store, twin, evidence, boxes):
    desk.answer(twin, "uav", evidence, finding(boxes))
    before = open_store.bank("uav")
    outcome = desk.answer(twin, "uav", evidence, finding(boxes, label="hedge"))
    assert outcome.state == "refused"
    assert "calls 'hedge' what" in outcome.reason
    assert "by the same vectors: take one of them back" in outcome.reason
    assert open_store.bank("uav") == before


def test_person_may_call_it_otherwise_than_the_teacher_and_is_heard(desk, open_store, twin, evidence, boxes):
    desk.answer(twin, "uav", evidence, finding(boxes))
    assert desk.answer(twin, "uav", evidence, finding(boxes, "person", label="hedge")).state == "issued"
    matcher = PromptMatcher(open_store.bank("uav"), twin.manifest.space_id)
    assert list(matcher.silenced) == [prompt_id_for("uav", finding(boxes))]
    assert desk.answer(twin, "uav", evidence, finding(boxes, "person", label="bush")).state == "refused"


def fill(store, prompt, **changes):
    """The craft's bank with 64 prompts of other labels and vectors."""
    rng = np.random.default_rng(4)
    dim = prompt.positives.dim
    others = [
        prompt.model_copy(
            update={
                "prompt_id": f"x{i:02}",
                "label": f"thing {i}",
                "positives": Vectors.from_array(rng.normal(size=(1, dim))),
                "negatives": Vectors.from_array(np.zeros((0, dim))),
                "direction_cases": 0,
            }
            | changes
        )
        for i in range(limits.MAX_PROMPTS)
    ]
    return banks.issue(store, "uav", lambda _: others)


def test_full_bank_of_better_prompts_refuses_a_new_one_and_says_why(desk, open_store, twin, evidence, boxes):
    desk.answer(twin, "uav", evidence, finding(boxes))
    full = fill(open_store, open_store.bank("uav").prompts[0], origin="person")
    outcome = desk.answer(twin, "uav", evidence, finding(boxes, label="new"))
    assert outcome.state == "refused"
    assert "the bank of uav is full with 64 prompts that are worth more" in outcome.reason
    assert open_store.bank("uav") == full


def test_full_bank_says_which_prompt_gave_way(desk, open_store, twin, evidence, boxes):
    desk.answer(twin, "uav", evidence, finding(boxes))
    fill(open_store, open_store.bank("uav").prompts[0], confidence=0.1)
    outcome = desk.answer(twin, "uav", evidence, finding(boxes, label="new"))
    assert (outcome.state, outcome.crafts) == ("issued", ("uav",))
    assert outcome.reason.startswith("the bank of uav is full: x")
    assert outcome.reason.endswith("gave way")
    assert len(open_store.bank("uav").prompts) == limits.MAX_PROMPTS


@pytest.mark.parametrize("form", ["replayed", "prototypes"])
def test_hard_negative_is_not_found_any_more(open_store, tiny_bundle, painting, twin, form):
    """What is a little like the thing is found, until a person points at it."""
    like = tuple((np.asarray(painting.GREEN) * 0.8 + np.asarray(painting.BLUE) * 0.2).astype(int).tolist())
    picture = painting.paint(
        (50, 50, painting.GREEN), (110, 50, like), (50, 110, painting.RED), (110, 110, (200, 90, 200))
    )
    evidence = look(twin, CaseImage(picture), None)
    settings = CloudSettings().prompts.model_copy(update={"form": form, "false_per_box": 5})
    desk = PromptDesk(open_store, Twins([tiny_bundle.folder], threads=1), settings, SystemClock())
    told = finding(painting.box_at((50, 50)), "person")
    shunning = replace(told, negatives_xyxy=painting.box_at((110, 50)))
    before = desk.draft(twin, "uav", evidence, told)
    assert replay((before,), evidence, shunning).fooled.tolist() == [True]
    after = desk.draft(twin, "uav", evidence, shunning)
    found = replay((after,), evidence, shunning)
    assert (found.found.tolist(), found.fooled.tolist()) == ([True], [False])


def test_draft_is_in_force_nowhere(open_store, desk, painting, twin):
    evidence = look(twin, CaseImage(painting.paint((50, 50, painting.GREEN))), None)
    assert desk.draft(twin, "uav", evidence, finding(painting.box_at((50, 50)), "person")).label == "debris"
    assert open_store.bank("uav").prompts == ()
