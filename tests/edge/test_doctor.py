import json
import shutil

import onnxruntime as ort
import pytest

from edge.bundle import bundled_student
from edge.doctor import examine
from edge.errors import ModelError
from edge.runtime import RuntimeRequest
from edge.runtime.choosing import BEST_FIRST


@pytest.fixture(scope="module")
def found(tiny_bundle):
    return examine(tiny_bundle.folder, RuntimeRequest(threads=1))


def test_examine_tries_every_runtime_and_gives_a_time_or_a_reason(found):
    assert list(found["runtimes"]) == [runtime.value for runtime in BEST_FIRST]
    for tried in found["runtimes"].values():
        assert tried["ms"] > 0 if tried["works"] else tried["reason"]


def test_examine_cpu_works(found):
    cpu = found["runtimes"]["cpu"]
    assert (cpu["works"], cpu["variant"], cpu["backend"]) == (True, "fp32", "onnxruntime:CPUExecutionProvider")


def test_examine_names_the_onnxruntime_that_is_loaded(found):
    assert found["onnxruntime"]["version"] == ort.__version__
    assert found["onnxruntime"]["version"] in found["onnxruntime"]["packages"].values()


def test_examine_is_json(found):
    assert json.loads(json.dumps(found)) == found


def test_examine_two_builds_of_onnxruntime_are_a_warning(tiny_bundle, monkeypatch):
    both = {"onnxruntime": ["onnxruntime", "onnxruntime-gpu"]}  # stand-in for what pip's records would say
    monkeypatch.setattr("edge.doctor.packages_distributions", lambda: both)
    monkeypatch.setattr("edge.doctor.version", lambda name: "1.0")
    (warning,) = examine(tiny_bundle.folder, RuntimeRequest(threads=1))["warnings"]
    assert "onnxruntime and onnxruntime-gpu share one folder" in warning


def test_examine_damaged_bundle_is_told(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundled_student(), folder)
    (folder / "u8s8.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="does not match"):
        examine(folder, RuntimeRequest(threads=1))
