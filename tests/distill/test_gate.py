"""What an INT8 file has to keep before anybody may fly it."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from distill.bundle import make_manifest
from distill.dataset import read_data_set
from distill.errors import GateError
from distill.gate import Trial, check, embedding_parity, integer_convolutions, judge, layers_lost, scores_of
from distill.quantize import quantize_files
from edge.runtime.onnx import OnnxBackend
from edge.student import Student

GOOD = {
    "mean_cosine": 0.995,
    "p01_cosine": 0.96,
    "convolutions": 23,
    "integer_convolutions": 21,
    "layers": {"add_3": 11.4, "relu_7": 14.2},
    "before": {"map50": 0.580, "fewshot_ap50": 0.300},
    "after": {"map50": 0.572, "fewshot_ap50": 0.295},
}


@pytest.fixture(scope="module")
def trial(finished, calibration, tmp_path_factory):
    recipe, workspace = finished
    fp32 = workspace.folder(recipe.name) / "fp32.onnx"
    out = tmp_path_factory.mktemp("trial") / "u8s8.onnx"
    prepared = quantize_files(fp32, {"u8s8": out}, calibration)
    return Trial(fp32, prepared, out, make_manifest(recipe, workspace, {"fp32": fp32}))


def test_parity_of_a_file_with_itself_is_one(trial, calibration):
    parity = embedding_parity(trial.fp32, trial.fp32, calibration[:1])
    assert parity == pytest.approx({"mean_cosine": 1.0, "p01_cosine": 1.0}, abs=1e-5)


def test_parity_equals_the_slow_cosine(trial, quantized, calibration):
    a, b = (OnnxBackend(path).run(calibration[0]).embedding for path in (trial.fp32, quantized))
    cosines = [
        a[:, y, x] @ b[:, y, x] / np.linalg.norm(a[:, y, x]) / np.linalg.norm(b[:, y, x])
        for y, x in np.ndindex(a.shape[1:])
    ]
    expected = {"mean_cosine": np.mean(cosines), "p01_cosine": np.percentile(cosines, 1)}
    assert embedding_parity(trial.fp32, quantized, calibration[:1]) == pytest.approx(expected, abs=1e-4)
    assert expected["mean_cosine"] > 0.9


def test_good_file_passes():
    check("u8s8", GOOD)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"mean_cosine": 0.989}, r"mean cosine 0.989 .least 0.99. and 1st percentile 0.960", id="mean"),
        pytest.param({"p01_cosine": 0.949}, r"1st percentile 0.949 .least 0.95.", id="tail"),
        pytest.param({"after": {"map50": 0.569}}, r"map50 fell from 0.580 to 0.569 .at most 0.01 less.", id="map"),
        pytest.param({"after": GOOD["after"] | {"fewshot_ap50": 0.28}}, "fewshot_ap50 fell from 0.300", id="fewshot"),
        pytest.param({"integer_convolutions": 20}, "only 20 of 23 convolutions run as integers", id="float"),
    ],
)
def test_gate_says_what_was_lost_and_where(change, words):
    with pytest.raises(GateError, match=words) as refusal:
        check("u8s8", GOOD | change)
    assert "add_3 11 dB, relu_7 14 dB" in str(refusal.value)


def test_float_convolutions_are_no_fault_of_a_file_for_accelerators():
    check("s8s8", GOOD | {"integer_convolutions": 8})


def test_convolutions_that_run_as_integers_are_counted(trial):
    before, after = integer_convolutions(trial.fp32), integer_convolutions(trial.quantized)
    assert before["integer_convolutions"] == 0
    assert after["convolutions"] == before["convolutions"] > 5
    assert after["integer_convolutions"] == after["convolutions"] - 2


def test_layer_that_was_spoilt_is_named(trial, calibration, tmp_path):
    model = onnx.load(str(trial.quantized))
    producer = {name: node for node in model.graph.node for name in node.output}
    spoilt = next(n for n in model.graph.node if n.op_type == "Conv" and n.name.endswith("_4"))
    scale = next(w for w in model.graph.initializer if w.name == producer[spoilt.input[1]].input[1])
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(3.0), scale.name))
    onnx.save(model, str(tmp_path / "spoilt.onnx"))
    changed = Trial(trial.fp32, trial.prepared, tmp_path / "spoilt.onnx", trial.manifest)
    good, bad = (layers_lost(t, calibration[:1]) for t in (trial, changed))
    assert min(bad.values()) < min(good.values()) - 3


def test_judge_reports_both_sides(trial, calibration, data_folder):
    held_out = [read_data_set(data_folder / "hit_uav", "train")]
    report = judge(trial, calibration, held_out)
    assert set(report) == set(GOOD)
    assert set(report["before"]) >= {"map50", "ap50_small"}
    assert report["before"]["map50"] == scores_of(trial.students()[0], held_out)["map50"]


def test_without_held_out_sets_there_are_no_scores(trial):
    assert scores_of(Student(trial.students()[0].bundle, OnnxBackend(trial.fp32)), []) == {}
