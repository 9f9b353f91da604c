"""Engines: everything but the GPU's part for real. No test here pretends that TensorRT ran."""

import hashlib
import importlib.util
import shutil

import numpy as np
import onnx
import pytest

from distill.engine import (
    EngineOptions,
    add_engine,
    network_for,
    place_engine,
    read_timing_cache,
    timing_cache_path,
)
from distill.errors import DistillError
from edge.bundle import bundled_student, load_bundle
from edge.errors import ModelError, RuntimeUnavailable
from edge.runtime import OnnxBackend, Runtime, RuntimeRequest, open_runtime
from edge.runtime.agreement import check_picture, mean_cosine
from edge.runtime.cuda import Cuda

TAG = "sm87-trt10.3.0"
PICTURE = check_picture(3)[:128, :160]


def has_tensorrt_and_gpu() -> bool:
    try:
        Cuda()
    except RuntimeUnavailable:
        return False
    return importlib.util.find_spec("tensorrt") is not None


@pytest.fixture
def student(tmp_path):
    return shutil.copytree(bundled_student(), tmp_path / "student")


def run(model, tmp_path):
    path = tmp_path / "rewritten.onnx"
    path.write_bytes(model.SerializeToString())
    return OnnxBackend(path, threads=1).run(PICTURE)


@pytest.mark.parametrize(("precision", "variant", "most"), [("fp16", "fp32", 1e-5), ("int8", "s8s8", 1e-7)])
def test_network_for_computes_what_the_bundles_file_computes(student, tmp_path, precision, variant, most):
    bundle = load_bundle(student, variant)
    expected = OnnxBackend(bundle.model_path, threads=1).run(PICTURE)
    found = run(network_for(bundle, precision), tmp_path)
    assert found.embedding.dtype == np.float32
    assert 1 - mean_cosine(expected, found) < most
    np.testing.assert_allclose(found.objectness, expected.objectness, atol=0.02)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_network_for_casts_bytes_before_it_moves_them(student, precision):
    graph = network_for(load_bundle(student, "fp32" if precision == "fp16" else "s8s8"), precision).graph
    assert [node.op_type for node in graph.node if "image" in node.input] == ["Cast"]


def test_network_for_fp16_holds_no_float_but_the_scales_of_its_resizing(student):
    graph = network_for(load_bundle(student, "fp32"), "fp16").graph
    left = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert left == {node.input[2] for node in graph.node if node.op_type == "Resize"}
    assert all(output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for output in graph.output)


def test_network_for_weight_beyond_half_precision_is_told(student):
    bundle = load_bundle(student, "fp32")
    model = onnx.load(str(bundle.model_path))
    tensor = next(t for t in model.graph.initializer if t.name.endswith("stem.0.bias"))
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(tensor.dims, 1e6, np.float32), tensor.name))
    onnx.save(model, str(bundle.model_path))
    with pytest.raises(DistillError, match=r"stem\.0\.bias does not fit half precision"):
        network_for(bundle, "fp16")


def test_place_engine_adds_a_variant_and_leaves_the_rest(student):
    before = load_bundle(student).manifest
    path = place_engine(student, f"engine-fp16-{TAG}", b"plan", TAG)
    bundle = load_bundle(student, f"engine-fp16-{TAG}")
    entry = bundle.manifest.variants[bundle.variant]
    assert (entry.runs_on, entry.suits, entry.sha256) == (TAG, ("engine",), hashlib.sha256(b"plan").hexdigest())
    assert (path, path.read_bytes()) == (bundle.model_path, b"plan")
    assert bundle.manifest.space_id == before.space_id
    assert load_bundle(student).variant == "u8s8"
    assert f"{path.name}" in (student / "MODEL_CARD.md").read_text()


def test_place_engine_one_for_each_machine(student):
    for tag in (TAG, "sm90-trt10.3.0"):
        place_engine(student, f"engine-int8-{tag}", tag.encode(), tag)
    assert len(list(student.glob("engine-*.engine"))) == 2


def test_place_engine_disk_full_leaves_the_manifest(student, monkeypatch):
    def full(path, *parts):
        raise OSError(28, "No space left on device")

    manifest = (student / "bundle.json").read_bytes()
    monkeypatch.setattr("distill.files.write_durably", full)
    with pytest.raises(DistillError, match="No space left on device"):
        place_engine(student, "engine-fp16-x", b"plan", TAG)
    assert (student / "bundle.json").read_bytes() == manifest


def test_timing_caches_are_kept_apart_by_machine(tmp_path):
    assert timing_cache_path(tmp_path, TAG) != timing_cache_path(tmp_path, "sm87-trt10.4.0")
    assert read_timing_cache(timing_cache_path(tmp_path, TAG)) == b""
    timing_cache_path(tmp_path, TAG).write_bytes(b"timings")
    assert read_timing_cache(timing_cache_path(tmp_path, TAG)) == b"timings"


def test_timing_cache_that_is_a_folder_is_told(tmp_path):
    timing_cache_path(tmp_path, TAG).mkdir()
    with pytest.raises(DistillError, match="cannot be read"):
        read_timing_cache(timing_cache_path(tmp_path, TAG))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions(best_px=(500, 640)), "give multiples of 32 px"),
        (EngineOptions(largest_px=(0, 640)), "give multiples of 32 px"),
        (EngineOptions(best_px=(1088, 1920), largest_px=(512, 640)), "larger than the largest"),
    ],
)
def test_add_engine_refuses_sizes(student, options, message):
    with pytest.raises(DistillError, match=message):
        add_engine(student, options)


def test_add_engine_bundle_without_the_source_names_what_there_is(tiny_bundle):
    with pytest.raises(ModelError, match="has no variant 's8s8'; choose one of fp32"):
        add_engine(tiny_bundle.folder, EngineOptions("int8"))


@pytest.mark.skipif(has_tensorrt_and_gpu(), reason="TensorRT and a GPU are here")
def test_add_engine_without_tensorrt_leaves_the_bundle(student, tmp_path):
    before = {path.name: path.read_bytes() for path in student.iterdir()}
    with pytest.raises(RuntimeUnavailable, match=r"CUDA finds no device|libcudart|TensorRT's Python package"):
        add_engine(student, EngineOptions(cache=tmp_path))
    assert {path.name: path.read_bytes() for path in student.iterdir()} == before


@pytest.mark.gpu
@pytest.mark.skipif(not has_tensorrt_and_gpu(), reason="needs a CUDA device and the package tensorrt")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_engine_runs_and_agrees_with_the_cpu(student, tmp_path, precision):
    built = add_engine(student, EngineOptions(precision, cache=tmp_path))
    opened = open_runtime(student, RuntimeRequest(Runtime.ENGINE))
    assert opened.bundle.variant == built.variant
    expected = OnnxBackend(student / "fp32.onnx", threads=1).run(PICTURE)
    assert mean_cosine(expected, opened.backend.run(PICTURE)) > 0.97
    with pytest.raises(ModelError, match="none the engine was built for"):
        opened.backend.run(np.zeros((2048, 2048, 3), np.uint8))
