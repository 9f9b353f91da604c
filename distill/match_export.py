"""A trained matching head to ONNX, and into the bundle of the network it was trained on."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from cloud.teachers.matcher import BACKBONE_KEY, MATCH, MatchSession
from distill.bundle import attribution_of, curves_of, papers_of, replace_folder
from distill.errors import DistillError
from distill.export import OPSET, file_entry, fold_batch_norms
from distill.files import disk_errors, write_whole
from distill.match_training import MatchRecipe, load_head
from distill.matching import PARTS, Exemplars, MatchHead, in_cells
from distill.network import STRIDE_PX, Outputs, SkyNet, normalise
from distill.recipe import INPUT_MULTIPLE_PX, NetworkConfig, Workspace
from distill.weights import load_network, read_card
from edge.bundle import Manifest, read_manifest
from edge.runtime import RawOutputs

FILE_NAME = "match.onnx"
_TOLERANCE = 1e-2
_CELLS_PER_MULTIPLE = INPUT_MULTIPLE_PX // STRIDE_PX
_INPUT_NAMES = ["image", "embedding", "objectness", "box_ltrb", "shown", "parts", "sides"]
_OUTPUT_NAMES = ["shown_parts", "scores", "boxes"]


class _DeployedHead(nn.Module):
    """The head as the cloud calls it: uint8 BGR pixels and the network's maps in; fingerprints, scores, boxes out."""

    def __init__(self, head: MatchHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, image: Tensor, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `cloud.teachers.matcher.MatchSession.look`; every argument has a first side of 1."""
        embedding, objectness, box_ltrb, shown, parts, sides = given
        maps = Outputs(embedding, objectness, box_ltrb, objectness)  # classes are not read
        prints = self.head.describe(normalise(image, NetworkConfig()), maps)
        own = self.head.exemplars(prints, in_cells(shown)).parts
        matches = self.head(prints, maps, Exemplars(parts, in_cells(sides)))
        return own, matches.logits.sigmoid(), _corners(matches.box_ltrb)


def _corners(box_ltrb: Tensor) -> Tensor:
    """(1, K, 4, h, w) log distances in cells as corners in pixels."""
    height, width = box_ltrb.shape[3], box_ltrb.shape[4]
    left, top, right, bottom = box_ltrb.clamp(max=5.0).exp().unbind(dim=2)
    x, y = torch.arange(width) + 0.5, (torch.arange(height) + 0.5)[:, None]
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=2) * STRIDE_PX


def export_match(recipe: MatchRecipe, workspace: Workspace) -> Path:
    """Write a finished run's `match.onnx` beside its weights once it agrees with them on a random image.

    Raises:
        DistillError: the backbone was not exported, the file does not compute what the head computes, or the disk is
            full.
    """
    backbone, _ = load_network(workspace.weights(recipe.backbone))
    network_file = workspace.folder(recipe.backbone) / "fp32.onnx"
    if not network_file.is_file():
        raise DistillError(f"{network_file}: not there; export that run first, skyloop-distill train-teacher does")
    deployed = _DeployedHead(fold_batch_norms(load_head(recipe, workspace, backbone.config.embedding_dim))).eval()
    inputs = _example(backbone)
    program = torch.onnx.export(
        deployed,
        inputs,
        input_names=_INPUT_NAMES,
        output_names=_OUTPUT_NAMES,
        dynamic_shapes=_dynamic_shapes(),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {BACKBONE_KEY: file_entry(network_file, ()).sha256})
    path = workspace.folder(recipe.name) / FILE_NAME
    _check(deployed, inputs, model.SerializeToString(), path)
    write_whole(path, model.SerializeToString())
    return path


def _example(backbone: SkyNet) -> tuple[Tensor, ...]:
    """An image with what the network says about it, two boxes in it and three exemplars."""
    image = torch.randint(0, 256, (1, 4 * INPUT_MULTIPLE_PX, 5 * INPUT_MULTIPLE_PX, 3), dtype=torch.uint8)
    with torch.no_grad():
        maps = backbone(normalise(image, backbone.config))
    shown = torch.tensor([[[10.0, 20.0, 40.0, 60.0], [70.0, 8.0, 84.0, 20.0]]])
    fingerprint = MatchHead(backbone.config.embedding_dim).fingerprint
    parts = nn.functional.normalize(torch.randn(1, 3, PARTS, fingerprint), dim=3)
    return image, maps.embedding, maps.objectness, maps.box_ltrb, shown, parts, torch.rand(1, 3, 2) * 40 + 5


def _dynamic_shapes() -> dict[str, Any]:
    rows, columns = torch.export.Dim("rows", min=1, max=512), torch.export.Dim("columns", min=1, max=512)
    boxes, exemplars = torch.export.Dim("boxes", min=1, max=64), torch.export.Dim("exemplars", min=1, max=64)
    grid = {2: _CELLS_PER_MULTIPLE * rows, 3: _CELLS_PER_MULTIPLE * columns}
    pixels = {1: INPUT_MULTIPLE_PX * rows, 2: INPUT_MULTIPLE_PX * columns}
    return {"image": pixels, "given": (grid, grid, grid, {1: boxes}, {1: exemplars}, {1: exemplars})}


def _check(deployed: _DeployedHead, inputs: tuple[Tensor, ...], content: bytes, path: Path) -> None:
    with torch.no_grad():
        expected = deployed(*inputs)
    image, embedding, objectness, box_ltrb, shown, parts, sides = (item[0].numpy() for item in inputs)
    raw = RawOutputs(embedding, objectness[0], box_ltrb, objectness)
    with disk_errors(path), TemporaryDirectory() as scratch:
        (Path(scratch) / path.name).write_bytes(content)
        found = MatchSession(Path(scratch) / path.name, threads=1).look(image, raw, shown, parts, sides)
    for name, want, got in zip(_OUTPUT_NAMES, expected, (found.shown_parts, found.scores, found.boxes), strict=True):
        error = float(np.abs(want[0].numpy() - got).max())
        if not error < _TOLERANCE:
            raise DistillError(f"{path}: output {name} differs from the head by {error:.2g}; report this export")


def add_match(recipe: MatchRecipe, workspace: Workspace, folder: Path) -> Manifest:
    """Put a run's exported head into the bundle of its backbone; the bundle is replaced whole or not at all.

    Raises:
        ModelError: the folder holds no bundle.
        DistillError: its network is not the one the head was trained on, or the disk is full.
    """
    path, manifest = workspace.folder(recipe.name) / FILE_NAME, read_manifest(folder)
    backbone = MatchSession(path, threads=1).backbone_sha256
    if backbone not in {entry.sha256 for entry in manifest.variants.values()}:
        raise DistillError(
            f"{folder}: holds no file of digest {backbone[:12]}…, which {path} was made for; train the head on it"
        )
    card = read_card(recipe.weights(workspace))
    card["attribution"] = attribution_of(recipe.sources)
    credited = {*manifest.training.get("attribution", ()), *card["attribution"]}
    manifest = manifest.model_copy(
        update={
            "extras": manifest.extras | {MATCH: file_entry(path, ("cpu",))},
            "training": manifest.training | {MATCH: card, "attribution": sorted(credited)},
        }
    )
    with disk_errors(folder):
        manifest, papers = papers_of(manifest, curves_of(folder))
        contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        replace_folder(folder.resolve(), contents | {FILE_NAME: path.read_bytes()} | papers)
    return manifest
