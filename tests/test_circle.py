"""The whole circle on real heat: the unfamiliar is reviewed, learnt, signed and sent, then known without prompts."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bundle_fleet import Fleet, until

from cloud.store import Review
from distill.dataset import read_data_set
from distill.evaluate import evaluate
from edge.bundle import load_bundle, read_manifest
from edge.student import Student
from sim.bench_fewshot import kept_bundle

LEAVE_OUT_STUDENT = kept_bundle("leaveout")
UNFAMILIAR = "Bicycle"
FLOWN_AGAIN = 53
FRAMES_PER_S = 3

LESSONS = """
held_out = [{ path = "hit_uav", split = "dev" }, { root = "renders", path = "check", split = "all" }]

[[replay]]
path = "hit_uav"
leave_out = ["Bicycle", "OtherVehicle"]

[[replay]]
root = "renders"
path = "replay"
split = "all"
leave_out = ["Bicycle"]
"""
"""The data that the leave-out student was trained on, less most of its renders."""

CRAFT = """
paced = true
video = false
[agent]
linger_s = 30
[agent.scheduler]
patience_frames = 1
cooldown_s = 0
min_hardness = 0.1
region_side_px = 512
[updates]
budget_bytes_per_s = 4e6
[updates.trial]
frames = 4
seconds = 1.0
slower = 50.0
"""


def run(program, *arguments):
    launch = f"from {program.removeprefix('skyloop-')}.cli import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", launch, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def flight_of(items, folder):
    """A folder of pictures in this order."""
    folder.mkdir()
    for number, item in enumerate(items):
        shutil.copyfile(item.path, folder / f"{number:04d}.jpg")
    (folder / "fps.txt").write_text(f"{FRAMES_PER_S}\n")
    return folder


def evenly(items, count):
    return [items[int(k * len(items) / count)] for k in range(count)]


def shown_of(item, region):
    """The true boxes that an analyst sees at least half of, as far as they lie in the picture."""
    left, top, right, bottom = region
    boxes = []
    for (x1, y1, x2, y2), label in zip(item.boxes_xyxy.tolist(), item.labels, strict=True):
        seen = (max(x1, left), max(y1, top), min(x2, right), min(y2, bottom))
        width, height = seen[2] - seen[0], seen[3] - seen[1]
        if label == UNFAMILIAR and min(width, height) > 0 and 2 * width * height >= (x2 - x1) * (y2 - y1):
            boxes.append(seen)
    return tuple(boxes)


def fly(fleet, film):
    """Fly a film to its end over the real link."""
    options = ("--cloud", f"tcp://127.0.0.1:{fleet.cloud_port}", "--keys", fleet.folder / "edge")
    options += ("--config", fleet.folder / "edge.toml", "--bundle", fleet.given, "--out", fleet.folder / "out")
    run("skyloop-edge", "run", "--source", film, *options)
    return fleet.lines()


def review_everything(fleet, items):
    """Answer every case from the labels, as an analyst who knows bicycles; returns how many boxes were drawn."""
    drawn = 0
    with fleet.store() as store:
        for stored in store.list_cases(unsure_only=False, limit=1000):
            boxes = shown_of(items[stored.case.frame.index], stored.case.region_xyxy)
            answer = Review(stored.craft, stored.case.case_id, UNFAMILIAR, boxes, "craft", "script", time.time())
            store.add_review(answer)
            drawn += len(boxes)
        until(lambda: not store.waiting_reviews(), 300)
    return drawn


def learn(fleet, data_root):
    """Render old data, fine-tune, and return the new bundle and what was said of it."""
    renders, config = fleet.folder / "runs" / "renders", fleet.folder / "lessons.toml"
    for name, frames, seed in (("replay", 320, 21), ("check", 80, 99)):
        run("skyloop-sim", "render", "--mix", "student", "--frames", frames, "--seed", seed, "--out", renders / name)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    has_bf16 = "avx512_bf16" in flags or "amx_bf16" in flags
    config.write_text(f"bf16 = {str(has_bf16).lower()}\n{LESSONS}")
    options = ("--bundle", fleet.given, "--config", config, "--data", data_root, "--runs", fleet.folder / "runs")
    told = run("skyloop-distill", "from-cases", fleet.data, "--out", fleet.folder / "new", *options, "--json")
    return fleet.folder / "new", json.loads(told)


def known_by_itself(lines, label):
    """Detections of a label that the student made without a prompt."""
    return [d for line in lines for d in line["detections"] if (d["label"], d["provenance"]) == (label, "edge")]


@pytest.mark.slow
@pytest.mark.data
def test_reviewed_bicycles_are_known_without_a_prompt_after_a_signed_update(data_root, tmp_path):
    hit_uav = data_root / "hit_uav"
    strange = [i for i in read_data_set(hit_uav, "train") if UNFAMILIAR in i.labels and "OtherVehicle" not in i.labels]
    items = sorted(strange, key=lambda item: item.path.name)
    fleet = Fleet(tmp_path, LEAVE_OUT_STUDENT)
    (tmp_path / "edge.toml").write_text(CRAFT)
    fleet.trust()

    with fleet.cloud():
        before = fly(fleet, flight_of(items, tmp_path / "first"))
        assert review_everything(fleet, items) >= 100
    assert known_by_itself(before, UNFAMILIAR) == []
    new, told = learn(fleet, data_root)
    assert (told["passed"], told["new_labels"]) == (True, [UNFAMILIAR])

    bundle = fleet.signing.publish(new, variants=("u8s8",))
    showing = [item for item in read_data_set(hit_uav, "val") if UNFAMILIAR in item.labels]
    film = flight_of(evenly(showing, FLOWN_AGAIN), tmp_path / "second")
    with fleet.cloud():
        fleet.roll_out(bundle)
        after = fly(fleet, film)
        until(lambda: fleet.state() == "in_force")
    flown = json.loads((tmp_path / "out" / "summary.json").read_text())["bundle"]
    assert (flown["bundle_id"], fleet.status().flies) == (bundle.bundle_id, bundle.bundle_id)

    # What the craft holds, without the prompts that it was also given, on pictures that gave no case.
    (held,) = (tmp_path / "out" / "state" / "updates" / "bundles").iterdir()
    student = Student.open(load_bundle(held))
    assert student.manifest.labels == (*read_manifest(LEAVE_OUT_STUDENT).labels, UNFAMILIAR)
    scored = (UNFAMILIAR, "Person", "Car")
    found = {split: evaluate(student, read_data_set(hit_uav, split), scored)["ap50"] for split in ("dev", "val")}
    named = len(known_by_itself(after, UNFAMILIAR))
    report = {"cases": told["cases"], "retention": told["retention"]["sets"], "ap50": found, "named_in_flight": named}
    sys.stderr.write(json.dumps(report, indent=1) + "\n")
    assert min(found[split][UNFAMILIAR] for split in found) >= 0.1
    assert named
