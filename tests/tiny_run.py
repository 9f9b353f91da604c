"""A scenario of a few small frames, and programs that only pretend to fly it."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

from sim.crew import Launcher
from sim.scenario import Scenario

CLOUD = "import time; print('up', flush=True); time.sleep(60)"
EDGE = """
import json, pathlib, signal, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
source, out = pathlib.Path(words["--source"]), pathlib.Path(words["--out"])
out.mkdir(parents=True, exist_ok=True)
records = [json.loads(line) for line in (source / "frames.jsonl").read_text().splitlines()]
frames = []
def land(*_):
    link = {"bytes_sent": 5, "bytes_received": 5, "cases_delivered": 1, "connects": 1}
    counts = {"frames": len(frames), "fps": 5.0, "cases": {"planned": 1}, "link": link, "loops": []}
    (out / "summary.json").write_text(json.dumps(counts))
    sys.exit(0)
signal.signal(signal.SIGTERM, land)
begin = time.time()
with (out / "detections.jsonl").open("w", buffering=1) as lines:
    for record in records:
        time.sleep(max(begin + record["time_s"] - time.time(), 0))
        box = {"box_xyxy": [10, 10, 30, 30], "label": "Car", "score": 0.9, "provenance": "edge", "track_id": 1}
        line = {"frame": len(frames), "time_s": begin + record["time_s"], "bank_revision": 0, "hardness": 0.1}
        line["clock_s"] = record["time_s"]
        lines.write(json.dumps({**line, "detections": [box]}) + "\\n")
        frames.append(record)
land()
"""


def tiny_scenario(seconds: float = 2.0, **values) -> Scenario:
    """A flight of a few small frames over the disaster's town."""
    craft = {
        "name": "tiny",
        "camera": {"width": 160, "height": 128, "focal_px": 200},
        "flight": {"kind": "along-roads"},
    }
    quake = {"kind": "earthquake", "at_s": seconds / 10}
    base = {"name": "tiny", "seconds": seconds, "fps": 5, "craft": [craft], "event": [quake]}
    return Scenario.model_validate({**base, **values})


def pretend(edge: str = EDGE, cloud: str = CLOUD) -> Launcher:
    """A launcher of programs that only pretend."""

    def command(program: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", edge if program == "skyloop-edge" else cloud, *arguments[1:]]

    return Launcher(command=command, run=lambda *_, **__: None, wait=lambda *_: None)


def rendered(flight: Path, frames: int, fps: float = 5) -> None:
    """A rendered flight without the rendering."""
    (flight / "images").mkdir(parents=True)
    names = [f"{index:06d}.jpg" for index in range(frames)]
    for name in names:
        cv2.imwrite(str(flight / "images" / name), np.full((128, 160, 3), 90, np.uint8))
    lines = [{"file": f"images/{n}", "index": i, "time_s": i / fps, "pose": {}} for i, n in enumerate(names)]
    (flight / "frames.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (flight / "fps.txt").write_text(f"{fps}\n")
    images = [{"id": i + 1, "file_name": n, "width": 160, "height": 128} for i, n in enumerate(names)]
    boxes = [{"image_id": i + 1, "category_id": 5, "bbox": [20, 20, 30, 30], "ignore": 0} for i in range(frames)]
    truth = {"images": images, "categories": [{"id": 5, "name": "Debris"}], "annotations": boxes}
    (flight / "annotations.json").write_text(json.dumps(truth))
