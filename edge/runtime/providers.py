"""ONNX Runtime's execution providers beyond the CPU: what each needs, and why one cannot be had here.

ONNX Runtime drops a provider whose libraries are missing and goes on with the CPU, with a line on standard error at
most. Here every step that can fail is looked at first, so that the reason has words and nobody flies on the CPU
believing otherwise.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

import onnxruntime as ort

from edge.errors import RuntimeUnavailable

PLUG_IN = "onnxruntime_ep_nv_tensorrt_rtx"
"""Module of the TensorRT-RTX plug-in's wheel; it brings the provider's library and says where it lies."""


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    Attributes:
        name: as ONNX Runtime knows it.
        cure: what to install where it is missing.
        options: of the provider.
        cache_options: further ones where engines may be kept; `{cache}` stands for the folder.
        library: its own shared library within ONNX Runtime's package; empty where there is none to look at.
    """

    name: str
    cure: str
    options: Mapping[str, str] = field(default_factory=dict)
    cache_options: Mapping[str, str] = field(default_factory=dict)
    library: str = ""

    def settings(self, cache: Path | None) -> dict[str, str]:
        """The options for a session; `cache` is a folder for compiled engines, None keeps none."""
        kept = {key: value.format(cache=cache) for key, value in self.cache_options.items()} if cache else {}
        return {**self.options, **kept}


CPU = Provider("CPUExecutionProvider", "reinstall onnxruntime")
CUDA = Provider(
    "CUDAExecutionProvider",
    "install onnxruntime-gpu instead of onnxruntime, with the CUDA and cuDNN it names",
    library="libonnxruntime_providers_cuda.so",
)
OPENVINO = Provider(
    "OpenVINOExecutionProvider",
    "install onnxruntime-openvino and openvino instead of onnxruntime",
    options={"device_type": "CPU"},
)
TENSORRT = Provider(
    "TensorrtExecutionProvider",
    "install onnxruntime-gpu instead of onnxruntime, with the TensorRT it names; on a Jetson NVIDIA's own wheel",
    # Explicit quantization decides what runs in INT8, and FP16 is for the rest.
    options={"trt_int8_enable": "1", "trt_fp16_enable": "1"},
    cache_options={
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "{cache}",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "{cache}",
    },
    library="libonnxruntime_providers_tensorrt.so",
)
TENSORRT_RTX = Provider(
    "NvTensorRTRTXExecutionProvider",
    "install onnxruntime >= 1.24 and onnxruntime-ep-nv-tensorrt-rtx-cu12 or -cu13 on a machine with an RTX GPU",
    cache_options={"nv_runtime_cache_path": "{cache}"},
)


class _PlugInModule(Protocol):
    def get_ep_name(self) -> str: ...

    def get_library_path(self) -> str: ...


def attach(
    provider: Provider, options: ort.SessionOptions, settings: dict[str, str]
) -> list[tuple[str, dict[str, str]]]:
    """Make a provider part of a session to be opened.

    Args:
        provider: not the CPU's, which every session has.
        options: of the session; a plug-in's device is added to it.
        settings: of the provider.

    Returns:
        What the session's `providers` must name; empty for a plug-in.

    Raises:
        RuntimeUnavailable: this machine lacks the provider, a library of it, or a device for it.
    """
    if provider is TENSORRT_RTX:
        options.add_provider_for_devices([_plug_in_device()], settings)
        return []
    _check_build(provider)
    chain = [(provider.name, settings)]
    if provider is TENSORRT:  # what TensorRT leaves out, the transposition of bytes for one, stays on the GPU
        chain.append((CUDA.name, {}))
    return chain


def _check_build(provider: Provider) -> None:
    if provider.name not in ort.get_available_providers():
        raise RuntimeUnavailable(f"ONNX Runtime {ort.__version__} here is built without {provider.name}", provider.cure)
    if not provider.library:
        return
    if hasattr(ort, "preload_dlls"):  # since 1.21: finds CUDA and cuDNN in the packages that pip installed
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            ort.preload_dlls()
    folder = Path(ort.__file__).parent / "capi"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / provider.library))
    except OSError as exc:
        raise RuntimeUnavailable(f"{provider.name} does not load ({exc})", provider.cure) from exc


def plug_in_module() -> ModuleType | None:
    """The plug-in's module, None where its wheel is not installed."""
    return importlib.import_module(PLUG_IN) if importlib.util.find_spec(PLUG_IN) else None


def _plug_in_device() -> ort.OrtEpDevice:
    """The plug-in's first device, its library registered once."""
    module = plug_in_module()
    if module is None:
        raise RuntimeUnavailable(f"the package {PLUG_IN.replace('_', '-')} is not installed", TENSORRT_RTX.cure)
    if not hasattr(ort, "register_execution_provider_library"):
        raise RuntimeUnavailable(f"ONNX Runtime {ort.__version__} takes no plug-ins", TENSORRT_RTX.cure)
    if not (found := _devices()):
        _register(cast(_PlugInModule, module))
        found = _devices()
    if not found:
        raise RuntimeUnavailable(f"{TENSORRT_RTX.name} finds no GPU that it can use", TENSORRT_RTX.cure)
    return found[0]


def _devices() -> list[ort.OrtEpDevice]:
    return [device for device in ort.get_ep_devices() if device.ep_name == TENSORRT_RTX.name]


def _register(module: _PlugInModule) -> None:
    """Load the plug-in's library into ONNX Runtime.

    Its wheel brings the CUDA runtime under a versioned name that the loader does not look for, and does not load it
    itself (0.5.0): loaded first, it is found by its soname.
    """
    library = Path(module.get_library_path())
    try:
        for cudart in sorted(library.parent.glob("libcudart.so*")):
            ctypes.CDLL(str(cudart), mode=ctypes.RTLD_GLOBAL)
        ort.register_execution_provider_library(module.get_ep_name(), str(library))
    except Exception as exc:  # onnxruntime raises its own unrelated classes, one per status code
        reason = str(exc).split(" with error: ")[-1][:200]
        raise RuntimeUnavailable(f"{TENSORRT_RTX.name} does not load ({reason})", TENSORRT_RTX.cure) from exc
