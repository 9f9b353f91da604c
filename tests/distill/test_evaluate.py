import subprocess
import sys

import numpy as np
import pytest

from distill.dataset import read_data_set
from distill.evaluate import ImageDetections, ImageTruth, bundle_folder, coco_scores, evaluate
from edge.bundle import bundled_student
from edge.student import Student
from protocols.boxes import box_iou

A, B, C = [10, 10, 30, 30], [50, 50, 80, 70], [100, 20, 120, 60]


def truth(boxes, labels=None, ignore=None):
    labels = labels or ["Car"] * len(boxes)
    return ImageTruth(np.array(boxes, np.float32).reshape(-1, 4), labels, ignore or [False] * len(boxes))


def found(boxes, labels=None, scores=None):
    labels = labels or ["Car"] * len(boxes)
    scores = np.array(scores if scores is not None else np.linspace(0.9, 0.5, len(boxes)), np.float32)
    return ImageDetections(np.array(boxes, np.float32).reshape(-1, 4), labels, scores)


def ap50(truths, detections, label="Car", labels=("Car",)):
    return coco_scores(truths, detections, labels)["ap50"][label]


def test_perfect_detections_score_one():
    scores = coco_scores([truth([A, B]), truth([C])], [found([A, B]), found([C])], ["Car"])
    assert scores.pop("ap50") == {"Car": pytest.approx(1.0)}
    assert scores.pop("ap50_small") is None  # all of them are larger
    assert scores == pytest.approx({"map50": 1.0, "map50_95": 1.0})


def test_small_objects_are_scored_apart():
    small = [200, 200, 212, 212]
    scores = coco_scores([truth([A, B, small])], [found([A, B])], ["Car"])
    assert scores["ap50_small"] == pytest.approx(0.0)
    scores = coco_scores([truth([A, B, small])], [found([C, small], scores=[0.9, 0.4])], ["Car"])
    assert scores["ap50_small"] == pytest.approx(1.0)  # a false alarm of another size is no false small thing
    assert scores["map50"] < 0.5


def test_label_without_small_objects_does_not_count_among_them():
    small = [200, 200, 212, 212]
    both = truth([A, small], ["Person", "Car"])
    scores = coco_scores([both], [found([A, small], ["Person", "Car"])], ["Person", "Car"])
    assert scores["ap50_small"] == pytest.approx(1.0)


def test_image_without_objects_or_detections_changes_nothing():
    assert ap50([truth([A]), truth([])], [found([A]), found([])]) == pytest.approx(1.0)


def test_missing_detections_lower_the_score():
    # One of two found and nothing wrong: precision 1 at the 51 of 101 recalls up to 0.5.
    assert ap50([truth([A, B])], [found([A])]) == pytest.approx(51 / 101)


def test_false_detection_above_the_right_one_halves_the_precision():
    assert ap50([truth([A])], [found([B, A])]) == pytest.approx(0.5)


def test_second_detection_of_an_object_is_wrong():
    assert ap50([truth([A]), truth([B])], [found([A, A], scores=[0.9, 0.8]), found([B], scores=[0.5])]) < 0.9


def test_detection_in_an_ignore_region_is_neither_right_nor_wrong():
    region = truth([A, [40, 40, 120, 120]], ignore=[False, True])
    inside = found([[45, 45, 60, 60], [50, 50, 80, 70], A], scores=[0.9, 0.8, 0.3])
    assert ap50([region], [inside]) == pytest.approx(1.0)
    assert ap50([region], [found([B])]) == pytest.approx(0.0)


def test_unscored_label_is_an_ignore_region_for_every_class():
    mixed = truth([A, B], ["Car", "OtherVehicle"])
    answers = found([A, B, B], ["Car", "Car", "Person"])
    scores = coco_scores([mixed, truth([C], ["Person"])], [answers, found([C], ["Person"])], ["Person", "Car"])
    assert scores["ap50"] == pytest.approx({"Person": 1.0, "Car": 1.0})


