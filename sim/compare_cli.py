"""`skyloop-sim compare`: the measures of two runs side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from sim.display import console, error_console

if TYPE_CHECKING:
    from sim.compare import Comparison, Setting

MAX_SETTINGS = 12
Folder = Annotated[Path, typer.Argument(help="Folder of a run or of a demo")]


def compare(
    run_a: Folder,
    run_b: Folder,
    out: Annotated[Path | None, typer.Option(help="Write a page with the curves of both runs to this file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program")] = False,
) -> None:
    """Compare two runs: frame rate, cases, bytes, prompts, loop latency, recall, power.

    Runs of different scenarios are compared too, with a warning.

    Example:  skyloop-sim compare disaster-1 disaster-2 --out both.html
    """
    from sim.compare import compare_runs, read_run
    from sim.compare_page import write_comparison

    comparison = compare_runs(read_run(run_a), read_run(run_b))
    if out is not None:
        write_comparison(out, comparison)
    if as_json:
        typer.echo(json.dumps(comparison.as_json()))
        return
    _print(comparison)
    if out is not None:
        typer.echo(f"open {out}")


def _print(comparison: Comparison) -> None:
    from sim.compare_page import change, shown

    for line in comparison.warnings:
        error_console.print(f"[yellow]warning:[/yellow] {escape(line)}", highlight=False)
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        words = f"({run.scenario}, seed {run.seed}, speed {run.speed:g})"
        console.print(f"{name}: {escape(str(run.folder))} {words}", highlight=False)
    _print_settings(comparison.settings)
    for name, rows in comparison.rows.items():
        table = _table(name, "measure", "A", "B", "B - A")
        for row in rows:
            values = [shown(row.a, row.digits), shown(row.b, row.digits), change(row.difference, row.digits)]
            table.add_row(row.measure, *(f"  {text}" for text in values))
        console.print(table, highlight=False)


def _print_settings(settings: Sequence[Setting]) -> None:
    """The settings that differ, as many as leave the measures in sight."""
    if not settings:
        return
    table = _table("settings that differ", "setting", "A", "B")
    for item in settings[:MAX_SETTINGS]:
        table.add_row(escape(item.key), *(f"  {escape(text or '-')}" for text in (item.a, item.b)))
    console.print(table, highlight=False)
    if len(settings) > MAX_SETTINGS:
        console.print(f"{len(settings) - MAX_SETTINGS} more: see --out or --json", highlight=False)


def _table(title: str, first: str, *others: str) -> Table:
    """A table whose first column is words and whose others are values, right-aligned."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False, title_justify="left")
    table.add_column(first)
    for head in others:
        table.add_column(f"  {head}", justify="right", min_width=len(head) + 2)
    return table
