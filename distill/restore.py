"""A bundle as the run it came from: its file as weights that can be trained on, quantized or learnt from."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from pydantic import ValidationError
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from distill.batches import make_batch
from distill.bundle import curves_of
from distill.checkpoints import CHECKPOINT_NAME
from distill.dataset import DataSet
from distill.errors import DistillError
from distill.export import export_onnx, fold_batch_norms
from distill.files import write_whole
from distill.network import SkyNet
from distill.recipe import Recipe, Workspace, open_sources
from edge.bundle import Bundle, load_bundle, read_manifest
from edge.config import first_problem

_LEAST_CROPS = 256
_FILTER_NORM = 1.5
"""Behind a batch norm the length of a filter changes nothing but how far a step of AdamW turns it, which is of one size
whatever the weight. Those of our runs are 1 to 2 long after some thousand steps; folded, some are 0.04, and the first
hundred steps at the usual learning rate would undo what was learnt."""
_PREFIX = "network."
_READABLE = ("fp32", "u8s8", "s8s8")
"""Files that hold the weights, best first; those of INT8 are rounded to one of 255 steps a filter."""

_DEQUANTIZED = "_DequantizeLinear_Output"


def restore(folder: Path, workspace: Workspace) -> tuple[Recipe, Path]:
    """Write a bundle's weights as a finished run, under the name its recipe has.

    An export folds each batch norm into its convolution. Here they are parted again: filters get one length, batch
    norms the mean and variance of what these then say to training crops, and weights that undo both. The network
    answers as the file does, and goes on training as one that never was folded.

    Args:
        folder: a bundle; without an FP32 file the weights are those of an INT8 file, as far as it rounded them.
        workspace: where the recipe's training data lie; the run is written there.

    Returns:
        The recipe that stands in the manifest, and the weights.

    Raises:
        DistillError: a run of that name is there, the bundle holds no ONNX file of one of our networks, or the disk is
            full.
        DataSetError: the training data are not there.
    """
    bundle = open_weights(folder)
    recipe = recipe_of(bundle)
    weights = workspace.weights(recipe.name)
    if weights.exists() or (weights.parent / CHECKPOINT_NAME).exists():
        raise DistillError(f"{weights.parent}: a run of that name is there; move it away, then restore")
    network = network_of(bundle, recipe, open_sources(recipe, workspace))
    for name, content in curves_of(folder).items():
        write_whole(weights.with_name(name), content)
    export_onnx(network, weights.with_name("fp32.onnx"))
    card = _record(bundle, recipe)
    write_whole(weights.with_suffix(".json"), json.dumps(card, indent=1).encode())
    # Last, because a run that has its weights counts as finished.
    write_whole(weights, to_safetensors({name: value.contiguous() for name, value in network.state_dict().items()}))
    return recipe, weights


def open_weights(folder: Path) -> Bundle:
    """A bundle, opened at the file that holds its weights best.

    Raises:
        DistillError: it has no ONNX file.
        ModelError: it is damaged.
    """
    held = read_manifest(folder).variants
    for name in _READABLE:
        if name in held:
            return load_bundle(folder, name)
    raise DistillError(f"{folder}: holds {', '.join(held)} alone; a bundle with {' or '.join(_READABLE)} is wanted")


def network_of(bundle: Bundle, recipe: Recipe, sets: list[DataSet]) -> SkyNet:
    """The network of a bundle, its batch norms parted again from the convolutions.

    Args:
        bundle: opened at the file to read.
        recipe: whose crops the batch norms are measured on; its network is the bundle's.
        sets: the recipe's.

    Raises:
        DistillError: the file is of another network.
    """
    network = SkyNet(recipe.network, len(bundle.manifest.labels)).eval()
    _fill(network, _tensors(bundle.model_path), bundle.model_path)
    _measure_batch_norms(network, recipe, sets)
    return network


def recipe_of(bundle: Bundle) -> Recipe:
    """The recipe that a bundle's manifest holds.

    Raises:
        DistillError: it holds none.
    """
    try:
        return Recipe.model_validate(bundle.manifest.training.get("recipe"))
    except ValidationError as exc:
        raise DistillError(
            f"{bundle.folder}: its manifest holds no recipe ({first_problem(exc)}); only bundles of "
            "`skyloop-distill bundle` can be restored"
        ) from exc


def _record(bundle: Bundle, recipe: Recipe) -> dict[str, Any]:
    """What `distill.train` leaves beside weights, as far as the manifest tells."""
    return {
        "name": recipe.name,
        "labels": recipe.labels,
        "network": recipe.network.model_dump(),
        "recipe": recipe.model_dump(mode="json"),
        "data": bundle.manifest.training.get("data", {}),
        "torch": torch.__version__,
        "restored_from_sha256": bundle.manifest.variants[bundle.variant].sha256,
        "finished_at_s": time.time(),
    }


def _tensors(path: Path) -> dict[str, Tensor]:
    """The weights and biases in a file; quantized ones times their scale, which is one a filter or one for all."""
    graph = onnx.load(path).graph
    held = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    found = {name: values for name, values in held.items() if name.endswith((".weight", ".bias"))}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and set(node.input) <= held.keys():
            steps, scale, zero = (held[name].astype(np.float32) for name in node.input)
            shape = (-1,) + (1,) * (steps.ndim - 1)
            name = node.output[0].removesuffix(_DEQUANTIZED)
            found[name] = (steps - zero.reshape(shape)) * scale.reshape(shape)
    return {
        name.removeprefix(_PREFIX): torch.from_numpy(values.copy())
        for name, values in found.items()
        if name.startswith(_PREFIX)
    }


def _normed(network: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """The batch norm behind each convolution that has one, by the convolution's name."""
    return {
        f"{name}.0": module[1]
        for name, module in network.named_modules()
        if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d)
    }


