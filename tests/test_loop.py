"""The loop on real thermal images, with real processes: bicycles are named, the craft then finds them itself."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from distill.dataset import read_data_set
from protocols.boxes import box_iou

LEAVE_OUT_STUDENT = Path(__file__).parent / "data" / "leaveout"
IMAGES = 40


def run(package, *arguments):
    command = [sys.executable, "-c", f"from {package}.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@contextmanager
def cloud_serving(folder):
    """A real cloud that serves crafts with the leave-out student; ends by its process id."""
    ports = free_port(), free_port()
    arguments = ["serve", "--bind", f"tcp://127.0.0.1:{ports[0]}", "--http", f"127.0.0.1:{ports[1]}"]
    arguments += ["--data", str(folder / "data"), "--student", str(LEAVE_OUT_STUDENT)]
    command = [sys.executable, "-c", "from cloud.cli import main; main()", *arguments]
    with (folder / "cloud.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        wait_for(lambda: is_ready(ports[1]), 120)
        yield f"tcp://127.0.0.1:{ports[0]}"
    finally:
        process.terminate()
        assert process.wait(30) == 0


def is_ready(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).status == 200
    except OSError:
        return False


def wait_for(condition, limit_s):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def scene(data_root, tmp_path_factory):
    """Two flights of 20 real images each that show bicycles, and the truth by file name."""
    val = read_data_set(data_root / "hit_uav", "val")
    bicycles = [item for item in val if item.labels.count("Bicycle") >= 4]
    groups = sorted(bicycles, key=lambda item: (-item.labels.count("Bicycle"), item.path.name))[:IMAGES]
    folder = tmp_path_factory.mktemp("scene")
    truth = {}
    for number, item in enumerate(groups):
        flight = folder / ("first" if number % 2 == 0 else "second")
        flight.mkdir(exist_ok=True)
        name = f"{number:03d}.jpg"
        shutil.copyfile(item.path, flight / name)
        boxes = [box for box, label in zip(item.boxes_xyxy.tolist(), item.labels, strict=True) if label == "Bicycle"]
        truth[flight.name, len(list(flight.iterdir())) - 1] = boxes
    return folder, truth


def prepare(folder):
    run("cloud", "keys", "new", "--out", folder / "data" / "keys")
    run("edge", "keys", "new", "--out", folder / "edge")
    run("edge", "trust", folder / "data" / "keys" / "cloud.pub", "--keys", folder / "edge")
    run("cloud", "enroll", folder / "edge" / "edge.pub", "--name", "uav1", "--data", folder / "data")


def fly(scene, flight, folder, endpoint):
    """Two frames a second, so that a person's answer to the last flight is there before this one is over."""
    (scene / flight / "fps.txt").write_text("2\n")
    (folder / "edge.toml").write_text(
        "paced = true\nvideo = false\n[agent]\nlinger_s = 20\n"
        "[agent.scheduler]\npatience_frames = 1\ncooldown_s = 0\nmin_hardness = 0.1\nregion_side_px = 512\n"
    )
    common = ("--source", scene / flight, "--cloud", endpoint, "--keys", folder / "edge", "--out", folder / "out")
    run("edge", "run", *common, "--bundle", LEAVE_OUT_STUDENT, "--config", folder / "edge.toml")
    return [json.loads(line) for line in (folder / "out" / "detections.jsonl").read_text().splitlines()]


def answer_as_person(folder, truth):
    """Review every case with the true boxes that lie in its region, as an analyst at the command line would."""
    cases = json.loads(run("cloud", "cases", "--data", folder / "data", "--all", "--json"))
    answered = 0
    for case in cases:
        x1, y1, x2, y2 = case["region_xyxy"]
        inside = [
            b for b in truth["first", case["frame_index"]] if b[0] >= x1 and b[1] >= y1 and b[2] <= x2 and b[3] <= y2
        ]
        if not inside or answered == 8:
            continue
        boxes = [part for b in inside[:16] for part in ("--box", ",".join(f"{v:.0f}" for v in b))]
        run("cloud", "review", case["case_id"], "--label", "Bicycle", *boxes, "--data", folder / "data")
        answered += 1
    return answered


@pytest.mark.data
def test_prompts_of_teacher_and_person_make_bicycles_appear(scene, tmp_path):
    folder, truth = scene
    prepare(tmp_path)
    with cloud_serving(tmp_path) as endpoint:
        before = fly(folder, "first", tmp_path, endpoint)
        assert not [
            d for line in before for d in line["detections"] if (d["label"], d["provenance"]) == ("Bicycle", "edge")
        ]
        assert answer_as_person(tmp_path, truth) >= 1
        wait_for(lambda: "Bicycle" in run("cloud", "prompts", "list", "--data", tmp_path / "data", "--json"), 60)
        after = fly(folder, "second", tmp_path, endpoint)
    found = {line["frame"]: prompted_bicycles(line) for line in after}
    overlaps = [
        box_iou(boxes, np.array(truth["second", frame], np.float32)).max()
        for frame, boxes in found.items()
        if len(boxes)
    ]
    assert max(overlaps, default=0.0) >= 0.5


def prompted_bicycles(line):
    rows = [d for d in line["detections"] if d["label"] == "Bicycle" and d["provenance"].startswith("prompt:")]
    return np.array([d["box_xyxy"] for d in rows], np.float32).reshape(-1, 4)
