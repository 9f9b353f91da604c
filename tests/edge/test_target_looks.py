import numpy as np
import pytest

from edge.runtime import RawOutputs
from edge.student import NO_MAPS, Perception, unit_rows
from edge.target_looks import TargetLooks, embedding_at

HERE = np.array([8, 8, 24, 24], np.float32)


def seen(*rows, raw=NO_MAPS):
    """A perception of candidates, each a box's left edge and an embedding."""
    boxes = np.array([[x, 8, x + 16, 24] for x, _ in rows], np.float32).reshape(-1, 4)
    count = len(rows)
    return Perception(
        boxes_xyxy=boxes,
        objectness=np.ones(count, np.float32),
        is_object=np.ones(count, np.bool_),
        class_scores=np.zeros((count, 1), np.float32),
        embeddings=unit_rows(np.array([e for _, e in rows], np.float32).reshape(-1, 3)),
        raw=raw,
    )


def learnt(*others):
    looks = TargetLooks()
    looks.learn(seen((8, (1, 0, 0)), *others), HERE, np.array([1, 0, 0], np.float32))
    return looks


def test_likeness_is_the_cosine_with_the_first_template_for_ever():
    looks = learnt()
    looks.learn(seen(), HERE, np.array([0, 1, 0], np.float32))
    np.testing.assert_allclose(looks.likeness(np.array([[1, 0, 0], [0, 1, 0]], np.float32)), [1, 0])


def test_likeness_is_not_known_without_a_template():
    assert np.isnan(TargetLooks().likeness(np.eye(3, dtype=np.float32))).all()


def test_what_is_nearer_to_a_distractor_is_less_like_the_target():
    other = unit_rows(np.array([[1, 1, 0]], np.float32))
    plain, warned = learnt(), learnt((60, (1, 1, 0)))
    assert warned.likeness(other)[0] == pytest.approx(plain.likeness(other)[0] - (1 - np.sqrt(0.5)), abs=1e-5)
    assert warned.likeness(np.array([[1, 0, 0]], np.float32))[0] == pytest.approx(1)


def test_target_itself_is_no_distractor_and_what_is_unlike_needs_no_remembering():
    assert learnt((10, (1, 0.9, 0)), (60, (0, 1, 0))).distractors is None


def test_bank_of_distractors_is_bounded_and_keeps_the_likest():
    rng = np.random.default_rng(3)
    crowd = [(60, (1.0, *rng.normal(0, 0.8, 2))) for _ in range(200)]
    looks = learnt(*crowd)
    assert len(looks.distractors) == 8
    assert (looks.distractors @ looks.template).min() > 0.8


def test_embedding_at_reads_the_map_in_the_middle_of_the_box():
    maps = np.zeros((3, 8, 8), np.float32)
    maps[:, 4, 3] = (0, 3, 4)
    perception = seen(raw=RawOutputs(maps, *(np.zeros((1, 8, 8), np.float32),) * 3))
    box = np.array([6, 10, 22, 26], np.float32)  # its middle, (14, 18), lies in cell (3, 4)
    np.testing.assert_allclose(embedding_at(perception, box, 4), (0, 0.6, 0.8))
    assert embedding_at(perception, box - 100, 4) is None


def test_embedding_at_takes_the_nearest_candidate_where_maps_were_let_go():
    perception = seen((10, (1, 0, 0)), (14, (0, 1, 0)), (60, (0, 0, 1)))
    np.testing.assert_allclose(embedding_at(perception, HERE, 4), (1, 0, 0))
    assert embedding_at(perception, HERE + 200, 4) is None
    assert embedding_at(seen(), HERE, 4) is None
