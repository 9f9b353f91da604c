from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.dataset import LabelledImage
from protocols.values import Detection
from sim.record import FlownFrame
from sim.score import (
    average_precision,
    pick_evenly,
    recall_over_time,
    reported,
    sum_up,
    tally,
    tally_flight,
    with_prompted,
)


def truth(*boxes, labels=None, ignore=None) -> LabelledImage:
    count = len(boxes)
    labels = tuple(labels or ["Debris"] * count)
    return LabelledImage(
        Path("x.jpg"),
        np.array(boxes, np.float32).reshape(-1, 4),
        labels,
        np.full(count, -1),
        np.array(ignore or [False] * count, bool),
        1,
    )


def found(*boxes) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)


ONE = (0, 0, 10, 10)
FAR = (50, 50, 60, 60)
LOOSE = (0, 0, 10, 21)  # IoU 10/21 with ONE: below one half


@pytest.mark.parametrize(
    ("boxes", "image", "expected"),
    [
        pytest.param(found(ONE), truth(ONE), (1, 1, 0), id="found"),
        pytest.param(found(), truth(ONE), (1, 0, 0), id="missed"),
        pytest.param(found(ONE), truth(), (0, 0, 1), id="false alarm on an empty image"),
        pytest.param(found(LOOSE), truth(ONE), (1, 0, 1), id="too loose is a miss and a false alarm"),
        pytest.param(found(ONE, ONE), truth(ONE), (1, 1, 1), id="a second box on one thing is a false alarm"),
        pytest.param(found(ONE, ONE), truth(ONE, FAR), (2, 1, 1), id="one box finds one thing"),
        pytest.param(found(ONE), truth(ONE, ignore=[True]), (0, 0, 0), id="ignored truth is neither"),
        pytest.param(found(ONE), truth(ONE, labels=["Car"]), (0, 0, 1), id="on another label is a false alarm"),
    ],
)
def test_tally(boxes, image, expected):
    assert tally(boxes, image, "Debris") == expected


def test_best_box_claims_first():
    good, better = (0, 0, 10, 12), (0, 0, 10, 10)
    assert tally(found(better, good), truth(ONE), "Debris") == (1, 1, 1)


def test_flight_counts_before_after_and_leaves_the_sent_frame_out(record):
    score = sum_up(tally_flight(record, "Debris"))
    assert (score.instances_before, score.instances_after) == (14, 45)
    assert score.recall_before == 0.0
    assert score.recall_after == pytest.approx(34 / 45)  # 11 of the frames 15..59 divide by four
    assert score.false_alarms_per_frame == 0.0


def test_no_prompt_at_all_leaves_after_unmeasured(record):
    score = sum_up(tally_flight(replace(record, banks=[]), "Debris"))
    assert score.instances_after == 0
    assert score.recall_after is None
    assert score.false_alarms_per_frame is None


def test_boxes_without_a_prompt_do_not_count(record):
    def as_edge(frame: FlownFrame) -> FlownFrame:
        edge = tuple(d.model_copy(update={"provenance": "edge"}) for d in frame.detections)
        return replace(frame, detections=edge)

    changed = replace(record, frames=[as_edge(frame) for frame in record.frames])
    assert sum_up(tally_flight(changed, "Debris")).recall_after == 0.0


def test_a_track_that_a_prompt_began_counts_from_then_on():
    def frame(index: int, provenance: str) -> FlownFrame:
        box = Detection(box_xyxy=ONE, label="Debris", score=0.5, provenance=provenance, track_id=4)
        return FlownFrame(index, float(index), 1, 0.0, (box,))

    frames = [frame(0, "edge"), frame(1, "prompt:a"), frame(2, "edge")]
    assert [len(chosen) for _, chosen in with_prompted(frames, "Debris")] == [0, 1, 1]


def test_recall_over_time_bins_and_skips_seconds_without_instances(record):
    points = recall_over_time(tally_flight(record, "Debris"))
    assert [t for t, _ in points] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert points[0][1] == 0.0
    assert points[3][1] == pytest.approx(8 / 10)  # 32 and 36 are missed


@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [(0, 3, []), (2, 3, [0, 1]), (5, 3, [0, 2, 4]), (10, 1, [0])],
    ids=["empty", "fewer", "spread", "single"],
)
def test_pick_evenly(count, limit, expected):
    assert pick_evenly(range(count), limit) == expected


def test_average_precision_scores_known_and_unfamiliar_together(record):
    chosen = [16, 17, 18, 19]  # the debris of 16 is missed
    score = average_precision(record.truth, chosen, reported(record.frames, chosen, "Debris"), ("Car",), "Debris")
    assert score.known == pytest.approx(1.0)
    assert score.unfamiliar == pytest.approx(0.75, abs=0.01)  # 3 of 4 found without a false alarm


def test_average_precision_without_detections_is_zero(record):
    chosen = [0, 1]
    score = average_precision(record.truth, chosen, reported(record.frames, chosen, "Debris"), ("Car",), "Debris")
    assert score.unfamiliar == 0.0


def test_a_known_label_without_truth_is_left_out_of_the_mean(record):
    chosen = [16]
    detections = reported(record.frames, chosen, "Debris")
    assert average_precision(record.truth, chosen, detections, ("Car", "Person"), "Debris").known == pytest.approx(1.0)
