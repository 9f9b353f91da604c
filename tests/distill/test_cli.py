import json
import shutil

import cv2
import numpy as np
import pytest

from distill import bundle as bundling
from distill import gate, quantize
from distill.bundle import write_bundle
from edge.bundle import load_bundle
from edge.reward import read_reward

RECIPE = """
name = "{name}"
labels = ["Person", "Car"]
steps = 1
batch = 1
crop_px = 64
novel_kinds = 0
network = {{ widths = [8, 8, 8, 8, 0], blocks = [0, 0, 0, 0], neck = 8, embedding_dim = 8 }}
sources = [{{ path = "hit_uav" }}]
"""


@pytest.fixture
def write_recipe(tmp_path):
    def write(name, extra=""):
        path = tmp_path / f"{name}.toml"
        path.write_text(extra + RECIPE.format(name=name))
        return path

    return write


def places(workspace):
    return "--data", workspace.data, "--runs", workspace.runs


def test_help_names_every_command(run_cli):
    code, out, _ = run_cli("--help")
    assert code == 0
    assert all(name in out for name in ("train-teacher", "distill", "quantize", "bundle", "evaluate"))


@pytest.mark.parametrize("command", ["train-teacher", "distill", "quantize", "bundle"])
def test_unknown_recipe_key_is_one_line_that_names_it(run_cli, write_recipe, command):
    code, out, err = run_cli(command, write_recipe("a", "stepz = 3\n"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: ")
    assert "unknown key 'stepz'" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("steps = [", "not valid TOML", id="not-toml"),
        pytest.param("name = 3", "name: Input should be a valid string; got 3", id="bad-type"),
        pytest.param('name = "[/red]"', "'[/red]'", id="brackets-are-no-markup"),
    ],
)
def test_bad_recipe_is_one_clear_line(run_cli, tmp_path, text, words):
    (tmp_path / "a.toml").write_text(text)
    code, _, err = run_cli("distill", tmp_path / "a.toml")
    assert (code, err.count("\n")) == (1, 1)
    assert words in err


def test_missing_recipe_is_one_clear_line(run_cli, tmp_path):
    code, _, err = run_cli("distill", tmp_path / "absent.toml")
    assert (code, err.count("\n")) == (1, 1)
    assert "absent.toml: cannot be read" in err


def test_missing_data_is_one_clear_line(run_cli, write_recipe, tmp_path):
    code, _, err = run_cli("distill", write_recipe("a"), "--data", tmp_path / "absent", "--runs", tmp_path / "runs")
    assert code == 1
    assert "absent/hit_uav: is not there; check --data" in err.splitlines()[-1]


def test_train_teacher_refuses_a_recipe_with_a_teacher(run_cli, write_recipe):
    code, _, err = run_cli("train-teacher", write_recipe("a", 'teacher = "b"\n'))
    assert code == 1
    assert "names a teacher; use `skyloop-distill distill`" in err


def test_recipes_that_need_each_other_are_refused(run_cli, write_recipe, workspace):
    first = write_recipe("a", 'init = "b"\n')
    write_recipe("b", 'init = "a"\n')
    code, _, err = run_cli("distill", first, *places(workspace))
    assert code == 1
    assert "needs itself (a → b → a)" in err


@pytest.fixture
def _no_export(monkeypatch):
    # Exporting takes seconds and has tests of its own.
    monkeypatch.setattr(bundling, "export_run", lambda recipe, workspace: workspace.folder(recipe.name) / "fp32.onnx")


@pytest.mark.usefixtures("_no_export")
def test_distill_trains_first_what_a_recipe_needs(run_cli, write_recipe, workspace):
    write_recipe("start")
    path = write_recipe("goal", 'init = "start"\n')
    code, _, err = run_cli("distill", path, *places(workspace))
    assert code == 0
    assert err.index("start: exported to") < err.index("goal: exported to")
    assert all(workspace.weights(name).is_file() for name in ("start", "goal"))


@pytest.mark.usefixtures("_no_export")
def test_distill_keeps_a_finished_run(run_cli, write_recipe, workspace):
    path = write_recipe("a")
    run_cli("distill", path, *places(workspace))
    before = workspace.weights("a").stat().st_mtime_ns
    code, _, err = run_cli("distill", path, *places(workspace))
    assert code == 0
    assert "a: already trained, kept" in err
    assert workspace.weights("a").stat().st_mtime_ns == before


