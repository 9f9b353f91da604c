import cv2
import numpy as np
import pytest

from distill.dataset import read_data_set
from distill.errors import DataSetError

HEAD = "image_path,xmin,ymin,xmax,ymax,score,label\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), 90, np.uint8))
    return tmp_path


def test_boxes_of_several_tables_come_together(folder):
    (folder / "1.csv").write_text(f"{HEAD}b.png,4,6,20,30,0.9,Tree\nb.png,1,2,3,9,0.4,bus\n")
    (folder / "2.csv").write_text("label,ymax,ymin,xmax,xmin,image_path\nTree,9.5,2,3,1,somewhere/a.png\n")
    first, second = read_data_set(folder, "all")
    assert (first.path.name, first.labels, first.boxes_xyxy.tolist()) == (
        "b.png",
        ("Tree", "OtherVehicle"),
        [[4, 6, 20, 30], [1, 2, 3, 9]],
    )
    assert (second.path.name, second.boxes_xyxy.tolist(), second.bands) == ("a.png", [[1, 2, 3, 9.5]], 3)


def test_one_table_may_be_named_alone(folder):
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_text(f"{HEAD}{name}.png,4,6,20,30,1,Tree\n")
    data = read_data_set(folder / "b.csv", "all")
    assert (data.name, [item.path.name for item in data]) == ("b", ["b.png"])


def test_row_of_zeros_shows_nothing(folder):
    (folder / "a.csv").write_text(f"{HEAD}a.png,0,0,0,0,0,Tree\n")
    (item,) = read_data_set(folder, "all")
    assert (item.labels, item.boxes_xyxy.shape) == ((), (0, 4))


def test_box_outside_the_image_is_cut_off(folder):
    (folder / "a.csv").write_text(f"{HEAD}a.png,50,30,90,90,1,Tree\na.png,70,5,90,9,1,Tree\n")
    (item,) = read_data_set(folder, "all")
    assert item.boxes_xyxy.tolist() == [[50, 30, 60, 40], [60, 5, 60, 9]]
    assert item.ignore.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            "image_path,geometry\na.png,POINT(1 2)\n", "lacks the columns xmin, ymin, xmax, ymax, label", id="columns"
        ),
        pytest.param("", "lacks the columns", id="empty"),
        pytest.param(f"{HEAD}gone.png,1,2,3,4,1,Tree\n", r"a\.csv:2: names 'gone.png'", id="image"),
        pytest.param(f"{HEAD}a.png,1,2,x,4,1,Tree\n", r"a\.csv:2: .*four numbers", id="number"),
        pytest.param(f"{HEAD}a.png,1,2\n", r"a\.csv:2: .*four numbers", id="short"),
        pytest.param(f"{HEAD}a.png,5,2,3,4,1,Tree\n", "right right of its left", id="turned"),
        pytest.param(f"{HEAD}a.png,1,2,3,4,1,\n", "wants a label", id="label"),
        pytest.param("\x00\x01\xff", "table|columns", id="binary"),
    ],
)
def test_damaged_table_is_one_clear_line(folder, text, words):
    (folder / "a.csv").write_text(text)
    with pytest.raises(DataSetError, match=words) as caught:
        read_data_set(folder, "all")
    assert "\n" not in str(caught.value)
    assert str(folder / "a.csv") in str(caught.value)


@pytest.mark.data
def test_real_table_of_trees_is_read(data_root):
    folder = data_root / "aerial_rgb" / "neon_trees" / "src" / "deepforest" / "data"
    (item,) = read_data_set(folder / "2018_SJER_3_252000_4107000_image_477_truth.csv", "all")
    assert (item.bands, item.gsd_m) == (3, pytest.approx(0.1, rel=0.01))
    assert len(item.labels) > 3
