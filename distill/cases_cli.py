"""`skyloop-distill from-cases`: what people said of cases becomes part of what a student knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.display import print_table, stage_bars
from distill.errors import DataSetError, GateError
from distill.recipe import Workspace
from edge.bundle import read_manifest
from edge.config import read_toml


def from_cases(
    cases: Annotated[
        list[Path],
        typer.Argument(help="Folders with reviewed cases: a cloud's --data, or what it exported; later ones are newer"),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the new bundle goes, if it passes both gates")],
    bundle: Annotated[str, typer.Option(help="Bundle that learns, or the bundled `student`")] = "student",
    name: Annotated[str, typer.Option(help="Of the run and the new bundle; by default the old one's, counted on")] = "",
    config: Annotated[Path | None, typer.Option(help="TOML file, see docs/learning.md")] = None,
    teacher: Annotated[str, typer.Option(help="Bundle that answers on the ground, for hardness.json")] = "teacher",
    data: Annotated[Path, typer.Option("--data", help="Folder that holds the old data sets")] = Path("../shared/data"),
    runs: Annotated[Path, typer.Option("--runs", help="Folder for checkpoints, curves and renders")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Fine-tune a student on reviewed cases, with replay of its old data, and write its new bundle.

    The bundle has to pass the parity gate, and may lose at most a point of AP50 on any class it knew. Where it does
    not, --out stays as it is, and the exit code is 1.

    Example: skyloop-distill from-cases skyloop-data --out student-2
    """
    from distill.evaluate import bundle_folder
    from distill.fine_tune import FineTuning, Order, fine_tune, next_name

    for given in cases:
        if not given.is_dir():
            raise DataSetError(f"{given}: no such folder; give a cloud's data folder, or what it exported as COCO")
    folder = bundle_folder(bundle)
    settings = read_toml(config, FineTuning) if config else FineTuning()
    chosen = name or next_name(read_manifest(folder).name)
    order = Order(tuple(cases), folder, chosen, out, bundle_folder(teacher), settings)
    with stage_bars() as on_stage:
        result = fine_tune(order, Workspace(data, runs), on_stage)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _print(result)
    if faults := [*result["parity"]["faults"], *result["retention"]["faults"]]:
        raise GateError(f"{chosen}: may not fly: {'; '.join(faults)}. It lies in {result['bundle']}, not in {out}")


def _print(result: Mapping[str, Any]) -> None:
    cases = result["cases"]
    boxes = ", ".join(f"{count} {label}" for label, count in cases["boxes"].items())
    typer.echo(f"learnt from {cases['pictures']} reviewed pictures ({cases['gray']} gray): {boxes}")
    if cases["too_few"]:
        too_few = ", ".join(f"{label} ({count})" for label, count in cases["too_few"].items())
        typer.echo(f"not learnt, of too few boxes or not asked for: {too_few}")
    rows = [
        (label, name, row["boxes"], _points(row["before"]), _points(row["after"]))
        for name, found in result["retention"]["sets"].items()
        for label, row in found.items()
    ]
    print_table(f"{result['name']}: AP50 before and after", ("label", "held out", "boxes", "before", "after"), rows)
    for gate in ("parity", "retention"):
        typer.echo(f"{gate} gate: {'passed' if result[gate]['passed'] else 'FAILED'}")
    if result["passed"]:
        typer.echo(f"{result['bundle']}: complete; publish it with `skyloop-cloud bundles publish`")


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
