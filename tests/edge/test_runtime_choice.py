"""Which runtime is taken, and why others are not.

`standing_in` replaces what opens a session on an accelerator, because none is here: it says which would open, and runs
the file on the CPU. Everything else is the real thing.
"""

import json
import shutil

import numpy as np
import onnxruntime as ort
import pytest
import structlog

from edge.bundle import Manifest, load_bundle
from edge.errors import ModelError, RuntimeUnavailable
from edge.runtime import OnnxBackend, RawOutputs, Runtime, RuntimeRequest, choosing, open_backend, open_runtime
from edge.runtime.choosing import BEST_FIRST, suitable_variant
from edge.runtime.providers import CUDA, OPENVINO, Provider, plug_in_module

AUTO = RuntimeRequest(Runtime.AUTO, threads=1)


class Liar:
    """A backend whose embedding has nothing to do with the picture."""

    name = "liar"

    def __init__(self, honest):
        self.honest = honest

    def run(self, image):
        raw = self.honest.run(image)
        noise = np.random.default_rng(0).normal(size=raw.embedding.shape).astype(np.float32)
        return RawOutputs(noise, raw.objectness, raw.box_ltrb, raw.class_logits)


@pytest.fixture
def shipped(tiny_bundle, tmp_path):
    """A bundle with a file for every runtime but the engine."""
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle.folder, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    entry = manifest["variants"]["fp32"]
    suits = {"fp32": ["cpu", "cuda"], "u8s8": ["cpu"], "s8s8": ["tensorrt"]}
    for name, words in suits.items():
        shutil.copy(tiny_bundle.model_path, folder / f"{name}.onnx")
        manifest["variants"][name] = entry | {"file": f"{name}.onnx", "suits": words}
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def standing_in(monkeypatch):
    def install(*present, backend=lambda honest: honest):
        def opened(bundle, runtime, request):
            if runtime not in present:
                raise RuntimeUnavailable(f"no {runtime.value} here", "buy one")
            return backend(open_backend(bundle, threads=1))

        monkeypatch.setattr(choosing, "_open", opened)

    return install


@pytest.fixture
def manifest(tiny_bundle):
    def made(**suits):
        entry = tiny_bundle.manifest.variants["fp32"]
        sizes = {"fp32": 2000, "u8s8": 500, "s8s8": 600}
        variants = {
            name: entry.model_copy(update={"suits": words, "size_bytes": sizes.get(name, 900)})
            for name, words in suits.items()
        }
        return Manifest(**tiny_bundle.manifest.model_dump() | {"variants": variants})

    return made


@pytest.mark.parametrize(
    ("runtime", "variant"),
    [
        (Runtime.TENSORRT, "s8s8"),
        (Runtime.TENSORRT_RTX, "fp32"),
        (Runtime.CUDA, "fp32"),
        (Runtime.OPENVINO, "u8s8"),
    ],
    ids=lambda value: str(value),
)
def test_suitable_variant_is_the_one_made_for_the_runtime(manifest, runtime, variant):
    assert suitable_variant(manifest(fp32=("cpu", "cuda"), u8s8=("cpu",), s8s8=("tensorrt",)), runtime) == variant


def test_suitable_variant_takes_the_runtimes_own_word_first(manifest):
    assert suitable_variant(manifest(fp32=("cpu", "openvino"), u8s8=("cpu",)), Runtime.OPENVINO) == "fp32"


@pytest.mark.parametrize("runtime", [Runtime.TENSORRT, Runtime.ENGINE])
def test_suitable_variant_none_is_unavailable(manifest, runtime):
    with pytest.raises(RuntimeUnavailable, match=f"no file made for {runtime.value}"):
        suitable_variant(manifest(fp32=("cpu",)), runtime)


def test_suitable_variant_engine_must_be_of_this_machine(manifest, monkeypatch):
    monkeypatch.setattr(choosing, "machine_tag", lambda: "sm87-trt10.3.0")  # a GPU to ask is not here
    found = manifest(fp32=("cpu",), engine_a=("engine",), engine_b=("engine",))
    bound = {"engine_a": "sm90-trt10.3.0", "engine_b": "sm87-trt10.3.0"}
    variants = {n: e.model_copy(update={"runs_on": bound.get(n, "")}) for n, e in found.variants.items()}
    assert suitable_variant(found.model_copy(update={"variants": variants}), Runtime.ENGINE) == "engine_b"
    del variants["engine_b"]
    with pytest.raises(RuntimeUnavailable, match=r"holds no engine for sm87-trt10\.3\.0"):
        suitable_variant(found.model_copy(update={"variants": variants}), Runtime.ENGINE)


