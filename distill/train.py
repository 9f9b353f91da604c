"""The training loop: crops in, weights out; resumable after `kill -9`, with curves and a record of what went in."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor

from distill.augment import Crop, Targets, make_targets, random_crop
from distill.bands import adapted_stem, with_band_statistics
from distill.curves import save_curves
from distill.dataset import DataSet
from distill.errors import TrainingError
from distill.files import write_whole
from distill.losses import box_loss, contrastive_loss, distillation_loss, heat_loss
from distill.network import STEM, Outputs, SkyNet, normalise
from distill.recipe import NetworkConfig, Recipe, Workspace, data_digest, labels_without_boxes, open_sources
from distill.shapes import KINDS
from protocols.arrays import FloatArray

CHECKPOINT_EVERY_STEPS = 200
_PAIR_REACH_IMAGES = 3
"""The two images of a pair lie at most so many places apart in their data set, at 0 they are two crops of one.
Renders come eight to a town."""

_BATCHES_AHEAD = 4
_CLIP_NORM = 10.0


@dataclass(frozen=True)
class Batch:
    """One step's tensors, all on the grid of h x w cells but the images.

    Attributes:
        images: (B, bands, S, S) float32, normalised.
        heat: (B, C + 1, h, w) float32; the last channel is objectness.
        box_ltrb: (B, 4, h, w) float32 log distances in cells.
        weight: (B, h, w) float32, 0 away from objects.
        care: (B, 1, h, w) float32, 0 where nothing is asked.
        cells: (M, 4) int64 rows image, y, x, kind.
        luck: (B, h * w) float32 uniform noise that picks the background cells.
    """

    images: Tensor
    heat: Tensor
    box_ltrb: Tensor
    weight: Tensor
    care: Tensor
    cells: Tensor
    luck: Tensor


def make_batch(recipe: Recipe, sets: list[DataSet], step: int) -> Batch:
    """The batch of one step: a function of the recipe's seed and the step alone, so that a resumed run repeats it."""
    rng = np.random.default_rng((recipe.seed, step))
    weights = np.array([source.weight for source in recipe.sources])
    kinds = tuple(int(k) for k in rng.integers(0, KINDS, recipe.novel_kinds))
    crops: list[Crop] = []
    for choice in rng.choice(len(sets), (recipe.batch + 1) // 2, p=weights / weights.sum()):
        data = sets[choice]
        first = int(rng.integers(len(data)))
        # Renders lie town by town, so that a pair mostly shares its strange kinds; shuffled sets gain nothing by it.
        reach = int(rng.integers(-_PAIR_REACH_IMAGES, _PAIR_REACH_IMAGES + 1))
        for index in (first, (first + reach) % len(data)):
            crops.append(random_crop(data, index, recipe.labels, recipe.crop_px, kinds, rng))
    crops = crops[: recipe.batch]
    targets = [make_targets(c.objects, len(recipe.labels), recipe.crop_px, rng) for c in crops]
    return _collate(recipe.network, crops, targets, rng.random((len(targets), targets[0].care.size), np.float32))


def _collate(network: NetworkConfig, crops: list[Crop], targets: list[Targets], luck: FloatArray) -> Batch:
    cells = [np.concatenate([np.full((len(t.cells), 1), i), t.cells], axis=1) for i, t in enumerate(targets)]
    return Batch(
        normalise(torch.from_numpy(np.stack([c.image for c in crops])), network),
        torch.from_numpy(np.stack([t.heat for t in targets])),
        torch.from_numpy(np.stack([t.box_ltrb for t in targets])),
        torch.from_numpy(np.stack([t.weight for t in targets])),
        torch.from_numpy(np.stack([t.care for t in targets]))[:, None],
        torch.from_numpy(np.concatenate(cells)),
        torch.from_numpy(luck),
    )


def batches(recipe: Recipe, sets: list[DataSet], first_step: int) -> Iterator[Batch]:
    """Batches from `first_step` on, made in one thread a few steps ahead of the optimiser."""
    pool = ThreadPoolExecutor(1)
    ahead: deque[Future[Batch]] = deque()
    try:
        for step in range(first_step, recipe.steps):
            ahead.append(pool.submit(make_batch, recipe, sets, step))
            if len(ahead) == _BATCHES_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


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
    labels_without_boxes(recipe, sets)
    relatives = [read_config(workspace.weights(name)) for name in (recipe.teacher, recipe.init) if name]
    recipe = with_band_statistics(recipe, sets, relatives)
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
    _check_same_input(weights, network.config, recipe.network)
    return _Teacher(network, [labels.index(label) for label in recipe.labels])


def _check_same_input(weights: Path, teacher: NetworkConfig, student: NetworkConfig) -> None:
    """Teacher and student look at one and the same tensor."""
    for what in ("bands", "band_mean", "band_deviation"):
        theirs, ours = getattr(teacher, what), getattr(student, what)
        if theirs != ours:
            raise TrainingError(f"{weights}: the teacher's {what} are {theirs}, the student's {ours}; make them equal")


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
    try:
        return NetworkConfig.model_validate(read_card(weights)["network"])
    except (KeyError, ValidationError) as exc:
        raise TrainingError(f"{weights.with_suffix('.json')}: names no network; train that network again") from exc


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
        "labels_without_boxes": labels_without_boxes(recipe, sets),
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
