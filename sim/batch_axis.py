"""A bundle whose network takes several images in one run: what a teacher on a GPU wants."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx

from edge.bundle import Bundle


def with_batch_axis(content: bytes) -> bytes:
    """An ONNX file whose first axis of inputs and outputs is free, as plain convolutions allow.

    Args:
        content: of a file with one image a run.
    """
    model = onnx.load_from_string(content)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]  # shapes in between, inferred for one image
    return bytes(model.SerializeToString())


def batched_bundle(bundle: Bundle, folder: Path) -> Path:
    """A copy of a bundle with the chosen file alone, its batch axis free; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = with_batch_axis(bundle.model_path.read_bytes())
    entry = bundle.manifest.variants[bundle.variant].model_copy(
        update={"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    )
    manifest = bundle.manifest.model_copy(update={"variants": {bundle.variant: entry}, "extras": {}, "files": {}})
    (folder / entry.file).write_bytes(content)
    (folder / "bundle.json").write_text(json.dumps(manifest.model_dump(mode="json")))
    return folder
