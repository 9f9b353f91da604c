"""A bundle as a STAC Item with the Machine Learning Model extension, so that catalogues of models can list it.

Fields follow STAC 1.1 (https://github.com/radiantearth/stac-spec) and the extensions mlm 1.6, classification 2.0 and
file 2.1 (https://github.com/stac-extensions). An Item is plain JSON, so nothing needs to be installed to write one; the
tests check it with `pystac` and `stac-model`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edge.bundle import MANIFEST_NAME, FileDigest, Manifest, VariantFile

ITEM_NAME = "item.json"
EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.6.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
_SHA256_MULTIHASH = "1220"
"""Code of SHA-256 and its length in bytes, in hexadecimal: the file extension's checksums are multihashes."""
_HYPERPARAMETERS = ("steps", "batch", "crop_px", "learning_rate", "seed", "loss_weights")
_TASKS = {
    "embedding": "similarity-search",
    "objectness": "object-detection",
    "box_ltrb": "object-detection",
    "class_logits": "object-detection",
}


def stac_item(manifest: Manifest, manifest_file: bytes) -> dict[str, Any]:
    """The Item of a bundle, as JSON values.

    It has no place and no time of its own: `geometry` is null, and its interval is open as far as mlm recommends.

    Args:
        manifest: of the bundle.
        manifest_file: the bytes of `bundle.json`, whose digest the Item holds.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": f"{manifest.name}-{manifest.space_id[:12]}",
        "geometry": None,
        "properties": _properties(manifest),
        "links": _links(manifest),
        "assets": _assets(manifest, FileDigest.of(manifest_file)),
    }


def _properties(manifest: Manifest) -> dict[str, Any]:
    recipe = manifest.training.get("recipe", {})
    return {
        "datetime": None,
        "start_datetime": "1900-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "title": f"skyloop {manifest.name}",
        "description": "A detector for known classes and for things without a name, with an embedding for few-shot "
        "prompts. Bytes go in as they are: the normalisation is part of the network.",
        **({"license": manifest.license} if manifest.license else {}),
        "mlm:name": manifest.name,
        "mlm:architecture": "SkyNet: 3x3 residual convolutions and an FPN to one grid",
        "mlm:tasks": ["object-detection", "similarity-search"],
        "mlm:framework": "ONNX",
        "mlm:pretrained": True,
        "mlm:pretrained_source": ", ".join(manifest.training.get("data", {})) or None,
        "mlm:batch_size_suggestion": 1,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:hyperparameters": {name: recipe[name] for name in _HYPERPARAMETERS if recipe.get(name) is not None}
        or {"recipe": "not recorded"},
        "mlm:input": [_input(manifest)],
        "mlm:output": [_output(manifest, name, shape) for name, shape in output_shapes(manifest).items()],
        "skyloop:space_id": manifest.space_id,
        "skyloop:embedding_dim": manifest.embedding_dim,
        "skyloop:stride_px": manifest.stride_px,
        "skyloop:attribution": list(manifest.training.get("attribution", ())),
    }


def output_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Shape of every output, (1, channels, rows, columns); -1 for sides that follow the image's."""
    channels = {
        "embedding": manifest.embedding_dim,
        "objectness": 1,
        "box_ltrb": 4,
        "class_logits": len(manifest.labels),
    }
    return {name: (1, count, -1, -1) for name, count in channels.items()}


def _bands(manifest: Manifest) -> list[str]:
    named = {"bgr": ["blue", "green", "red"]}.get(str(manifest.band_order), [])
    return named if len(named) == manifest.bands else [f"band{number + 1}" for number in range(manifest.bands)]


def _input(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": "image",
        "bands": _bands(manifest),
        "input": {
            "shape": [1, -1, -1, manifest.bands],
            "dim_order": ["batch", "height", "width", "bands"],
            "data_type": "uint8",
        },
        "resize_type": "pad",
        "pre_processing_function": {
            "format": "text",
            "expression": f"pad at the bottom and right to multiples of {manifest.multiple_px} px",
        },
    }


def _output(manifest: Manifest, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    result = {"shape": list(shape), "dim_order": ["batch", "channel", "height", "width"], "data_type": "float32"}
    output: dict[str, Any] = {"name": name, "tasks": [_TASKS[name]], "result": result}
    if name == "class_logits":
        output["classification:classes"] = [
            {"value": value, "name": re.sub(r"[^0-9A-Za-z_-]", "-", label), "description": label}
            for value, label in enumerate(manifest.labels)
        ]
    return output


def _links(manifest: Manifest) -> list[dict[str, str]]:
    """The publications of the training data, where their attribution gives a DOI."""
    found = (
        (text, re.search(r"doi (10\.\S+?)(?=[,;]|\s|$)", text)) for text in manifest.training.get("attribution", ())
    )
    return [
        {"rel": "derived_from", "href": f"https://doi.org/{match[1]}", "type": "text/html", "title": text}
        for text, match in found
        if match
    ]


def _assets(manifest: Manifest, manifest_digest: FileDigest) -> dict[str, Any]:
    bands = {"bands": [{"name": name} for name in _bands(manifest)]}  # the core allows them with assets alone
    models = {name: _model_asset(name, entry) | bands for name, entry in manifest.variants.items()}
    others = {**manifest.files, MANIFEST_NAME: manifest_digest}
    return models | {name.lower(): _asset(name, digest, **_kind(name)) for name, digest in others.items()}


def _model_asset(variant: str, entry: VariantFile) -> dict[str, Any]:
    kind = "tensorrt" if "engine" in entry.suits else "onnx"
    title = f"{variant}, made for {', '.join(entry.suits)}" + (f" on {entry.runs_on}" if entry.runs_on else "")
    asset = _asset(entry.file, entry, type=f"application/octet-stream; application={kind}", title=title)
    return asset | {"roles": ["mlm:model", "mlm:weights", "data"], "mlm:artifact_type": kind}


def _kind(name: str) -> Mapping[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        ".md": {"type": "text/markdown", "title": "Model card", "roles": ["metadata"]},
        ".png": {"type": "image/png", "title": "Losses over the steps", "roles": ["overview"]},
        ".json": {"type": "application/json", "title": "Manifest", "roles": ["metadata"]},
    }
    return kinds[name[name.rindex(".") :]]


def _asset(file: str, digest: FileDigest, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    checksum = _SHA256_MULTIHASH + digest.sha256
    return {"href": f"./{file}", "file:size": digest.size_bytes, "file:checksum": checksum, **more}
