import numpy as np
import pytest

from sim.world.novel import COLLECTION_SHARE, HELD_OUT_KINDS, TRAINING_KINDS, novel_object

COMPOUND = next(k for k in range(50) if novel_object(k).textures)
COLLECTION = next(k for k in range(50) if not novel_object(k).textures)


@pytest.mark.parametrize("kind", [COMPOUND, COLLECTION])
def test_novel_kind_determines_the_object(kind):
    a, b = novel_object(kind), novel_object(kind)
    assert np.array_equal(a.points, b.points)
    assert np.array_equal(a.bgr, b.bgr)
    assert all(np.array_equal(a.textures[k].bgr, b.textures[k].bgr) for k in a.textures)


@pytest.mark.parametrize("kind", [COMPOUND, COLLECTION])
def test_novel_scale_changes_size_only(kind):
    small, large = novel_object(kind, 0.8), novel_object(kind, 1.2)
    assert np.array_equal(small.bgr, large.bgr)
    assert np.ptp(large.points[:, 0]) / np.ptp(small.points[:, 0]) == pytest.approx(1.5, rel=0.02)


def test_novel_instance_strews_the_pieces_of_a_collection_anew():
    first, second = novel_object(COLLECTION, instance=1), novel_object(COLLECTION, instance=2)
    assert len(first.points) == len(second.points)
    assert not np.allclose(first.points, second.points)
    assert first.bgr.shape == second.bgr.shape
    assert np.array_equal(novel_object(COMPOUND, instance=1).points, novel_object(COMPOUND, instance=2).points)


def test_novel_kinds_differ():
    looks = {(len(m.points), tuple(np.round(m.bgr.mean(axis=0), 2))) for m in map(novel_object, range(60))}
    assert len(looks) >= 58


def test_novel_objects_are_of_sensible_size_and_both_sorts_are_common():
    meshes = [novel_object(kind) for kind in range(120)]
    assert all(0.5 <= np.ptp(m.points[:, :2], axis=0).max() <= 14.0 for m in meshes)
    assert max(len(m.textures) for m in meshes) <= 4
    collections = sum(not m.textures for m in meshes) / len(meshes)
    assert collections == pytest.approx(COLLECTION_SHARE, abs=0.12)


def test_held_out_kinds_are_never_trained_on():
    assert not set(TRAINING_KINDS) & set(HELD_OUT_KINDS)