def test_bundle_command_writes_the_run_bundle(run_cli, write_recipe, run_copy):
    _, workspace = run_copy
    code, out, _ = run_cli("bundle", write_recipe("tiny"), *places(workspace))
    bundle = load_bundle(workspace.folder("tiny") / "bundle")
    assert code == 0
    assert out.startswith(f"{bundle.folder}: fp32, ")
    assert bundle.manifest.space_id in out


def test_bundle_command_puts_parity_into_the_manifest(run_cli, write_recipe, run_copy, tmp_path):
    _, workspace = run_copy
    report = {"mean_cosine": 0.995, "p01_cosine": 0.96, "convolutions": 9, "integer_convolutions": 8}
    report |= {"before": {}, "after": {}}
    shutil.copy(workspace.folder("tiny") / "fp32.onnx", workspace.folder("tiny") / "u8s8.onnx")
    (workspace.folder("tiny") / "parity.json").write_text(json.dumps({"u8s8": report}))
    run_cli("bundle", write_recipe("tiny"), *places(workspace), "--out", tmp_path / "out")
    assert load_bundle(tmp_path / "out").manifest.metrics == {"parity": {"u8s8": report}}


def test_bundle_command_names_a_damaged_parity_report(run_cli, write_recipe, run_copy, tmp_path):
    _, workspace = run_copy
    (workspace.folder("tiny") / "parity.json").write_text("{")
    code, _, err = run_cli("bundle", write_recipe("tiny"), *places(workspace), "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (1, 1)
    assert "parity.json: no readable JSON" in err
    assert not (tmp_path / "out").exists()


def test_card_command_keeps_numbers_and_refuses_what_is_none(run_cli, finished, tmp_path):
    write_bundle(*finished, tmp_path / "bundle")
    good, bad = tmp_path / "found.json", tmp_path / "bad.json"
    good.write_text('{"map50": 0.61}')
    bad.write_text("[1, 2]")
    code, out, _ = run_cli("card", tmp_path / "bundle", "--command", "measure it", "--numbers", good)
    assert (code, out.strip()) == (0, str(tmp_path / "bundle" / "MODEL_CARD.md"))
    assert "| map50 | 0.61 |" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    code, _, err = run_cli("card", tmp_path / "bundle", "--command", "measure it", "--numbers", bad)
    assert code == 1
    assert "holds no table of numbers" in err


def test_quantize_command_prints_the_parity(run_cli, write_recipe, run_copy, monkeypatch):
    _, workspace = run_copy
    monkeypatch.setattr(quantize, "CALIBRATION_IMAGES", 2)
    monkeypatch.setattr(quantize, "_PARITY_IMAGES", 2)
    monkeypatch.setattr(gate, "MIN_MEAN_COSINE", 0)
    monkeypatch.setattr(gate, "MIN_P01_COSINE", -1)
    code, out, err = run_cli("quantize", write_recipe("tiny"), *places(workspace))
    assert code == 0
    assert "convolutions run as integers" in out
    assert "comparing with the original" in err
    code, out, _ = run_cli("quantize", write_recipe("tiny"), *places(workspace), "--json")
    assert json.loads(out)["u8s8"]["convolutions"] == json.loads(out)["s8s8"]["convolutions"]


def evaluate_arguments(tiny_bundle, data, *more):
    return "evaluate", tiny_bundle.folder, "--data", data, "--labels", "Red, Green", "--threads", 1, *more


def test_evaluate_json_prints_the_documented_keys(run_cli, tiny_bundle, coco_folder):
    code, out, _ = run_cli(*evaluate_arguments(tiny_bundle, coco_folder, "--json"))
    result = json.loads(out)
    assert code == 0
    assert set(result) == {
        "bundle", "variant", "data", "images", "map50", "map50_95", "ap50", "ap50_small",
        "ms_per_image", "file_bytes",
    }  # fmt: skip
    assert result["ap50"]["Red"] > 0.8
    assert result["ap50"]["Green"] is None


def test_evaluate_reads_a_hit_uav_split(run_cli, tiny_bundle, hit_uav):
    code, out, _ = run_cli(*evaluate_arguments(tiny_bundle, hit_uav, "--json", "--split", "dev", "--labels", "Person"))
    assert (code, json.loads(out)["data"], json.loads(out)["images"]) == (0, "hit_uav/dev", 1)


def test_evaluate_prints_a_table(run_cli, tiny_bundle, coco_folder):
    code, out, _ = run_cli(*evaluate_arguments(tiny_bundle, coco_folder))
    assert code == 0
    assert "AP50 Red" in out
    assert "2 images" in out
    assert "no such box" in out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param(["--variant", "u4"], "has no variant 'u4'; choose one of fp32", id="variant"),
        pytest.param(["--data", "absent"], "absent: is not there; check --data", id="data"),
        pytest.param(["--labels", "Green"], "no box is called Green, they are called Novel, Red", id="labels"),
        pytest.param(["--labels", ","], "no box is called nothing, they are called Novel, Red", id="no-labels"),
    ],
)
def test_evaluate_bad_option_is_one_clear_line(run_cli, tiny_bundle, coco_folder, more, words):
    code, _, err = run_cli(*evaluate_arguments(tiny_bundle, coco_folder, *more))
    assert (code, err.count("\n")) == (1, 1)
    assert words in err


