import json
from dataclasses import replace

import numpy as np
import pytest
from builders import scene

from edge.capture import Frame
from edge.errors import ModelError
from edge.hardness import HardnessSettings, with_reward
from edge.pipeline import FramePipeline
from edge.reward import (
    HARDNESS_NAME,
    RewardModel,
    claim_features,
    claims_of,
    feature_names,
    frame_features,
    frame_reward,
    load_reward,
    novelty,
    read_reward,
    refitted,
)
from edge.student import Student
from protocols.values import FrameHeader

RED, BLUE = (40, 40, (20, 20, 255)), (100, 80, (255, 60, 60))


@pytest.fixture(scope="module")
def student(tiny_bundle):
    return Student.open(tiny_bundle, threads=1)


def model_of(student, **changes):
    """Weights by feature name, 0 where not given."""
    weights = changes.pop("weights", {})
    names = feature_names(student.manifest.labels)
    fields = {
        "space_id": student.manifest.space_id,
        "variant": student.bundle.variant,
        "features": names,
        "weights": tuple(weights.get(name, 0.0) for name in names),
        "looks": {},
        "full": 2.0,
    }
    return RewardModel(**(fields | changes))


def beside(bundle, folder, text):
    (folder / HARDNESS_NAME).write_text(text)
    return replace(bundle, folder=folder)


def table_of(student, image):
    seen = student.perceive(image)
    claims = claims_of(student, seen)
    return claims, claim_features(seen, claims, student.manifest.labels, {}, student.manifest.score_floor)


def test_named_and_unnamed_claims_use_columns_of_their_own(student):
    claims, table = table_of(student, scene(RED, BLUE))
    names = feature_names(student.manifest.labels)
    red, unnamed = (table[:-1, names.index(f"{who}.one")] for who in ("Red", "unnamed"))
    assert ((red > 0) == (claims.classes == 0)).all()
    assert ((unnamed > 0) == (claims.classes < 0)).all()
    assert red.any()
    assert unnamed.any()
    assert not table[:-1][claims.classes < 0, names.index("Red.entropy")].any()


@pytest.mark.parametrize(("spots", "nothing"), [((), 1.0), ((RED,), 0.0)])
def test_frame_says_whether_anything_is_reported(student, spots, nothing):
    _, table = table_of(student, scene(*spots))
    assert table[-1, -2:].tolist() == [1.0, nothing]


def test_reward_is_the_sum_over_claims(student):
    seen = student.perceive(scene(RED, BLUE))
    claims = claims_of(student, seen)
    model = model_of(student, weights={"Red.score": 2.0, "unnamed.one": 0.5, "frame.one": -1.0})
    named = claims.classes == 0
    expected = 2.0 * claims.scores[named].sum() + 0.5 * (~named).sum() - 1.0
    assert frame_reward(model, frame_features(model, student, seen)) == pytest.approx(expected, rel=1e-5)


def test_novelty_is_the_distance_to_the_nearest_look():
    looks = {"Car": (1.0, 0.0), "Person": (0.0, 1.0)}
    found = novelty(np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32), looks)
    assert found.tolist() == pytest.approx([0, 0, 0.2, 1])
    assert novelty(np.ones((2, 2), np.float32), {}).tolist() == [0, 0]


def test_no_file_and_another_students_file_leave_the_bare_signs(student, tmp_path):
    assert load_reward(replace(student.bundle, folder=tmp_path)) is None
    other = model_of(student, space_id="another space")
    assert load_reward(beside(student.bundle, tmp_path, other.model_dump_json())) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [("{", "not JSON"), ("{}", "is missing"), ('{"format": 2}', "format")],
)
def test_damaged_file_is_one_clear_line(student, tmp_path, text, named):
    with pytest.raises(ModelError, match=named):
        load_reward(beside(student.bundle, tmp_path, text))


def test_weights_that_do_not_belong_together_are_refused(student, tmp_path):
    content = json.loads(model_of(student).model_dump_json())
    (tmp_path / HARDNESS_NAME).write_text(json.dumps(content | {"weights": [1.0]}))
    with pytest.raises(ModelError, match="1 weights for"):
        read_reward(tmp_path / HARDNESS_NAME)


@pytest.mark.parametrize(("reward", "doubt"), [(-1.0, 0.0), (1.0, 0.5), (5.0, 1.0)])
def test_frame_with_a_fit_says_its_reward_and_doubts_by_it(student, tmp_path, reward, doubt):
    model = model_of(student, weights={"frame.one": reward})
    fitted = Student(beside(student.bundle, tmp_path, model.model_dump_json()), student.backend)
    header = FrameHeader(index=0, source_id="test", captured_at_s=0.0, width=160, height=128)
    frame = Frame(header, scene(), 0.0)
    result = FramePipeline(fitted).process(frame).hardness
    assert (result.reward, result.reasons["doubt"]) == (pytest.approx(reward), doubt)
    bare = FramePipeline(student).process(frame).hardness
    assert bare.reward is None
    settings = HardnessSettings()
    features = np.zeros(len(model.features), np.float32)
    features[model.features.index("frame.one")] = 1
    assert with_reward(bare, model, features, settings).score == pytest.approx(settings.doubt_weight * doubt)


def test_a_flight_expects_what_it_has_learnt(student, tmp_path):
    model = model_of(student, weights={"frame.one": 1.0})
    pipeline = FramePipeline(Student(beside(student.bundle, tmp_path, model.model_dump_json()), student.backend))
    header = FrameHeader(index=0, source_id="test", captured_at_s=0.0, width=160, height=128)
    before = pipeline.process(Frame(header, scene(), 0.0)).hardness
    (tmp_path / HARDNESS_NAME).write_text("{")  # what becomes of the file in flight is of no account
    pipeline.learn_rewards(np.tile(before.features, (6000, 1)), np.full(6000, 4.0, np.float32))
    assert 2 < pipeline.process(Frame(header, scene(), 0.1)).hardness.reward < 4
    assert before.reward == pytest.approx(1.0)


def test_refit_moves_towards_what_was_seen_and_keeps_what_was_not(student):
    model = model_of(student, weights={"Red.one": 0.1, "unnamed.one": 0.5})
    red, unnamed = (model.features.index(f"{who}.one") for who in ("Red", "unnamed"))
    features = np.zeros((400, len(model.features)), np.float32)
    features[:, red] = 1 + np.arange(400) % 9
    new = refitted(model, features, 2 * features[:, red])  # each red thing is worth 2 by now
    assert 1.5 < new.weights[red] < 2
    assert new.weights[unnamed] == 0.5
    assert new.full == pytest.approx(9 * new.weights[red])
    assert refitted(model, features, features @ np.array(model.weights)).weights == pytest.approx(model.weights)
