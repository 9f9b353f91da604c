"""What a finished run leaves: its weights, and the record that stands beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from distill.errors import TrainingError
from distill.network import SkyNet
from distill.recipe import NetworkConfig, Recipe


def read_card(weights: Path) -> dict[str, Any]:
    """The record that stands beside trained weights: labels, network, recipe, data digests, versions.

    Raises:
        TrainingError: it is missing or damaged.
    """
    path = weights.with_suffix(".json")
    try:
        card: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise TrainingError(f"{path}: no readable record of trained weights ({exc}); train that network first") from exc
    return card


def read_config(weights: Path) -> NetworkConfig:
    """Widths, depths and bands of a trained network.

    Raises:
        TrainingError: the record beside the weights is missing or damaged.
    """
    card = read_card(weights)
    try:
        _, network = card["labels"], card["network"]
        return NetworkConfig.model_validate(network)
    except (KeyError, ValidationError) as exc:
        raise TrainingError(f"{weights.with_suffix('.json')}: names no network and labels; train it again") from exc


_NOT_TRAINED: dict[str, Any] = {
    "network": {"band_mean", "band_deviation"},
    "score_floor": True,
    "object_floor": True,
    "held_out": True,
}
"""What a run adds to its recipe, and what is chosen after it."""


def check_trained_by(recipe: Recipe, weights: Path) -> None:
    """Refuse a finished run that another recipe of the same name made.

    Raises:
        TrainingError: it did, or the record beside the weights is damaged.
    """
    card = read_card(weights)
    try:
        trained = Recipe.model_validate(card["recipe"])
    except (KeyError, ValidationError) as exc:
        raise TrainingError(f"{weights.with_suffix('.json')}: names no recipe; train it again") from exc
    if trained.model_dump(exclude=_NOT_TRAINED) != recipe.model_dump(exclude=_NOT_TRAINED):
        raise TrainingError(
            f"{weights.parent}: was trained by another recipe of that name; delete it to train it again, or take "
            "another name"
        )


def check_unfamiliar(recipe: Recipe, whose: str, known: Iterable[str]) -> None:
    """Refuse a teacher or a start that knows what the recipe leaves out: it would tell.

    Args:
        recipe: of the network to be.
        whose: labels these are, for the error.
        known: labels.

    Raises:
        TrainingError: it knows one of them.
    """
    if told := sorted(recipe.unfamiliar & set(known)):
        raise TrainingError(
            f"{whose} knows {', '.join(told)}, which this recipe leaves out; take one that left the same out, or none"
        )


def read_weights(weights: Path) -> dict[str, Tensor]:
    """The tensors of a finished run, by name.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        return load_file(weights)
    except (OSError, SafetensorError) as exc:
        raise TrainingError(f"{weights}: no readable weights ({exc}); train that network first") from exc


def load_network(weights: Path) -> tuple[SkyNet, tuple[str, ...]]:
    """A trained network in evaluation mode and its labels.

    Raises:
        TrainingError: the weights or the record beside them are missing, damaged or of different networks.
    """
    card = read_card(weights)
    network = SkyNet(read_config(weights), len(card["labels"]))
    try:
        network.load_state_dict(read_weights(weights))
    except RuntimeError as exc:
        raise TrainingError(f"{weights}: not the network that the .json beside it names; train it again") from exc
    return network.eval().to(memory_format=torch.channels_last), tuple(card["labels"])  # type: ignore[call-overload]
