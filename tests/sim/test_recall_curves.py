from dataclasses import replace

import pytest

from sim.recall_curves import label_recalls, learned_labels


def by_label(record) -> dict:
    return {item.label: item for item in label_recalls(record)}


def test_known_and_prompted_labels_are_scored_and_the_prompted_comes_first(record):
    found = by_label(record)
    assert list(found) == ["Debris", "Car"]
    assert found["Car"].recall == 1.0
    assert (found["Car"].first_prompt_s, found["Car"].before) == (None, None)


def test_recall_around_the_first_prompt_leaves_out_ignored_truth_and_frames_that_were_sent(record):
    debris = by_label(record)["Debris"]
    assert debris.first_prompt_s == pytest.approx(1.5)
    assert (debris.before, debris.after) == (0.0, pytest.approx(34 / 45))  # one frame in four is missed
    assert debris.instances == 59  # of 60 frames, one was sent; the hidden box is ignored


def test_the_curve_has_a_point_for_each_second(record):
    points = by_label(record)["Debris"].over_time
    assert [at_s for at_s, _ in points] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert points[0][1] == 0.0
    assert points[-1][1] > 0.5


def test_a_label_that_was_never_reported_nor_taught_is_left_out(record):
    silent = replace(record, frames=[replace(frame, detections=()) for frame in record.frames], banks=[])
    assert label_recalls(silent) == []
    assert learned_labels(silent) == []


def test_a_label_taught_but_never_found_has_a_recall_of_zero(record):
    blind = replace(record, frames=[replace(frame, detections=()) for frame in record.frames])
    assert [(item.label, item.recall) for item in label_recalls(blind)] == [("Debris", 0.0)]
    assert learned_labels(blind) == ["Debris"]


def test_json_is_rounded(record):
    told = by_label(record)["Debris"].as_json()
    assert told["after"] == 0.7556
    assert told["over_time"][0] == [0.5, 0.0]
