import json

import numpy as np
import onnx
import pytest

from distill import quantize
from distill.dataset import read_data_set
from distill.errors import DataSetError, DistillError, GateError
from distill.quantize import calibration_images, check_parity, embedding_parity, quantize_run, quantize_u8s8
from edge.runtime.onnx import OnnxBackend


@pytest.fixture
def few_images(monkeypatch):
    monkeypatch.setattr(quantize, "CALIBRATION_IMAGES", 4)
    monkeypatch.setattr(quantize, "_PARITY_IMAGES", 3)


def fp32_of(finished):
    recipe, workspace = finished
    return workspace.folder(recipe.name) / "fp32.onnx"


def test_quantized_file_runs_at_another_size(quantized):
    raw = OnnxBackend(quantized, threads=1).run(np.full((96, 64, 3), 120, np.uint8))
    assert (raw.embedding.shape, raw.objectness.shape) == ((8, 24, 16), (24, 16))
    assert np.isfinite(raw.box_ltrb).all()


def test_quantized_file_has_int8_weights_and_uint8_activations_but_for_the_embedding(quantized):
    model = onnx.load(str(quantized))
    kinds = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) == 4}
    (embedding,) = [n for n in model.graph.node if "embedding" in n.output]
    assert kinds.pop(embedding.input[1]) == onnx.TensorProto.FLOAT
    assert set(kinds.values()) == {onnx.TensorProto.INT8}
    zero_points = {t.name: t.data_type for t in model.graph.initializer}
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert {zero_points[n.input[2]] for n in quantizers} == {onnx.TensorProto.UINT8}


def test_parity_of_a_file_with_itself_is_one(finished, calibration):
    parity = embedding_parity(fp32_of(finished), fp32_of(finished), calibration[:1])
    assert parity == pytest.approx({"mean_cosine": 1.0, "p01_cosine": 1.0}, abs=1e-5)


def test_parity_equals_the_slow_cosine(finished, quantized, calibration):
    a, b = (OnnxBackend(path).run(calibration[0]).embedding for path in (fp32_of(finished), quantized))
    cosines = [
        a[:, y, x] @ b[:, y, x] / np.linalg.norm(a[:, y, x]) / np.linalg.norm(b[:, y, x])
        for y, x in np.ndindex(a.shape[1:])
    ]
    expected = {"mean_cosine": np.mean(cosines), "p01_cosine": np.percentile(cosines, 1)}
    assert embedding_parity(fp32_of(finished), quantized, calibration[:1]) == pytest.approx(expected, abs=1e-4)
    assert expected["mean_cosine"] > 0.9


@pytest.mark.parametrize(
    ("mean", "p01", "passes"),
    [
        pytest.param(0.995, 0.96, True, id="good"),
        pytest.param(0.989, 0.96, False, id="mean-low"),
        pytest.param(0.995, 0.949, False, id="tail-low"),
    ],
)
def test_gate_refuses_a_moved_embedding(mean, p01, passes):
    parity = {"mean_cosine": mean, "p01_cosine": p01}
    if passes:
        check_parity(parity)
    else:
        with pytest.raises(GateError, match=f"{mean:.3f} .least 0.99. and 1st percentile {p01:.3f}"):
            check_parity(parity)


def test_quantize_run_keeps_the_file_and_its_parity(run_copy, few_images, monkeypatch):
    recipe, workspace = run_copy
    monkeypatch.setattr(quantize, "MIN_MEAN_COSINE", 0.0)
    monkeypatch.setattr(quantize, "MIN_P01_COSINE", -1.0)
    parity = quantize_run(recipe, workspace)
    folder = workspace.folder(recipe.name)
    assert json.loads((folder / "parity.json").read_text()) == parity
    assert set(parity) == {"mean_cosine", "p01_cosine"}
    assert OnnxBackend(folder / "u8s8.onnx").run(np.zeros((32, 32, 3), np.uint8)).embedding.shape == (8, 8, 8)


def test_quantize_run_that_fails_the_gate_leaves_no_file(run_copy, few_images, monkeypatch):
    recipe, workspace = run_copy
    folder = workspace.folder(recipe.name)
    for old in ("u8s8.onnx", "parity.json"):
        (folder / old).write_text("from an earlier run")
    monkeypatch.setattr(quantize, "MIN_MEAN_COSINE", 1.1)
    with pytest.raises(GateError):
        quantize_run(recipe, workspace)
    assert not [p.name for p in folder.iterdir() if p.name.startswith(("u8s8", "parity"))]


def test_quantize_run_without_export_is_refused(tiny_recipe, workspace):
    with pytest.raises(DistillError, match=r"holds no fp32\.onnx"):
        quantize_run(tiny_recipe(), workspace)


def test_quantize_full_disk_is_one_clear_line(finished, calibration, tmp_path, full_disk):
    with full_disk(2000), pytest.raises(DistillError, match=r"u8s8\.onnx: cannot be written"):
        quantize_u8s8(fp32_of(finished), tmp_path / "u8s8.onnx", calibration[:1])
    assert list(tmp_path.iterdir()) == []


def test_calibration_images_are_drawn_evenly_and_padded(data_folder, coco_folder):
    sets = [read_data_set(data_folder / "hit_uav", "train"), read_data_set(coco_folder, "all")]
    images = calibration_images(sets, 4, seed=0)
    assert sorted(image.shape for image in images) == [(64, 64, 3)] * 2 + [(64, 96, 3)] * 2


def test_calibration_images_repeat_with_their_seed(data_folder):
    sets = [read_data_set(data_folder / "hit_uav", "train")]
    first, again = (np.stack(calibration_images(sets, 2, seed=5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_calibration_on_too_few_images_is_refused(data_folder):
    with pytest.raises(DataSetError, match="4 images to calibrate on, at least 64 wanted"):
        calibration_images([read_data_set(data_folder / "hit_uav", "train")], 512, seed=0)
