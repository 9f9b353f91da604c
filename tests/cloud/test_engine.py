"""Waiting cases are answered in batches, once each, whatever a single one is like."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloud.config import CloudSettings, PromptSettings
from cloud.engine import Engine
from cloud.errors import StoreError, TeacherError
from cloud.interpreter import Interpreter
from cloud.opened import Knocking
from protocols import CasePart, encode_image

SETTINGS = CloudSettings(max_batch=4, unsure_below=0.5, prompts=PromptSettings(min_score=0.5))


@pytest.fixture
def interpreter(open_store, teacher, desk, metrics):
    return Interpreter(open_store, teacher, desk, SETTINGS, metrics)


@pytest.fixture
def notified():
    return []


@pytest.fixture
def add(open_store, painting):
    def add_case(*spots, **changes):
        case, payload = painting.make_case(painting.paint(*spots), **changes)
        open_store.add_cases([("uav", case, payload)])
        return case

    return add_case


def answer_all(store, interpreter, notified):
    interpreter.answer(store.waiting_cases(10), notified.append)


def test_case_gets_its_answer_and_its_prompt(open_store, interpreter, notified, add, painting):
    case = add((50, 50, painting.GREEN), (110, 50, painting.BLUE), (50, 110, painting.RED), origin=(100, 40))
    answer_all(open_store, interpreter, notified)
    (told,) = open_store.undelivered("uav", 9)
    assert [(d.label, d.box_xyxy) for d in told.detections] == [("debris", (142, 82, 158, 98))]
    assert [p.label for p in open_store.bank("uav").prompts] == ["debris"]
    assert notified == ["uav", "uav"]
    assert open_store.case_state("uav", case.case_id)[1] == "unsure"  # the blue one has no name yet


def test_case_with_nothing_left_open_is_interpreted(open_store, interpreter, notified, add, painting):
    case = add((50, 50, painting.GREEN))
    answer_all(open_store, interpreter, notified)
    assert open_store.case_state("uav", case.case_id)[1] == "interpreted"
    assert open_store.waiting_cases(10) == []


def test_known_label_makes_no_prompt(open_store, interpreter, notified, add, painting):
    open_store.set_craft_profile("uav", "0123456789abcdef", "fp32", ("debris",))
    add((50, 50, painting.GREEN))
    answer_all(open_store, interpreter, notified)
    assert open_store.bank("uav").prompts == ()


def test_low_score_is_left_for_a_person(open_store, interpreter, notified, add, painting, teacher):
    teacher.score = 0.3
    add((50, 50, painting.GREEN))
    answer_all(open_store, interpreter, notified)
    (unsure,) = open_store.list_cases()
    assert "below 0.50" in unsure.reason
    assert len(open_store.undelivered("uav", 9)) == 1
    assert open_store.bank("uav").prompts == ()


def test_unknown_space_is_answered_without_prompt(open_store, interpreter, notified, add, painting):
    add((50, 50, painting.GREEN), space_id="another-space")
    answer_all(open_store, interpreter, notified)
    (unsure,) = open_store.list_cases()
    assert "--student" in unsure.reason
    assert len(open_store.undelivered("uav", 9)) == 1


def test_answering_again_after_a_crash_changes_nothing(open_store, interpreter, notified, add, painting):
    add((50, 50, painting.GREEN))
    waiting = open_store.waiting_cases(10)
    interpreter.answer(waiting, notified.append)
    interpreter.answer(waiting, notified.append)
    assert len(open_store.undelivered("uav", 9)) == 1
    assert open_store.bank("uav").revision == 1


def test_undecodable_case_fails_alone(open_store, interpreter, notified, add, painting):
    good = add((50, 50, painting.GREEN))
    bad, payload = painting.make_case(painting.paint(), payload=b"not an image")
    open_store.add_cases([("uav", bad, payload)])
    answer_all(open_store, interpreter, notified)
    assert open_store.case_state("uav", bad.case_id)[1] == "failed"
    assert open_store.case_state("uav", good.case_id)[1] == "interpreted"


def test_lost_imagery_fails_its_case(open_store, interpreter, notified, add, painting):
    case = add((50, 50, painting.GREEN))
    open_store._files.path("uav", case.case_id).unlink()
    answer_all(open_store, interpreter, notified)
    assert open_store.case_state("uav", case.case_id)[1] == "failed"


@pytest.mark.parametrize("error", [TeacherError("no"), ValueError("bug")], ids=["foreseen", "bug"])
def test_failing_teacher_is_asked_one_by_one(open_store, interpreter, notified, add, painting, teacher, error):
    teacher.error = error
    cases = [add((50, 50, painting.GREEN)), add((60, 60, painting.GREEN))]
    answer_all(open_store, interpreter, notified)
    assert teacher.batches == [2, 1, 1]
    assert {open_store.case_state("uav", case.case_id)[1] for case in cases} == {"failed"}


def test_teacher_that_forgets_an_answer_is_asked_one_by_one(
    open_store, interpreter, notified, add, painting, teacher, monkeypatch
):
    answer = teacher.interpret
    monkeypatch.setattr(teacher, "interpret", lambda frames: answer(frames)[: max(len(frames) - 1, 1)])
    cases = [add((50, 50, painting.GREEN)), add((60, 60, painting.GREEN))]
    answer_all(open_store, interpreter, notified)
    assert teacher.batches == [2, 1, 1]
    assert {open_store.case_state("uav", case.case_id)[1] for case in cases} == {"interpreted"}


def test_teacher_without_any_answer_fails_the_case(
    open_store, interpreter, notified, add, painting, teacher, monkeypatch
):
    monkeypatch.setattr(teacher, "interpret", lambda frames: [])
    case = add((50, 50, painting.GREEN))
    answer_all(open_store, interpreter, notified)
    assert open_store.case_state("uav", case.case_id)[1] == "failed"


def test_answer_of_another_kind_fails_the_case(open_store, interpreter, notified, add, painting, teacher, monkeypatch):
    monkeypatch.setattr(teacher, "interpret", lambda frames: [{"boxes": []} for _ in frames])
    case = add((50, 50, painting.GREEN))
    answer_all(open_store, interpreter, notified)
    (stored,) = open_store.list_cases(unsure_only=False)
    assert (stored.case.case_id, stored.state) == (case.case_id, "failed")
    assert "an answer is a dict, TeacherAnswer wanted" in stored.reason


def test_store_failure_leaves_cases_waiting(open_store, interpreter, notified, add, painting, monkeypatch):
    add((50, 50, painting.GREEN))

    def full(*_):
        raise StoreError("disk full")

    monkeypatch.setattr(open_store, "keep_answers", full)
    with pytest.raises(StoreError):
        answer_all(open_store, interpreter, notified)
    assert len(open_store.waiting_cases(10)) == 1


def test_engine_runs_in_batches_until_stopped(open_store, interpreter, notified, add, painting, teacher):
    for _ in range(6):
        add((50, 50, painting.GREEN))

    async def scenario():
        with ThreadPoolExecutor(1) as worker:
            engine = Engine(open_store, interpreter, SETTINGS, worker, Knocking(notified.append))
            task = asyncio.create_task(engine.run())
            while open_store.waiting_cases(1):
                await asyncio.sleep(0.01)
            engine.stop()
            await task

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert teacher.batches == [4, 2]
    assert "uav" in notified


def add_parts(store, painting, *pictures):
    """A case of several pictures, each a (picture, origin)."""
    encoded = [encode_image(picture, "image/png") for picture, _ in pictures]
    (first, origin), payload = pictures[0], b"".join(encoded)
    further = tuple(
        CasePart(region_xyxy=(x, y, x + picture.shape[1], y + picture.shape[0]), payload_bytes=len(data))
        for (picture, (x, y)), data in zip(pictures[1:], encoded[1:], strict=True)
    )
    case, _ = painting.make_case(first, origin=origin, payload=payload, further=further)
    store.add_cases([("uav", case, payload)])
    return case


def test_case_of_two_pictures_gets_one_answer_in_the_frame(open_store, interpreter, notified, painting, teacher):
    green = painting.paint((50, 50, painting.GREEN))
    case = add_parts(open_store, painting, (green, (0, 0)), (green, (400, 300)))
    answer_all(open_store, interpreter, notified)
    (told,) = open_store.undelivered("uav", 9)
    assert teacher.batches == [2]
    assert sorted(d.box_xyxy for d in told.detections) == [(42, 42, 58, 58), (442, 342, 458, 358)]
    assert open_store.case_state("uav", case.case_id)[1] == "interpreted"
    assert [prompt.label for prompt in open_store.bank("uav").prompts] == ["debris"]


def test_pictures_beyond_a_batch_go_in_several(open_store, interpreter, notified, painting, teacher):
    green = painting.paint((50, 50, painting.GREEN))
    add_parts(open_store, painting, *((green, (160 * (i % 3), 160 * (i // 3))) for i in range(6)))
    answer_all(open_store, interpreter, notified)
    assert teacher.batches == [4, 2]


def test_case_with_one_damaged_picture_fails(open_store, interpreter, notified, painting):
    green = painting.paint((50, 50, painting.GREEN))
    case = add_parts(open_store, painting, (green, (0, 0)), (painting.paint(size=(8, 8)), (400, 300)))
    path = open_store._files.path("uav", case.case_id)
    path.write_bytes(path.read_bytes()[:-70] + bytes(70))
    answer_all(open_store, interpreter, notified)
    assert open_store.case_state("uav", case.case_id)[1] == "failed"
