import cv2
import numpy as np
import pytest
from builders import scene

from distill.dataset import DataSet, LabelledImage
from distill.image_losses import image_losses
from edge.student import Student

RED = (30, 30, 250)


def item(folder, name, image, *boxes):
    cv2.imwrite(str(folder / name), image)
    count = len(boxes)
    return LabelledImage(
        folder / name,
        np.array(boxes, np.float32).reshape(count, 4),
        ("Red",) * count,
        np.full(count, -1, np.int64),
        np.zeros(count, bool),
        0,
    )


@pytest.fixture
def losses(tiny_bundle, tmp_path):
    """Of a square that is where the truth says, of one that the truth puts elsewhere, and of an empty picture."""
    right = item(tmp_path, "right.png", scene((40, 40, RED)), (32, 32, 48, 48))
    wrong = item(tmp_path, "wrong.png", scene((40, 40, RED)), (96, 80, 112, 96))
    empty = item(tmp_path, "empty.png", scene())
    seen = []
    found = image_losses(Student.open(tiny_bundle), DataSet("made up", (right, wrong, empty)), seen.append)
    assert seen == [0, 1, 2]
    return found


def test_wrong_image_has_the_higher_loss(losses):
    assert losses.dtype == np.float32
    assert losses[0] < losses[1]


def test_image_without_objects_has_a_finite_loss(losses):
    assert np.isfinite(losses[2])