def test_auto_tries_the_best_first_and_says_once_why_not(shipped, standing_in):
    standing_in()
    with structlog.testing.capture_logs() as lines:
        opened = open_runtime(shipped, AUTO)
        opened.log()
    assert (opened.bundle.variant, opened.backend.name) == ("u8s8", "onnxruntime:CPUExecutionProvider")
    (line,) = lines
    assert list(line["refused"]) == [runtime.value for runtime in BEST_FIRST[:-1]]
    assert line["refused"]["cuda"] == "no cuda here"
    assert line["refused"]["engine"] == "the bundle holds no file made for engine"
    assert line["runtime"] == "cpu"


def test_auto_stops_at_the_first_that_works_with_the_file_made_for_it(shipped, standing_in):
    standing_in(Runtime.CUDA, Runtime.OPENVINO)
    opened = open_runtime(shipped, AUTO)
    assert (opened.runtime, opened.bundle.variant) == (Runtime.CUDA, "fp32")
    assert list(opened.refused) == ["engine", "tensorrt", "tensorrt-rtx"]


def test_auto_passes_over_a_runtime_with_wrong_numbers(shipped, standing_in):
    standing_in(Runtime.CUDA, backend=Liar)
    opened = open_runtime(shipped, AUTO)
    assert "does not compute what the CPU does: cosine" in opened.refused["cuda"]
    assert opened.backend.name == "onnxruntime:CPUExecutionProvider"


def test_named_runtime_that_cannot_run_is_an_error_with_its_cure(shipped, standing_in):
    standing_in()
    with pytest.raises(ModelError, match="runtime tensorrt: no tensorrt here; buy one, or take runtime auto"):
        open_runtime(shipped, RuntimeRequest(Runtime.TENSORRT))


def test_named_runtime_with_wrong_numbers_is_an_error(shipped, standing_in):
    standing_in(Runtime.TENSORRT, backend=Liar)
    with pytest.raises(ModelError, match="runtime tensorrt: liar does not compute"):
        open_runtime(shipped, RuntimeRequest(Runtime.TENSORRT))


def test_named_variant_rules_over_the_suited_one(shipped, standing_in):
    standing_in(Runtime.TENSORRT)
    assert open_runtime(shipped, RuntimeRequest(Runtime.TENSORRT, variant="fp32")).bundle.variant == "fp32"


def test_damaged_file_is_told_and_not_replaced_by_another(shipped, standing_in):
    standing_in(Runtime.CUDA)
    (shipped / "fp32.onnx").write_bytes(b"altered")
    with pytest.raises(ModelError, match=r"fp32.onnx: digest .* does not match"):
        open_runtime(shipped, AUTO)


def test_cpu_takes_the_file_that_a_cpu_runs_best(shipped):
    assert open_runtime(shipped, RuntimeRequest()).bundle.variant == "u8s8"


@pytest.mark.skipif(CUDA.name in ort.get_available_providers(), reason="this ONNX Runtime has CUDA")
def test_provider_that_the_build_lacks_is_named(shipped):
    with pytest.raises(ModelError, match=r"is built without CUDAExecutionProvider; install onnxruntime-gpu"):
        open_runtime(shipped, RuntimeRequest(Runtime.CUDA))


@pytest.mark.skipif(plug_in_module() is not None, reason="the plug-in is installed")
def test_plug_in_that_is_not_installed_is_named(shipped):
    with pytest.raises(ModelError, match=r"onnxruntime-ep-nv-tensorrt-rtx is not installed; install"):
        open_runtime(shipped, RuntimeRequest(Runtime.TENSORRT_RTX))


@pytest.mark.skipif("AzureExecutionProvider" not in ort.get_available_providers(), reason="this build has no Azure")
def test_provider_that_takes_no_node_is_refused(tiny_bundle):
    """Azure's provider opens without complaint and leaves the whole network to the CPU."""
    azure = Provider("AzureExecutionProvider", "none")
    with pytest.raises(RuntimeUnavailable, match=r"took no node of fp32\.onnx"):
        OnnxBackend(tiny_bundle.model_path, provider=azure)


@pytest.mark.skipif(OPENVINO.name not in ort.get_available_providers(), reason="needs onnxruntime-openvino")
def test_openvino_runs_the_bundle(shipped):
    opened = open_runtime(shipped, RuntimeRequest(Runtime.OPENVINO, threads=1))
    assert (opened.bundle.variant, opened.backend.name) == ("u8s8", "onnxruntime:OpenVINOExecutionProvider")


@pytest.mark.gpu
@pytest.mark.skipif(CUDA.name not in ort.get_available_providers(), reason="needs onnxruntime-gpu")
@pytest.mark.parametrize("runtime", [Runtime.CUDA, Runtime.TENSORRT])
def test_gpu_provider_runs_the_bundle(shipped, runtime, tmp_path):
    backend = open_runtime(shipped, RuntimeRequest(runtime, cache=tmp_path)).backend
    assert backend.run(np.zeros((64, 96, 3), np.uint8)).embedding.shape[1:] == (16, 24)


def test_load_bundle_default_is_what_the_cpu_runtime_takes(shipped):
    assert load_bundle(shipped).variant == open_runtime(shipped, RuntimeRequest()).bundle.variant
