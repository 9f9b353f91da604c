"""Trained weights to ONNX: batch norms folded, preprocessing inside the graph, four named outputs."""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from distill.errors import DistillError
from distill.files import disk_errors, write_whole
from distill.network import PIXEL_SCALE, STRIDE_PX, Outputs, SkyNet, normalise
from distill.recipe import INPUT_MULTIPLE_PX, NetworkConfig
from edge.bundle import BGR, PIXEL_MEAN, VariantFile
from edge.runtime.onnx import OUTPUT_NAMES, OnnxBackend

OPSET = 18
_EXPORT_TOLERANCE = 2e-3
_EMBEDDING_PARTS = ("stem.", "stages.", "laterals.", "describe.", "embedding.")


Network = TypeVar("Network", bound=nn.Module)


class _Deployed(nn.Module):
    """The network with its preprocessing: uint8 pixels in, raw maps out."""

    def __init__(self, network: SkyNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Outputs:
        return self.network(normalise(image, self.network.config))  # type: ignore[no-any-return]


def fold_batch_norms(network: Network) -> Network:
    """A copy in which every batch norm is part of its convolution."""
    folded = copy.deepcopy(network).eval()
    for module in list(folded.modules()):
        if isinstance(module, nn.Sequential) and len(module) >= 2 and isinstance(module[1], nn.BatchNorm2d):
            conv = module[0]
            assert isinstance(conv, nn.Conv2d)
            module[0], module[1] = fuse_conv_bn_eval(conv, module[1]), nn.Identity()
    return folded


def space_id(network: SkyNet) -> str:
    """Digest (32 hex digits) of everything the embedding depends on: FP32 weights, preprocessing and stride."""
    digest = hashlib.sha256(f"uint8 {_preprocessing(network.config)} stride {STRIDE_PX}".encode())
    for name, value in sorted(network.state_dict().items()):
        if name.startswith(_EMBEDDING_PARTS) and value.is_floating_point():
            digest.update(name.encode())
            digest.update(value.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _preprocessing(config: NetworkConfig) -> str:
    """Bands and normalisation in words; those of the first bundles must stay as they are, for they name spaces."""
    bands = "bgr" if config.bands == BGR else ",".join(config.bands)
    if {*config.band_mean} <= {PIXEL_MEAN} and {*config.band_deviation} <= {PIXEL_SCALE}:
        return f"{bands} {PIXEL_MEAN} {PIXEL_SCALE}"
    return f"{bands} {config.band_mean} {config.band_deviation}"


def export_onnx(network: SkyNet, path: Path) -> None:
    """Write the FP32 ONNX file once it agrees with the network on one random image.

    Raises:
        DistillError: the network computes nothing finite, the file something else than it, or the disk is full.
    """
    deployed = _Deployed(fold_batch_norms(network)).eval()
    shape = (1, 4 * INPUT_MULTIPLE_PX, 5 * INPUT_MULTIPLE_PX, len(network.config.bands))
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    rows, columns = torch.export.Dim("rows", min=1, max=512), torch.export.Dim("columns", min=1, max=512)
    multiples = {1: INPUT_MULTIPLE_PX * rows, 2: INPUT_MULTIPLE_PX * columns}
    with _quiet_exporter():
        program = torch.onnx.export(
            deployed,
            (image,),
            input_names=["image"],
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes={"image": multiples},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    content = program.model_proto.SerializeToString()
    _check(deployed, content, path, image)
    write_whole(path, content)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without what torch's exporter tells everybody: that torchvision is not there, and what torch deprecates."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        logger.setLevel(before)


def _check(deployed: _Deployed, content: bytes, path: Path, image: Tensor) -> None:
    with torch.no_grad():
        expected = deployed(image)
    with disk_errors(path), TemporaryDirectory() as scratch:
        (Path(scratch) / path.name).write_bytes(content)
        found = OnnxBackend(Path(scratch) / path.name).run(image[0].numpy())
    pairs = zip(expected, (found.embedding, found.objectness[None], found.box_ltrb, found.class_logits), strict=True)
    for name, (want, got) in zip(OUTPUT_NAMES, pairs, strict=True):
        if not bool(torch.isfinite(want).all()):
            raise DistillError(
                f"{path}: the network's own {name} is not finite; delete {path.parent}, and train it with a lower "
                "learning_rate"
            )
        error = float(np.abs(want[0].numpy() - got).max())
        if not error < _EXPORT_TOLERANCE * max(float(want.abs().max()), 1.0):
            raise DistillError(f"{path}: output {name} differs from the network by {error:.2g}; report this export")


def file_entry(path: Path, suits: tuple[str, ...]) -> VariantFile:
    """The manifest's entry for one file."""
    content = path.read_bytes()
    return VariantFile(file=path.name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), suits=suits)
