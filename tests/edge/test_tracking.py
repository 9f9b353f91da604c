import numpy as np

from edge.tracking import Tracker, TrackerSettings

STILL = np.eye(2, 3, dtype=np.float32)


def box(x, y, side=20.0):
    return np.array([[x, y, x + side, y + side]], np.float32)


def update(tracker, boxes, labels, motion=STILL):
    return tracker.update(np.concatenate(boxes), labels, np.full(len(labels), 0.9, np.float32), motion)


def nothing(tracker):
    return tracker.update(np.zeros((0, 4), np.float32), [], np.zeros(0, np.float32), STILL)


def test_update_moving_thing_keeps_its_id():
    tracker = Tracker()
    ids = {update(tracker, [box(10 + 6 * i, 40)], ["Car"])[0] for i in range(10)}
    assert len(ids) == 1


def test_update_two_things_that_pass_each_other_keep_their_ids():
    tracker = Tracker()
    first = update(tracker, [box(0, 0), box(100, 30)], ["Car", "Car"])
    for i in range(1, 11):
        last = update(tracker, [box(10 * i, 0), box(100 - 10 * i, 30)], ["Car", "Car"])
    assert last == first


def test_update_camera_shift_is_not_mistaken_for_motion():
    tracker = Tracker(TrackerSettings(gate=0.5))
    first = update(tracker, [box(200, 40)], ["Car"])
    assert update(tracker, [box(150, 40)], ["Car"], np.array([[1, 0, -50], [0, 1, 0]], np.float32)) == first


def test_update_camera_that_turns_takes_the_velocity_along():
    tracker = Tracker(TrackerSettings(gate=0.5))
    for i in range(6):
        first = update(tracker, [box(100 + 12 * i, 100)], ["Car"])
    turned = np.array([[0, -1, 300], [1, 0, 0]], np.float32)  # a quarter to the right
    update(tracker, [box(300 - 120, 172)], ["Car"], turned)
    assert update(tracker, [box(300 - 120, 184)], ["Car"]) == first
    assert tracker.tracks[0].velocity_px[1] > 5 * abs(tracker.tracks[0].velocity_px[0])


def unsure(tracker, x, y):
    return tracker.update(box(x, y), ["Debris"], np.full(1, 0.3, np.float32), STILL, np.zeros(1, bool))


def test_update_unsure_detection_continues_a_confirmed_track_but_starts_none():
    tracker = Tracker()
    assert unsure(tracker, 50, 50) == [0]
    assert not tracker.tracks
    first = [update(tracker, [box(50, 50)], ["Debris"]) for _ in range(3)][-1]
    assert unsure(tracker, 52, 50) == first
    assert unsure(tracker, 300, 50) == [0]


def test_update_unsure_detection_does_not_continue_a_tentative_track():
    tracker = Tracker()
    update(tracker, [box(50, 50)], ["Debris"])
    assert unsure(tracker, 50, 50) == [0]


def test_update_confirmed_track_on_faint_detections_alone_ends():
    tracker = Tracker(TrackerSettings(max_faint=4, max_misses=1))
    for _ in range(3):
        update(tracker, [box(50, 50)], ["Debris"])
    assert [bool(unsure(tracker, 50, 50)[0]) for _ in range(6)] == [True] * 4 + [False] * 2
    assert tracker.tracks == []


def test_update_sure_detection_between_faint_ones_keeps_the_track():
    tracker = Tracker(TrackerSettings(max_faint=4))
    for _ in range(3):
        update(tracker, [box(50, 50)], ["Debris"])
    for _ in range(3):
        assert all(unsure(tracker, 50, 50)[0] for _ in range(4))
        update(tracker, [box(50, 50)], ["Debris"])


def test_update_sure_detection_has_the_first_choice_of_tracks():
    tracker = Tracker()
    first = [update(tracker, [box(50, 50)], ["Debris"]) for _ in range(3)][-1]
    ids = tracker.update(
        np.concatenate([box(50, 50), box(64, 50)]),
        ["Debris", "Debris"],
        np.full(2, 0.5, np.float32),
        STILL,
        np.array([False, True]),
    )
    assert ids == [0, *first]


def test_update_other_label_at_the_same_place_is_another_track():
    tracker = Tracker()
    assert update(tracker, [box(0, 0)], ["Car"]) != update(tracker, [box(0, 0)], ["Person"])


def test_update_confirmed_track_survives_a_gap():
    tracker = Tracker()
    for _ in range(4):
        first = update(tracker, [box(50, 50)], ["Car"])
    for _ in range(5):
        nothing(tracker)
    assert tracker.tracks[0].misses == 5
    assert update(tracker, [box(50, 50)], ["Car"]) == first


def test_update_tentative_track_dies_young_and_is_counted():
    tracker = Tracker()
    update(tracker, [box(50, 50)], ["Car"])
    young = 0
    for _ in range(4):
        nothing(tracker)
        young += tracker.ended_young
    assert (young, tracker.tracks) == (1, [])
