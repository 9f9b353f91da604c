"""Looking for exemplars: what they are, and how features alone find them."""

import cv2
import numpy as np
import pytest

from cloud.case_images import CaseImage
from cloud.chips import make_chips
from cloud.errors import TeacherError
from cloud.teachers import Exemplar, Places, exemplar_of, find_by_features, open_teacher
from protocols.imagery import encode_image
from protocols.values import Chip


def box(*corners):
    return np.array(corners, np.float32)


def colours(frames):
    """(N, 4, h, w) features: the mean colour of cells of 4 px, and a constant that black is alike in."""
    means = [cv2.resize(frame, None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack([np.dstack([mean.astype(np.float32), np.full(mean.shape[:2], 60)]) for mean in means]).transpose(
        0, 3, 1, 2
    )


@pytest.mark.parametrize(
    ("corners", "problem"),
    [
        pytest.param((1, 2, 3), "four finite numbers", id="three-numbers"),
        pytest.param((1, 2, np.nan, 4), "four finite numbers", id="nan"),
        pytest.param((5, 5, 5, 9), "is empty or leaves its image of 32x16 pixels", id="empty"),
        pytest.param((5, 5, 40, 9), "is empty or leaves its image", id="outside"),
    ],
)
def test_exemplar_without_a_box_in_it_is_refused(corners, problem):
    with pytest.raises(TeacherError, match=problem):
        Exemplar(np.zeros((16, 32, 3), np.uint8), box(*corners))


@pytest.mark.parametrize(
    ("boxes", "scores", "problem"),
    [
        pytest.param(np.zeros((1, 4)), [0.5, 0.4], r"boxes \(1, 4\) and scores \(2,\)", id="a-box-short"),
        pytest.param(np.full((1, 4), np.inf), [0.5], "not finite", id="endless"),
        pytest.param(np.zeros((2, 4)), [0.4, 0.5], "best first", id="unsorted"),
    ],
)
def test_places_that_do_not_add_up_are_refused(boxes, scores, problem):
    with pytest.raises(TeacherError, match=problem):
        Places(boxes.astype(np.float32), np.array(scores, np.float32))


def test_features_find_the_thing_of_the_chips_colour_first(painting):
    chip = Exemplar(painting.paint((40, 40, painting.GREEN), size=(80, 80)), box(32, 32, 48, 48))
    frame = painting.paint((56, 48, painting.RED), (112, 96, painting.GREEN))
    (places,) = find_by_features(colours, [chip], [frame])
    assert np.abs(places.boxes_xyxy[0] - [104, 88, 120, 104]).max() <= 4
    assert places.scores[0] > 0.9
    assert (places.scores[1:] < 0.7).all()


def test_places_of_several_chips_have_the_sizes_of_their_chips(painting):
    green = Exemplar(painting.paint((40, 40, painting.GREEN), size=(80, 80)), box(32, 32, 48, 48))
    red = Exemplar(painting.paint((40, 40, painting.RED), size=(80, 80)), box(30, 30, 50, 50))
    frame = painting.paint((56, 48, painting.RED), (112, 96, painting.GREEN))
    (places,) = find_by_features(colours, [green, red], [frame])
    found = sorted(places.boxes_xyxy[:2].tolist())
    assert np.abs(np.array(found) - [[46, 38, 66, 58], [104, 88, 120, 104]]).max() <= 4
    assert [round(x2 - x1) for x1, _, x2, _ in found] == [20, 16]


def test_teacher_without_a_head_finds_by_features_in_frames_of_any_size(tiny_bundle, painting):
    teacher = open_teacher(str(tiny_bundle.folder), threads=1)
    chip = Exemplar(painting.paint((20, 20, painting.GREEN), size=(41, 45)), box(12, 12, 28, 28))
    near, none = teacher.find([chip], [painting.paint((60, 70, painting.GREEN), size=(95, 101)), painting.paint()])
    assert np.abs(near.boxes_xyxy[0] - [52, 62, 68, 78]).max() <= 16  # its cells are alike as far as they see the thing
    assert len(none.scores) == 0
    with pytest.raises(TeacherError, match="give at least one chip"):
        teacher.find([], [painting.paint()])


def test_chip_of_a_prompt_comes_at_the_scale_of_its_frame(painting):
    image = painting.paint(size=(600, 600))
    image[200:400, 150:450] = painting.GREEN
    (chip,) = make_chips(CaseImage(image), box(150, 200, 450, 400)[None], 32)
    assert chip.scale < 0.6
    exemplar = exemplar_of(chip)
    assert np.abs(exemplar.box_xyxy[2:] - exemplar.box_xyxy[:2] - [300, 200]).max() <= 4
    x1, y1, x2, y2 = exemplar.box_xyxy.astype(int)
    inside, above = exemplar.image[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8], exemplar.image[: y1 - 8]
    assert inside[..., 1].min() > 180
    assert above.max() < 40


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"jpeg": b"no picture"}, "no exemplar: not a JPEG", id="damaged"),
        pytest.param({"scale": 0.001}, r"is 32000x32000 frame pixels large, 2048 at most", id="huge"),
        pytest.param({"box_xyxy": (40, 40, 50, 50)}, "is empty or leaves its image", id="box-outside"),
    ],
)
def test_chip_that_is_no_exemplar_is_refused(changes, problem):
    jpeg = encode_image(np.zeros((32, 32, 3), np.uint8), "image/jpeg", 80)
    with pytest.raises(TeacherError, match=problem):
        exemplar_of(Chip(**{"jpeg": jpeg, "box_xyxy": (4, 4, 20, 20), "scale": 1.0, **changes}))
