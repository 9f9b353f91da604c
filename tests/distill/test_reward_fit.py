import json
from dataclasses import replace

import numpy as np
import pytest

from distill.errors import DistillError
from distill.evaluate import ImageDetections, ImageTruth
from distill.reward_fit import (
    Seen,
    agreed_truth,
    by_fifth,
    fit_reward,
    gains_of,
    rank_correlation,
    rewards_of,
    worth_of,
    write_reward,
)
from edge.bundle import load_bundle
from edge.reward import HARDNESS_NAME, Claims, load_reward
from edge.runtime import open_backend
from edge.student import NO_MAPS, Perception, Student

BOXES = np.array([[0, 0, 10, 10], [40, 40, 50, 50]], np.float32)
NOTHING = ImageDetections(np.zeros((0, 4), np.float32), [], np.zeros(0, np.float32))


@pytest.fixture
def student(tiny_bundle):
    """It never looks: its manifest calls its one class Person."""
    manifest = tiny_bundle.manifest.model_copy(update={"labels": ("Person",)})
    return Student(tiny_bundle.with_manifest(manifest), open_backend(tiny_bundle, threads=1))


def detections(*scores, boxes=BOXES):
    return ImageDetections(boxes[: len(scores)], ["Person"] * len(scores), np.array(scores, np.float32))


def seen_with(scores, cloud, group="a"):
    """An image in which the student gives some candidates these scores."""
    count = len(scores)
    perception = Perception(
        BOXES[:count],
        np.full(count, 0.9, np.float32),
        np.ones(count, bool),
        np.array(scores, np.float32)[:, None],
        np.ones((count, 8), np.float32) / np.sqrt(8),
        NO_MAPS,
    )
    claims = Claims(np.arange(count), np.zeros(count, np.int64), np.array(scores, np.float32))
    return Seen(perception, claims, detections(*scores), cloud, cloud, group)


def people(*rows):
    return ImageTruth(BOXES[list(rows)], ["Person"] * len(rows), [False] * len(rows))


def test_missed_thing_that_the_cloud_finds_is_gained_at_its_claim():
    gains = gains_of(seen_with([0.9, 0.1], detections(0.9, 0.9)), people(0, 1), {"Person": 1.0}, 0.3)
    assert gains[0] == 0
    assert gains[1] > 1
    assert gains[2] == 0


def test_false_alarm_that_the_cloud_does_not_share_is_gained_and_one_it_adds_is_lost():
    removed = gains_of(seen_with([0.4], NOTHING), people(), {"Person": 1.0}, 0.3)
    added = gains_of(seen_with([], detections(0.9)), people(), {"Person": 1.0}, 0.3)
    assert removed[0] > 0
    assert added[0] < 0


def test_rare_labels_are_worth_more_and_the_mean_is_one():
    truth = ImageTruth(np.zeros((4, 4), np.float32), ["Car", "Car", "Car", "Person"], [False] * 4)
    worth = worth_of([truth])
    assert worth["Person"] == 3 * worth["Car"]
    assert 3 * worth["Car"] + worth["Person"] == pytest.approx(4)


def test_teachers_word_is_truth_where_it_is_sure_and_ignored_where_it_half_believes():
    truth = agreed_truth(ImageDetections(np.zeros((3, 4), np.float32), ["Car"] * 3, np.array([0.9, 0.2, 0.05])), 0.3)
    assert truth.ignore == [False, True]


def stream(count=300):
    """Flights in which faint candidates are things that the cloud knows, and sure ones need no help."""
    rng = np.random.default_rng(0)
    looked, truths = [], []
    for index in range(count):
        faint = index % 2 == 0
        score = float(rng.uniform(0.15, 0.29) if faint else rng.uniform(0.8, 0.95))
        looked.append(seen_with([score], detections(0.9), group=f"flight {index % 5}"))
        truths.append(people(0))
    return looked, truths


def test_fit_learns_where_the_cloud_helps_on_flights_it_has_not_seen(student):
    looked, truths = stream()
    fit = fit_reward(student, looked, truths)
    assert fit.held_out[::2].min() > fit.held_out[1::2].max()
    assert fit.gains[::2].min() > 0.9
    assert rewards_of(student, fit.model, looked)[::2].min() > rewards_of(student, fit.model, looked)[1::2].max()


def test_fifths_tell_whether_what_is_expected_is_gained(student):
    looked, truths = stream()
    fifths = by_fifth(fit_reward(student, looked, truths))
    assert fifths["expected_by_fifth"] == sorted(fifths["expected_by_fifth"])
    assert fifths["gained_by_fifth"][-1] > fifths["gained_by_fifth"][0]


def test_one_flight_is_too_few(student):
    looked, truths = stream()
    with pytest.raises(DistillError, match=r"1 flight"):
        fit_reward(student, [replace(seen, group="one") for seen in looked], truths)


def test_written_fit_is_found_beside_the_bundle_and_changes_nothing_else(student, tmp_path, tiny_bundle):
    for path in tiny_bundle.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = fit_reward(student, *stream()).model
    write_reward(tmp_path, model)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.name != HARDNESS_NAME} == before
    assert load_bundle(tmp_path).manifest.space_id == model.space_id
    assert load_reward(replace(student.bundle, folder=tmp_path)) == model
    assert json.loads((tmp_path / HARDNESS_NAME).read_text())["format"] == 1


def test_rank_correlation_of_the_same_order_is_one():
    values = np.array([3.0, 1.0, 2.0])
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
