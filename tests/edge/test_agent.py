"""The agent on a hand-made student, without a link: what it writes, counts and survives."""

import json
import threading
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge.agent import Agent, AgentSettings
from edge.bank import BankStore
from edge.capture import open_source
from edge.errors import TargetError
from edge.link_stats import LinkStats
from edge.outputs import RunOutputs
from edge.path_estimate import PathState
from edge.pipeline import PipelineSettings
from edge.refinements import Refinements
from edge.runtime.onnx import OnnxBackend
from edge.scheduler import SchedulerSettings
from edge.spool import Spool
from edge.student import Student
from edge.target_orders import TargetOrders
from edge.target_questions import QuestionSettings
from edge.target_requests import TargetRequest
from protocols.errors import ShapeError
from protocols.imagery import encode_image
from protocols.messages import RefineRequest, TrackTarget
from protocols.values import BankChange, Chip, Interpretation, Prompt, PromptBank
from protocols.vectors import Vectors

GREEN, RED = (60, 220, 60), (40, 40, 250)


@pytest.fixture
def flight(tmp_path):
    """Twelve frames: a known red thing all the time, an unknown green one from frame 2 on."""
    folder = tmp_path / "flight"
    folder.mkdir()
    for i in range(12):
        image = np.zeros((128, 160, 3), np.uint8)
        image[26:42, 26 + 4 * i : 42 + 4 * i] = RED
        if i >= 2:
            image[90:106, 90:106] = GREEN
        cv2.imwrite(str(folder / f"{i:03d}.png"), image)
    return folder


@pytest.fixture
def student(tiny_bundle):
    return Student.open(tiny_bundle, threads=1)


def quiet_link(orders=None):
    """A link without a wire; what the cloud says is put into `answers`."""
    return SimpleNamespace(
        stats=LinkStats, orders=orders or TargetOrders(), refinements=Refinements(), path=PathState, answers=deque()
    )


def fly(student, flight, folder, *, bank=None, spool=None, **scheduler):
    settings = AgentSettings(scheduler=SchedulerSettings(**scheduler))
    source = open_source(str(flight))
    bank = bank or BankStore(folder / "bank")
    with RunOutputs(folder / "out", fps=15, video=True) as outputs:
        agent = Agent(student=student, bank=bank, spool=spool, outputs=outputs, settings=settings)
        summary = agent.run(source)
        outputs.summarise(summary)
    lines = [json.loads(line) for line in (folder / "out" / "detections.jsonl").read_text().splitlines()]
    return summary, lines


def green_prompt(student, case_id=None):
    image = np.zeros((128, 160, 3), np.uint8)
    image[90:106, 90:106] = GREEN
    vector = student.perceive(image).embeddings[:1]
    return Prompt(
        prompt_id="green",
        label="Green",
        space_id=student.manifest.space_id,
        variant="fp32",
        positives=Vectors.from_array(vector),
        negatives=Vectors.from_array(np.zeros((0, vector.shape[1]), np.float32)),
        threshold=0.9,
        issued_at_s=1.0,
        origin="person",
        confidence=1.0,
        case_id=case_id,
    )


def test_run_writes_a_line_a_frame_and_follows_the_known_thing(student, flight, tmp_path):
    summary, lines = fly(student, flight, tmp_path)
    assert [line["frame"] for line in lines] == list(range(12))
    red = [d for line in lines for d in line["detections"] if d["label"] == "Red"]
    assert len(red) == 12
    assert {d["provenance"] for d in red} == {"edge"}
    assert len({d["track_id"] for d in red}) == 1
    assert summary["detections"] == {"edge/Red": 12}


def test_run_without_a_cloud_keeps_no_frames_for_what_comes_late(student, flight, tmp_path):
    agent = Agent(student=student, bank=BankStore(tmp_path / "bank"))
    agent.run(open_source(str(flight)))
    assert len(agent.pipeline.recent) == 0


def test_run_writes_a_video_of_every_frame(student, flight, tmp_path):
    fly(student, flight, tmp_path)
    capture = cv2.VideoCapture(str(tmp_path / "out" / "video.mp4"))
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == 12


