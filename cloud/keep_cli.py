"""`skyloop-cloud prune`: what a data folder lets go, now or only told."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cloud.config import read_settings
from cloud.listings import print_table
from cloud.options import AsJson, Data, opened_store, progress_bar
from cloud.retention import PREFIXES, Retention, Step
from edge.clock import SystemClock

_WORDS = {
    "imagery": "imagery of answered cases",
    "case": "answered cases, their digests stay",
    "event": "events: who did what",
    "digest": "digests of cases that went before",
    "orphan": "imagery files without a case",
}


def prune(
    data: Data,
    config: Annotated[Path | None, typer.Option(help="TOML file of `serve`, for its table `retention`")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go")] = False,
    as_json: AsJson = False,
) -> None:
    """Let go what is older or more than the settings of retention keep, also while a server runs.

    Example: skyloop-cloud prune --data skyloop-data --dry-run
    """
    settings = read_settings(config).retention
    with opened_store(data) as store:
        retention = Retention(store, settings, SystemClock())
        steps = retention.plan() if dry_run else _go(retention)
        over = {"imagery_bytes": retention.over_bytes, "cases": retention.over_cases}
    found, freed = _counted(steps)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "gone": found, "freed_bytes": freed, "over": over}))
        return
    print_table(_table(found))
    typer.echo(f"{freed:,} bytes of imagery {'would be' if dry_run else 'are'} freed")
    if any(over.values()):
        typer.echo(
            f"{over['imagery_bytes']:,} bytes and {over['cases']:,} cases over the bounds stay: they wait, are not "
            "delivered, are reviewed or are in use"
        )


def _go(retention: Retention) -> list[Step]:
    steps, count = [], 0
    with progress_bar("let go") as advance:
        for step in retention.steps(folders=len(PREFIXES)):
            steps.append(step)
            count += step.gone.count
            advance(count, None)
    return steps


def _counted(steps: list[Step]) -> tuple[dict[str, int], int]:
    counts: Counter[str] = Counter({kind: 0 for kind in _WORDS})
    for step in steps:
        counts[step.kind] += step.gone.count
    return dict(counts), sum(step.gone.freed_bytes for step in steps)


def _table(found: dict[str, int]) -> Table:
    table = Table("what", "how many", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for kind, count in found.items():
        table.add_row(_WORDS[kind], str(count))
    return table
