"""The training loop: crops in, weights out; resumable after `kill -9`, with curves and a record of what went in."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from distill.bands import adapted_stem, with_band_statistics
from distill.batches import Batch, made_ahead, make_batch
from distill.checkpoints import of_another_recipe, read_checkpoint, save_checkpoint
from distill.curves import save_curves
from distill.dataset import DataSet
from distill.errors import TrainingError
from distill.files import write_whole
from distill.network import STEM, Outputs, SkyNet
from distill.objectives import Step, losses_of
from distill.recipe import SCORES_NAME, Recipe, Workspace, data_digest, labels_without_boxes, open_sources
from distill.teaching import Lesson, Teaching, open_teaching
from distill.weights import check_unfamiliar, read_card, read_config, read_weights

CHECKPOINT_EVERY_STEPS = 200
_CLIP_NORM = 10.0
_VERSIONS = ("skyloop", "torch", "numpy", "safetensors")


@dataclass
class Run:
    """A training run in progress: weights, their moving average, the optimiser and the curves.

    `start` are the weights before the first step. `projection` leads from the embedding to a teacher's features while
    `kd_dense` is on; it is not exported.
    """

    start: dict[str, Tensor]
    network: SkyNet
    projection: nn.Module | None
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int
    history: list[dict[str, float]]


def train(
    recipe: Recipe,
    workspace: Workspace,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    sets: list[DataSet] | None = None,
) -> Path:
    """Train to the recipe's last step and return the path of the averaged weights (`model.safetensors`).

    Checkpoints go to the run's folder every 200 steps; a run that finds one goes on from there.

    Args:
        recipe: what to train.
        workspace: where data lies and runs are kept.
        on_step: called after each step with its number and losses.
        sets: the recipe's sources where they are open already, perhaps with more known of them than their files say.

    Raises:
        TrainingError: a loss is not finite, a checkpoint belongs to another recipe, or weights to start or learn from
            are missing or do not fit.
        TeacherError: a teacher that is no run of ours does not open, or fails.
        DistillError: the disk is full; what was written before is whole.
    """
    torch.manual_seed(recipe.seed)
    folder = workspace.folder(recipe.name)
    sets = sets or open_sources(recipe, workspace)
    labels_without_boxes(recipe, sets)
    relatives = [read_config(workspace.weights(name)) for name in (recipe.teacher_run, recipe.init) if name]
    recipe = with_band_statistics(recipe, sets, relatives)
    checkpoint = _read_checkpoint(recipe, folder)
    network = _fresh(recipe, workspace)
    teaching = open_teaching(recipe, workspace, sets, resumed=checkpoint is not None)
    run = _begin(recipe, network, teaching)
    if checkpoint is not None:
        _resume(run, checkpoint)
    for batch in made_ahead(partial(make_batch, recipe, sets), range(run.step, recipe.steps)):
        losses = _step(recipe, run, batch, teaching)
        run.history.append({"step": float(run.step), **losses})
        if on_step:
            on_step(run.step, losses)
        if run.step % CHECKPOINT_EVERY_STEPS == 0:
            _save(recipe, folder, run)
    return _finish(recipe, folder, run, _record(recipe, sets, teaching))


def _step(recipe: Recipe, run: Run, batch: Batch, teaching: Teaching | None) -> dict[str, float]:
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate_at(recipe, run.step)
    lesson = teaching.lesson(batch) if teaching else Lesson()
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
        outputs = run.network(batch.images)
    outputs = Outputs(*(values.float() for values in outputs))
    losses = losses_of(recipe.losses, Step(outputs, batch, lesson, run.projection))
    total = torch.stack([recipe.losses[name] * loss for name, loss in losses.items()]).sum()
    run.optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(run.network.parameters(), _CLIP_NORM)
    if not torch.isfinite(total + norm):
        bad = [name for name, loss in losses.items() if not torch.isfinite(loss)] or ["the gradient"]
        raise TrainingError(
            f"loss is {float(total.detach())} at step {run.step} ({', '.join(bad)}); lower learning_rate in the recipe"
        )
    run.optimiser.step()
    run.step += 1
    _average(recipe, run)
    return {name: float(loss.detach()) for name, loss in losses.items()}


def learning_rate_at(recipe: Recipe, step: int) -> float:
    """Linear warm-up over 3 % of the steps, then a cosine down to 1 % of the peak."""
    warm = max(recipe.steps * 0.03, 1.0)
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    progress = (step - warm) / max(recipe.steps - warm, 1.0)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _average(recipe: Recipe, run: Run) -> None:
    decay = min(recipe.ema_decay, (1 + run.step) / (10 + run.step))
    state = run.network.state_dict()
    floating = [name for name, value in state.items() if value.is_floating_point()]
    torch._foreach_lerp_([run.average[name] for name in floating], [state[name] for name in floating], 1 - decay)


def _fresh(recipe: Recipe, workspace: Workspace) -> SkyNet:
    network = SkyNet(recipe.network, len(recipe.labels)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.init is not None:
        check_unfamiliar(recipe, f"init run {recipe.init!r}", read_card(workspace.weights(recipe.init))["labels"])
        if recipe.keep_init:
            _check_same_kind(recipe, network, workspace.weights(recipe.init))
        _initialise(network, recipe.labels, workspace.weights(recipe.init))
    assert isinstance(network, SkyNet)
    return network


def _check_same_kind(recipe: Recipe, network: SkyNet, weights: Path) -> None:
    ours, theirs = (
        {name: value.shape for name, value in w.items()} for w in (network.state_dict(), read_weights(weights))
    )
    if ours != theirs or read_card(weights)["labels"] != list(recipe.labels):
        raise TrainingError(
            f"keep_init: init run {recipe.init!r} has other labels or another network; start from one that has the "
            "same, or leave keep_init out"
        )


def _begin(recipe: Recipe, network: SkyNet, teaching: Teaching | None) -> Run:
    projection: nn.Module | None = None
    if teaching and teaching.phi_s and "kd_dense" in recipe.losses:
        projection = nn.Conv2d(recipe.network.embedding_dim, teaching.phi_s.channels, 1)
    trained = [*(p for p in network.parameters() if p.requires_grad), *(projection.parameters() if projection else ())]
    _freeze(recipe, network)
    optimiser = torch.optim.AdamW(trained, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    start, average = ({name: value.clone() for name, value in network.state_dict().items()} for _ in range(2))
    return Run(start, network, projection, average, optimiser, 0, [])


def _freeze(recipe: Recipe, network: SkyNet) -> None:
    """Keep the parts, and the statistics of the batch norms, that the recipe says."""
    for name, module in network.named_modules():
        is_frozen = name.split(".")[0] in recipe.frozen
        if is_frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        if isinstance(module, nn.BatchNorm2d) and (recipe.freeze_norms or is_frozen):
            module.eval()


def _initialise(network: SkyNet, labels: tuple[str, ...], weights: Path) -> None:
    """Copy every tensor of the same shape; rows of the class head go by label, new labels keep their fresh row.

    Where the bands differ, the first convolution is adapted: see `adapted_stem`.
    """
    given, given_labels = read_weights(weights), read_card(weights)["labels"]
    bands = read_config(weights).bands
    if bands != network.config.bands:
        given[STEM] = adapted_stem(given[STEM], bands, network.config.bands)
    state = network.state_dict()
    for name, value in given.items():
        if name.startswith("class_logits."):
            for row, label in enumerate(labels):
                if label in given_labels:
                    state[name][row] = value[given_labels.index(label)]
        elif name in state and state[name].shape == value.shape:
            state[name].copy_(value)


def _save(recipe: Recipe, folder: Path, run: Run) -> None:
    content = {
        "recipe": recipe.model_dump_json(),
        "network": run.network.state_dict(),
        "projection": run.projection.state_dict() if run.projection else None,
        "average": run.average,
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "history": run.history,
    }
    save_checkpoint(folder, content)


def _read_checkpoint(recipe: Recipe, folder: Path) -> dict[str, Any] | None:
    content = read_checkpoint(folder)
    if content is not None and not _is_of(content["recipe"], recipe):
        raise of_another_recipe(folder)
    return content


def _is_of(kept: str, recipe: Recipe) -> bool:
    """Whether a kept recipe is this one; an older version knew fewer keys, whose defaults it meant."""
    try:
        return Recipe.model_validate_json(kept) == recipe
    except ValidationError:
        return False


def _resume(run: Run, content: dict[str, Any]) -> None:
    run.network.load_state_dict(content["network"])
    if run.projection:
        run.projection.load_state_dict(content["projection"])
    run.optimiser.load_state_dict(content["optimiser"])
    run.average, run.step, run.history = content["average"], content["step"], content["history"]


def _record(recipe: Recipe, sets: list[DataSet], teaching: Teaching | None) -> dict[str, Any]:
    """What stands beside the weights: all that made them."""
    return {
        "name": recipe.name,
        "labels": recipe.labels,
        "network": recipe.network.model_dump(),
        "recipe": recipe.model_dump(mode="json"),
        "labels_without_boxes": labels_without_boxes(recipe, sets),
        "data": {s.name: {"images": len(s), "sha256": data_digest(s)} for s in sets},
        "teacher": teaching.record if teaching else None,
        "torch": torch.__version__,
        "versions": {name: version(name) for name in _VERSIONS},
        "finished_at_s": time.time(),
    }


def _finish(recipe: Recipe, folder: Path, run: Run, card: dict[str, Any]) -> Path:
    _save(recipe, folder, run)
    weights = folder / "model.safetensors"
    for made_from_old_weights in ("fp32.onnx", "u8s8.onnx", "s8s8.onnx", "parity.json", SCORES_NAME):
        (folder / made_from_old_weights).unlink(missing_ok=True)
    write_whole(folder / "history.json", json.dumps(run.history).encode())
    save_curves(run.history, folder / "curves.png")
    write_whole(weights.with_suffix(".json"), json.dumps(card, indent=1).encode())
    # Last, because a run that has its weights counts as finished.
    write_whole(weights, to_safetensors(_finished(recipe, run)))
    return weights


def _finished(recipe: Recipe, run: Run) -> dict[str, Tensor]:
    """The averaged weights, drawn back towards those the run started from by `keep_init`."""
    return {
        name: (value.lerp(run.start[name], recipe.keep_init) if value.is_floating_point() else value).contiguous()
        for name, value in run.average.items()
    }
