"""Reviewed pictures from several places: each once, at the scale of the frame, labels spelled one way."""

import json

import cv2
import numpy as np
import pytest

from distill.errors import DataSetError
from distill.labelled import PLAIN
from distill.reviewed import gather, write_reviewed


def export_of(folder, *pictures, names=("Bicycle", "DontCare")):
    """A folder as `skyloop-cloud export --as coco` writes it."""
    (folder / "images").mkdir(parents=True)
    images, rows = [], []
    for number, (pixels, boxes, told) in enumerate(pictures, 1):
        cv2.imwrite(str(folder / "images" / f"{number}.png"), pixels)
        size = {"height": pixels.shape[0], "width": pixels.shape[1]}
        images.append({"id": number, "file_name": f"{number}.png", **size, **told})
        rows += [
            {"id": len(rows) + at, "image_id": number, "category_id": names.index(name) + 1, "bbox": list(box), **more}
            for at, (name, box, more) in enumerate(boxes)
        ]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    content = {"images": images, "annotations": rows, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def picture(seed, shape=(64, 96)):
    return cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 255, shape, np.uint8), (0, 0), 2)


BOX = ("Bicycle", (10, 20, 16, 8), {})


def truth(item):
    return list(zip(item.labels, item.boxes_xyxy.tolist(), item.ignore.tolist(), item.marks, strict=True))


def test_picture_that_came_twice_keeps_the_newest_word_whatever_the_order(tmp_path):
    later = export_of(tmp_path / "a", (picture(1), [BOX], {"judged": ["Bicycle"], "said_at_s": 20.0}))
    earlier = export_of(tmp_path / "b", (picture(1), [], {"judged": ["Bicycle"], "said_at_s": 10.0}))
    for order in ([later, earlier], [earlier, later]):
        found = gather(order, PLAIN, (), {})
        assert (len(found.data), found.duplicates) == (1, 1)
        assert truth(found.data.items[0]) == [("Bicycle", [10, 20, 26, 28], False, "")]


def test_folders_that_are_too_many_together_are_refused(tmp_path, monkeypatch):
    folders = [export_of(tmp_path / str(seed), (picture(seed), [BOX], {})) for seed in range(2)]
    monkeypatch.setattr("distill.cases.MAX_HELD_BYTES", 64 * 96)
    with pytest.raises(DataSetError, match="export fewer"):
        gather(folders, PLAIN, (), {})


def test_without_times_the_later_folder_is_newer(tmp_path):
    first = export_of(tmp_path / "a", (picture(1), [BOX], {}))
    second = export_of(tmp_path / "b", (picture(1), [BOX, ("Bicycle", (50, 30, 10, 10), {})], {}))
    assert len(gather([first, second], PLAIN, (), {}).data.items[0].labels) == 2
    assert len(gather([second, first], PLAIN, (), {}).data.items[0].labels) == 1


def test_labels_are_spelled_as_the_student_spells_them_and_may_be_renamed(tmp_path):
    boxes = [("bicycle", (10, 20, 16, 8), {}), ("velo", (40, 20, 16, 8), {}), ("Ship", (60, 20, 9, 8), {})]
    folder = export_of(
        tmp_path / "a", (picture(1), boxes, {"judged": ["BICYCLE", "ship"]}), names=("bicycle", "velo", "Ship")
    )
    found = gather([folder], PLAIN, ("Bicycle",), {"Velo": "bicycle"})
    assert found.data.items[0].labels == ("Bicycle", "Bicycle", "Ship")
    assert found.data.items[0].judged == ("Bicycle", "Ship")
    assert found.boxes() == {"Bicycle": 2, "Ship": 1}


def test_gray_through_a_codec_is_gray_again_and_colour_stays(tmp_path):
    noisy = np.repeat(picture(1)[..., None], 3, axis=2)
    noisy[::2, :, 0] = np.minimum(noisy[::2, :, 0], 254) + 1
    colour = noisy.copy()
    colour[20:30, 20:30] = (0, 0, 250)
    found = gather([export_of(tmp_path / "a", (noisy, [BOX], {}), (colour, [BOX], {}))], PLAIN, (), {})
    assert [found.data.image(i).ndim for i in range(2)] == [2, 3]
    assert found.gray == 1


def test_small_picture_grows_to_the_scale_of_the_frame(tmp_path):
    told = {"image_scale": 0.5, "gsd_m": 0.2}
    found = gather([export_of(tmp_path / "a", (picture(1), [BOX], told))], PLAIN, (), {})
    assert found.data.image(0).shape == (128, 192)
    assert truth(found.data.items[0])[0][1] == [20, 40, 52, 56]
    assert found.data.items[0].gsd_m == pytest.approx(0.1)


@pytest.mark.parametrize("scale", [1e-9, 1e9, -1.0, float("nan")])
def test_impossible_scale_is_refused_before_anything_is_enlarged(tmp_path, scale):
    folder = export_of(tmp_path / "a", (picture(1), [BOX], {"image_scale": scale}))
    with pytest.raises(DataSetError, match="image_scale"):
        gather([folder], PLAIN, (), {})


def test_hard_negative_and_what_nobody_judged_are_kept_apart(tmp_path):
    hard = ("Bicycle", (50, 30, 10, 10), {"ignore": 1, "iscrowd": 1, "mark": "refuted"})
    unjudged = ("DontCare", (70, 30, 10, 10), {"ignore": 1, "iscrowd": 1})
    found = gather([export_of(tmp_path / "a", (picture(1), [BOX, hard, unjudged], {}))], PLAIN, (), {})
    assert [row[3] for row in truth(found.data.items[0])] == ["", "refuted", ""]
    assert found.boxes() == {"Bicycle": 1}


def test_what_was_written_reads_as_it_was(tmp_path):
    hard = ("Bicycle", (50, 30, 10, 10), {"ignore": 1, "mark": "refuted"})
    colour = np.repeat(picture(2)[..., None], 3, axis=2) // (1, 2, 3)
    folder = export_of(
        tmp_path / "a",
        (picture(1), [BOX, hard], {"judged": ["Bicycle"], "said_at_s": 7.0}),
        (colour.astype(np.uint8), [], {"judged": ["Bicycle"]}),
    )
    found = gather([folder], PLAIN, (), {})
    write_reviewed(found, tmp_path / "kept")
    again = gather([tmp_path / "kept"], PLAIN, (), {})
    assert again.record() == found.record()
    for index, (a, b) in enumerate(zip(found.data, again.data, strict=True)):
        assert (truth(a), a.judged, a.said_at_s) == (truth(b), b.judged, b.said_at_s)
        np.testing.assert_array_equal(found.data.image(index), again.data.image(index))


def test_pictures_that_say_nothing_are_no_data_set(tmp_path):
    unjudged = ("DontCare", (70, 30, 10, 10), {"ignore": 1})
    with pytest.raises(DataSetError, match="no picture has a reviewed box; review some cases first"):
        gather([export_of(tmp_path / "a", (picture(1), [unjudged], {}))], PLAIN, (), {})
