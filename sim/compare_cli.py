"""`skyloop-sim compare`: the measures of two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sim.compare import Comparison

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

    console = Console(soft_wrap=True)
    for line in comparison.warnings:
        Console(stderr=True, soft_wrap=True).print(f"[yellow]warning:[/yellow] {escape(line)}", highlight=False)
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        console.print(f"{name}: {escape(str(run.folder))} ({run.scenario}, seed {run.seed})", highlight=False)
    for name, rows in comparison.rows.items():
        table = Table(title=name, box=SIMPLE_HEAD, padding=0, pad_edge=False, title_justify="left")
        for head in ("measure", "  A", "  B", "  B - A"):
            table.add_column(head, justify="left" if head == "measure" else "right", min_width=len(head))
        for row in rows:
            table.add_row(row.measure, *(f"  {text}" for text in (shown(row.a), shown(row.b), change(row.difference))))
        console.print(table, highlight=False)
