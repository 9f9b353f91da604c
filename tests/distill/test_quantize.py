import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from distill import gate, quantize
from distill.bundle import write_bundle
from distill.dataset import read_data_set
from distill.errors import DataSetError, DistillError, GateError
from distill.gate import embedding_parity
from distill.quantize import calibration_images, quantize_files, quantize_run
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


def test_quantized_file_has_int8_weights_and_uint8_activations_but_for_stem_and_embedding(quantized):
    model = onnx.load(str(quantized))
    kinds = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) == 4}
    stem = next(n for n in model.graph.node if n.op_type == "Conv")
    (embedding,) = [n for n in model.graph.node if "embedding" in n.output]
    assert [kinds.pop(n.input[1]) for n in (stem, embedding)] == [onnx.TensorProto.FLOAT] * 2
    assert set(kinds.values()) == {onnx.TensorProto.INT8}
    zero_points = {t.name: t.data_type for t in model.graph.initializer}
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert {zero_points[n.input[2]] for n in quantizers} == {onnx.TensorProto.UINT8}


def test_symmetric_file_has_zero_points_of_zero_and_a_float_stem(finished, calibration, tmp_path):
    out = tmp_path / "s8s8.onnx"
    quantize_files(fp32_of(finished), {"s8s8": out}, calibration)
    model = onnx.load(str(out))
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    points = [weights[n.input[2]] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert points
    assert all(point.dtype == np.int8 and not point.any() for point in points)
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    is_float = [n.input[1] in weights and weights[n.input[1]].dtype == np.float32 for n in convolutions]
    assert is_float[:3] == [True, True, False]


def test_symmetric_file_answers_like_the_original(finished, calibration, tmp_path):
    out = tmp_path / "s8s8.onnx"
    quantize_files(fp32_of(finished), {"s8s8": out}, calibration)
    assert embedding_parity(fp32_of(finished), out, calibration[:1])["mean_cosine"] > 0.9


def test_quantize_run_keeps_both_files_and_their_report(run_copy, few_images, monkeypatch):
    recipe, workspace = run_copy
    monkeypatch.setattr(gate, "MIN_MEAN_COSINE", 0.0)
    monkeypatch.setattr(gate, "MIN_P01_COSINE", -1.0)
    report = quantize_run(recipe, workspace)
    folder = workspace.folder(recipe.name)
    assert json.loads((folder / "parity.json").read_text()) == report
    assert set(report) == {"u8s8", "s8s8"}
    for name in report:
        assert OnnxBackend(folder / f"{name}.onnx").run(np.zeros((32, 32, 3), np.uint8)).embedding.shape == (8, 8, 8)


def test_quantize_run_that_fails_the_gate_leaves_no_file(run_copy, few_images, monkeypatch):
    recipe, workspace = run_copy
    folder = workspace.folder(recipe.name)
    for old in ("u8s8.onnx", "s8s8.onnx", "parity.json"):
        (folder / old).write_text("from an earlier run")
    monkeypatch.setattr(gate, "MIN_MEAN_COSINE", 1.1)
    with pytest.raises(GateError):
        quantize_run(recipe, workspace)
    assert not [p.name for p in folder.iterdir() if p.name.startswith(("u8s8", "s8s8", "prepared"))]
    report = json.loads((folder / "parity.json").read_text())
    assert len(report["u8s8"]["layers"]) > 5
    with pytest.raises(DistillError, match="the gate refused its INT8 files"):
        write_bundle(recipe, workspace, folder / "bundle", {"parity": report})
    assert not (folder / "bundle").exists()


def test_quantize_run_that_lacks_images_keeps_the_files_it_had(run_copy):
    recipe, workspace = run_copy
    kept = {name: workspace.folder("tiny") / name for name in ("u8s8.onnx", "s8s8.onnx", "parity.json")}
    for path in kept.values():
        path.write_bytes(b"older")
    with pytest.raises(DistillError, match="at least 500 wanted"):
        quantize_run(recipe, workspace)
    assert all(path.read_bytes() == b"older" for path in kept.values())


def test_quantize_run_without_export_is_refused(tiny_recipe, workspace):
    with pytest.raises(DistillError, match=r"holds no fp32\.onnx"):
        quantize_run(tiny_recipe(), workspace)


def test_quantize_full_disk_is_one_clear_line(finished, calibration, tmp_path, full_disk):
    with full_disk(2000), pytest.raises(DistillError, match=r"cannot be written"):
        quantize_files(fp32_of(finished), {"u8s8": tmp_path / "u8s8.onnx"}, calibration[:1])


def test_calibration_images_are_drawn_evenly_and_padded(data_folder, coco_folder, tiny_bundle):
    sets = [read_data_set(data_folder / "hit_uav", "train"), read_data_set(coco_folder, "all")]
    images = calibration_images(sets, 4, 0, tiny_bundle.manifest)
    assert sorted(image.shape for image in images) == [(64, 64, 3)] * 2 + [(64, 96, 3)] * 2


def test_calibration_images_of_large_sets_make_up_for_small_ones(data_folder, coco_folder, tiny_bundle):
    sets = [read_data_set(data_folder / "hit_uav", "train"), read_data_set(coco_folder, "all")]  # 4 and 2 images
    images = calibration_images(sets, 6, 0, tiny_bundle.manifest)
    assert sorted(image.shape for image in images) == [(64, 64, 3)] * 2 + [(64, 96, 3)] * 4


def test_calibration_images_repeat_with_their_seed(data_folder, tiny_bundle):
    sets = [read_data_set(data_folder / "hit_uav", "train")]
    first, again = (np.stack(calibration_images(sets, 2, 5, tiny_bundle.manifest)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_calibration_on_too_few_images_is_refused(data_folder, tiny_bundle):
    with pytest.raises(DataSetError, match="4 training images to calibrate on, at least 500 wanted"):
        calibration_images([read_data_set(data_folder / "hit_uav", "train")], 512, 0, tiny_bundle.manifest)