def _fill(network: SkyNet, given: dict[str, Tensor], path: Path) -> None:
    """Copy a file's tensors; folded biases and the filters' lengths go to batch norms, which have no statistics yet."""
    norms = _normed(network)
    wanted = {name: value.shape for name, value in fold_batch_norms(network).state_dict().items()}
    if wanted != {name: value.shape for name, value in given.items()}:
        raise DistillError(f"{path}: not the network that its manifest names; take the bundle as it was written")
    state = network.state_dict()
    for name, value in given.items():
        if name in state:
            state[name].copy_(value)
    for name, norm in norms.items():
        weight = state[f"{name}.weight"]
        length = weight.flatten(1).norm(dim=1).clamp(min=1e-12)
        weight.mul_((_FILTER_NORM / length)[:, None, None, None])
        norm.weight.data.copy_(length / _FILTER_NORM)
        norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]
        norm.bias.data.copy_(given[f"{name}.bias"])


@torch.no_grad()
def _measure_batch_norms(network: SkyNet, recipe: Recipe, sets: list[DataSet]) -> None:
    """Give every batch norm the mean and variance of what its convolution says, and the scale that undoes them."""
    norms = _normed(network)
    moments = {name: _Moments() for name in norms}
    modules = dict(network.named_modules())
    hooks = [modules[name].register_forward_hook(moment) for name, moment in moments.items()]
    for number in range(-(-_LEAST_CROPS // recipe.batch)):
        network(make_batch(recipe, sets, recipe.steps + number).images)  # steps that no training comes to
    for hook in hooks:
        hook.remove()
    for name, norm in norms.items():
        mean, variance = moments[name].result()
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.bias.add_(mean * norm.weight)
        norm.weight.mul_((variance + norm.eps).sqrt())


class _Moments:
    """Running sums of a convolution's outputs, per channel."""

    def __init__(self) -> None:
        self._cells, self._sum, self._squares = 0, torch.zeros(1), torch.zeros(1)

    def __call__(self, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        rows = output.permute(0, 2, 3, 1).flatten(0, 2).double()
        self._cells += len(rows)
        self._sum, self._squares = self._sum + rows.sum(dim=0), self._squares + rows.square().sum(dim=0)

    def result(self) -> tuple[Tensor, Tensor]:
        """(C,) mean and (C,) variance, float32."""
        mean = self._sum / self._cells
        return mean.float(), (self._squares / self._cells - mean.square()).clamp(min=0).float()
