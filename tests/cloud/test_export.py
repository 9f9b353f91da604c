"""Reviewed cases as COCO and YOLO: what readers of these get, and that nothing half-made is ever left."""

import hashlib
import json
import os

import numpy as np
import pytest
from builders import make_case
from faster_coco_eval import COCO
from typer.testing import CliRunner

from cloud import cli
from cloud.errors import CloudError, RequestError
from cloud.export import export
from cloud.export_cli import parse_time
from cloud.reviewed import reviewed_cases
from cloud.store import CaseStore, Review
from protocols.errors import SkyloopError
from protocols.imagery import encode_image
from protocols.values import CasePart, Detection, FrameHeader, Interpretation, Pose

REGION = (100, 60, 260, 188)


@pytest.fixture
def store(tmp_path):
    opened = CaseStore(tmp_path / "data")
    for name in ("uav", "sat"):
        opened.enroll(name, name[0] * 40)
    yield opened
    opened.close()


@pytest.fixture
def run(store):
    def invoke(*arguments):
        words = ["export", "--data", str(store.data_dir), *map(str, arguments)]
        result = CliRunner().invoke(cli.app, words)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return invoke


def found(label, *box):
    return Detection(box_xyxy=box, label=label, score=0.6)


def add_case(store, craft="uav", *, detections=(), teacher=(), state="unsure", **changes):
    """A case that shows a region of a 640x512 frame; returns its id."""
    image = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    payload = changes.pop("payload", None) or encode_image(image, "image/png")
    frame = FrameHeader(index=7, source_id="cam", captured_at_s=9.0, width=640, height=512, pose=Pose(gsd_m=0.1))
    fields = {"region_xyxy": REGION, "frame": frame, "detections": tuple(detections), "media_type": "image/png"}
    case = make_case(payload, payload_sha256=hashlib.sha256(payload).hexdigest(), **fields | changes)
    assert store.add_cases([(craft, case, payload)]) == ["stored"]
    told = {"confidence": 0.5, "by": "teacher", "interpreter": "t", "made_at_s": 2.0}
    store.add_interpretation(craft, Interpretation(case_id=case.case_id, detections=tuple(teacher), **told))
    store.set_case_state(craft, case.case_id, state)
    return case.case_id


def answer(store, case_id, label, *boxes, craft="uav", who="ann", at_s=3.0):
    store.add_review(Review(craft, case_id, label, boxes, "craft", who, at_s))


def coco(folder):
    content = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    rows = [(names[row["category_id"]], row["bbox"], row["iscrowd"]) for row in content["annotations"]]
    return content["images"], rows, content


def test_boxes_lie_in_pixels_of_the_picture_with_where_they_came_from(store, run, tmp_path):
    case_id = add_case(store)
    answer(store, case_id, "Debris", (110, 70, 150, 90), (240, 170, 300, 200))
    run("--as", "coco", "--out", tmp_path / "out", "--licence", "CC BY 4.0, ann")
    (image,), rows, content = coco(tmp_path / "out")
    assert rows == [("Debris", [10, 10, 40, 20], 0), ("Debris", [140, 110, 20, 18], 0)]
    assert {key: image[key] for key in ("craft", "case_id", "source_id", "frame_index", "gsd_m", "by")} == {
        "craft": "uav", "case_id": case_id, "source_id": "cam", "frame_index": 7, "gsd_m": 0.1, "by": ["ann"]
    }  # fmt: skip
    assert (image["region_xyxy"], image["said_at_s"], image["judged"]) == (list(REGION), 3.0, ["Debris"])
    assert content["licenses"][image["license"] - 1]["name"] == "CC BY 4.0, ann"
    sent = store.read_imagery(store.load_case(case_id))
    assert (tmp_path / "out" / "images" / image["file_name"]).read_bytes() == sent


