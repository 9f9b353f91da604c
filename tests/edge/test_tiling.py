"""Large frames in tiles: found everywhere, found once, found where they are."""

import itertools

import numpy as np
import pytest

from edge.student import NO_MAPS, Student
from edge.tiling import OVERLAP_SHARE, TiledStudent, open_student, tiles_of
from protocols.boxes import box_iou

TILE_PX, GRID_PX, SIDE_PX = 128, 32, 16


def scene(width, height, corners):
    """A dark picture with red squares, the tiny student's idea of a red thing."""
    image = np.full((height, width, 3), 20, np.uint8)
    for x, y in corners:
        image[y : y + SIDE_PX, x : x + SIDE_PX] = (40, 40, 250)
    return image


def known_boxes(student, image):
    seen = student.perceive(image)
    return seen.boxes_xyxy[student.known(seen).rows]


@pytest.mark.parametrize(("width", "height"), [(128, 128), (129, 400), (640, 512), (1000, 130), (300, 50)])
def test_cores_divide_the_frame(width, height):
    owners = np.zeros((height, width), int)
    for tile in tiles_of(width, height, TILE_PX, GRID_PX):
        left, top, right, bottom = (round(v) for v in tile.core)
        owners[top:bottom, left:right] += 1
        assert tile.window[2] - tile.window[0] < TILE_PX + GRID_PX
        assert tile.window[0] % GRID_PX == tile.window[1] % GRID_PX == 0
        assert 0 <= tile.window[0] <= tile.core[0]
        assert tile.core[2] <= tile.window[2] <= width
    assert (owners == 1).all()


@pytest.mark.parametrize("length", range(129, 700, 37))
def test_what_is_no_larger_than_the_overlap_lies_whole_in_its_tile(length):
    reach = TILE_PX * OVERLAP_SHARE / 2 - 1
    for tile in tiles_of(length, TILE_PX, TILE_PX, GRID_PX):
        assert tile.core[0] == 0 or tile.core[0] - tile.window[0] >= reach
        assert tile.core[2] == length or tile.window[2] - tile.core[2] >= reach


@pytest.mark.parametrize("offset", range(0, 48, 3))
def test_each_thing_is_found_once_wherever_seams_lie(tiny_bundle, offset):
    corners = [(x + offset, y) for x, y in itertools.product(range(8, 300, 48), range(8, 196, 48))]
    image = scene(416, 224, corners)
    truth = np.array([[x, y, x + SIDE_PX, y + SIDE_PX] for x, y in corners], np.float32)
    found = known_boxes(open_student(tiny_bundle, threads=1, tile_px=TILE_PX), image)
    overlap = box_iou(truth, found)
    assert (overlap.max(axis=1) > 0.4).all()
    assert len(found) == len(known_boxes(Student.open(tiny_bundle, threads=1), image))


def test_tiles_agree_with_the_whole_frame(tiny_bundle):
    image = scene(416, 224, [(42, 42), (122, 98), (202, 58), (330, 186)])
    found = []
    for tile_px in (None, TILE_PX):
        student = open_student(tiny_bundle, threads=1, tile_px=tile_px)
        seen = student.perceive(image)
        rows = student.known(seen).rows
        rows = rows[np.argsort(seen.boxes_xyxy[rows, 0])]
        found.append((seen.boxes_xyxy[rows], seen.objectness[rows], seen.embeddings[rows]))
    for whole, tiled in zip(*found, strict=True):
        np.testing.assert_allclose(whole, tiled, atol=1e-3)
    assert len(found[0][0]) == 4


def test_small_frame_is_looked_at_whole(tiny_bundle):
    student = open_student(tiny_bundle, threads=1, tile_px=TILE_PX)
    assert isinstance(student, TiledStudent)
    assert student.perceive(scene(96, 64, [(8, 8)])).raw is not NO_MAPS


def test_best_candidate_comes_first(tiny_bundle):
    seen = open_student(tiny_bundle, threads=1, tile_px=TILE_PX).perceive(scene(416, 224, [(40, 40), (300, 100)]))
    strength = np.maximum(seen.objectness, seen.class_scores.max(axis=1))
    assert (np.diff(strength) <= 0).all()


def test_frame_without_anything_gives_no_candidates(tiny_bundle):
    seen = open_student(tiny_bundle, threads=1, tile_px=TILE_PX).perceive(scene(416, 224, []))
    assert seen.boxes_xyxy.shape == (0, 4)
