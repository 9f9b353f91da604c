import cv2
import numpy as np
import pytest

from distill.dataset import read_data_set
from distill.errors import DataSetError

OBJECT = "<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>"
BOX = "<xmin>4</xmin><ymin>6</ymin><xmax>20</xmax><ymax>30</ymax>"


def put(folder, name, *objects):
    cv2.imwrite(str(folder / f"{name}.png"), np.full((40, 60, 3), 90, np.uint8))
    text = f"<annotation><filename>{name}.png</filename>{''.join(objects)}</annotation>"
    (folder / f"{name}.xml").write_text(text)


def test_boxes_labels_and_difficult_objects_are_read(tmp_path):
    put(tmp_path, "b", OBJECT.format("bus", 0, BOX), OBJECT.format("Tree", 1, BOX))
    put(tmp_path, "a")
    first, second = read_data_set(tmp_path, "all")
    assert (first.path.name, first.labels, first.boxes_xyxy.shape) == ("a.png", (), (0, 4))
    assert second.labels == ("OtherVehicle", "Tree")
    assert second.boxes_xyxy.tolist() == [[4, 6, 20, 30]] * 2
    assert second.ignore.tolist() == [False, True]
    assert read_data_set(tmp_path, "all").image(1).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("<annotation", "no XML", id="damaged"),
        pytest.param("<gpx/>", "its root is <gpx>", id="other"),
        pytest.param("<annotation><filename>gone.png</filename></annotation>", "names gone.png", id="no image"),
        pytest.param(
            f"<annotation><filename>a.png</filename>{OBJECT.format('car', 0, '<xmin>3</xmin>')}</annotation>",
            "give it xmin, ymin, xmax and ymax",
            id="no box",
        ),
        pytest.param(
            f"<annotation><filename>a.png</filename>{OBJECT.format('car', 0, BOX.replace('4', 'nan'))}</annotation>",
            "its right must lie right of its left",
            id="no number",
        ),
    ],
)
def test_damaged_annotation_is_named(tmp_path, content, words):
    put(tmp_path, "a")
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(DataSetError, match=words):
        read_data_set(tmp_path, "all")


def test_file_too_large_for_an_annotation_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("distill.voc.MAX_XML_BYTES", 10)
    put(tmp_path, "a")
    with pytest.raises(DataSetError, match="larger than 0 MB"):
        read_data_set(tmp_path, "all")


def test_images_alone_neither_teach_nor_count(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 90, np.uint8))
    (item,) = read_data_set(tmp_path, "all")
    assert item.boxes_xyxy.tolist() == [[0, 0, 60, 40]]
    assert item.ignore.tolist() == [True]


@pytest.mark.data
def test_real_tree_crowns_are_read(data_root):
    data = read_data_set(data_root / "aerial_rgb" / "neon_trees" / "src" / "deepforest" / "data", "all")
    assert {label for item in data for label in item.labels} == {"Tree", "Alive", "Dead"}
    assert len(data) == 3
    assert all(len(item.labels) > 20 for item in data)


@pytest.mark.parametrize("size", ["", "<size><width>60</width><height>40</height></size>"], ids=["image", "said"])
def test_box_outside_the_image_is_cut_off(tmp_path, size):
    put(
        tmp_path,
        "a",
        size,
        OBJECT.format("Tree", 0, BOX.replace("20", "90")),
        OBJECT.format("Tree", 0, BOX.replace("4", "70").replace("20", "80")),
    )
    (item,) = read_data_set(tmp_path, "all")
    assert item.boxes_xyxy.tolist() == [[4, 6, 60, 30], [60, 6, 60, 30]]
    assert item.ignore.tolist() == [False, True]


def test_object_without_a_name_is_refused(tmp_path):
    put(tmp_path, "a", OBJECT.format("", 0, BOX))
    with pytest.raises(DataSetError, match=r"a\.xml: an object has no name; give it one"):
        read_data_set(tmp_path, "all")