def test_evaluate_altered_bundle_is_one_clear_line(run_cli, tiny_bundle, coco_folder, tmp_path):
    copy = shutil.copytree(tiny_bundle.folder, tmp_path / "altered")
    (copy / "fp32.onnx").write_bytes(b"x")
    code, _, err = run_cli("evaluate", copy, "--data", coco_folder)
    assert (code, err.count("\n")) == (1, 1)
    assert "does not match the manifest's" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param(("--size", "640"), "size '640': give WIDTHxHEIGHT", id="size"),
        pytest.param(("--size", "600x512"), "give multiples of 32 px", id="multiple"),
        pytest.param(("--int8",), "has no variant 's8s8'", id="no-source"),
    ],
)
def test_engine_bad_option_is_one_clear_line(run_cli, tiny_bundle, more, words):
    code, _, err = run_cli("engine", tiny_bundle.folder, *more)
    assert code == 1
    assert words in err
    assert len(err.strip().splitlines()) == 1


@pytest.fixture
def people_bundle(tiny_bundle, tmp_path):
    """The tiny bundle with its one class called Person, in a folder that may be written to."""
    folder = tmp_path / "people"
    shutil.copytree(tiny_bundle.folder, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(manifest | {"labels": ["Person"]}))
    return folder


@pytest.mark.parametrize("more", [(), ("--labels",)])
def test_calibrate_writes_a_fit_beside_the_bundle(run_cli, people_bundle, hit_uav, more):
    (hit_uav / "dev_groups.txt").write_text("0_80_60_0\n0_60_30_0\n")
    for path in (hit_uav / "train").glob("*.jpg"):  # the tiny network sees red things
        picture = np.zeros(cv2.imread(str(path)).shape, np.uint8)
        picture[16:32, 16:32] = (0, 0, 255)
        cv2.imwrite(str(path), picture)
    before = (people_bundle / "bundle.json").read_bytes()
    words = ("calibrate", people_bundle, "--teacher", people_bundle, "--data", hit_uav, "--json", *more)
    code, out, _ = run_cli(*words)
    assert code == 0
    assert json.loads(out)["images"] == 3
    assert json.loads(out)["labels"] == ("the data's" if more else "the teacher's")
    assert (people_bundle / "bundle.json").read_bytes() == before
    assert read_reward(people_bundle / "hardness.json").fitted["images"] == 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--split", "val"), "is for reporting"),
        ((), "1 flight(s) teach no reward"),
        (("--data", "nowhere"), "is not there"),
    ],
)
def test_calibrate_bad_input_is_one_clear_line(run_cli, people_bundle, hit_uav, more, words):
    code, _, err = run_cli("calibrate", people_bundle, "--teacher", people_bundle, "--data", hit_uav, *more)
    assert code != 0
    assert words in " ".join(err.split())
    assert not (people_bundle / "hardness.json").exists()
