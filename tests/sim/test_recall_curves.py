import math
from dataclasses import replace

import pytest

from protocols.values import Detection
from sim.flight_curves import broken
from sim.recall_curves import label_recalls, learned_labels, strays


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


def test_false_alarms_of_a_taught_label_count_from_its_first_prompt_on(record):
    stray = Detection(box_xyxy=(100, 90, 120, 110), label="Debris", score=0.6, provenance="prompt:p1")
    seen = [replace(f, detections=(*f.detections, *(stray,) * (f.index >= 15))) for f in record.frames]
    assert by_label(replace(record, frames=seen))["Debris"].false_alarms_per_frame == 1.0
    assert by_label(record)["Debris"].false_alarms_per_frame == 0.0  # boxes on ignored truth are none


def test_labels_reported_without_any_instance_are_strays(record):
    ghosts = [Detection(box_xyxy=(1, 1, 9, 9), label=name, score=0.6, provenance="edge") for name in ("Ghost", "Car")]
    seen = replace(record, frames=[replace(f, detections=tuple(ghosts)) for f in record.frames])
    (ghost,) = strays(seen, ["Car", "Debris"])
    assert (ghost.label, ghost.boxes, ghost.false_alarms_per_frame, ghost.is_in_truth) == ("Ghost", 59, 1.0, False)


def test_a_line_is_broken_where_a_bin_is_missing():
    whole = broken([(0.5, 1.0), (1.5, 0.5), (4.5, 0.0)], 1.0)
    assert [at_s for at_s, _ in whole] == [0.5, 1.5, 2.5, 4.5]
    assert math.isnan(whole[2][1])
    assert broken([], 1.0) == []
