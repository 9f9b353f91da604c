import numpy as np
import pytest

from distill.evaluate import ImageDetections, ImageTruth, coco_scores
from distill.matches import f1_of, judge, map50_of, outcomes

LABELS = ("Person", "Car")


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 80, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(10, 40, (count, 2))], axis=1).astype(np.float32)


def images(seed: int, count: int) -> tuple[list[ImageTruth], list[ImageDetections]]:
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(count):
        wanted = boxes(rng, int(rng.integers(0, 7)))
        names = rng.choice(["Person", "Car", "DontCare"], len(wanted)).tolist()
        truths.append(ImageTruth(wanted, names, [name == "DontCare" for name in names]))
        seen = np.concatenate([wanted + rng.normal(0, 3, wanted.shape).astype(np.float32), boxes(rng, 4)])
        labels = [*("Car" if name == "DontCare" else name for name in names), *rng.choice(LABELS, 4)]
        found.append(ImageDetections(seen, labels, rng.random(len(seen)).astype(np.float32)))
    return truths, found


@pytest.mark.parametrize("seed", range(5))
def test_map50_is_that_of_coco(seed):
    truths, found = images(seed, 30)
    judged = [judge(truth, seen, LABELS) for truth, seen in zip(truths, found, strict=True)]
    # A recall that is exactly one of the 101 that are read may round to either side: a point of one label's curve.
    assert map50_of(judged) == pytest.approx(coco_scores(truths, found, LABELS)["map50"], abs=0.5 / 101)


def test_label_that_nobody_found_scores_zero():
    truth = ImageTruth(np.array([[0, 0, 9, 9]], np.float32), ["Car"], [False])
    nothing = ImageDetections(np.zeros((0, 4), np.float32), [], np.zeros(0, np.float32))
    assert map50_of([judge(truth, nothing, LABELS)]) == 0


def test_f1_counts_right_wrong_and_missed():
    truth = ImageTruth(np.array([[0, 0, 9, 9], [50, 50, 59, 59]], np.float32), ["Car", "Car"], [False, False])
    found = ImageDetections(
        np.array([[0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]], np.float32), ["Car"] * 3, np.array([0.9, 0.8, 0.1])
    )
    judged = judge(truth, found, LABELS)
    assert f1_of(judged, 0.3) == pytest.approx(2 * 1 / (2 + 2))
    assert outcomes(truth, found, LABELS).tolist() == [1, -1, -1]


def test_f1_of_an_empty_image_is_one_until_something_is_claimed():
    truth = ImageTruth(np.zeros((0, 4), np.float32), [], [])
    found = ImageDetections(np.array([[0, 0, 9, 9]], np.float32), ["Car"], np.array([0.5]))
    judged = judge(truth, found, LABELS)
    assert (f1_of(judged, 0.6), f1_of(judged, 0.3)) == (1.0, 0.0)
