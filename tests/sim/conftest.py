"""A small flight made up by hand: debris in every frame, a case at frame 9, its prompt in force from frame 15 on."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from distill.dataset import read_data_set
from sim.record import BankSeen, BytesSeen, FlightRecord, read_frames

FRAMES = 60
FPS = 10
CASE_FRAME, PROMPT_FRAME = 9, 15
CASE_ID = "0" * 31 + "1"
DEBRIS, HIDDEN, CAR = (20, 20, 30, 30), (100, 20, 20, 20), (40, 70, 24, 16)  # x, y, width, height


def _annotations() -> dict:
    categories = [{"id": 2, "name": "Car"}, {"id": 5, "name": "Debris"}]
    images = [{"id": i + 1, "file_name": f"{i:06d}.jpg", "width": 160, "height": 128} for i in range(FRAMES)]
    rows = [
        {"image_id": image["id"], "category_id": category, "bbox": list(box), "ignore": ignore}
        for image in images
        for category, box, ignore in ((5, DEBRIS, 0), (5, HIDDEN, 1), (2, CAR, 0))
    ]
    return {"images": images, "categories": categories, "annotations": rows}


def _xyxy(box) -> list[float]:
    x, y, width, height = box
    return [float(x), float(y), float(x + width), float(y + height)]


def _line(index: int) -> dict:
    detections = [
        {"box_xyxy": _xyxy(CAR), "label": "Car", "score": 0.9, "provenance": "edge", "track_id": 1},
    ]
    if index >= PROMPT_FRAME and index % 4:  # one frame in four is missed
        found = {"label": "Debris", "provenance": "prompt:p1", "track_id": 2}
        detections.append({"box_xyxy": _xyxy(DEBRIS), "score": 0.8, **found})
        detections.append({"box_xyxy": _xyxy(HIDDEN), "score": 0.6, **found, "track_id": 3})
    line = {
        "frame": index,
        "source": "flight",
        "time_s": 1_000.0 + index / FPS,
        "clock_s": index / FPS,
        "bank_revision": 1 if index >= PROMPT_FRAME else 0,
        "hardness": 0.5,
        "detections": detections,
    }
    return line | ({"case_id": CASE_ID, "region_xyxy": [0, 0, 96, 96]} if index == CASE_FRAME else {})


def _summary() -> dict:
    return {
        "frames": FRAMES,
        "fps": 10.0,
        "loop_ms": {"count": 1, "p50": 612.0, "p99": None},
        "loops": [{"case_id": CASE_ID, "ms": 612.0}],
        "link": {"bytes_sent": 41_000, "bytes_received": 9_000, "cases_delivered": 1},
        "bundle": {"name": "tiny", "variant": "fp32", "space_id": "0123456789abcdef"},
        "versions": {"skyloop": "0.1.0"},
        "settings": {"pipeline": {"score_floor": None}},
    }


@pytest.fixture(scope="session")
def flown(tmp_path_factory) -> Path:
    """The flight's folder: `flight/` as rendered and `detections.jsonl` as flown."""
    folder = tmp_path_factory.mktemp("flown")
    (folder / "flight" / "images").mkdir(parents=True)
    (folder / "flight" / "annotations.json").write_text(json.dumps(_annotations()))
    image = np.full((128, 160, 3), 90, np.uint8)
    for index in range(FRAMES):
        cv2.imwrite(str(folder / "flight" / "images" / f"{index:06d}.jpg"), image)
    lines = [json.dumps(_line(index)) + "\n" for index in range(FRAMES)]
    (folder / "detections.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="session")
def record(flown) -> FlightRecord:
    return FlightRecord(
        frames=read_frames(flown / "detections.jsonl"),
        truth=read_data_set(flown / "flight", "all"),
        summary=_summary(),
        banks=[BankSeen(revision=1, labels=("Debris",), case_ids=(CASE_ID,))],
        traffic=[BytesSeen(0.0, 0, 0), BytesSeen(1.0, 30_000, 500), BytesSeen(2.0, 41_000, 9_000)],
    )
