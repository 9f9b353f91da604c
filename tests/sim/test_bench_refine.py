import numpy as np
import pytest
from builders import scene

from cloud.teachers import TeacherAnswer
from distill.evaluate import ImageTruth
from sim import bench_refine

BOX = (100.0, 60.0, 116.0, 76.0)


class Doubtful:
    """Sure of the thing in a small picture alone."""

    name = "doubtful"

    def interpret(self, images):
        return [self._answer(image) for image in images]

    def _answer(self, image):
        score = 0.9 if image.shape[0] <= 192 else 0.3
        rows, columns = np.nonzero(image[..., 1] > 120)
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        return TeacherAnswer(box, ("thing",), np.array([score], np.float32))


@pytest.fixture
def pictured(monkeypatch):
    image = np.zeros((512, 640, 3), np.uint8)
    image[:128, :160] = scene((108, 68, (60, 220, 60)))
    truth = ImageTruth(np.array([BOX], np.float32), ["thing"], [False])

    class Data:
        name, items = "one", (0,)

        def __len__(self):
            return 1

        def image(self, index):
            return image

    monkeypatch.setattr(bench_refine, "open_teacher", lambda *_, **__: Doubtful())
    monkeypatch.setattr(bench_refine, "read_data_set", lambda *_: Data())
    monkeypatch.setattr(bench_refine, "DataSet", lambda *_: Data())
    monkeypatch.setattr(bench_refine, "truths_of", lambda _: [truth])


def test_case_that_left_the_teacher_unsure_is_seen_again_and_judged(pictured, tmp_path):
    result = bench_refine.bench_refine(bench_refine.RefineBench(tmp_path), bench_refine.Display())
    assert (result["cases"], result["asked"]) == (1, 1)
    assert (result["before"]["sure"], result["after"]["sure"], result["after"]["right"]) == (0, 1, 1)
    assert result["after"]["sent_bytes"] > 0


def test_good_pictures_are_not_asked_for_again(pictured, tmp_path):
    options = bench_refine.RefineBench(tmp_path, quality=90)
    assert bench_refine.bench_refine(options, bench_refine.Display())["asked"] == 0
