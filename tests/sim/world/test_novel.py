import numpy as np
import pytest

from sim.world.novel import HELD_OUT_KINDS, TRAINING_KINDS, novel_object


def test_novel_kind_determines_the_object():
    a, b = novel_object(17), novel_object(17)
    assert np.array_equal(a.points, b.points)
    assert np.array_equal(a.bgr, b.bgr)
    assert all(np.array_equal(a.textures[k].bgr, b.textures[k].bgr) for k in a.textures)


def test_novel_scale_changes_size_only():
    small, large = novel_object(17, 0.8), novel_object(17, 1.2)
    assert np.array_equal(small.bgr, large.bgr)
    assert np.ptp(large.points[:, 0]) / np.ptp(small.points[:, 0]) == pytest.approx(1.5, rel=0.02)


def test_novel_kinds_differ():
    looks = {(len(m.points), tuple(np.round(m.bgr.mean(axis=0), 2))) for m in map(novel_object, range(60))}
    assert len(looks) >= 58


def test_novel_objects_are_few_solids_of_sensible_size():
    for kind in range(80):
        mesh = novel_object(kind)
        assert 1 <= len(mesh.textures) <= 4
        assert 0.5 <= np.ptp(mesh.points[:, :2], axis=0).max() <= 14.0


def test_held_out_kinds_are_never_trained_on():
    assert not set(TRAINING_KINDS) & set(HELD_OUT_KINDS)
