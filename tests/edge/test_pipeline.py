import numpy as np
import pytest
from builders import scene

from edge.capture import Frame
from edge.pipeline import FramePipeline, PipelineSettings
from edge.student import Student, unit_rows
from protocols.values import FrameHeader, Prompt, PromptBank
from protocols.vectors import Vectors

SPOT = (34, 34, (60, 220, 60))


@pytest.fixture
def pipeline(tiny_bundle):
    return FramePipeline(Student.open(tiny_bundle, threads=1))


@pytest.fixture
def bank_with(pipeline):
    """A bank whose one prompt is a cosine of 0.87 away from the green spot, with any threshold."""
    own = pipeline.student.perceive(scene(SPOT)).embeddings[:1]
    side = unit_rows((np.eye(own.shape[1])[:1] - own[:, :1] * own).astype(np.float32))
    positive = Vectors.from_array(np.cos(np.pi / 6) * own + np.sin(np.pi / 6) * side)

    def make(threshold):
        prompt = Prompt(
            prompt_id="green",
            label="Green",
            space_id=pipeline.student.manifest.space_id,
            variant="fp32",
            positives=positive,
            negatives=Vectors.from_array(np.zeros((0, own.shape[1]), np.float32)),
            threshold=threshold,
            temperature=0.07,
            issued_at_s=0.0,
            origin="person",
            confidence=1.0,
        )
        return PromptBank(epoch="e", revision=1, prompts=(prompt,))

    return make


def prompted_ids(pipeline, frames):
    """Track ids of the prompted detections of each of some like frames."""
    image = scene(SPOT)
    height, width = image.shape[:2]
    for index in range(frames):
        header = FrameHeader(index=index, source_id="s", captured_at_s=float(index), width=width, height=height)
        found = pipeline.process(Frame(header, image, float(index))).detections
        yield [d.track_id for d in found if d.provenance == "prompt:green"]


def test_known_detection_stays_where_a_surer_prompt_speaks(tiny_bundle, bank_with):
    found = []
    for bank in (PromptBank.empty("e"), bank_with(threshold=0.5)):
        pipeline = FramePipeline(Student.open(tiny_bundle, threads=1), PipelineSettings(score_floor=0.0))
        pipeline.use_bank(bank)
        header = FrameHeader(index=0, source_id="s", captured_at_s=0.0, width=160, height=96)
        found.append(pipeline.process(Frame(header, scene(SPOT), 0.0)).detections)
    known = [[(d.label, d.box_xyxy, d.score) for d in seen if d.provenance == "edge"] for seen in found]
    assert known[0] == known[1]
    (prompted,) = (d for d in found[1] if d.provenance == "prompt:green")
    assert prompted.box_xyxy in [box for _, box, _ in known[0]]


def test_faint_match_alone_is_no_detection(pipeline, bank_with):
    pipeline.use_bank(bank_with(threshold=0.92))
    assert list(prompted_ids(pipeline, 5)) == [[]] * 5


def test_faint_match_continues_a_confirmed_track(pipeline, bank_with):
    pipeline.use_bank(bank_with(threshold=0.8))
    (first,), *others = prompted_ids(pipeline, pipeline.settings.tracker.confirm_hits)
    assert others == [[first]] * len(others)
    pipeline.use_bank(bank_with(threshold=0.92))
    assert list(prompted_ids(pipeline, 3)) == [[first]] * 3


def test_faint_match_does_not_continue_a_tentative_track(pipeline, bank_with):
    pipeline.use_bank(bank_with(threshold=0.8))
    ((_,),) = prompted_ids(pipeline, 1)
    pipeline.use_bank(bank_with(threshold=0.92))
    assert list(prompted_ids(pipeline, 3)) == [[]] * 3


def test_recent_frames_are_kept_while_nothing_is_followed(tiny_bundle):
    pipeline = FramePipeline(Student.open(tiny_bundle, threads=1))
    image = scene(SPOT)
    for index in range(50):
        header = FrameHeader(
            index=index, source_id="s", captured_at_s=1e9 + index, width=image.shape[1], height=image.shape[0]
        )
        pipeline.process(Frame(header, image, index / 10))
    assert [frame.index for frame in pipeline.recent.after(-1)] == list(range(9, 50))
    assert (pipeline.recent.at(20).image == image).all()