def test_run_spools_one_case_for_the_unknown_thing(student, flight, tmp_path):
    spool = Spool(tmp_path / "spool")
    summary, lines = fly(student, flight, tmp_path, spool=spool, audit_share=0.0)
    spool.flush()
    sent = [line for line in lines if "case_id" in line]
    assert len(sent) == 1
    assert summary["cases"]["planned"] == len(spool) == 1
    assert spool.best().case.case_id == sent[0]["case_id"]


def test_question_about_a_target_has_a_line_that_tells_its_frame(student, flight, tmp_path):
    spool, out = Spool(tmp_path / "spool"), tmp_path / "out"
    settings = AgentSettings(
        pipeline=PipelineSettings(questions=QuestionSettings(per_100_frames=10, audit_frames=10)),
        scheduler=SchedulerSettings(min_hardness=2.0, audit_share=0.0),  # no frame is that hard
    )
    bank = BankStore(tmp_path / "bank")
    with RunOutputs(out, fps=15, video=False) as outputs:
        agent = Agent(student=student, bank=bank, spool=spool, outputs=outputs, settings=settings)
        agent.pipeline.remembers = True  # as with a link
        agent.pipeline.follow(TargetRequest((26, 26, 16, 16), "thing"))
        agent.run(open_source(str(flight)))
    spool.flush()
    case = spool.best().case
    (line,) = [json.loads(line) for line in (out / "cases.jsonl").read_text().splitlines()]
    assert (line["case_id"], line["frame"], tuple(line["region_xyxy"])) == (
        case.case_id,
        case.frame.index,
        case.region_xyxy,
    )


def test_run_audits_frames_and_hears_what_the_cloud_says_of_them(student, flight, tmp_path):
    spool = Spool(tmp_path / "spool")
    with RunOutputs(tmp_path / "out", fps=15, video=False) as outputs:
        settings = AgentSettings(scheduler=SchedulerSettings(audit_share=1.0, policy="none"))
        link = quiet_link()
        parts = {"bank": BankStore(tmp_path / "bank"), "spool": spool, "outputs": outputs, "link": link}
        agent = Agent(student=student, settings=settings, **parts)
        summary = agent.run(open_source(str(flight)))
        assert summary["audit"]["asked"] == summary["cases"]["planned"] == 12
        spool.flush()
        case = spool.best().case
        answer = Interpretation(
            case_id=case.case_id,
            detections=case.detections,
            confidence=1.0,
            by="teacher",
            interpreter="test",
            made_at_s=0.0,
        )
        link.answers.append(answer)
        agent._take_answers()
        assert agent.scheduler.audit.report().agreement == 1.0


def test_run_without_spool_makes_no_case(student, flight, tmp_path):
    summary, _ = fly(student, flight, tmp_path)
    assert summary["cases"]["planned"] == 0


def test_lines_tell_when_the_craft_flew_a_frame_by_its_own_clock(student, flight, tmp_path):
    clock_s = [line["clock_s"] for line in fly(student, flight, tmp_path)[1]]
    assert clock_s[0] == 0
    assert clock_s == sorted(clock_s)


def test_run_uses_a_durable_prompt_from_the_first_frame(student, flight, tmp_path):
    bank = BankStore(tmp_path / "bank")
    new = PromptBank(epoch="e1", revision=1, prompts=(green_prompt(student),))
    bank.apply(BankChange(base=None, target=new.ref, upserts=new.prompts))
    _, lines = fly(student, flight, tmp_path, bank=BankStore(tmp_path / "bank"))
    green = [d for line in lines for d in line["detections"] if d["label"] == "Green"]
    assert len(green) == 10
    assert {d["provenance"] for d in green} == {"prompt:green"}
    assert len({d["track_id"] for d in green}) == 1


