"""`skyloop-sim bench serving` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sim.display import Display, console, quiet_logs
from sim.processes import end_children_on_sigterm


def serving(
    bundle: Annotated[Path | None, typer.Option(help="Network; default the bundled student")] = None,
    side: Annotated[int, typer.Option(min=32, max=512, help="Side of the square pictures, px")] = 320,
    rounds: Annotated[int, typer.Option(min=1, help="Of each system at each concurrency")] = 5,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Of a round")] = 5.0,
    threads: Annotated[int, typer.Option(min=1, help="Of the session, of all alike")] = 1,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Most images in a run, of all alike")] = 4,
    peers: Annotated[Path, typer.Option(help="Environment that bench setup made")] = Path("runs/peers"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program")] = False,
) -> None:
    """Cases answered a second, ours beside LitServe and the bare session: the same network, pictures and threads.

    Ours goes the craft's whole way, encrypted and durable. LitServe answers over HTTP and keeps nothing.

    Example:  skyloop-sim bench setup && skyloop-sim bench serving --json
    """
    from sim.bench_serving import ServingBench, bench_serving

    quiet_logs()
    end_children_on_sigterm()
    options = ServingBench(bundle, side, rounds=rounds, seconds=seconds, threads=threads, max_batch=batch, peers=peers)
    result = bench_serving(options, Display())
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table("under way", "system", "req/s", "p50 ms", "p99 ms", "errors", box=None)
    table.title = f"{side}x{side} pictures, {threads} threads"
    for concurrency, systems in result.items():
        for name, row in systems.items():
            table.add_row(concurrency, name, *(str(value) for value in row.values()))
    console.print(table)
