"""A bundle's network as the start of one with more labels: what it knew stays, what is new starts from what was shown.

The class head reads the features in front of it, so that is where the prototypes of new labels lie: the row of a label
leads from the mean of the background to the mean of the things that were boxed, as a prompt's direction does among
embeddings (`cloud/prompt_forms.py`), and its bias puts the mean of the things at an even chance.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors
from torch import Tensor

from distill.dataset import DataSet, LabelledImage
from distill.files import write_whole
from distill.network import STRIDE_PX, SkyNet, normalise
from distill.recipe import INPUT_MULTIPLE_PX, Recipe, Workspace, data_digest
from distill.restore import network_of, recipe_of
from edge.bundle import PIXEL_MEAN, Bundle
from edge.student import as_bands, pad_to_multiple
from protocols.arrays import ImageArray

_LOGIT_SPAN = 4.0
"""From the mean of the background, at p = 0.02 as a fresh head, to the mean of the things, at p = 0.5."""

_BACKGROUND_CELLS = 200
"""Of each picture, at most."""


def grow(bundle: Bundle, recipe: Recipe, workspace: Workspace, sets: Sequence[DataSet], shown: DataSet) -> Path:
    """Write a bundle's network, its class head grown to a recipe's labels, as the finished run that `init` names.

    Args:
        bundle: opened at the file that holds the weights.
        recipe: of the run to be; its labels hold the bundle's, and `init` names the run that is written.
        workspace: where it goes.
        sets: the recipe's, on which batch norms are measured.
        shown: pictures with boxes of the new labels.

    Returns:
        The weights.

    Raises:
        DistillError: the file is of another network, or the disk is full.
    """
    assert recipe.init is not None
    old = network_of(bundle, recipe, list(sets))
    network = SkyNet(recipe.network, len(recipe.labels)).eval()
    state = old.state_dict()
    weight, bias = _grown_head(old, bundle.manifest.labels, recipe.labels, shown)
    network.load_state_dict({**state, "class_logits.weight": weight, "class_logits.bias": bias})
    weights = workspace.weights(recipe.init)
    card = {
        "name": recipe.init,
        "labels": recipe.labels,
        "unlearnt": [label for label in recipe.labels if label not in bundle.manifest.labels],
        "network": recipe.network.model_dump(),
        "recipe": recipe_of(bundle).model_copy(update={"name": recipe.init}).model_dump(mode="json"),
        "data": {data.name: {"images": len(data), "sha256": data_digest(data)} for data in sets},
        "torch": torch.__version__,
        "restored_from_sha256": bundle.manifest.variants[bundle.variant].sha256,
        "finished_at_s": time.time(),
    }
    write_whole(weights.with_suffix(".json"), json.dumps(card, indent=1).encode())
    write_whole(weights, to_safetensors({name: value.contiguous() for name, value in network.state_dict().items()}))
    return weights


def _grown_head(network: SkyNet, known: Sequence[str], wanted: Sequence[str], shown: DataSet) -> tuple[Tensor, Tensor]:
    """Weight (C, neck, 1, 1) and bias (C,) of the class head for the wanted labels."""
    new = [label for label in wanted if label not in known]
    rows = new_rows(network, new, shown)
    weight, bias = network.class_logits.weight.detach(), network.class_logits.bias.detach()  # type: ignore[union-attr]
    weights, biases = [], []
    for label in wanted:
        if label in known:
            weights.append(weight[known.index(label)])
            biases.append(bias[known.index(label)])
        else:
            row, offset = rows[label]
            weights.append(row[:, None, None])
            biases.append(offset)
    return torch.stack(weights), torch.stack(biases)


def new_rows(network: SkyNet, labels: Sequence[str], shown: DataSet) -> dict[str, tuple[Tensor, Tensor]]:
    """For each new label its row (neck,) of the class head, and its bias ().

    A label of which no box is shown keeps a row of zeros, and the bias of a fresh head.
    """
    things: dict[str, list[Tensor]] = {label: [] for label in labels}
    background: list[Tensor] = []
    for features, item in _features(network, shown):
        taken = np.zeros(features.shape[1:], bool)
        for box, label, ignored in zip(item.boxes_xyxy, item.labels, item.ignore, strict=True):
            x1, y1, x2, y2 = (box / STRIDE_PX).tolist()
            taken[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
            if label in things and not ignored:
                row, column = (min(int(v), side - 1) for v, side in zip(_middle(box), taken.shape, strict=True))
                things[label].append(features[:, row, column])
        background += _free_cells(features, ~taken)
    return {label: _row(found, background, network.config.neck) for label, found in things.items()}


def _middle(box: NDArray[np.float32]) -> tuple[float, float]:
    """Row and column of the cell in the middle of a box."""
    return float(box[1] + box[3]) / 2 / STRIDE_PX, float(box[0] + box[2]) / 2 / STRIDE_PX


def _free_cells(features: Tensor, free: NDArray[np.bool_]) -> list[Tensor]:
    """Evenly spaced cells of the background, (neck,) each."""
    rows, columns = np.nonzero(free)
    every = max(len(rows) // _BACKGROUND_CELLS, 1)
    return list(features[:, torch.from_numpy(rows[::every]), torch.from_numpy(columns[::every])].T)


def _row(things: Sequence[Tensor], background: Sequence[Tensor], width: int) -> tuple[Tensor, Tensor]:
    if not things or not background:
        return torch.zeros(width), torch.tensor(-_LOGIT_SPAN)
    thing, around = torch.stack(list(things)).mean(dim=0), torch.stack(list(background)).mean(dim=0)
    way = thing - around
    row = _LOGIT_SPAN * way / way.square().sum().clamp(min=1e-6)
    return row, -_LOGIT_SPAN - row @ around


@torch.no_grad()
def _features(network: SkyNet, shown: DataSet) -> Iterator[tuple[Tensor, LabelledImage]]:
    """For each picture what the class head reads of it, (neck, h, w)."""
    caught: list[Tensor] = []
    hook = network.detect.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    try:
        for index, item in enumerate(shown):
            network(normalise(torch.from_numpy(_as_input(shown.image(index), network))[None], network.config))
            yield caught.pop()[0], item
    finally:
        hook.remove()


def _as_input(image: ImageArray, network: SkyNet) -> ImageArray:
    config = network.config
    padding = tuple(round(mean) for mean in config.band_mean or (PIXEL_MEAN,) * len(config.bands))
    return pad_to_multiple(as_bands(image, config.bands), INPUT_MULTIPLE_PX, padding)
