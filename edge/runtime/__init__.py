"""Backends that run a bundle's file; start at `onnx.py`. One function signature is all a new backend needs."""

from __future__ import annotations

from edge.runtime.onnx import OnnxBackend, open_backend
from edge.runtime.outputs import Backend, RawOutputs

__all__ = ["Backend", "OnnxBackend", "RawOutputs", "open_backend"]
