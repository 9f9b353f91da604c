"""What each loss is worth: a recipe trained in full and with a loss left out, all else the same, and scored."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill.bundle import make_manifest
from distill.dataset import DataSet
from distill.errors import DistillError
from distill.evaluate import evaluate
from distill.files import write_whole
from distill.gate import fewshot_scores
from distill.recipe import SCORES_NAME, Recipe, Workspace, data_digest, open_source
from edge.bundle import Bundle
from edge.config import first_problem
from edge.runtime.onnx import OnnxBackend
from edge.student import Student

GROUP = "distillation"
"""Every loss that asks a teacher. `prompt` stays: it lives on the truth, and needs no teacher."""

FULL = "full"
MEASURES = ("map50", "ap50_small", "fewshot_ap50")


def planned(recipe: Recipe, left_out: Sequence[str], seeds: int) -> dict[str, list[Recipe]]:
    """The runs of an ablation: the recipe itself, then without each loss; one recipe for each seed, counted up.

    Args:
        recipe: the whole.
        left_out: losses that it has, or `GROUP`; none means each of its losses in turn.
        seeds: how many.

    Raises:
        DistillError: it has no such loss, or nothing would be left of it.
    """
    names = list(left_out) or list(recipe.losses)
    variants = {FULL: recipe} | {name: without(recipe, name) for name in names}
    return {name: [_seeded(variant, number) for number in range(seeds)] for name, variant in variants.items()}


def without(recipe: Recipe, left_out: str) -> Recipe:
    """A recipe less one loss, or less `GROUP`; its name tells which. A teacher nobody asks is left out too.

    Raises:
        DistillError: it has no such loss, or nothing would be left.
    """
    gone = [name for name in recipe.losses if name == left_out or (left_out == GROUP and name.startswith("kd_"))]
    if not gone:
        raise DistillError(f"{recipe.name}: has no loss {left_out!r} to leave out; it has {', '.join(recipe.losses)}")
    kept = {name: weight for name, weight in recipe.losses.items() if name not in gone}
    teacher = recipe.teacher if any(name.startswith("kd_") for name in kept) else None
    name = f"{recipe.name}-without-{left_out.replace('_', '-')}"
    return _changed(recipe, {"name": name, "loss_weights": kept, "teacher": teacher})


def _seeded(recipe: Recipe, number: int) -> Recipe:
    if not number:
        return recipe
    seed = recipe.seed + number
    return _changed(recipe, {"name": f"{recipe.name}-seed-{seed}", "seed": seed})


def _changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate({**recipe.model_dump(), **changes})
    except ValidationError as exc:
        raise DistillError(f"{changes['name']}: {first_problem(exc)}") from exc


def score(recipe: Recipe, workspace: Workspace, data: DataSet, labels: Sequence[str]) -> dict[str, float | None]:
    """What a finished, exported run reaches: `MEASURES`, less those that nothing was held out for.

    They are kept in the run's folder and not measured twice.

    Args:
        recipe: the run's.
        workspace: where it lies.
        data: what mAP50 is taken on.
        labels: scored classes.

    Raises:
        DistillError: the kept scores are damaged.
    """
    folder = workspace.folder(recipe.name)
    path, asked = folder / SCORES_NAME, f"{data_digest(data)} {','.join(labels)}"
    try:
        kept: dict[str, dict[str, float | None]] = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError) as exc:
        raise DistillError(f"{path}: no readable scores ({exc}); delete it, and they are measured again") from exc
    if asked not in kept:
        kept[asked] = _measured(recipe, workspace, data, labels)
        write_whole(path, json.dumps(kept, indent=1).encode())
    return kept[asked]


def _measured(recipe: Recipe, workspace: Workspace, data: DataSet, labels: Sequence[str]) -> dict[str, float | None]:
    folder = workspace.folder(recipe.name)
    manifest = make_manifest(recipe, workspace, {"fp32": folder / "fp32.onnx"})
    student = Student(Bundle(folder, manifest, "fp32"), OnnxBackend(folder / "fp32.onnx"))
    found = evaluate(student, data, labels)
    found |= fewshot_scores(
        student, [open_source(source, workspace, recipe.network.bands) for source in recipe.held_out]
    )
    return {name: found[name] for name in MEASURES if name in found}


def summary(
    recipe: Recipe, data: DataSet, seeds: int, scores: Mapping[str, Sequence[Mapping[str, float | None]]]
) -> dict[str, Any]:
    """The result of an ablation, as `--json` prints it and the model card shows it.

    Args:
        recipe: the whole.
        data: what was scored.
        seeds: how many.
        scores: by what was left out, one for each seed.

    Returns:
        `recipe`, `steps`, `batch`, `crop_px`, `data`, `seeds`, and under `ablation`, for `full` and for each loss left
        out, every measure's `mean`, `min` and `max` over the seeds.
    """
    told = {"recipe": recipe.name, "steps": recipe.steps, "batch": recipe.batch, "crop_px": recipe.crop_px}
    table = {
        name: {measure: _spread([found[measure] for found in rows]) for measure in rows[0]}
        for name, rows in scores.items()
    }
    return told | {"data": data.name, "seeds": [recipe.seed + i for i in range(seeds)], "ablation": table}


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": statistics.fmean(known), "min": min(known), "max": max(known)}


def save_summary(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write a result into the whole run's folder.

    Raises:
        DistillError: the disk is full.
    """
    path = folder / "ablation.json"
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
    return path
