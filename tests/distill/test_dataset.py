import json

import cv2
import numpy as np
import pytest

from distill.dataset import DataSet, Reading, read_data_set, read_image
from distill.errors import DataSetError

SIX = ("blue", "green", "red", "red_edge", "nir", "swir")


def names_of(data):
    return [item.path.name for item in data]


@pytest.mark.parametrize(
    ("split", "numbers"),
    [
        pytest.param("train", ["00001", "00002", "00004", "00005"], id="train-less-dev"),
        pytest.param("dev", ["00003"], id="dev-is-whole-groups"),
        pytest.param("val", ["00006"], id="val"),
    ],
)
def test_hit_uav_split_holds_exactly_its_images(hit_uav, split, numbers):
    data = read_data_set(hit_uav, split)
    assert [name.rsplit("_", 1)[1] for name in names_of(data)] == [f"{n}.jpg" for n in numbers]
    assert data.name == f"hit_uav/{split}"


def test_hit_uav_boxes_become_corners_in_pixels(hit_uav):
    item = read_data_set(hit_uav, "train").items[0]
    np.testing.assert_array_equal(item.boxes_xyxy, [[10, 12, 18, 22], [40, 20, 70, 36]])
    assert (item.boxes_xyxy.dtype, item.labels) == (np.float32, ("Person", "Car"))


def test_hit_uav_dont_care_is_ignored(hit_uav):
    item = read_data_set(hit_uav, "dev").items[0]
    assert dict(zip(item.labels, item.ignore.tolist(), strict=True)) == {"Person": False, "DontCare": True}


def test_hit_uav_box_lies_on_its_bright_pixels(hit_uav):
    data = read_data_set(hit_uav, "train")
    x1, y1, x2, y2 = data.items[0].boxes_xyxy[1].astype(int)
    image = data.image(0)
    assert image.shape == (64, 96)
    assert image[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].min() > 180


def test_coco_folder_reads_labels_ids_and_kinds(coco_folder):
    data = read_data_set(coco_folder, "all")
    first = data.items[0]
    assert (names_of(data), [item.image_id for item in data]) == (["0.png", "1.png"], [7, 8])
    assert (first.labels, first.kinds.tolist()) == (("Red", "Novel", "Red"), [-1, 42, -1])
    np.testing.assert_array_equal(first.boxes_xyxy[0], [24, 24, 40, 40])


def test_coco_crowd_is_ignored(coco_folder):
    assert read_data_set(coco_folder, "all").items[0].ignore.tolist() == [False, False, True]


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("box_xywh", "clipped", "ignored"),
    [
        pytest.param([50, 50, 40, 40], [50, 50, 64, 64], False, id="cut-by-the-edge"),
        pytest.param([-5, -5, 10, 10], [0, 0, 5, 5], False, id="cut-by-the-corner"),
        pytest.param([70, 10, 10, 10], [64, 10, 64, 20], True, id="outside"),
        pytest.param([10, 10, 0.5, 10], [10, 10, 10.5, 20], True, id="thinner-than-a-pixel"),
    ],
)
def test_box_beyond_the_picture_is_clipped(coco_folder, box_xywh, clipped, ignored):
    change_json(coco_folder / "annotations.json", lambda c: c["annotations"][0].update(bbox=box_xywh))
    item = read_data_set(coco_folder, "all").items[0]
    np.testing.assert_array_equal(item.boxes_xyxy[0], clipped)
    assert item.ignore[0] == ignored


def test_image_without_annotation_has_no_boxes(coco_folder):
    change_json(coco_folder / "annotations.json", lambda c: c["annotations"].pop())
    item = read_data_set(coco_folder, "all").items[1]
    assert (item.boxes_xyxy.shape, item.labels, item.ignore.shape) == ((0, 4), (), (0,))


