"""A student takes over between two frames, and everything that goes with it: prompts, targets, cases."""

import hashlib
import json
import time

import numpy as np
import onnx
import pytest
from builders import scene
from onnx import numpy_helper

from edge.agent import Agent, AgentSettings
from edge.bank import BankStore
from edge.bundle import load_bundle
from edge.bundle_swap import BundleSwap, InUse, TrialSettings
from edge.capture import Frame
from edge.chip_check import ChipCheck
from edge.spool import Spool
from edge.student import Student
from edge.target_requests import TargetRequest
from protocols import FrameHeader
from protocols.errors import ShapeError

GREEN, BLUE = (60, 220, 60), (250, 90, 60)


@pytest.fixture
def wider(tiny_bundle, tmp_path):
    """The tiny bundle with 12 numbers in each vector instead of 8."""
    out = tmp_path / "wider"
    out.mkdir()
    model = onnx.load(str(tiny_bundle.folder / "fp32.onnx"))
    (mix,) = [tensor for tensor in model.graph.initializer if tensor.name == "mix"]
    weights = np.linalg.qr(np.random.default_rng(8).normal(size=(12, 3)))[0].reshape(12, 3, 1, 1)
    mix.CopyFrom(numpy_helper.from_array(weights.astype(np.float32), "mix"))
    content = model.SerializeToString()
    (out / "fp32.onnx").write_bytes(content)
    manifest = json.loads((tiny_bundle.folder / "bundle.json").read_text())
    manifest |= {"space_id": "fedcba9876543210", "embedding_dim": 12, "labels": ["Scarlet"]}
    manifest["variants"]["fp32"] |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (out / "bundle.json").write_text(json.dumps(manifest))
    return Student.open(load_bundle(out), threads=1)


@pytest.fixture
def bank(tmp_path):
    return BankStore(tmp_path / "bank")


@pytest.fixture
def swap(tiny_bundle, bank):
    student = Student.open(tiny_bundle, threads=1)
    return BundleSwap(
        InUse(student, ChipCheck(student, bank.current), bank.current),
        lambda: bank.current,
        TrialSettings(frames=4, seconds=0.0, slower=1000.0),
    )


def frame(index, *spots):
    header = FrameHeader(index=index, source_id="t", captured_at_s=1e9 + index / 10, width=160, height=128)
    return Frame(header, scene(*spots), time.monotonic())


def test_targets_and_cases_go_on_across_a_student_of_another_space(swap, bank, wider, tmp_path):
    settings = AgentSettings.model_validate(
        {"scheduler": {"patience_frames": 1, "cooldown_s": 0, "min_interval_s": 0, "min_hardness": 0.01}}
    )
    spool = Spool(tmp_path / "spool")
    agent = Agent(student=swap, bank=bank, spool=spool, settings=settings)
    agent.pipeline.follow(TargetRequest(label="thing", box_xywh=(40, 40, 16, 16)))
    spots = [(48 + index, 48, GREEN) for index in range(24)]
    for index in range(12):
        agent.step(frame(index, spots[index], (120, 90, BLUE)))
    planned = agent.statistics.cases_planned
    swap.hand_over(InUse.prepare(wider, bank.current, "wider-1"))
    for index in range(12, 24):
        result = agent.step(frame(index, spots[index], (120, 90, BLUE)))
    (target,) = result.targets
    assert target.target_id == 1
    assert abs((target.box_xyxy[0] + target.box_xyxy[2]) / 2 - spots[-1][0]) < 8
    assert agent.statistics.cases_planned > planned
    spool.flush()
    spaces, busy = [], set()
    while (spooled := spool.best(busy, None)) is not None:
        spaces.append(spooled.case.space_id)
        busy.add(spooled.case.case_id)
    assert set(spaces) == {wider.manifest.space_id, "0123456789abcdef"}
    assert agent.pipeline.student is wider
    assert agent._in_use.bundle_id == "wider-1"


def test_outcomes_are_told_once_and_in_order(swap, wider):
    told = []
    swap.on_outcome = lambda outcome, in_use, reason: told.append((outcome, in_use.bundle_id))
    picture = scene((48, 48, GREEN))
    swap.look(picture)
    swap.hand_over(InUse.prepare(wider, swap.bank(), "wider-1"))
    for _ in range(8):
        _, in_use = swap.look(picture)
    assert in_use.student is wider
    assert told == [("taken", "wider-1"), ("passed", "wider-1")]


def test_picture_that_no_student_takes_blames_nobody(swap, wider):
    swap.look(scene())
    swap.hand_over(InUse.prepare(wider, swap.bank(), "wider-1"))
    with pytest.raises(ShapeError):
        swap.look(np.zeros((64, 64), np.float32))
    assert swap.in_use.student is wider


def test_error_after_the_trial_is_the_programs_as_before(swap, wider):
    swap.hand_over(InUse.prepare(wider, swap.bank(), "wider-1"), is_on_trial=False)
    swap.look(scene())
    wider.backend = None
    with pytest.raises(AttributeError):
        swap.look(scene())


def test_lost_target_keeps_its_first_look_in_the_new_space(swap, bank, wider, tmp_path):
    agent = Agent(student=swap, bank=bank, spool=Spool(tmp_path / "spool"))
    agent.pipeline.remembers = True
    agent.pipeline.follow(TargetRequest(label="thing", box_xywh=(40, 40, 16, 16)))
    for index in range(6):
        agent.step(frame(index, (48, 48, GREEN)))
    for index in range(6, 40):
        result = agent.step(frame(index))
    assert [target.state for target in result.targets] == ["lost"]
    swap.hand_over(InUse.prepare(wider, bank.current, "wider-1"))
    agent.step(frame(40))
    looks = agent.pipeline._targets._followed[1]._looks
    seen = wider.perceive(scene((48, 48, GREEN)))
    assert looks.template.shape == (12,)
    assert float(looks.likeness(seen.embeddings[:1])[0]) > 0.9
