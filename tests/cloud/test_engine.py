"""Waiting cases are answered in batches, once each, whatever a single one is like."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloud import engine as engine_module
from cloud.config import CloudSettings, PromptSettings
from cloud.engine import Engine
from cloud.errors import StoreError, TeacherError
from cloud.interpreter import Interpreter
from cloud.opened import Knocking, OpenedCase
from cloud.store import Review, StoredCase
from cloud.watcher import Watcher
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


class Steps:
    """An interpreter whose teacher is through when the test says so."""

    def __init__(self, metrics):
        self.metrics, self.asked, self.kept = metrics, [], []
        self.may_end, self.opened, self.error = threading.Event(), threading.Event(), None

    def open(self, cases):
        self.opened.set()
        return [OpenedCase(case) for case in cases]

    def ask(self, cases):
        self.asked.append([opened.stored.case.case_id for opened in cases])
        assert self.may_end.wait(20)

    def keep(self, cases, postman):
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.kept += [opened.stored.case.case_id for opened in cases]


@pytest.fixture
def steps(metrics):
    return Steps(metrics)


def run_engine(store, steps, scenario, limit_s=60, **settings):
    """Runs a scenario, which is given the engine, beside it; returns what it returns."""

    async def both():
        with ThreadPoolExecutor(1) as worker:
            engine = Engine(store, steps, CloudSettings(**settings), worker, Knocking(lambda craft: None))
            task = asyncio.create_task(engine.run())
            try:
                return await scenario(engine)
            finally:
                steps.may_end.set()
                engine.stop()
                await task

    return asyncio.run(asyncio.wait_for(both(), limit_s))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def arrive(engine, store, painting, count):
    """Cases as the gateway hands them over; returns their ids."""
    items = [("uav", *painting.make_case(painting.paint())) for _ in range(count)]
    store.add_cases(items)
    engine.arrive([(StoredCase(craft, case, "stored", "", None, 0.0), payload) for craft, case, payload in items])
    return [case.case_id for _, case, _ in items]


def test_next_batch_is_opened_while_the_teacher_is_at_work_and_takes_all_that_came(open_store, steps, painting):
    async def scenario(engine):
        first = arrive(engine, open_store, painting, 1)
        await until(lambda: steps.asked)
        steps.opened.clear()
        more = arrive(engine, open_store, painting, 3)
        await until(steps.opened.is_set)
        steps.may_end.set()
        await until(lambda: len(steps.kept) == 4)
        return first, more

    first, more = run_engine(open_store, steps, scenario, max_batch=8)
    assert steps.asked == [first, more]


def test_next_run_begins_while_the_event_loop_is_busy(open_store, steps, painting):
    async def scenario(engine):
        first = arrive(engine, open_store, painting, 1)
        await until(lambda: steps.asked)
        second = arrive(engine, open_store, painting, 1)
        await until(lambda: engine._ready)
        steps.may_end.set()
        end_s = time.monotonic() + 20
        while len(steps.asked) < 2 and time.monotonic() < end_s:  # no await: the loop does nothing else
            time.sleep(0.005)
        return [first, second]

    assert run_engine(open_store, steps, scenario) == steps.asked


def test_cases_are_chosen_while_the_teacher_takes_what_is_ready(open_store, steps, painting, monkeypatch):
    """The loop counts the pixels of what is ready as slowly as it can, and the teacher takes as fast as it can."""
    quick = engine_module._waiting
    monkeypatch.setattr(engine_module, "_waiting", lambda case: time.sleep(0.001) or quick(case))
    steps.may_end.set()

    async def scenario(engine):
        ids = []
        for _ in range(30):
            ids += arrive(engine, open_store, painting, 3)
            await asyncio.sleep(0.003)
        await until(lambda: len(steps.kept) >= len(ids))
        return ids

    assert sorted(run_engine(open_store, steps, scenario, max_batch=8)) == sorted(steps.kept)


def test_run_that_fails_ends_the_engine_and_begins_no_other(open_store, steps, painting, monkeypatch):
    monkeypatch.setattr(steps, "ask", lambda cases: steps.asked.append(len(cases)) or 1 / 0)

    async def scenario(engine):
        for count in (1, 2):
            arrive(engine, open_store, painting, count)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run_engine(open_store, steps, scenario)
    assert len(steps.asked) == 1


def test_batch_that_the_store_did_not_keep_is_answered_again(open_store, steps, painting, monkeypatch):
    monkeypatch.setattr("cloud.engine._RETRY_S", 0.01)
    steps.may_end.set()
    steps.error = StoreError("disk full")

    async def scenario(engine):
        ids = arrive(engine, open_store, painting, 2)
        await until(lambda: len(steps.kept) >= 2)
        return ids

    ids = run_engine(open_store, steps, scenario)
    assert sorted(steps.kept[:2]) == sorted(ids)


def test_cases_of_an_earlier_run_are_found_and_counted(open_store, steps, add, painting):
    cases = [add((50, 50, painting.GREEN)) for _ in range(3)]

    async def scenario(engine):
        await until(lambda: steps.asked)
        return engine._admission.waiting

    assert run_engine(open_store, steps, scenario) == 3
    assert sorted(case_id for batch in steps.asked for case_id in batch) == sorted(case.case_id for case in cases)


def test_case_that_is_kept_while_the_store_is_read_is_not_answered_again(open_store, steps, painting, monkeypatch):
    read, looked = open_store.waiting_cases, []

    async def scenario(engine):
        def slow(limit):
            found = read(limit)
            steps.may_end.set()
            while engine._in_work:
                time.sleep(0.005)
            looked.append(len(found))
            return found

        ids = arrive(engine, open_store, painting, 1)
        await until(lambda: steps.asked)
        monkeypatch.setattr(open_store, "waiting_cases", slow)
        engine._is_behind = True
        engine.wake()
        await until(lambda: looked)
        await asyncio.sleep(0.2)  # it would be asked about at once
        return ids

    assert run_engine(open_store, steps, scenario) == steps.kept
    assert (looked, len(steps.asked)) == ([1], 1)


def test_stop_while_a_batch_waits_for_more_ends_it(open_store, steps, painting, monkeypatch):
    gathering = threading.Event()
    monkeypatch.setattr("cloud.engine.pays_to_wait", lambda *_: gathering.set() or True)
    steps.may_end.set()

    async def scenario(engine):
        arrive(engine, open_store, painting, 1)
        await until(gathering.is_set)

    run_engine(open_store, steps, scenario, limit_s=5, max_wait_s=1.0)
    assert steps.asked == []


def test_queue_delay_and_batch_size_are_told(open_store, steps, painting, metrics):
    steps.may_end.set()

    async def scenario(engine):
        arrive(engine, open_store, painting, 2)
        await until(lambda: len(steps.kept) == 2)

    run_engine(open_store, steps, scenario)
    assert metrics.registry.get_sample_value("skyloop_batch_size_sum") == 2
    assert metrics.registry.get_sample_value("skyloop_queue_delay_seconds_count") == 2


def test_person_is_heard_between_two_of_the_teachers_cases(
    open_store, interpreter, notified, add, painting, desk, metrics
):
    cases = [add((50, 50, painting.GREEN)) for _ in range(3)]
    answered = open_store.add_review(
        Review("uav", cases[0].case_id, "debris", ((42.0, 42.0, 58.0, 58.0),), "craft", "ann", 7.0)
    )
    watcher, settled = Watcher(open_store, desk, metrics), []

    def give_way():
        if open_store.has_waiting_reviews():
            watcher.look()
        settled.append(len([case for case in cases if open_store.case_state("uav", case.case_id)[1] != "stored"]))

    interpreter.give_way = give_way
    answer_all(open_store, interpreter, notified)
    assert open_store.review_outcome(answered) == ("done", "")
    assert settled == [1, 1, 1]  # the person's, before any of the teacher's is settled
