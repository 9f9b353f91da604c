import cv2
import numpy as np
import pytest

from distill.dataset import read_data_set
from distill.errors import DataSetError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "obj.names").write_text("car\nminibus\nwindmill\n")
    for name, lines in (("a", "0 0.5 0.5 0.2 0.1\n2 0.05 0.5 0.2 0.2\n"), ("b", None), ("c", "1 0.25 0.25 0.5 0.5\n")):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((100, 200, 3), np.uint8))
        if lines is not None:
            (tmp_path / f"{name}.txt").write_text(lines)
    return tmp_path


def test_boxes_and_names_come_in_our_words(folder):
    first, empty, last = read_data_set(folder, "all")
    assert first.labels == ("Car", "windmill")
    assert first.boxes_xyxy[0].tolist() == pytest.approx([80, 45, 120, 55])
    assert first.boxes_xyxy[1].tolist() == pytest.approx([0, 40, 30, 60])
    assert empty.labels == ()
    assert empty.boxes_xyxy.shape == (0, 4)
    assert last.labels == ("OtherVehicle",)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("0 0.5 0.5 0.2", "class below 3, four numbers", id="short"),
        pytest.param("3 0.5 0.5 0.2 0.1", "class below 3", id="unknown class"),
        pytest.param("0 0.5 1.5 0.2 0.1", "from 0 to 1", id="outside"),
        pytest.param("car 0.5 0.5 0.2 0.1", "is not `class x y width height`", id="words"),
    ],
)
def test_damaged_lines_are_named(folder, line, words):
    (folder / "b.txt").write_text(line + "\n")
    with pytest.raises(DataSetError, match=words) as told:
        read_data_set(folder, "all")
    assert "b.txt:1" in str(told.value)


@pytest.mark.parametrize("name", ["b.txt", "obj.names"])
def test_file_that_is_no_text_is_named(folder, name):
    (folder / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataSetError, match=rf"{name}: no readable text .* restore the file"):
        read_data_set(folder, "all")


def test_box_less_than_a_pixel_wide_neither_teaches_nor_counts(folder):
    (folder / "b.txt").write_text("0 0.5 0.5 0.0 0.1\n0 0.5 0.5 0.1 0.1\n")
    assert read_data_set(folder, "all").items[1].ignore.tolist() == [True, False]


@pytest.mark.data
def test_real_aerial_cars_are_read(data_root):
    found = read_data_set(data_root / "aerial_rgb" / "aerial_cars", "all")
    assert len(found) == 68
    assert sum(len(item.labels) for item in found) == 1615
    assert {label for item in found for label in item.labels} <= {"Car", "OtherVehicle", "Bicycle"}


def test_folder_that_names_no_class_is_refused(tmp_path):
    (tmp_path / "empty.names").write_text("\n\n")
    with pytest.raises(DataSetError, match=r"empty\.names: names no class; write one on each line"):
        read_data_set(tmp_path, "all")
