"""The circle in small: a tiny student, cases in a real store, reviews, a new bundle or reasons against it."""

import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest
from builders import make_case

from cloud.errors import RequestError
from cloud.parity import check_publishable
from cloud.store import CaseStore, Review
from distill import quantize, retention
from distill.bundle import write_bundle
from distill.errors import DataSetError, DistillError
from distill.fine_tune import FineTuning, Order, fine_tune, next_name
from distill.recipe import Source, Workspace
from distill.weights import read_card
from edge.bundle import bundled_student, load_bundle, read_manifest
from edge.student import Student
from protocols.imagery import encode_image
from protocols.values import FrameHeader

BUNDLED_TEACHER = bundled_student()
HELD_OUT, REPLAY = (Source(path="hit_uav", split="train"),), (Source(path="hit_uav", split="val"),)
TEACHING = {"steps": 6, "batch": 2, "crop_px": 64, "novel_kinds": 0, "least_boxes": 4}


@pytest.fixture(scope="module", autouse=True)
def patched():
    """The tiny sets hold six pictures and few boxes, and six steps teach nothing: what is tested is the way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "CALIBRATION_IMAGES", 4)
        patch.setattr(quantize, "_PARITY_IMAGES", 3)
        patch.setattr(retention, "LEAST_BOXES", 1)
        patch.setattr(retention, "MAX_CLASS_LOSS", 1.0)
        patch.setattr("distill.gate.MIN_MEAN_COSINE", -1.0)
        patch.setattr("distill.gate.MIN_P01_COSINE", -1.0)
        patch.setattr("distill.gate.MAX_AP_LOSS", 1.0)
        patch.setattr("distill.gate.RUNS_HERE", ())
        yield patch


@pytest.fixture(scope="module")
def base(finished, tmp_path_factory):
    """The bundle of the tiny student; it is quantized by nobody, so FP32 flies."""
    recipe, workspace = finished
    folder = tmp_path_factory.mktemp("base") / "base"
    write_bundle(recipe, workspace, folder)
    return folder


@pytest.fixture(scope="module")
def reviewed_cases(tmp_path_factory):
    """Eight reviewed cases of gray pictures, each with a bright bicycle."""
    folder = tmp_path_factory.mktemp("cloud") / "data"
    with_cases = CaseStore(folder)
    with_cases.enroll("uav", "c" * 40)
    for number in range(8):
        add_reviewed(with_cases, number, "bicycle" if number % 2 else "Bicycle")
    with_cases.close()
    return folder


@pytest.fixture
def cases(reviewed_cases, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(reviewed_cases, tmp_path / "data")


def add_reviewed(store, number, label):
    image = np.full((64, 96, 3), 40 + number, np.uint8)
    x, y = 10 + 6 * number, 12 + 3 * number
    cv2.rectangle(image, (x, y), (x + 15, y + 9), (200, 200, 200), 2)
    payload = encode_image(image, "image/webp", 40)
    frame = FrameHeader(index=number, source_id="t", captured_at_s=1.0, width=96, height=64)
    digest = hashlib.sha256(payload).hexdigest()
    region = {"region_xyxy": (0, 0, 96, 64), "media_type": "image/webp", "payload_sha256": digest}
    case = make_case(payload, frame=frame, **region)
    assert store.add_cases([("uav", case, payload)]) == ["stored"]
    store.add_review(Review("uav", case.case_id, label, ((x, y, x + 16, y + 10),), "craft", "ann", 3.0))


def order(base, cases, tmp_path, name="tiny-2", **settings):
    how = FineTuning(**TEACHING | {"held_out": HELD_OUT, "replay": REPLAY} | settings)
    return Order((cases,), base, name, tmp_path / "out", BUNDLED_TEACHER, how)


@pytest.fixture(scope="module")
def learnt(base, reviewed_cases, data_folder, tmp_path_factory, patched):
    """A finished fine-tuning: what it returned, its workspace, its folder, and the stages it told of."""
    folder, stages = tmp_path_factory.mktemp("learnt"), []
    workspace = Workspace(data_folder, folder / "runs")
    told = fine_tune(order(base, reviewed_cases, folder), workspace, lambda stage, *_: stages.append(stage))
    return told, workspace, folder / "out", set(stages)


def test_reviews_become_a_class_of_a_complete_bundle(learnt, base):
    result, _, out, stages = learnt
    assert (result["passed"], result["new_labels"], result["bundle"]) == (True, ["Bicycle"], str(out))
    assert result["cases"] == {"pictures": 8, "gray": 8, "duplicates": 0, "boxes": {"Bicycle": 8}, "too_few": {}}
    manifest = read_manifest(out)
    assert manifest.labels == ("Person", "Car", "Bicycle")
    assert set(manifest.variants) == {"fp32", "u8s8", "s8s8"}
    assert manifest.space_id != read_manifest(base).space_id
    for variant in manifest.variants:
        seen = Student.open(load_bundle(out, variant)).perceive(np.full((64, 96, 3), 50, np.uint8))
        assert seen.class_scores.shape[1] == 3
    assert {"training", "asking the old student about cases", "calibrating"} <= stages


def test_manifest_says_what_became_of_every_class(learnt):
    told = read_manifest(learnt[2]).metrics["fine_tuning"]
    assert (told["parity"]["passed"], told["retention"]["passed"]) == (True, True)
    check_publishable(read_manifest(learnt[2]), ("fp32",))
    classes = told["retention"]["sets"]["hit_uav/train"]
    assert list(classes) == ["Person", "Car", "Bicycle"]
    assert classes["Bicycle"]["before"] is None
    assert classes["Car"]["before"] >= 0


def test_old_data_are_whole_for_the_old_labels_alone(learnt):
    _, workspace, _, _ = learnt
    old, new = read_card(workspace.weights("tiny-2"))["recipe"]["sources"]
    assert (old["path"], old["judges"]) == ("hit_uav", ["Person", "Car"])
    assert (new["root"], new["path"], new["judges"]) == ("runs", "tiny-2/cases", [])
    assert old["weight"] + new["weight"] == pytest.approx(1)
    kept = json.loads((workspace.folder("tiny-2") / "cases" / "annotations.json").read_text())
    assert {tuple(image["judged"]) for image in kept["images"]} == {("Bicycle",)}


def test_bundle_whose_int8_strays_ships_no_int8_and_says_why(base, cases, tmp_path, workspace, monkeypatch):
    monkeypatch.setattr("distill.gate.MIN_MEAN_COSINE", 1.1)
    result = fine_tune(order(base, cases, tmp_path), workspace)
    assert (result["passed"], result["parity"]["passed"]) == (False, False)
    assert "the embedding has mean cosine" in result["parity"]["faults"][0]
    manifest = read_manifest(workspace.folder("tiny-2") / "bundle")
    assert set(manifest.variants) == {"fp32"}
    assert manifest.metrics["fine_tuning"]["parity"]["passed"] is False
    assert not (tmp_path / "out").exists()


def test_killed_run_goes_on_with_the_cases_it_began_with(base, cases, tmp_path, workspace, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr("distill.fine_tune.train", killed)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(order(base, cases, tmp_path), workspace)
    store = CaseStore(cases)
    add_reviewed(store, 9, "Bicycle")
    store.close()
    assert fine_tune(order(base, cases, tmp_path), workspace)["cases"]["pictures"] == 8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"labels": ("Boat",)}, "Boat: 0 reviewed boxes, at least 4 wanted", id="label-without-boxes"),
        pytest.param({"held_out": (Source(path="nowhere"),)}, "nowhere: is not there", id="held-out-missing"),
        pytest.param({"replay": (Source(path="nowhere"),)}, "nowhere: is not there", id="old-data-missing"),
        pytest.param({"replay": HELD_OUT}, "hit_uav: is both replayed and held out", id="trained-on-what-is-held-out"),
    ],
)
def test_what_cannot_end_well_is_refused_at_once(base, cases, tmp_path, workspace, settings, words):
    with pytest.raises(DataSetError, match=words):
        fine_tune(order(base, cases, tmp_path, **settings), workspace)
    assert not workspace.weights("tiny-2").exists()


def test_settings_that_make_no_recipe_are_one_clear_line(base, cases, tmp_path, workspace):
    with pytest.raises(DistillError, match=r"crop_px: Input should be .* multiple of 32"):
        fine_tune(order(base, cases, tmp_path, crop_px=70), workspace)


def test_finished_bundle_that_was_not_handed_over_is_copied(learnt, base, cases, tmp_path):
    told = fine_tune(order(base, cases, tmp_path), learnt[1])
    assert told == learnt[0] | {"bundle": str(tmp_path / "out")}
    assert read_manifest(tmp_path / "out") == read_manifest(learnt[2])


def test_out_that_holds_something_else_is_refused_before_hours_of_work(base, cases, tmp_path, workspace):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(DistillError, match="exists and is no bundle, so it is not overwritten; choose another --out"):
        fine_tune(order(base, cases, tmp_path), workspace)
    assert not workspace.folder("tiny-2").exists()


def test_finished_fine_tuning_is_left_alone(learnt, base, cases, tmp_path):
    shutil.copytree(base, tmp_path / "out")
    with pytest.raises(DistillError, match="a finished run of that name is there; give another --name"):
        fine_tune(order(base, cases, tmp_path), learnt[1])


def test_finished_run_of_that_name_is_left_alone(base, cases, tmp_path, run_copy):
    _, workspace = run_copy
    with pytest.raises(DistillError, match="a finished run of that name is there; give another --name"):
        fine_tune(order(base, cases, tmp_path, name="tiny"), workspace)


def test_other_settings_do_not_go_on_with_an_unfinished_run(base, cases, tmp_path, workspace):
    with pytest.raises(DataSetError):
        fine_tune(order(base, cases, tmp_path, labels=("Boat",)), workspace)
    with pytest.raises(DistillError, match="holds an unfinished run with other settings"):
        fine_tune(order(base, cases, tmp_path), workspace)


@pytest.mark.parametrize(("name", "following"), [("student", "student-2"), ("a-9", "a-10"), ("u8s8", "u8s8-2")])
def test_next_name_counts_on(name, following):
    assert next_name(name) == following


def test_cli_says_both_gates_and_exits_1_where_one_fails(base, cases, tmp_path, workspace, run_cli, monkeypatch):
    monkeypatch.setattr(retention, "LEAST_BOXES", 1000)
    config = tmp_path / "lessons.toml"
    held_out = 'held_out = [{ path = "hit_uav" }]\nreplay = [{ path = "hit_uav", split = "val" }]\n'
    config.write_text("".join(f"{key} = {value}\n" for key, value in TEACHING.items()) + held_out)
    where = ("--data", workspace.data, "--runs", workspace.runs)
    code, out, err = run_cli(
        "from-cases", cases, "--bundle", base, "--out", tmp_path / "new", "--config", config, *where
    )
    assert code == 1
    assert "8 reviewed pictures (8 gray): 8 Bicycle" in out
    assert "parity gate: passed" in out
    assert "retention gate: FAILED" in out
    refused = read_manifest(workspace.folder("tiny-2") / "bundle")
    told = refused.metrics["fine_tuning"]
    assert told["passed"] is False
    assert "no held-out set shows 1000 boxes of Person" in told["retention"]["faults"][0]
    with pytest.raises(RequestError, match="its fine-tuning did not pass its gates: no held-out set shows"):
        check_publishable(refused, ("fp32",))
    assert "tiny-2: may not fly: no held-out set shows" in err.replace("\n", " ")
    assert not (tmp_path / "new").exists()