def test_label_without_boxes_scores_none_and_leaves_the_mean():
    scores = coco_scores([truth([A])], [found([A, B], ["Car", "Bicycle"])], ["Car", "Bicycle"])
    assert scores["ap50"] == {"Car": pytest.approx(1.0), "Bicycle": None}
    assert scores["map50"] == pytest.approx(1.0)


def test_label_with_only_ignored_boxes_scores_none():
    assert ap50([truth([A], ignore=[True])], [found([A])]) is None


def test_no_detection_at_all_scores_zero():
    scores = coco_scores([truth([A])], [found([])], ["Car", "Person"])
    assert scores == {"map50": 0.0, "map50_95": 0.0, "ap50": {"Car": 0.0, "Person": None}, "ap50_small": None}


def test_no_truth_at_all_scores_none():
    nothing = {"map50": None, "map50_95": None, "ap50": {"Car": None}, "ap50_small": None}
    assert coco_scores([truth([])], [found([A])], ["Car"]) == nothing


def test_detections_of_other_labels_do_not_count():
    assert ap50([truth([A])], [found([B, A], ["Debris", "Car"])]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shift_px", "map50_95"),
    [pytest.param(0, 1.0, id="exact"), pytest.param(1, 0.9, id="iou-0.90"), pytest.param(3, 0.5, id="iou-0.74")],
)
def test_loose_boxes_lower_the_mean_over_thresholds(shift_px, map50_95):
    moved = np.array([A]) + np.array([shift_px, 0, shift_px, 0])
    scores = coco_scores([truth([A])], [found(moved)], ["Car"])
    assert (scores["map50"], scores["map50_95"]) == pytest.approx((1.0, map50_95))


def slow_ap50(truths, detections):
    """COCO's 101-point average precision at IoU 0.5 for one class, detection by detection."""
    rows = sorted(
        ((s, i, b) for i, d in enumerate(detections) for b, s in zip(d.boxes_xyxy, d.scores, strict=True)),
        key=lambda row: -row[0],
    )
    taken, hits = [set() for _ in truths], []
    for _, i, box in rows:
        ious = box_iou(box[None], truths[i].boxes_xyxy)[0] if len(truths[i].boxes_xyxy) else np.zeros(0)
        free = [j for j in np.argsort(-ious) if j not in taken[i] and ious[j] >= 0.5]
        taken[i].update(free[:1])
        hits.append(bool(free))
    recall = np.cumsum(hits) / sum(len(t.boxes_xyxy) for t in truths)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return np.mean([max(precision[recall >= r - 1e-9], default=0) for r in np.linspace(0, 1, 101)])


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_the_slow_average_precision(seed):
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(6):
        corners = rng.uniform(0, 200, (5, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (5, 2))], axis=1)
        guesses = np.concatenate([boxes + rng.normal(0, 3, boxes.shape), boxes[:3] + 60])
        truths.append(truth(boxes))
        detections.append(found(guesses, scores=rng.random(8)))
    assert ap50(truths, detections) == pytest.approx(slow_ap50(truths, detections), abs=0.005)


def test_evaluate_student_reports_scores_speed_and_files(tiny_bundle, coco_folder):
    student = Student.open(tiny_bundle, threads=1)
    seen = []
    result = evaluate(student, read_data_set(coco_folder, "all"), ["Red", "Green"], seen.append)
    assert list(result) == [
        "bundle",
        "variant",
        "data",
        "images",
        "map50",
        "map50_95",
        "ap50",
        "ap50_small",
        "ms_per_image",
        "file_bytes",
    ]
    assert (result["bundle"], result["variant"], result["images"], seen) == ("tiny", "fp32", 2, [0, 1])
    assert result["ap50"]["Red"] > 0.8
    assert result["ap50"]["Green"] is None
    assert result["ms_per_image"] > 0


def test_bundle_folder_knows_the_bundled_names(tmp_path):
    assert bundle_folder("student") == bundled_student()
    assert bundle_folder("teacher").parts[-3:] == ("cloud", "bundles", "teacher")
    assert bundle_folder(str(tmp_path)) == tmp_path


def test_importing_the_package_imports_no_torch():
    code = "import sys, distill, distill.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
