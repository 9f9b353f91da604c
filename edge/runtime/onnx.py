"""ONNX Runtime as a backend."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from edge.bundle import Bundle
from edge.errors import ModelError
from edge.runtime.outputs import RawOutputs
from protocols.arrays import ImageArray

OUTPUT_NAMES = ("embedding", "objectness", "box_ltrb", "class_logits")


class OnnxBackend:
    """One ONNX file in one ONNX Runtime session."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Open a session.

        Args:
            path: the ONNX file.
            threads: intra-op threads; 0 lets ONNX Runtime choose (all cores).

        Raises:
            ModelError: the file is no ONNX model or lacks one of the four outputs.
        """
        self.session = _open_session(path, threads)
        found = {output.name for output in self.session.get_outputs()}
        if missing := set(OUTPUT_NAMES) - found:
            raise ModelError(f"{path}: lacks the outputs {', '.join(sorted(missing))}; export it with skyloop-distill")
        self.name = f"onnxruntime:{self.session.get_providers()[0]}"

    def run(self, image: ImageArray) -> RawOutputs:
        """Maps for one (H, W, n) uint8 image with the bundle's bands."""
        embedding, objectness, box_ltrb, class_logits = self.session.run(OUTPUT_NAMES, {"image": image[None]})
        return RawOutputs(embedding[0], objectness[0, 0], box_ltrb[0], class_logits[0])


def _open_session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Spinning threads would take the second core from the link, the tracker and the video writer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime raises its own unrelated classes, one per status code
        raise ModelError(f"{path}: ONNX Runtime cannot load it ({str(exc)[:200]}); fetch the bundle again") from exc


def open_backend(bundle: Bundle, *, threads: int = 0) -> OnnxBackend:
    """The backend for a bundle's chosen variant."""
    backend = OnnxBackend(bundle.model_path, threads=threads)
    shape = backend.session.get_inputs()[0].shape
    if len(shape) != 4 or shape[3] != bundle.manifest.bands:
        raise ModelError(
            f"{bundle.model_path}: input {shape} is not (1, H, W, {bundle.manifest.bands}); export it again"
        )
    return backend
