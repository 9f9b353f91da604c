"""Checks of the machine that a doctor makes before a flight: each ok, a warning or a problem, with what cures it."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from edge.errors import KeyFileError
from edge.keys import SERVER_NAME, load_keys, load_server_key
from protocols.errors import SkyloopError

State = Literal["ok", "warning", "problem"]

_TIME_ERROR = 5
"""adjtimex(2): the kernel's clock is not synchronized."""

_TIMEX_BYTES = 256
"""struct timex has 208 bytes on Linux x86-64 and arm64."""

_FIRST_YEAR_S = 1_735_689_600.0
"""2025-01-01: an earlier clock was never set."""

_OFF_S = 2.0
"""Further from the cloud than this, records of both are hard to lay side by side. Deadlines do not mind."""

_FULL_BYTES = 64 * 2**20
"""With less room than this the next minutes fill the disk."""

_GPU_SIGNS = (Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release"))


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: of the thing.
        state: `ok`; `warning`, it works and somebody should know; `problem`, it will not work.
        found: what there is.
        cure: what to do about it; empty where all is well.
    """

    name: str
    state: State
    found: str
    cure: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return f"{self.state:8} {self.name:13} {self.found}" + (f"; {self.cure}" if self.cure else "")


def has_problem(checks: Iterable[Check]) -> bool:
    """Whether one of them is a problem."""
    return any(check.state == "problem" for check in checks)


def check_keys(folder: Path, name: str) -> list[Check]:
    """The key pair of a folder, and on a craft the cloud that it trusts.

    Args:
        folder: of the keys.
        name: `edge` or `cloud`.
    """
    try:
        load_keys(folder, name)
        checks = [Check("keys", "ok", f"{folder / name}.key, readable by its owner alone")]
    except KeyFileError as exc:
        checks = [problem_of("keys", exc)]
    if name != "edge":
        return checks
    try:
        load_server_key(folder)
        return [*checks, Check("trust", "ok", f"{folder / SERVER_NAME}.pub pins the cloud")]
    except KeyFileError as exc:
        return [*checks, problem_of("trust", exc)]


def problem_of(name: str, error: SkyloopError) -> Check:
    """A problem, from an error whose line ends with its cure."""
    text = str(error)
    found, _, cure = text.rpartition("; ") if "; " in text else text.rpartition(": ")
    return Check(name, "problem", found or text, cure if found else "")


def check_disk(folder: Path, wanted_bytes: int, what: str) -> Check:
    """Room and rights where results go.

    Args:
        folder: which may not be there yet.
        wanted_bytes: what may be needed.
        what: needs it.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not there.is_dir():
        return Check("disk", "problem", f"{there} is a file", "give another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        return Check("disk", "problem", f"{there} cannot be written by this user", "change its owner, or give another")
    free = shutil.disk_usage(there).free
    found = f"{_size(free)} free for {folder}"
    if free < _FULL_BYTES:
        return Check("disk", "problem", found, "free some space")
    if free < wanted_bytes:
        return Check("disk", "warning", found, f"{what} may take {_size(wanted_bytes)}: free some space, or lower it")
    return Check("disk", "ok", found)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def check_clock(wall_s: float, cloud_offset_s: float | None = None) -> Check:
    """Whether this machine knows what time it is.

    Args:
        wall_s: what it thinks.
        cloud_offset_s: how far the cloud's clock is ahead, where it was asked.
    """
    beside = "" if cloud_offset_s is None else f", {_apart(cloud_offset_s)} the cloud"
    if wall_s < _FIRST_YEAR_S:
        return Check("clock", "warning", "was never set" + beside, "set it, or give it a battery or NTP")
    if cloud_offset_s is not None and abs(cloud_offset_s) > _OFF_S:
        return Check("clock", "warning", "set" + beside, "synchronize both (chrony or systemd-timesyncd)")
    is_synchronized = kernel_synchronized()
    if is_synchronized is False:
        cure = "" if cloud_offset_s is not None else "start chrony or systemd-timesyncd"
        return Check("clock", "ok" if beside else "warning", "set, not synchronized" + beside, cure)
    return Check("clock", "ok", ("synchronized" if is_synchronized else "set") + beside)


def _apart(offset_s: float) -> str:
    return f"{abs(offset_s):.1f} s {'behind' if offset_s > 0 else 'ahead of'}"


def kernel_synchronized() -> bool | None:
    """Whether the kernel's clock is disciplined by something; None where this cannot be known."""
    if sys.platform != "linux":
        return None
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (AttributeError, OSError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def check_onnxruntime(packages: dict[str, str], providers: list[str] | None = None) -> Check:
    """Which ONNX Runtime is loaded, and whether it is the one that this machine's GPU wants.

    Args:
        packages: installed ones that bring the module, with their versions.
        providers: of the loaded one; None asks it.
    """
    offered = ort.get_available_providers() if providers is None else providers
    told = " and ".join(f"{name} {number}" for name, number in packages.items()) or "not installed by pip"
    found = f"{ort.__version__} ({told}): {', '.join(name.removesuffix('ExecutionProvider') for name in offered)}"
    if len(packages) > 1:
        cure = "they share one folder, and the later overwrote the earlier: uninstall all, install the one you want"
        return Check("onnxruntime", "warning", found, cure)
    on_gpu = {"CUDAExecutionProvider", "TensorrtExecutionProvider"} & set(offered)
    if any(sign.exists() for sign in _GPU_SIGNS) and not on_gpu:
        cure = "there is an NVIDIA GPU: install the build for it (docs/deployment.md)"
        return Check("onnxruntime", "warning", found, cure)
    return Check("onnxruntime", "ok", found)
