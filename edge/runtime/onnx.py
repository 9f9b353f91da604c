"""ONNX Runtime as a backend, on any of its execution providers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnxruntime as ort

from edge.bundle import Bundle
from edge.errors import ModelError, RuntimeUnavailable
from edge.runtime.outputs import RawOutputs
from edge.runtime.providers import CPU, OPENVINO, Provider, attach
from protocols.arrays import ImageArray

OUTPUT_NAMES = ("embedding", "objectness", "box_ltrb", "class_logits")


class OnnxBackend:
    """One ONNX file in one ONNX Runtime session.

    Attributes:
        session: the session.
        has_batch_axis: whether one run takes several images.
        name: of library and provider.
    """

    def __init__(self, path: Path, *, threads: int = 0, provider: Provider = CPU, cache: Path | None = None) -> None:
        """Open a session.

        Args:
            path: the ONNX file.
            threads: intra-op threads; 0 lets ONNX Runtime choose (all cores).
            provider: what runs it.
            cache: folder where a provider may keep what it compiled; None keeps nothing.

        Raises:
            ModelError: the file is no ONNX model or lacks one of the four outputs.
            RuntimeUnavailable: this machine cannot run it on that provider.
        """
        self.session = _open_session(path, threads, provider, cache)
        found = {output.name for output in self.session.get_outputs()}
        if missing := set(OUTPUT_NAMES) - found:
            raise ModelError(f"{path}: lacks the outputs {', '.join(sorted(missing))}; export it with skyloop-distill")
        first = self.session.get_inputs()[0].shape
        self.has_batch_axis = bool(first) and not isinstance(first[0], int)
        self.name = f"onnxruntime:{self.session.get_providers()[0]}"

    def run(self, image: ImageArray) -> RawOutputs:
        """Maps for one (H, W, n) uint8 image with the bundle's bands."""
        embedding, objectness, box_ltrb, class_logits = self.session.run(OUTPUT_NAMES, {"image": image[None]})
        return RawOutputs(embedding[0], objectness[0, 0], box_ltrb[0], class_logits[0])

    def run_all(self, images: ImageArray) -> list[RawOutputs]:
        """Maps for each of (N, H, W, n) uint8 images: in one run, where the file has a batch axis."""
        if not self.has_batch_axis:
            return [self.run(image) for image in images]
        embedding, objectness, box_ltrb, class_logits = self.session.run(OUTPUT_NAMES, {"image": images})
        return [RawOutputs(*maps) for maps in zip(embedding, objectness[:, 0], box_ltrb, class_logits, strict=True)]


def _open_session(path: Path, threads: int, provider: Provider, cache: Path | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Spinning threads would take the second core from the link, the tracker and the video writer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider is CPU:
        try:
            return ort.InferenceSession(str(path), options, providers=[CPU.name])
        except Exception as exc:  # onnxruntime raises its own unrelated classes, one per status code
            raise ModelError(f"{path}: ONNX Runtime cannot load it ({str(exc)[:200]}); fetch the bundle again") from exc
    return _accelerated(path, options, provider, provider.settings(cache) | _threads_of(provider, threads))


def _threads_of(provider: Provider, threads: int) -> dict[str, str]:
    return {"num_of_threads": str(threads)} if provider is OPENVINO and threads else {}


def _accelerated(
    path: Path, options: ort.SessionOptions, provider: Provider, settings: dict[str, str]
) -> ort.InferenceSession:
    """A session that runs on the provider or not at all."""
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")  # unknown before 1.24, and ignored
    chain = attach(provider, options, settings)
    try:
        session = ort.InferenceSession(str(path), options, providers=chain or None, enable_fallback=0)
    except Exception as exc:  # as above
        raise RuntimeUnavailable(f"{provider.name} cannot open {path.name} ({str(exc)[:200]})", provider.cure) from exc
    session.disable_fallback()  # a failing run must fail, not go on elsewhere
    if provider.name not in session.get_providers():
        raise RuntimeUnavailable(f"ONNX Runtime opened {path.name} without {provider.name}", provider.cure)
    if (taken := _nodes_taken(session)) is not None and not taken[provider.name]:
        raise RuntimeUnavailable(f"{provider.name} took no node of {path.name}; all would run elsewhere", provider.cure)
    return session


def _nodes_taken(session: ort.InferenceSession) -> Counter[str] | None:
    """Nodes by the provider that runs them; None where this version does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    return counts


def open_backend(
    bundle: Bundle, *, threads: int = 0, provider: Provider = CPU, cache: Path | None = None
) -> OnnxBackend:
    """The backend for a bundle's chosen variant; arguments and errors are those of `OnnxBackend`."""
    backend = OnnxBackend(bundle.model_path, threads=threads, provider=provider, cache=cache)
    shape = backend.session.get_inputs()[0].shape
    if len(shape) != 4 or shape[3] != bundle.manifest.bands:
        raise ModelError(
            f"{bundle.model_path}: input {shape} is not (1, H, W, {bundle.manifest.bands}); export it again"
        )
    return backend
