"""Which runtime flies: the one that was asked for, or the best that this machine has.

Start reading at `open_runtime`. A runtime that was named runs or the program ends with the reason; only `auto` goes on
to the next one, and says once why it refused those before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import structlog

from edge.bundle import Bundle, Manifest, load_bundle, read_manifest
from edge.errors import ModelError, RuntimeUnavailable
from edge.runtime.agreement import check_agreement
from edge.runtime.onnx import open_backend
from edge.runtime.outputs import Backend
from edge.runtime.providers import CUDA, OPENVINO, TENSORRT, TENSORRT_RTX, Provider
from edge.runtime.tensorrt import EngineBackend, machine_tag

log = structlog.get_logger()


class Runtime(str, Enum):
    """What can run a bundle, best first; `auto` takes the first that this machine can."""

    AUTO = "auto"
    ENGINE = "engine"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"
    CUDA = "cuda"
    OPENVINO = "openvino"
    CPU = "cpu"


BEST_FIRST = tuple(runtime for runtime in Runtime if runtime is not Runtime.AUTO)

_PROVIDERS = {
    Runtime.TENSORRT: TENSORRT,
    Runtime.TENSORRT_RTX: TENSORRT_RTX,
    Runtime.CUDA: CUDA,
    Runtime.OPENVINO: OPENVINO,
}
_SUITED_BY: Mapping[Runtime, tuple[str, ...]] = {
    Runtime.TENSORRT_RTX: ("tensorrt-rtx", "cuda"),
    Runtime.OPENVINO: ("openvino", "cpu"),
}
"""Words of a manifest's `suits` that a runtime takes beside its own name, best first: older bundles know fewer."""


@dataclass(frozen=True)
class RuntimeRequest:
    """How a bundle is to be run.

    Attributes:
        runtime: by what.
        variant: which file; None takes the one made for the runtime.
        threads: of ONNX Runtime on a CPU, 0 for all cores.
        cache: folder where compiled engines are kept between runs; None keeps none.
    """

    runtime: Runtime = Runtime.CPU
    variant: str | None = None
    threads: int = 0
    cache: Path | None = None


@dataclass(frozen=True)
class Opened:
    """A bundle on a runtime.

    Attributes:
        runtime: the one that runs it.
        bundle: with the variant that runs.
        backend: what runs it.
        refused: why better runtimes were passed over, by name, best first; empty where one was named.
    """

    runtime: Runtime
    bundle: Bundle
    backend: Backend
    refused: Mapping[str, str] = field(default_factory=dict)

    def log(self) -> None:
        """Say once what was taken and why nothing better."""
        taken = {"runtime": self.runtime.value, "variant": self.bundle.variant, "backend": self.backend.name}
        log.info("runtime chosen", **taken, refused=dict(self.refused))


def open_runtime(folder: Path, request: RuntimeRequest) -> Opened:
    """A bundle and what runs it.

    Everything but the CPU is compared with the CPU on one picture first, see `agreement.py`.

    Args:
        folder: the bundle.
        request: what was asked for.

    Raises:
        ModelError: the runtime that was named cannot run it here; or the bundle is damaged, and then no other file of
            it is taken instead.
    """
    if request.runtime is not Runtime.AUTO:
        return _named(folder, request)
    refused: dict[str, str] = {}
    for runtime in BEST_FIRST[:-1]:
        try:
            return Opened(runtime, *try_runtime(folder, runtime, request), refused)
        except RuntimeUnavailable as exc:
            refused[runtime.value] = exc.reason
    return Opened(Runtime.CPU, *try_runtime(folder, Runtime.CPU, request), refused)


def _named(folder: Path, request: RuntimeRequest) -> Opened:
    try:
        return Opened(request.runtime, *try_runtime(folder, request.runtime, request))
    except RuntimeUnavailable as exc:
        raise ModelError(f"runtime {request.runtime.value}: {exc}, or take runtime auto") from exc


def try_runtime(folder: Path, runtime: Runtime, request: RuntimeRequest) -> tuple[Bundle, Backend]:
    """A bundle on one runtime.

    Raises:
        RuntimeUnavailable: it cannot run here, or its numbers are not those of the CPU.
        ModelError: the bundle is damaged.
    """
    if runtime is Runtime.CPU:
        bundle = load_bundle(folder, request.variant)
        return bundle, open_backend(bundle, threads=request.threads)
    manifest = read_manifest(folder)
    variant = request.variant or suitable_variant(manifest, runtime)
    bundle = load_bundle(folder, variant)
    backend = _open(bundle, runtime, request)
    check_agreement(bundle, backend, request.threads)
    return bundle, backend


def _open(bundle: Bundle, runtime: Runtime, request: RuntimeRequest) -> Backend:
    if runtime is Runtime.ENGINE:
        return EngineBackend(bundle.model_path)
    provider: Provider = _PROVIDERS[runtime]
    cache = request.cache
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    return open_backend(bundle, threads=request.threads, provider=provider, cache=cache)


def suitable_variant(manifest: Manifest, runtime: Runtime) -> str:
    """The variant that was made for a runtime, the smallest of several: quantized for it, where one is.

    Raises:
        RuntimeUnavailable: the bundle holds none, or none for this machine.
    """
    for word in _SUITED_BY.get(runtime, (runtime.value,)):
        suited = {name: entry for name, entry in manifest.variants.items() if word in entry.suits}
        if runtime is Runtime.ENGINE and suited:
            here = machine_tag()
            suited = {name: entry for name, entry in suited.items() if entry.runs_on == here}
            if not suited:
                raise RuntimeUnavailable(f"the bundle holds no engine for {here}", _BUILD_ENGINE)
        if suited:
            return min(suited, key=lambda name: suited[name].size_bytes)
    cure = _BUILD_ENGINE if runtime is Runtime.ENGINE else "name a file in the configuration (`variant`)"
    raise RuntimeUnavailable(f"the bundle holds no file made for {runtime.value}", cure)


_BUILD_ENGINE = "build one on this machine with `skyloop-distill engine BUNDLE`"
