"""What runs a bundle's file; start at `choosing.py`, then `onnx.py`. A new backend needs one method, `run`."""

from __future__ import annotations

from edge.runtime.choosing import Opened, Runtime, RuntimeRequest, open_runtime
from edge.runtime.onnx import OnnxBackend, open_backend
from edge.runtime.outputs import Backend, RawOutputs

__all__ = [
    "Backend",
    "OnnxBackend",
    "Opened",
    "RawOutputs",
    "Runtime",
    "RuntimeRequest",
    "open_backend",
    "open_runtime",
]
