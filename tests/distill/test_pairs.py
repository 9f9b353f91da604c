"""Two views of the same things: whether the boxes stay on them."""

import json
from pathlib import Path

import numpy as np
import pytest

from distill.dataset import DataSet, LabelledImage, read_data_set
from distill.pairs import CHIP_PX, THINGS, VIEW_PX, OtherViews, camera, degrade, make_pair, move_boxes, warp


def pictures(*truths, things=False):
    """A data set of black pictures with white boxes; truths are lists of (name, x1, y1, x2, y2)."""
    items, pixels = [], {}
    for number, truth in enumerate(truths):
        image = np.zeros((300, 400, 3), np.uint8)
        for _, x1, y1, x2, y2 in truth:
            image[y1:y2, x1:x2] = 250
        boxes = np.array([row[1:] for row in truth], np.float32).reshape(-1, 4)
        path, none = Path(f"{number}.png"), np.zeros(len(truth), np.int64)
        names = tuple(row[0] for row in truth)
        told = names if things else ()
        items.append(LabelledImage(path, boxes, names, none - 1, none.astype(bool), number, things=told))
        pixels[path] = image
    return DataSet("pictures", tuple(items), pixels)


def white_share(image, box):
    x1, y1, x2, y2 = np.round(box).astype(int)
    return float((image[max(y1, 0) : y2, max(x1, 0) : x2].max(axis=2) > 90).mean())


@pytest.mark.parametrize("turn_deg", [0, 90, -180])
def test_boxes_follow_their_pixels(turn_deg):
    image = np.zeros((100, 140, 3), np.uint8)
    image[30:50, 60:90] = 250
    matrix = camera(np.array([70, 50], np.float32), 1.5, turn_deg, (200, 160))
    seen = warp(image, matrix, (200, 160))
    assert seen.shape == (160, 200, 3)
    rows, columns = np.nonzero((seen == 250).all(axis=2))
    (box,) = move_boxes(np.array([[60, 30, 90, 50]], np.float32), matrix)
    assert np.abs(box - [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).max() <= 1.5


def test_box_of_a_turned_thing_is_that_of_the_ellipse_in_it():
    matrix = camera(np.zeros(2, np.float32), 1.0, 45.0, (0, 0))
    (box,) = move_boxes(np.array([[-20, -10, 20, 10]], np.float32), matrix)
    angles = np.linspace(0, 2 * np.pi, 3601)
    outline = matrix[:, :2] @ np.stack([20 * np.cos(angles), 10 * np.sin(angles)])
    np.testing.assert_allclose(box, [*outline.min(axis=1), *outline.max(axis=1)], atol=1e-2)


@pytest.mark.parametrize("seed", range(6))
def test_things_are_in_both_views_of_a_pair(seed):
    data = pictures([("Car", 100, 100, 130, 120), ("Car", 180, 150, 200, 170)])
    pair = make_pair(data, OtherViews(data), 0, np.random.default_rng(seed))
    assert (pair.chip.shape, pair.view.shape) == ((CHIP_PX, CHIP_PX, 3), (VIEW_PX, VIEW_PX, 3))
    assert (pair.chip_xyxy.shape, pair.view_xyxy.shape, pair.state.shape) == ((THINGS, 4), (THINGS, 4), (THINGS,))
    for row in np.flatnonzero(pair.state == 1):
        assert white_share(pair.chip, pair.chip_xyxy[row]) > 0.02
        assert white_share(pair.view, pair.view_xyxy[row]) > 0.02


def test_pair_is_a_function_of_its_seed():
    data = pictures([("Car", 100, 100, 130, 120)])
    first, again = (make_pair(data, OtherViews(data), 0, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.view, again.view)
    assert np.array_equal(first.view_xyxy, again.view_xyxy)


def test_other_view_of_a_thing_is_another_image_that_names_it():
    data = pictures([("a", 10, 10, 30, 30)], [("b", 10, 10, 30, 30)], [("a", 90, 90, 99, 99)], things=True)
    views, rng = OtherViews(data), np.random.default_rng(0)
    assert [views.other(index, rng) for index in range(3)] == [2, None, 0]


def test_views_of_other_images_hold_the_same_thing():
    data = pictures([("a", 150, 140, 190, 160), ("gone", 150, 180, 170, 200)], [("a", 200, 120, 220, 160)], things=True)
    sides = []
    for seed in range(12):
        pair = make_pair(data, OtherViews(data), 0, np.random.default_rng(seed))
        there = np.flatnonzero(pair.state == 1)
        sides += [(pair.chip_xyxy[r, 2:] - pair.chip_xyxy[r, :2], pair.view_xyxy[r]) for r in there]
    assert len(sides) > 6
    wide = [side for side, _ in sides if side[0] > 1.8 * side[1]]
    assert len(wide) >= 5  # a lies in the first image and stands in the second


def test_image_that_shows_nothing_still_gives_a_pair():
    data = pictures([])
    assert (make_pair(data, OtherViews(data), 0, np.random.default_rng(1)).state <= 1).all()


def test_worse_light_and_noise_change_no_place():
    image = np.full((64, 64, 3), 60, np.uint8)
    image[20:40, 20:40] = 200
    for seed in range(8):
        worse = degrade(image, gray=True, rng=np.random.default_rng(seed)).astype(float)
        assert worse[24:36, 24:36].mean() > worse[:12].mean() + 40


def test_renders_name_the_things_of_each_world(coco_folder):
    path = coco_folder / "annotations.json"
    content = json.loads(path.read_text())
    assert read_data_set(coco_folder, "all").items[0].things == ()
    for row in content["images"]:
        row["world"] = 9
    for row in content["annotations"]:
        row["object_id"] = row["id"] % 3
    path.write_text(json.dumps(content))
    assert [item.things for item in read_data_set(coco_folder, "all")] == [("9/1", "9/2", "9/0"), ("9/1",)]
