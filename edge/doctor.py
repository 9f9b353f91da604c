"""What a craft's computer has and which runtimes really work on it, found by trying them on the bundle."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import cv2
import onnxruntime as ort

from edge.bundle import read_manifest
from edge.errors import RuntimeUnavailable
from edge.runtime import Backend, Runtime, RuntimeRequest
from edge.runtime.agreement import check_picture
from edge.runtime.choosing import BEST_FIRST, try_runtime
from edge.runtime.cuda import Cuda
from edge.runtime.providers import PLUG_IN
from edge.runtime.tensorrt import import_tensorrt

_TIMED, _WARM_UP = 7, 2


def examine(folder: Path, request: RuntimeRequest) -> dict[str, Any]:
    """Everything that decides how a bundle flies here.

    Args:
        folder: the bundle.
        request: its threads, cache and variant serve every runtime; its own runtime is not looked at.

    Returns:
        `python`, `machine`, `cores`, `opencv`, `onnxruntime` (version, packages, providers, plug-in), `tensorrt` and
        `cuda` (a version, or why there is none), `bundle`, `runtimes` (each with `works`, and then `variant` and `ms`,
        or else `reason`), and `warnings`.

    Raises:
        ModelError: the bundle is damaged.
    """
    manifest = read_manifest(folder)
    packages = _packages("onnxruntime")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "opencv": {"version": cv2.__version__, "gstreamer": _has_gstreamer()},
        "onnxruntime": {
            "version": ort.__version__,
            "packages": packages,
            "providers": ort.get_available_providers(),
            "plug_ins": _packages(PLUG_IN),
        },
        "tensorrt": _tensorrt(),
        "cuda": _cuda(),
        "bundle": {"name": manifest.name, "space_id": manifest.space_id, "variants": list(manifest.variants)},
        "runtimes": {runtime.value: _tried(folder, runtime, request, manifest.bands) for runtime in BEST_FIRST},
        "warnings": _warnings(packages),
    }


def told(found: dict[str, Any], folder: Path) -> str:
    """What `examine` found, for people."""
    ort, opencv = found["onnxruntime"], found["opencv"]
    packages = ", ".join(f"{name} {number}" for name, number in ort["packages"].items()) or "not installed by pip"
    plug_ins = ", ".join(f"{name} {number}" for name, number in ort["plug_ins"].items()) or "none"
    lines = [
        f"machine       {found['machine']}, {found['cores']} cores, Python {found['python']}",
        f"onnxruntime   {ort['version']} ({packages}); {', '.join(ort['providers'])}; plug-ins: {plug_ins}",
        f"tensorrt      {found['tensorrt']}",
        f"cuda          {found['cuda']}",
        f"opencv        {opencv['version']}, {'with' if opencv['gstreamer'] else 'without'} GStreamer",
        f"bundle        {found['bundle']['name']} with {', '.join(found['bundle']['variants'])} in {folder}",
    ]
    for name, tried in found["runtimes"].items():
        works = f"{tried['variant']}, {tried['ms']} ms for 640 x 512" if tried["works"] else f"no: {tried['reason']}"
        lines.append(f"{name:13} {works}")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in found["warnings"])])


def _tried(folder: Path, runtime: Runtime, request: RuntimeRequest, bands: int) -> dict[str, Any]:
    try:
        bundle, backend = try_runtime(folder, runtime, request)
    except RuntimeUnavailable as exc:
        return {"works": False, "reason": str(exc)}
    return {"works": True, "variant": bundle.variant, "backend": backend.name, "ms": _median_ms(backend, bands)}


def _median_ms(backend: Backend, bands: int) -> float:
    """Of the network alone, on one 640 x 512 picture."""
    picture, times_ms = check_picture(bands), []
    for _ in range(_WARM_UP + _TIMED):
        begin_s = time.perf_counter()
        backend.run(picture)
        times_ms.append(1000 * (time.perf_counter() - begin_s))
    return round(statistics.median(times_ms[_WARM_UP:]), 1)


def _packages(module: str) -> dict[str, str]:
    """The installed packages that bring a module, and their versions."""
    return {name: version(name) for name in sorted(set(packages_distributions().get(module, ())))}


def _tensorrt() -> str:
    try:
        return str(import_tensorrt().__version__)
    except RuntimeUnavailable as exc:
        return exc.reason


def _cuda() -> str:
    try:
        return Cuda().architecture()
    except RuntimeUnavailable as exc:
        return exc.reason


def _has_gstreamer() -> bool:
    return bool(re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()))


def _warnings(packages: dict[str, str]) -> list[str]:
    if len(packages) < 2:
        return []
    return [
        f"{' and '.join(packages)} share one folder, and the later overwrote the earlier; uninstall all of them, then "
        "install the one you want"
    ]
