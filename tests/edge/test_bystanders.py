import numpy as np
import pytest

from edge.bystanders import Bystanders

TARGET = np.array([100, 100, 120, 120], np.float32)
STILL = np.eye(2, 3, dtype=np.float32)


def boxes(*corners):
    """Of 20 px, by their left top corners."""
    return np.array([[x, y, x + 20, y + 20] for x, y in corners], np.float32).reshape(-1, 4)


def after(sure_frames, *beside):
    known = Bystanders()
    for _ in range(sure_frames):
        known.see(boxes((100, 100), *beside), TARGET, is_sure=True)
    return known


@pytest.mark.parametrize(("sure_frames", "is_known"), [(2, False), (3, True)])
def test_who_was_seen_beside_the_target_in_three_sure_frames_is_a_bystander(sure_frames, is_known):
    known = after(sure_frames, (140, 100))
    assert known.see(boxes((142, 101)), TARGET, is_sure=False).tolist() == [is_known]


def test_target_and_its_parts_are_none():
    known = after(5, (105, 98), (112, 110))
    assert not known.see(boxes((100, 100), (105, 98), (112, 110)), TARGET, is_sure=False).any()


def test_nobody_is_learnt_while_the_target_is_doubted():
    known = Bystanders()
    for _ in range(5):
        known.see(boxes((140, 100)), TARGET, is_sure=False)
    assert not known.see(boxes((140, 100)), TARGET, is_sure=False).any()


def test_what_is_nearer_to_where_the_target_was_lost_is_none():
    known = after(3, (124, 100))
    assert known.see(boxes((110, 100), (116, 100)), TARGET, is_sure=False).tolist() == [False, True]


def test_newcomer_is_none():
    known = after(3, (140, 100))
    assert not known.see(boxes((162, 100)), TARGET, is_sure=False).any()


def test_bystanders_are_followed_and_carried_by_the_camera_while_out_of_sight():
    known = after(3, (140, 100))
    for x in (150, 160, 170):
        assert known.see(boxes((x, 100)), TARGET, is_sure=False).all()
    turn = np.array([[1, 0, -300], [0, 1, 40]], np.float32)
    known.carry(turn)
    assert not len(known.see(boxes(), TARGET + np.array([-300, 40] * 2), is_sure=False))
    known.carry(np.array([[1, 0, 300], [0, 1, -40]], np.float32))
    assert known.see(boxes((170, 100)), TARGET, is_sure=False).all()


def test_number_is_bounded_and_those_unseen_for_longest_are_forgotten():
    known = after(3, (140, 100))
    crowd = boxes(*((x, y) for x in range(200, 520, 40) for y in range(0, 320, 40)))
    for _ in range(3):
        known.see(crowd, TARGET, is_sure=True)
    assert known.see(crowd, TARGET, is_sure=False).all()
    assert not known.see(boxes((140, 100)), TARGET, is_sure=False).any()
