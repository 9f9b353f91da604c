"""What `skyloop-distill` shows while it works and when it is done: bars on stderr, tables on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from distill.model_card import PARITY_HEAD, ablation_rows, parity_rows

error_console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)

_SHOWN_EVERY_STEPS = 10


def progress_bar() -> Progress:
    """A bar with a count and the time that remains."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=error_console,
    )


@contextmanager
def training_bar(name: str, steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A bar of a training run; yields what to call after each step, with its number and losses."""
    with progress_bar() as progress:
        task = progress.add_task(name, total=steps)

        def show(step: int, losses: dict[str, float]) -> None:
            if step % _SHOWN_EVERY_STEPS == 0:
                text = " ".join(f"{loss} {value:.2f}" for loss, value in losses.items())
                progress.update(task, completed=step, description=f"{name}: {text}")

        yield show


@contextmanager
def stage_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage of a work; yields what to call with a stage, how much of it is done, and of how much."""
    with progress_bar() as progress:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done)

        yield show


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout; all columns after the first to the right."""
    table = Table(title=title)
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


def print_scores(result: Mapping[str, Any]) -> None:
    """What `skyloop-distill evaluate` found."""
    values = {f"AP50 {label}": value for label, value in result["ap50"].items()}
    values |= {"mAP50": result["map50"], "mAP50-95": result["map50_95"], "mAP50 under 16x16 px": result["ap50_small"]}
    rows = [(name, "no such box" if value is None else f"{value:.3f}") for name, value in values.items()]
    rows.append(("ms per image", f"{result['ms_per_image']:.1f}"))
    rows += [(f"{name} file", f"{size / 1e6:.2f} MB") for name, size in result["file_bytes"].items()]
    title = f"{result['bundle']} ({result['variant']}) on {result['data']}, {result['images']} images"
    print_table(title, ("measure", "value"), rows)


def print_ablation(result: Mapping[str, Any]) -> None:
    """What `skyloop-distill ablate` found."""
    head, *rows = ablation_rows(result["ablation"])
    title = f"{result['recipe']}, {result['steps']} steps, on {result['data']}, seeds {result['seeds']}"
    print_table(title, head, rows)


def print_parity(name: str, report: Mapping[str, Any]) -> None:
    """What the gate of `skyloop-distill quantize` found."""
    print_table(f"{name}, INT8 against FP32", PARITY_HEAD, parity_rows(report))
