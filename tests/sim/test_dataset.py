import dataclasses
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sim.craft.camera import Camera
from sim.dataset import CATEGORIES, CocoWriter, render_sequence, render_training_set
from sim.scenes import training_scene
from sim.world import Label, Look


def _digest(folder):
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def training_set(tmp_path_factory):
    out = tmp_path_factory.mktemp("first")
    seen = []
    render_training_set(out, 9, 5, ["rgb", "thermal"], novel=True, debris=False, bicycles=False, on_frame=seen.append)
    assert seen == list(range(1, 10))
    return out


def test_training_set_same_arguments_same_bytes(training_set, tmp_path):
    render_training_set(tmp_path, 9, 5, ["rgb", "thermal"], novel=True, debris=False, bicycles=False)
    assert _digest(tmp_path) == _digest(training_set)


def test_training_set_is_coco(training_set):
    content = json.loads((training_set / "annotations.json").read_text())
    numbers = {c["name"]: c["id"] for c in content["categories"]}
    assert list(numbers)[:6] == ["Person", "Car", "Bicycle", "OtherVehicle", "Debris", "Novel"]
    assert sorted(numbers.values()) == list(range(1, len(Label) + 1))
    assert len(content["images"]) == 9
    names = {image["file_name"] for image in content["images"]}
    assert names == {path.name for path in (training_set / "images").iterdir()}
    assert cv2.imread(str(training_set / "images" / min(names))).shape == (512, 640, 3)


class Unplugged(Exception):
    """The power goes in mid-rendering."""


def test_training_set_that_is_cut_short_keeps_its_annotations(training_set, tmp_path):
    def stop(done):
        if done == 3:
            raise Unplugged

    with pytest.raises(Unplugged):
        render_training_set(tmp_path, 9, 5, ["rgb", "thermal"], novel=True, debris=False, bicycles=False, on_frame=stop)
    whole, cut = (json.loads((folder / "annotations.json").read_text()) for folder in (training_set, tmp_path))
    assert cut["images"] == whole["images"][:3]
    assert cut["annotations"] == [a for a in whole["annotations"] if a["image_id"] <= 3]
    assert {path.name for path in tmp_path.iterdir()} == {"images", "annotations.json"}


def test_annotations_lie_on_the_disk_before_the_end(tmp_path):
    writer = CocoWriter(tmp_path / "annotations.json")
    for index in range(500):
        writer.add(f"{index:06d}.jpg", Camera(500.0), [])
    assert (tmp_path / "annotations.images.jsonl").stat().st_size > 20_000
    writer.close()
    assert len(json.loads((tmp_path / "annotations.json").read_text())["images"]) == 500


def test_training_set_boxes_lie_in_the_frame(training_set):
    content = json.loads((training_set / "annotations.json").read_text())
    assert content["annotations"]
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert min(x, y) >= 0
        assert x + width <= 640.01
        assert y + height <= 512.01
        hidden = annotation["visible"] < 0.35 or min(width, height) < 4
        assert annotation["ignore"] == int(hidden)
        assert annotation["iscrowd"] == 0


def test_training_set_without_debris_and_bicycles_has_none(training_set):
    content = json.loads((training_set / "annotations.json").read_text())
    labels = {number: label.value for label, number in CATEGORIES.items()}
    found = {labels[a["category_id"]] for a in content["annotations"]}
    assert found.isdisjoint({"Debris", "Bicycle"})
    assert "Novel" in found


def test_sequence_writes_frames_with_poses(tmp_path):
    render_sequence(training_scene(2, "thermal", True, False, False), tmp_path, 0.5, 4.0)
    lines = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == ["images/000000.jpg", "images/000001.jpg"]
    assert lines[1]["time_s"] == 0.25
    keys = {"lat_deg", "lon_deg", "altitude_m", "yaw_deg", "pitch_deg", "roll_deg", "gsd_m"}
    assert set(lines[0]["pose"]) == keys
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert [image["time_s"] for image in content["images"]] == [0.0, 0.25]


def test_sequence_with_masks_tells_what_every_pixel_shows(tmp_path):
    scene = training_scene(2, "rgb", True, False, False)
    render_sequence(scene, tmp_path, 0.5, 2.0, masks=True)
    ids = cv2.imread(str(tmp_path / "ids" / "000000.png"), cv2.IMREAD_UNCHANGED)
    cover = cv2.imread(str(tmp_path / "cover" / "000000.png"), cv2.IMREAD_UNCHANGED)
    assert (ids.shape, ids.dtype, cover.shape) == ((512, 640), np.uint16, (512, 640))
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert {a["object_id"] for a in content["annotations"]} <= set(np.unique(ids).tolist())
    legend = content["info"]["land_cover"]
    assert {legend[str(value)] for value in np.unique(cover)} <= {
        "grass",
        "bare",
        "paved",
        "tree",
        "building",
        "object",
    }


def test_multispectral_sequence_keeps_its_bands(tmp_path):
    scene = dataclasses.replace(training_scene(2, "rgb", False, False, False), look=Look.MULTISPECTRAL)
    render_sequence(scene, tmp_path, 0.5, 2.0)
    assert np.load(tmp_path / "images" / "000000.npy").shape == (512, 640, 6)


def test_full_disk_keeps_whole_pictures_and_their_annotations(tmp_path, monkeypatch):
    write = cv2.imwrite

    def fill_up(path, image, options):
        if path.endswith("000002.jpg"):
            return Path(path).write_bytes(b"half") == 0
        return write(path, image, options)

    monkeypatch.setattr("sim.dataset.cv2.imwrite", fill_up)
    with pytest.raises(OSError, match=r"000002\.jpg, the disk may be full"):
        render_sequence(training_scene(2, "thermal", True, False, False), tmp_path, 1.0, 4.0)
    content = json.loads((tmp_path / "annotations.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    assert names == sorted(path.name for path in (tmp_path / "images").iterdir()) == ["000000.jpg", "000001.jpg"]
