"""The loop on real thermal images, with real processes: bicycles are named, the craft then finds them itself."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

from distill.dataset import read_data_set
from protocols.boxes import box_iou
from sim.bench_fewshot import kept_bundle

LEAVE_OUT_STUDENT = kept_bundle("leaveout")
IMAGES = 40


def run(package, *arguments):
    done = attempt(package, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def attempt(package, *arguments):
    command = [sys.executable, "-c", f"from {package}.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


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
    """Review eight cases with the true boxes that lie in their regions, as an analyst would; returns prompts made."""
    cases = json.loads(run("cloud", "cases", "--data", folder / "data", "--all", "--json"))
    shown = [(case, boxes) for case in cases if (boxes := true_boxes_in(case, truth))][:8]
    made = 0
    for case, boxes in shown:
        options = [part for box in boxes for part in ("--box", box)]
        done = attempt("cloud", "review", case["case_id"], "--label", "Bicycle", *options, "--data", folder / "data")
        # Where the student sees no object, the answer is kept without a prompt, and the command says so.
        assert done.returncode == 0 or "no prompt was made" in done.stderr, done.stderr[-2000:]
        made += done.returncode == 0
    return made


def true_boxes_in(case, truth):
    """The true bicycles that lie wholly in a case's region, as `--box` takes them."""
    left, top, right, bottom = case["region_xyxy"]
    boxes = truth["first", case["frame_index"]]
    inside = [b for b in boxes if b[0] >= left and b[1] >= top and b[2] <= right and b[3] <= bottom]
    return [f"{x1:.0f},{y1:.0f},{x2 - x1:.0f},{y2 - y1:.0f}" for x1, y1, x2, y2 in inside[:16]]


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
    by = {maker: bicycles_found(after, truth, f"prompt:{maker}-") for maker in ("teacher", "person")}
    assert sum(by.values()) >= 1, by


def bicycles_found(lines, truth, provenance):
    """How many true bicycles of the second flight a box of this provenance covers with IoU 0.5."""
    found = 0
    for line in lines:
        rows = [d["box_xyxy"] for d in line["detections"] if d["provenance"].startswith(provenance)]
        true = np.array(truth["second", line["frame"]], np.float32)
        found += int((box_iou(true, np.array(rows, np.float32).reshape(-1, 4)).max(axis=1, initial=0.0) >= 0.5).sum())
    return found