def test_run_takes_up_a_prompt_of_another_bundle_from_its_chips_and_says_so(student, flight, tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:40, 24:40] = GREEN
    chip = Chip(jpeg=encode_image(image, "image/jpeg", 90), box_xyxy=(24, 24, 40, 40), scale=1)
    prompts = [
        green_prompt(student).model_copy(update={"prompt_id": name, "space_id": "another", "chips": chips})
        for name, chips in (("green", (chip,)), ("bare", ()))
    ]
    new = PromptBank(epoch="e1", revision=1, prompts=prompts)
    bank = BankStore(tmp_path / "bank")
    bank.apply(BankChange(base=None, target=new.ref, upserts=new.prompts))
    summary, lines = fly(student, flight, tmp_path, bank=bank)
    assert summary["chips"] == {"compared": 0, "rebuilt": 1, "unused": 1, "waiting": 0, "least_cosine": None}
    assert {d["provenance"] for d in lines[-1]["detections"]} == {"edge", "prompt:green"}
    assert bank.current == new


def test_run_measures_the_loop_from_capture_to_prompt_in_force(student, flight, tmp_path):
    bank, spool = BankStore(tmp_path / "bank"), Spool(tmp_path / "spool")
    source = open_source(str(flight))
    agent = Agent(student=student, bank=bank, spool=spool)
    for frame in source:
        agent.step(frame)
        spool.flush()
        if spool.best() is not None and bank.current.revision == 0:
            new = PromptBank(epoch="e1", revision=1, prompts=(green_prompt(student, spool.best().case.case_id),))
            bank.apply(BankChange(base=None, target=new.ref, upserts=new.prompts))
    assert agent.summary(source)["loop_ms"]["count"] == 1
    (loop,) = agent.summary(source)["loops"]
    assert loop["case_id"] == bank.current.prompts[0].case_id
    assert loop["ms"] == agent.summary(source)["loop_ms"]["p50"] > 0


def test_order_that_cannot_be_followed_ends_no_flight(student, flight, tmp_path):
    orders = TargetOrders()
    for key, box in (("away", (300, 10, 340, 50)), ("red", (26, 26, 42, 42))):
        orders.receive(TrackTarget(target_key=key, action="start", box_xyxy=box))
    agent = Agent(
        student=student,
        bank=BankStore(tmp_path / "bank"),
        link=quiet_link(orders),
    )
    results = [agent.step(frame) for frame in open_source(str(flight))]
    assert len(results) == 12
    assert {len(result.targets) for result in results} == {1}
    assert [(s.target_key, s.state, s.target_id) for s in orders.due(9)] == [
        ("away", "refused", None),
        ("red", "tracked", 1),
    ]


def test_target_that_cannot_be_followed_ends_a_flight_only_in_its_first_frame(student, flight, tmp_path):
    agent = Agent(student=student, bank=BankStore(tmp_path / "bank"))
    frames = iter(open_source(str(flight)))
    agent.step(next(frames))
    agent.pipeline.follow(TargetRequest((300, 10, 40, 40)))
    assert agent.step(next(frames)).begun[0].target_id is None
    anew = Agent(student=student, bank=BankStore(tmp_path / "bank"))
    anew.pipeline.follow(TargetRequest((300, 10, 40, 40)))
    with pytest.raises(TargetError, match="outside the frame"):
        anew.step(next(frames))
    frames.close()


def test_run_takes_a_prompt_that_arrives_while_the_last_cases_are_delivered(student, flight, tmp_path):
    """The link's part is played here: an answer soon after the last frame, then the cloud's receipt of the case."""
    bank, spool = BankStore(tmp_path / "bank"), Spool(tmp_path / "spool")
    agent = Agent(
        student=student,
        bank=bank,
        spool=spool,
        link=quiet_link(),
        settings=AgentSettings(linger_s=20.0),
    )

    def answer():
        case_id = spool.best().case.case_id
        new = PromptBank(epoch="e1", revision=1, prompts=(green_prompt(student, case_id),))
        bank.apply(BankChange(base=None, target=new.ref, upserts=new.prompts))
        spool.done(case_id)

    source = open_source(str(flight))
    timer = threading.Timer(1.0, answer)

    def at_the_end(_, __):
        if agent.statistics.frames == 12:
            spool.flush()
            timer.start()
        return True

    waited = []
    summary = agent.run(source, on_frame=at_the_end, on_wait=lambda: waited.append(1))
    timer.join()
    assert summary["frames"] == 12
    assert summary["loop_ms"]["count"] == 1
    assert waited  # a watchdog hears of it


