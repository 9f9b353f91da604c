"""The parts of the native engine's backend that need no GPU, and with the marker `gpu` the rest."""

import importlib.util

import numpy as np
import pytest

from edge.errors import RuntimeUnavailable
from edge.runtime.cuda import Buffer, Cuda
from edge.runtime.tensorrt import EngineBackend, import_tensorrt, machine_tag


def has_gpu() -> bool:
    try:
        Cuda()
    except RuntimeUnavailable:
        return False
    return True


needs_gpu = pytest.mark.skipif(not has_gpu(), reason="no CUDA device")
without_gpu = pytest.mark.skipif(has_gpu(), reason="a CUDA device is here")
without_tensorrt = pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed")


@without_tensorrt
def test_missing_tensorrt_names_the_extra(tmp_path):
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'skyloop\[tensorrt\]'; on a Jetson"):
        import_tensorrt()
    with pytest.raises(RuntimeUnavailable, match="cannot be imported"):
        EngineBackend(tmp_path / "any.engine")


def test_tensorrt_without_its_libraries_is_unavailable(tmp_path, monkeypatch):
    """The wheel of the bindings alone, as pip leaves it where the libraries are not to be had."""
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.delitem(__import__("sys").modules, "tensorrt", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeUnavailable, match=r"libnvinfer.so.10"):
        import_tensorrt()


@without_gpu
def test_machine_without_a_gpu_has_no_tag():
    with pytest.raises(RuntimeUnavailable, match=r"CUDA finds no device|libcudart is not installed"):
        machine_tag()


@pytest.mark.gpu
@needs_gpu
def test_buffer_carries_bytes_to_the_device_and_back():
    cuda = Cuda()
    buffer, stream = Buffer(cuda, (3, 5), np.float32), cuda.stream()
    wanted = np.arange(15, dtype=np.float32).reshape(3, 5)
    np.copyto(buffer.host, wanted)
    buffer.to_device(stream)
    cuda.synchronise(stream)
    buffer.host[:] = 0
    buffer.to_host(stream)
    cuda.synchronise(stream)
    np.testing.assert_array_equal(buffer.host, wanted)
