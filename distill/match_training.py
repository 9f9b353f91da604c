"""Training the matching head of a finished network: pairs of views in, `match.safetensors` out; resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor
from torch.nn import functional

from distill.augment import Objects, make_targets
from distill.batches import made_ahead
from distill.checkpoints import of_another_recipe, read_checkpoint, save_checkpoint
from distill.curves import save_curves
from distill.dataset import DataSet
from distill.errors import TrainingError
from distill.export import fold_batch_norms
from distill.files import write_whole
from distill.losses import box_loss, heat_loss
from distill.matching import Exemplars, Matches, MatchHead, in_cells
from distill.network import SkyNet, normalise
from distill.pairs import THINGS, VIEW_PX, OtherViews, Pair, make_pair
from distill.recipe import NetworkConfig, Source, Workspace, data_digest, open_source
from distill.weights import load_network
from edge.bundle import BGR
from edge.config import Settings

CHECKPOINT_EVERY_STEPS = 100
LOSS_WEIGHTS = {"heat": 1.0, "rank": 1.0, "box": 2.0}
_NEAR = 0.05
"""Of the Gaussian: cells of the thing itself that are not its middle neither win nor lose the ranking."""


class MatchRecipe(Settings):
    """One training run of a matching head.

    Attributes:
        name: of the run's folder.
        backbone: name of the finished run whose network it reads; that network does not change.
        sources: data sets; `split` and `leave_out` as in `Recipe`.
        steps, batch, learning_rate, weight_decay, seed: the optimiser's constants; a batch counts pairs.
    """

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    backbone: str
    sources: tuple[Source, ...] = Field(min_length=1)
    steps: int = Field(1000, gt=0)
    batch: int = Field(8, gt=1)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    seed: int = Field(0, ge=0)

    def weights(self, workspace: Workspace) -> Path:
        """What a finished run leaves."""
        return workspace.folder(self.name) / "match.safetensors"


@dataclass(frozen=True)
class PairBatch:
    """One step's tensors for N pairs of K things and one thing more, that of another pair.

    Attributes:
        chips, views: (N, 3, S, S) float32, normalised.
        chip_boxes: (N, K, 4) in cells.
        heat: (N * (K + 1), 1, h, w) Gaussians at the middles.
        care: (N * (K + 1), 1, 1, 1) 0 where nobody asks.
        box_ltrb: (N * (K + 1), 4, h, w) log distances in cells.
        weight: (N * (K + 1), h, w) of the box loss.
    """

    chips: Tensor
    views: Tensor
    chip_boxes: Tensor
    heat: Tensor
    care: Tensor
    box_ltrb: Tensor
    weight: Tensor


def make_pair_batch(recipe: MatchRecipe, sets: list[tuple[DataSet, OtherViews]], step: int) -> PairBatch:
    """The batch of one step: a function of the recipe's seed and the step alone."""
    rng = np.random.default_rng((recipe.seed, step))
    weights = np.array([source.weight for source in recipe.sources])
    chosen = rng.choice(len(sets), recipe.batch, p=weights / weights.sum())
    pairs = []
    for data, views in (sets[choice] for choice in chosen):
        pairs.append(make_pair(data, views, int(rng.integers(len(data))), rng))
    return _collate(pairs, rng)


def _collate(pairs: list[Pair], rng: np.random.Generator) -> PairBatch:
    none = np.zeros((0, 4), np.float32)
    targets, care = [], []
    for pair in pairs:
        for row in range(THINGS + 1):  # the last is another pair's thing, which is not here
            state = pair.state[row] if row < THINGS else 0
            boxes = pair.view_xyxy[row : row + 1] if state == 1 else none
            count = len(boxes)
            thing = Objects(boxes, np.full(count, -1), np.zeros(count, np.int64), np.zeros(count, bool))
            targets.append(make_targets(thing, 0, VIEW_PX, rng))
            care.append(float(state >= 0))
    return PairBatch(
        normalise(torch.from_numpy(np.stack([pair.chip for pair in pairs])), NetworkConfig()),
        normalise(torch.from_numpy(np.stack([pair.view for pair in pairs])), NetworkConfig()),
        in_cells(torch.from_numpy(np.stack([pair.chip_xyxy for pair in pairs]))),
        torch.from_numpy(np.stack([t.heat for t in targets])),
        torch.tensor(care)[:, None, None, None],
        torch.from_numpy(np.stack([t.box_ltrb for t in targets])),
        torch.from_numpy(np.stack([t.weight for t in targets])),
    )


def match_losses(matches: Matches, batch: PairBatch) -> dict[str, Tensor]:
    """The `heat`, `rank` and `box` losses of one batch.

    `heat` says of every cell whether it is the one, `rank` that the right cell beats every other one (cross entropy
    over cells), which is what finding one thing among its like is about; `box` is its size.
    """
    logits = matches.logits.flatten(0, 1)[:, None]
    box = box_loss(matches.box_ltrb.flatten(0, 1), batch.box_ltrb, batch.weight * batch.care[:, 0])
    return {"heat": heat_loss(logits, batch.heat, batch.care), "rank": _rank_loss(logits, batch), "box": box}


def _rank_loss(logits: Tensor, batch: PairBatch) -> Tensor:
    flat, heat = logits.flatten(1), batch.heat.flatten(1)
    asked = (heat.amax(dim=1) > 0.999) & (batch.care.flatten() > 0)
    if not asked.any():
        return logits.sum() * 0.0
    flat, heat = flat[asked], heat[asked]
    beside = (heat > _NEAR) & (heat < 0.999)
    return functional.cross_entropy(flat.masked_fill(beside, -1e4), heat.argmax(dim=1))