@pytest.mark.parametrize(
    ("left_out", "kept"),
    [
        pytest.param(["Bicycle"], ["00001", "00004", "00005"], id="one-label"),
        pytest.param(["Bicycle", "OtherVehicle"], ["00001", "00005"], id="two-labels"),
        pytest.param([], ["00001", "00002", "00004", "00005"], id="none"),
    ],
)
def test_leave_out_drops_every_image_that_holds_a_label(hit_uav, left_out, kept):
    data = read_data_set(hit_uav, "train").without_labels(left_out)
    assert [name.rsplit("_", 1)[1] for name in names_of(data)] == [f"{n}.jpg" for n in kept]


def test_preloaded_pixels_outlive_their_file(hit_uav):
    data = read_data_set(hit_uav, "val")
    data.preload()
    data.items[0].path.unlink()
    assert data.image(0).shape == (64, 96)
    assert DataSet.without_labels(data, ["Car"]).image(0) is data.image(0)


def rewrite(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "split", "words"),
    [
        pytest.param(rewrite("annotations/val.json", "{"), "val", "no readable COCO JSON", id="corrupt-json"),
        pytest.param(rewrite("annotations/val.json", "[]"), "val", "not laid out as COCO", id="json-list"),
        pytest.param(rewrite("annotations/val.json", "{}"), "val", "no 'categories'", id="json-without-keys"),
        pytest.param(lambda f: (f / "annotations/val.json").unlink(), "val", "val.json", id="no-json"),
        pytest.param(lambda f: (f / "dev_groups.txt").unlink(), "train", "dev_groups.txt", id="no-dev-groups"),
        pytest.param(rewrite("dev_groups.txt", ""), "dev", "holds no image", id="empty-split"),
        pytest.param(lambda f: None, "test", "choose train, dev or val", id="unknown-split"),
    ],
)
def test_damaged_hit_uav_is_one_clear_line(hit_uav, damage, split, words):
    damage(hit_uav)
    with pytest.raises(DataSetError, match=words) as caught:
        read_data_set(hit_uav, split)
    assert "\n" not in str(caught.value)
    assert str(hit_uav) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"bbox": [1, 2, 3]}, id="three-numbers"),
        pytest.param({"bbox": [1, 2, float("nan"), 4]}, id="not-finite"),
        pytest.param({"bbox": None}, id="null"),
        pytest.param({"category_id": 99}, id="unknown-category"),
        pytest.param({"image_id": 99}, id="unknown-image"),
    ],
)
def test_impossible_annotation_is_refused(coco_folder, change):
    change_json(coco_folder / "annotations.json", lambda c: c["annotations"][0].update(change))
    with pytest.raises(DataSetError, match=r"annotations\.json: not laid out as COCO"):
        read_data_set(coco_folder, "all")


@pytest.mark.parametrize("read", [lambda data: data.preload(), lambda data: data.image(0)], ids=["all", "one"])
def test_image_smaller_than_its_annotation_says_is_refused(coco_folder, read):
    larger = {"width": 200, "height": 200}
    change_json(coco_folder / "annotations.json", lambda c: [image.update(larger) for image in c["images"]])
    change_json(coco_folder / "annotations.json", lambda c: c["annotations"][0].update(bbox=[90, 24, 16, 16]))
    with pytest.raises(DataSetError, match=r"0\.png: is 64x64, its annotation has a box to 106, 40; .* correct"):
        read(read_data_set(coco_folder, "all"))


def test_missing_folder_names_it(tmp_path):
    with pytest.raises(DataSetError, match=r"absent: is not there; check --data"):
        read_data_set(tmp_path / "absent", "val")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_truncated_image_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataSetError, match="restore the file") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_jpeg_with_bytes_after_its_end_is_read(tmp_path):
    path = tmp_path / "tail.jpg"
    cv2.imwrite(str(path), np.zeros((64, 96), np.uint8))
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert read_image(path).shape == (64, 96)


def test_missing_image_is_refused_by_preload(hit_uav):
    data = read_data_set(hit_uav, "train")
    data.items[1].path.unlink()
    with pytest.raises(DataSetError, match=r"00002\.jpg: cannot be read \(No such file"):
        data.preload()