def test_coco_tools_read_it_back_and_ignore_what_nobody_judged(store, run, tmp_path):
    case_id = add_case(store, detections=[found("Car", 200, 100, 230, 120)])
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    run("--out", tmp_path / "out")
    data = COCO(str(tmp_path / "out" / "annotations.json"))
    (debris,) = data.getCatIds(catNms=["Debris"])
    (row,) = data.loadAnns(data.getAnnIds(catIds=[debris], iscrowd=False))
    assert row["bbox"] == [10, 10, 40, 20]
    (crowd,) = data.loadAnns(data.getAnnIds(iscrowd=True))
    assert (crowd["ignore"], crowd["called"]) == (1, "Car")


def test_newest_answer_to_a_label_counts_and_several_labels_stand_together(store, tmp_path, run):
    case_id = add_case(store)
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    answer(store, case_id, "Car", (200, 100, 220, 120), who="bob")
    answer(store, case_id, "debris", (112, 72, 152, 92))
    run("--out", tmp_path / "out")
    (image,), rows, _ = coco(tmp_path / "out")
    assert rows == [("debris", [12, 12, 40, 20], 0), ("Car", [100, 40, 20, 20], 0)]
    assert image["by"] == ["ann", "bob"]


def test_labels_of_one_answer_and_hard_negatives_are_told_apart(store, tmp_path, run):
    case_id = add_case(store)
    boxes, negatives = ((110, 70, 150, 90), (200, 100, 220, 120)), ((160, 70, 180, 90),)
    said = {"labels": ("Debris", "Car"), "negatives_xyxy": negatives, "makes_prompt": False}
    store.add_review(Review("uav", case_id, "Debris", boxes, "craft", "ann", 3.0, **said))
    told = json.loads(run("--out", tmp_path / "out", "--json").splitlines()[-1])
    (image,), rows, content = coco(tmp_path / "out")
    assert rows == [
        ("Debris", [10, 10, 40, 20], 0),
        ("Debris", [60, 10, 20, 20], 1),
        ("Car", [100, 40, 20, 20], 0),
    ]
    assert [(row["mark"], row["hard_negative"]) for row in content["annotations"] if row["iscrowd"]] == [
        ("refuted", True)
    ]
    assert (image["judged"], told["hard_negatives"]) == (["Debris", "Car"], 1)


def test_machine_is_overruled_where_the_person_judged(store, tmp_path, run):
    wrong = [found("Debris", 200, 100, 240, 140), found("Car", 112, 70, 150, 90)]
    case_id = add_case(store, detections=wrong[:1], teacher=wrong[1:])
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    run("--out", tmp_path / "out")
    assert coco(tmp_path / "out")[1] == [("Debris", [10, 10, 40, 20], 0)]


def test_each_picture_of_a_case_is_a_file(store, tmp_path, run):
    one = encode_image(np.zeros((20, 30, 3), np.uint8), "image/png")
    two = encode_image(np.full((40, 40, 3), 200, np.uint8), "image/png")
    further = (CasePart(region_xyxy=(300, 300, 340, 340), payload_bytes=len(two)),)
    case_id = add_case(store, payload=one + two, region_xyxy=(0, 0, 30, 20), further=further)
    answer(store, case_id, "Debris", (310, 310, 330, 330))
    run("--out", tmp_path / "out")
    images, rows, _ = coco(tmp_path / "out")
    assert [image["file_name"] for image in images] == [f"uav-{case_id}.png", f"uav-{case_id}-2.png"]
    assert rows == [("Debris", [10, 10, 20, 20], 0)]