@dataclass
class _Run:
    head: MatchHead
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.OneCycleLR
    step: int
    history: list[dict[str, float]]


def train_match(
    recipe: MatchRecipe, workspace: Workspace, on_step: Callable[[int, dict[str, float]], None] | None = None
) -> Path:
    """Train to the recipe's last step and return the path of the weights.

    Args:
        recipe: what to train.
        workspace: where data lies and runs are kept.
        on_step: called after each step with its number and losses.

    Raises:
        TrainingError: a loss is not finite, a checkpoint belongs to another recipe, or the backbone is missing.
        DistillError: a data set is missing, or the disk is full; what was written before is whole.
    """
    torch.manual_seed(recipe.seed)
    backbone = fold_batch_norms(load_network(workspace.weights(recipe.backbone))[0])
    if backbone.config.bands != BGR:
        raise TrainingError(f"{recipe.backbone}: takes {', '.join(backbone.config.bands)}; chips show {', '.join(BGR)}")
    backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sets = _open_sets(recipe, workspace)
    run = _resume(recipe, workspace, _fresh(recipe, backbone))
    run.head.train()
    for batch in made_ahead(partial(make_pair_batch, recipe, sets), range(run.step, recipe.steps)):
        losses = _step(run, batch, backbone)
        run.history.append({"step": float(run.step), **losses})
        if on_step:
            on_step(run.step, losses)
        if run.step % CHECKPOINT_EVERY_STEPS == 0:
            _save(recipe, workspace, run)
    return _finish(recipe, workspace, run, [data for data, _ in sets])


def _open_sets(recipe: MatchRecipe, workspace: Workspace) -> list[tuple[DataSet, OtherViews]]:
    sets = [open_source(source, workspace, BGR) for source in recipe.sources]
    for data in sets:
        data.preload()
    return [(data, OtherViews(data)) for data in sets]


def _fresh(recipe: MatchRecipe, backbone: SkyNet) -> _Run:
    head = MatchHead(backbone.config.embedding_dim)
    optimiser = torch.optim.AdamW(head.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, recipe.steps + 1, pct_start=0.05)
    return _Run(head, optimiser, schedule, 0, [])


def _step(run: _Run, batch: PairBatch, backbone: SkyNet) -> dict[str, float]:
    with torch.no_grad():
        chip_maps, view_maps = backbone(batch.chips), backbone(batch.views)
    what = run.head.exemplars(run.head.describe(batch.chips, chip_maps), batch.chip_boxes)
    first = [torch.roll(item[:, :1], 1, dims=0) for item in what]
    what = Exemplars(*(torch.cat([own, other], dim=1) for own, other in zip(what, first, strict=True)))
    losses = match_losses(run.head(run.head.describe(batch.views, view_maps), view_maps, what), batch)
    total = torch.stack([LOSS_WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
    if not torch.isfinite(total):
        raise TrainingError(f"loss is {float(total.detach())} at step {run.step}; lower learning_rate in the recipe")
    run.optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.head.parameters(), 5.0)
    run.optimiser.step()
    run.schedule.step()
    run.step += 1
    return {name: float(loss.detach()) for name, loss in losses.items()}


def _save(recipe: MatchRecipe, workspace: Workspace, run: _Run) -> None:
    content = {
        "recipe": recipe.model_dump_json(),
        "head": run.head.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "schedule": run.schedule.state_dict(),
        "step": run.step,
        "history": run.history,
    }
    save_checkpoint(workspace.folder(recipe.name), content)


def _resume(recipe: MatchRecipe, workspace: Workspace, run: _Run) -> _Run:
    folder = workspace.folder(recipe.name)
    content = read_checkpoint(folder)
    if content is None:
        return run
    if content["recipe"] != recipe.model_dump_json():
        raise of_another_recipe(folder)
    run.head.load_state_dict(content["head"])
    run.optimiser.load_state_dict(content["optimiser"])
    run.schedule.load_state_dict(content["schedule"])
    run.step, run.history = content["step"], content["history"]
    return run


def _finish(recipe: MatchRecipe, workspace: Workspace, run: _Run, sets: list[DataSet]) -> Path:
    _save(recipe, workspace, run)
    folder, weights = workspace.folder(recipe.name), recipe.weights(workspace)
    card = {
        "recipe": recipe.model_dump(mode="json"),
        "data": {data.name: {"images": len(data), "sha256": data_digest(data)} for data in sets},
        "torch": torch.__version__,
        "finished_at_s": time.time(),
    }
    write_whole(folder / "history.json", json.dumps(run.history).encode())
    save_curves(run.history, folder / "curves.png")
    write_whole(weights.with_suffix(".json"), json.dumps(card, indent=1).encode())
    # Last, because a run that has its weights counts as finished.
    write_whole(weights, to_safetensors({name: value.contiguous() for name, value in run.head.state_dict().items()}))
    return weights


def load_head(recipe: MatchRecipe, workspace: Workspace, embedding_dim: int) -> MatchHead:
    """The trained head of a finished run, in evaluation mode."""
    head = MatchHead(embedding_dim)
    head.load_state_dict(load_file(recipe.weights(workspace)))
    return head.eval()