def test_run_known_detections_are_the_same_with_a_prompt(student, flight, tmp_path):
    bank = BankStore(tmp_path / "b" / "bank")
    new = PromptBank(epoch="e1", revision=1, prompts=(green_prompt(student),))
    bank.apply(BankChange(base=None, target=new.ref, upserts=new.prompts))
    without = fly(student, flight, tmp_path / "a")[1]
    with_prompt = fly(student, flight, tmp_path / "b", bank=bank)[1]

    def red(lines):
        return [(d["box_xyxy"], d["score"]) for line in lines for d in line["detections"] if d["label"] == "Red"]

    assert red(with_prompt) == red(without)


def test_run_that_fails_leaves_no_decoder_behind(tiny_bundle, tmp_path):
    """A decoder still running when the interpreter ends aborts the process, and the error's exit code is lost."""
    for i in range(40):
        np.save(tmp_path / f"{i:02d}.npy", np.zeros((64, 64, 3), np.uint8))
    six = tiny_bundle.manifest.model_copy(update={"bands": 6, "band_order": "a,b,c,d,e,f"})
    student = Student(tiny_bundle.with_manifest(six), OnnxBackend(tiny_bundle.model_path, threads=1))
    agent = Agent(student=student, bank=BankStore(tmp_path / "bank"))
    with pytest.raises(ShapeError, match="takes uint8"):
        agent.run(open_source(str(tmp_path)))
    assert not {"decode", "perceive"} & {thread.name for thread in threading.enumerate()}


def test_agent_heeds_what_the_link_knows_of_the_way(student, flight, tmp_path):
    spool, link = Spool(tmp_path / "spool"), quiet_link()
    link.path = lambda: PathState(connected=True, edge_to_cloud_bps=80.0, is_bps_floor=False)
    agent = Agent(student=student, bank=BankStore(tmp_path / "bank"), spool=spool, link=link)
    summary = agent.run(open_source(str(flight)))  # ten bytes a second: quarter of an hour for a case
    assert agent.scheduler.outlook.bytes_per_s == 10.0
    assert summary["cases"]["planned"] > 0
    slow = AgentSettings(scheduler=SchedulerSettings(ttl_s=30.0))
    agent = Agent(student=student, bank=BankStore(tmp_path / "bank2"), spool=spool, link=link, settings=slow)
    summary = agent.run(open_source(str(flight)))
    assert summary["cases"]["planned"] == 0
    assert summary["cases"]["too_late"] > 0
    known = link.path()
    for number, unknown in enumerate(({"connected": False}, {"edge_to_cloud_bps": None})):
        state = replace(known, **unknown)
        link.path = lambda state=state: state
        bank = BankStore(tmp_path / f"unknown{number}")
        agent = Agent(student=student, bank=bank, spool=spool, link=link, settings=slow)
        assert agent.run(open_source(str(flight)))["cases"]["planned"]


def test_better_picture_that_the_spool_does_not_take_is_refused_for_now(student, flight, tmp_path, monkeypatch):
    spool, link = Spool(tmp_path / "spool"), quiet_link()
    agent = Agent(student=student, bank=BankStore(tmp_path / "bank"), spool=spool, link=link)
    put = spool.put
    monkeypatch.setattr(spool, "put", lambda case, *rest: case.refines is None and put(case, *rest))
    for frame in open_source(str(flight)):
        agent.step(frame)
        spool.flush()
        if spool.best() is not None and not link.refinements.asked:
            link.refinements.receive(RefineRequest(request_id="r", case_id=spool.best().case.case_id))
    assert [(problem.code, problem.about) for problem in link.refinements.due(9)] == [("busy", "r")]
    assert link.refinements.counts == {"asked": 1, "answered": 0, "refused": 1}