def test_yolo_holds_things_alone_and_tells_the_rest_beside(store, tmp_path, run):
    hostile = "a: b, '\"#"
    case_id = add_case(store, detections=[found("Car", 200, 100, 230, 120)])
    answer(store, case_id, hostile, (100, 60, 180, 124))
    said = run("--as", "yolo", "--out", tmp_path / "out")
    assert "1 boxes that nobody judged, in provenance.jsonl alone" in said
    out = tmp_path / "out"
    assert (out / f"uav-{case_id}.txt").read_text() == "0 0.250000 0.250000 0.500000 0.500000\n"
    assert (out / "skyloop.names").read_text() == f"{hostile}\n"
    assert json.loads((out / "data.yaml").read_text().splitlines()[-1].partition(": ")[2]) == hostile
    (told,) = map(json.loads, (out / "provenance.jsonl").read_text().splitlines())
    assert (told["case_id"], told["other_regions"][0]["label"]) == (case_id, "Car")


def test_same_store_gives_the_same_bytes(store, tmp_path, run):
    for label in ("Debris", "Car"):
        answer(store, add_case(store), label, (110, 70, 150, 90))
    run("--out", tmp_path / "a")
    run("--out", tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 3
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_filters_by_craft_and_time(store, tmp_path, run):
    early = parse_time("2026-11-21T23:59Z")
    for craft, at_s in (("uav", early), ("uav", early + 120), ("sat", early + 120)):
        answer(store, add_case(store, craft), "Debris", (110, 70, 150, 90), craft=craft, at_s=at_s)
    run("--out", tmp_path / "out", "--craft", "uav", "--since", "2026-11-22")
    assert [(image["craft"], image["said_at_s"]) for image in coco(tmp_path / "out")[0]] == [("uav", early + 120)]


def test_teacher_alone_is_told_apart_and_only_where_asked(store, tmp_path, run):
    answer(store, add_case(store), "Debris", (110, 70, 150, 90))
    sure = add_case(store, teacher=[found("Car", 200, 100, 230, 120)], state="interpreted")
    add_case(store, teacher=[found("Car", 200, 100, 230, 120)])  # unsure: nobody knows
    run("--out", tmp_path / "people")
    assert len(coco(tmp_path / "people")[0]) == 1
    run("--out", tmp_path / "both", "--also", "teacher")
    images, rows, content = coco(tmp_path / "both")
    assert [image["case_id"] for image in images][1:] == [sure]
    assert (rows[-1], content["annotations"][-1]["by"]) == (("Car", [100, 40, 30, 20], 0), "teacher:t")


def test_nothing_is_overwritten(store, tmp_path, run):
    answer(store, add_case(store), "Debris", (110, 70, 150, 90))
    (tmp_path / "out").mkdir()
    with pytest.raises(RequestError, match="is there already; give a new folder"):
        run("--out", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--as", "voc"], "not coco or yolo"),
        (["--also", "everybody"], "not `teacher`"),
        (["--since", "yesterday"], "no date or time"),
        (["--craft", "none"], "no craft is enrolled"),
        ([], "no case is reviewed"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_leaves_nothing(store, tmp_path, run, words, message):
    with pytest.raises(SkyloopError, match=message):
        run("--out", tmp_path / "sub" / "out", *words)
    assert not (tmp_path / "sub" / "out").exists()
    assert list(tmp_path.glob("sub/*")) == []


def test_full_disk_leaves_nothing(store, tmp_path, monkeypatch):
    for _ in range(3):
        answer(store, add_case(store), "Debris", (110, 70, 150, 90))
    real, written = os.fsync, []

    def full(handle):
        written.append(handle)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return real(handle)

    monkeypatch.setattr("edge.durable.os.fsync", full)
    with pytest.raises(CloudError, match="No space left"):
        export(store, reviewed_cases(store), tmp_path / "out", "coco", licence="")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_case_whose_imagery_is_damaged_is_left_out_and_named(store, tmp_path, run):
    broken, whole = add_case(store), add_case(store)
    for case_id in (broken, whole):
        answer(store, case_id, "Debris", (110, 70, 150, 90))
    store.imagery_path(store.load_case(broken)).write_bytes(b"nothing")
    told = json.loads(run("--out", tmp_path / "out", "--json").splitlines()[-1])
    assert told["pictures"] == 1
    assert broken in told["left_out"][0]