def test_16_bit_image_is_refused_instead_of_wrapped(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 8), 1000, np.uint16))
    with pytest.raises(DataSetError, match="uint16 pixels"):
        read_image(tmp_path / "deep.png")


def test_transparent_image_loses_its_alpha(tmp_path):
    cv2.imwrite(str(tmp_path / "alpha.png"), np.full((8, 8, 4), 77, np.uint8))
    assert read_image(tmp_path / "alpha.png").shape == (8, 8, 3)


@pytest.mark.data
@pytest.mark.parametrize(("split", "images"), [("train", 1766), ("dev", 263), ("val", 290)])
def test_real_hit_uav_has_its_published_counts(data_root, split, images):
    assert len(read_data_set(data_root / "hit_uav", split)) == images


@pytest.mark.data
def test_real_hit_uav_leave_out_keeps_1649_of_2029(data_root):
    sets = [read_data_set(data_root / "hit_uav", split) for split in ("train", "dev")]
    assert sum(len(data) for data in sets) == 2029
    assert sum(len(data.without_labels(["Bicycle", "OtherVehicle"])) for data in sets) == 1649


def test_only_the_named_images_are_kept(hit_uav):
    data = read_data_set(hit_uav, "train")
    names = [item.path.name for item in data]
    assert [item.path.name for item in data.named([names[1][:-4] + "*"])] == [names[1]]
    assert len(data.named([])) == len(data)


def test_name_that_no_image_has_is_an_error(hit_uav):
    with pytest.raises(DataSetError, match=r"no image is called 'DJI\*'; the first is "):
        read_data_set(hit_uav, "train").named(["DJI*"])


def save(folder, pixels):
    np.save(folder / "a.npy", pixels)
    return folder / "a.npy"


def test_array_of_many_bands_is_read_whole(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 6), np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path, pixels), Reading(SIX)), pixels)


def test_pixel_range_becomes_0_to_255(tmp_path):
    pixels = np.array([[0, 1000, 2000], [3000, 5000, 65535]], np.uint16)
    found = read_image(save(tmp_path, pixels), Reading(pixel_range=(1000, 5000)))
    np.testing.assert_array_equal(found, [[0, 0, 64], [128, 255, 255]])


def test_pixel_that_is_no_number_becomes_0(tmp_path):
    pixels = np.array([[np.nan, 1.0]], np.float32)
    assert read_image(save(tmp_path, pixels), Reading(pixel_range=(0, 1))).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("pixels", "reading", "words"),
    [
        pytest.param(np.zeros((8, 8, 3), np.uint8), Reading(SIX), "holds 3 bands, the network takes 6", id="too-few"),
        pytest.param(np.zeros((8, 8, 6), np.uint8), Reading(SIX[:4]), "holds 6 bands", id="too-many"),
        pytest.param(np.zeros((8, 8), np.uint16), Reading(), r"uint16 pixels.*pixel_range = \[LOW, HIGH\]", id="deep"),
        pytest.param(np.zeros((8, 8), np.complex64), Reading(), "complex64", id="complex"),
        pytest.param(np.zeros((2, 8, 8, 3), np.uint8), Reading(), r"an image is \(H, W\)", id="video"),
    ],
)
def test_array_that_does_not_fit_is_one_clear_line(tmp_path, pixels, reading, words):
    with pytest.raises(DataSetError, match=words) as caught:
        read_image(save(tmp_path, pixels), reading)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_array_is_refused(tmp_path, share):
    path = save(tmp_path, np.zeros((32, 32, 6), np.uint8))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataSetError, match="restore the file"):
        read_image(path, Reading(SIX))


@pytest.mark.parametrize(
    ("categories", "words"),
    [
        pytest.param([], "the category 3, which `categories` does not name", id="none"),
        pytest.param([{"id": 3, "name": " "}], "a category has no name", id="nameless"),
    ],
)
def test_empty_classes_are_named(coco_folder, categories, words):
    change_json(coco_folder / "annotations.json", lambda c: c.update(categories=categories))
    with pytest.raises(DataSetError, match=words):
        read_data_set(coco_folder, "all")
