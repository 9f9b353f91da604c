"""Tiny data sets, a network of a few thousand weights trained for six steps, and a disk that is full."""

import json
import resource
import shutil
import sys
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import torch

from distill import cli
from distill.bundle import export_run
from distill.network import SkyNet
from distill.quantize import quantize_files
from distill.recipe import NetworkConfig, Recipe, Source, Workspace
from distill.train import train

CATEGORIES = ("Person", "Car", "Bicycle", "OtherVehicle", "DontCare")
WIDTH_PX, HEIGHT_PX = 96, 64

TINY_TRUTH = {
    "train": {
        "0_60_30_0_00001.jpg": [("Person", (10, 12, 8, 10)), ("Car", (40, 20, 30, 16))],
        "0_60_30_0_00002.jpg": [("Bicycle", (50, 30, 14, 12)), ("Car", (8, 8, 24, 14))],
        "0_80_60_0_00003.jpg": [("Person", (20, 20, 10, 12)), ("DontCare", (60, 10, 20, 20))],
        "0_80_6_0_00004.jpg": [("OtherVehicle", (30, 24, 26, 18))],
        "1_90_70_0_00005.jpg": [("Person", (70, 40, 8, 8))],
    },
    "val": {"0_60_30_0_00006.jpg": [("Person", (12, 14, 8, 10)), ("DontCare", (50, 10, 20, 20))]},
}
"""Boxes are x, y, w, h; `0_80_60_0` is the one dev group, and `0_80_6_0` starts like it."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw(boxes_xywh, shape=(HEIGHT_PX, WIDTH_PX)):
    image = np.full(shape, 30, np.uint8)
    for x, y, w, h in boxes_xywh:
        image[y : y + h, x : x + w] = 220
    return image


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    """A data root that holds `hit_uav` in the published layout."""
    root = tmp_path_factory.mktemp("data")
    for part, truth in TINY_TRUTH.items():
        _write_hit_uav(root / "hit_uav", part, truth)
    (root / "hit_uav" / "dev_groups.txt").write_text("0_80_60_0\n")
    return root


def _write_hit_uav(folder, part, truth):
    for sub in (part, "annotations"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for name, rows in truth.items():
        cv2.imwrite(str(folder / part / name), draw([box for _, box in rows]))
    images = [{"id": i, "filename": n, "width": WIDTH_PX, "height": HEIGHT_PX} for i, n in enumerate(truth)]
    rows = [
        {"id": i * 10 + j, "image_id": i, "category_id": CATEGORIES.index(label), "bbox": list(box)}
        for i, name in enumerate(truth)
        for j, (label, box) in enumerate(truth[name])
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES)]
    content = {"images": images, "annotation": rows, "categories": categories}
    (folder / "annotations" / f"{part}.json").write_text(json.dumps(content))


@pytest.fixture
def hit_uav(data_folder, tmp_path):
    """A copy of the tiny HIT-UAV that a test may damage."""
    return shutil.copytree(data_folder / "hit_uav", tmp_path / "hit_uav")


@pytest.fixture
def coco_folder(tmp_path):
    """Two colour pictures as the simulator writes them: a red square, a novel object, and a crowd region."""
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    images, side = [], 64
    for i in range(2):
        pixels = np.zeros((side, side, 3), np.uint8)
        pixels[24:40, 24:40] = (40, 40, 250)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), pixels)
        images.append({"id": i + 7, "file_name": f"{i}.png", "width": side, "height": side})
    rows = [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [24, 24, 16, 16]},
        {"id": 2, "image_id": 7, "category_id": 5, "bbox": [2, 2, 10, 10], "kind": 42},
        {"id": 3, "image_id": 7, "category_id": 3, "bbox": [50, 50, 10, 10], "iscrowd": 1},
        {"id": 4, "image_id": 8, "category_id": 3, "bbox": [24, 24, 16, 16]},
    ]
    categories = [{"id": 3, "name": "Red"}, {"id": 5, "name": "Novel"}]
    (folder / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": rows, "categories": categories})
    )
    return folder


def make_recipe(**changes):
    settings = {
        "name": "tiny",
        "labels": ("Person", "Car"),
        "network": NetworkConfig(widths=(8, 8, 8, 8, 0), blocks=(1, 0, 1, 0), neck=8, embedding_dim=8),
        "sources": (Source(path="hit_uav"),),
        "steps": 6,
        "batch": 2,
        "crop_px": 64,
        "novel_kinds": 2,
    }
    return Recipe(**settings | changes)


@pytest.fixture(scope="session")
def tiny_recipe():
    """A function that makes the recipe of a run of seconds, with the changes it is given."""
    return make_recipe


@pytest.fixture
def workspace(data_folder, tmp_path):
    """The tiny data and an empty folder for runs."""
    return Workspace(data_folder, tmp_path / "runs")


@pytest.fixture(scope="session")
def tiny_network(tiny_recipe):
    """A network whose batch norms have seen pictures, so that folding them matters."""
    torch.manual_seed(3)
    network = SkyNet(tiny_recipe().network, 2)
    for _ in range(3):
        network(torch.randn(2, 3, 64, 64) * 2 + 1)
    return network.eval()


@pytest.fixture(scope="session")
def finished(data_folder, tmp_path_factory, tiny_recipe):
    """Recipe and workspace of a run that was trained and exported; not to be changed."""
    recipe, workspace = tiny_recipe(), Workspace(data_folder, tmp_path_factory.mktemp("runs"))
    train(recipe, workspace)
    export_run(recipe, workspace)
    return recipe, workspace


@pytest.fixture
def run_copy(finished, tmp_path):
    """The finished run in a workspace that a test may change."""
    recipe, workspace = finished
    shutil.copytree(workspace.runs, tmp_path / "runs")
    return recipe, Workspace(workspace.data, tmp_path / "runs")


@pytest.fixture(scope="session")
def calibration():
    """Four pictures to calibrate on."""
    rng = np.random.default_rng(8)
    return [cv2.GaussianBlur(rng.integers(0, 256, (64, 96, 3), np.uint8), (0, 0), 2.0) for _ in range(4)]


@pytest.fixture(scope="session")
def quantized(finished, calibration, tmp_path_factory):
    """The finished run's INT8 file."""
    recipe, workspace = finished
    path = tmp_path_factory.mktemp("quantized") / "u8s8.onnx"
    quantize_files(workspace.folder(recipe.name) / "fp32.onnx", {"u8s8": path}, calibration)
    return path


@pytest.fixture
def full_disk():
    """A context in which no file can grow beyond some bytes: writing fails as it does on a full disk."""

    @contextmanager
    def limited(limit_bytes):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def run_cli(monkeypatch, capsys):
    """Exit code, stdout and stderr of one command line."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["skyloop-distill", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        return caught.value.code, printed.out, printed.err

    return run
