"""What a run in progress leaves every so many steps, so that it can go on after `kill -9`."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from distill.errors import TrainingError
from distill.files import write_whole

CHECKPOINT_NAME = "checkpoint.pt"


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Replace a run's checkpoint, whole or not at all.

    Args:
        folder: of the run.
        content: the recipe as JSON under `recipe`, and what the run needs to go on.

    Raises:
        DistillError: the disk is full; the last checkpoint is still there.
    """
    buffer = BytesIO()
    torch.save(content, buffer)
    write_whole(folder / CHECKPOINT_NAME, buffer.getvalue())


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What was saved last in a run's folder, None where nothing was.

    Raises:
        TrainingError: it is damaged.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return None
    try:
        content = torch.load(path, weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as exc:
        raise TrainingError(f"{path}: damaged; delete it to train from the start") from exc
    if not (isinstance(content, dict) and "recipe" in content):
        raise TrainingError(f"{path}: is no checkpoint of a run; take it away to train from the start")
    return content


def of_another_recipe(folder: Path) -> TrainingError:
    """The error of a checkpoint that another recipe left."""
    return TrainingError(
        f"{folder / CHECKPOINT_NAME}: belongs to another recipe; give the run another `name` or delete the checkpoint"
    )
