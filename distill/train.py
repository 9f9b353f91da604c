"""The training loop: crops in, weights out; resumable after `kill -9`, with curves and a record of what went in."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from distill.batches import Batch, batches
from distill.curves import save_curves
from distill.dataset import DataSet
from distill.errors import TrainingError
from distill.files import write_whole
from distill.losses import box_loss, contrastive_loss, distillation_loss, heat_loss
from distill.network import Outputs, SkyNet
from distill.recipe import Recipe, Workspace, data_digest, open_sources
from distill.weights import load_network, read_card, read_weights

CHECKPOINT_EVERY_STEPS = 200
_CLIP_NORM = 10.0


def supervised_losses(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """The `heat`, `box` and `embedding` losses of one batch."""
    logits = torch.cat([outputs.class_logits, outputs.objectness], dim=1)
    features = outputs.embedding.permute(0, 2, 3, 1)
    image, y, x, kind = batch.cells.unbind(dim=1)
    return {
        "heat": heat_loss(logits, batch.heat, batch.care),
        "box": box_loss(outputs.box_ltrb, batch.box_ltrb, batch.weight),
        "embedding": contrastive_loss(features[image, y, x], kind, _background(outputs, batch, features)),
    }


def _background(outputs: Outputs, batch: Batch, features: Tensor, per_image: int = 24) -> Tensor:
    """Embeddings of background cells: half of them random, half where the network wrongly believes in objects."""
    with torch.no_grad():
        free = ((batch.heat[:, -1:] < 0.02) & (batch.care > 0)).float()
        belief = (outputs.objectness.sigmoid() * free).flatten(1)
        hard = belief.topk(per_image // 2, dim=1).indices
        luck = (batch.luck * free.flatten(1)).topk(per_image // 2, dim=1).indices
        chosen = torch.cat([hard, luck], dim=1)
    flat = features.flatten(1, 2)
    return torch.cat([cells[index] for cells, index in zip(flat, chosen, strict=True)])


@dataclass
class Run:
    """A training run in progress: weights, their moving average, the optimiser and the curves."""

    network: SkyNet
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int
    history: list[dict[str, float]]


def train(recipe: Recipe, workspace: Workspace, on_step: Callable[[int, dict[str, float]], None] | None = None) -> Path:
    """Train to the recipe's last step and return the path of the averaged weights (`model.safetensors`).

    Checkpoints go to the run's folder every 200 steps; a run that finds one goes on from there.

    Args:
        recipe: what to train.
        workspace: where data lies and runs are kept.
        on_step: called after each step with its number and losses.

    Raises:
        TrainingError: a loss is not finite, a checkpoint belongs to another recipe, or weights to start or learn from
            are missing or do not fit.
        DistillError: the disk is full; what was written before is whole.
    """
    torch.manual_seed(recipe.seed)
    folder = workspace.folder(recipe.name)
    sets = open_sources(recipe, workspace)
    run = _resume(recipe, folder, _fresh(recipe, workspace))
    teacher = _open_teacher(recipe, workspace.weights(recipe.teacher)) if recipe.teacher else None
    for batch in batches(recipe, sets, run.step):
        losses = _step(recipe, run, batch, teacher)
        run.history.append({"step": float(run.step), **losses})
        if on_step:
            on_step(run.step, losses)
        if run.step % CHECKPOINT_EVERY_STEPS == 0:
            _save(recipe, folder, run)
    return _finish(recipe, folder, run, sets)


@dataclass(frozen=True)
class _Teacher:
    """A trained network and, for each of the student's classes, its class index."""

    network: SkyNet
    class_map: list[int]


def _open_teacher(recipe: Recipe, weights: Path) -> _Teacher:
    network, labels = load_network(weights)
    if unknown := [label for label in recipe.labels if label not in labels]:
        raise TrainingError(f"{weights}: the teacher does not know {', '.join(unknown)}; train it with those labels")
    if network.config.embedding_dim != recipe.network.embedding_dim:
        raise TrainingError(
            f"{weights}: the teacher's embedding_dim is {network.config.embedding_dim}, the student's "
            f"{recipe.network.embedding_dim}; make them equal"
        )
    return _Teacher(network, [labels.index(label) for label in recipe.labels])


def _step(recipe: Recipe, run: Run, batch: Batch, teacher: _Teacher | None) -> dict[str, float]:
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate_at(recipe, run.step)
    outputs = run.network(batch.images)
    losses = supervised_losses(outputs, batch)
    if teacher is not None:
        with torch.no_grad():
            answers = teacher.network(batch.images)
        losses |= distillation_loss(outputs, answers, teacher.class_map, batch.heat)
    total = torch.stack([recipe.loss_weights.get(name, 0.0) * loss for name, loss in losses.items()]).sum()
    if not torch.isfinite(total):
        raise TrainingError(f"loss is {float(total.detach())} at step {run.step}; lower learning_rate in the recipe")
    run.optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), _CLIP_NORM)
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


def _fresh(recipe: Recipe, workspace: Workspace) -> Run:
    network = SkyNet(recipe.network, len(recipe.labels)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.init is not None:
        _initialise(network, recipe.labels, workspace.weights(recipe.init))
    optimiser = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    average = {name: value.clone() for name, value in network.state_dict().items()}
    return Run(network, average, optimiser, 0, [])


def _initialise(network: SkyNet, labels: tuple[str, ...], weights: Path) -> None:
    """Copy every tensor of the same shape; rows of the class head go by label, new labels keep their fresh row."""
    given, given_labels = read_weights(weights), read_card(weights)["labels"]
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
        "average": run.average,
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "history": run.history,
    }
    buffer = BytesIO()
    torch.save(content, buffer)
    write_whole(folder / "checkpoint.pt", buffer.getvalue())


def _resume(recipe: Recipe, folder: Path, run: Run) -> Run:
    path = folder / "checkpoint.pt"
    if not path.is_file():
        return run
    try:
        content = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as exc:
        raise TrainingError(f"{path}: damaged; delete it to train from the start") from exc
    if content["recipe"] != recipe.model_dump_json():
        raise TrainingError(f"{path}: belongs to another recipe; give the run another `name` or delete the checkpoint")
    run.network.load_state_dict(content["network"])
    run.optimiser.load_state_dict(content["optimiser"])
    return Run(run.network, content["average"], run.optimiser, content["step"], content["history"])


def _finish(recipe: Recipe, folder: Path, run: Run, sets: list[DataSet]) -> Path:
    _save(recipe, folder, run)
    weights = folder / "model.safetensors"
    card = {
        "name": recipe.name,
        "labels": recipe.labels,
        "network": recipe.network.model_dump(),
        "recipe": recipe.model_dump(mode="json"),
        "data": {s.name: {"images": len(s), "sha256": data_digest(s)} for s in sets},
        "torch": torch.__version__,
        "finished_at_s": time.time(),
    }
    for made_from_old_weights in ("fp32.onnx", "u8s8.onnx", "parity.json"):
        (folder / made_from_old_weights).unlink(missing_ok=True)
    write_whole(folder / "history.json", json.dumps(run.history).encode())
    save_curves(run.history, folder / "curves.png")
    write_whole(weights.with_suffix(".json"), json.dumps(card, indent=1).encode())
    # Last, because a run that has its weights counts as finished.
    write_whole(weights, to_safetensors({name: value.contiguous() for name, value in run.average.items()}))
    return weights
