"""`skyloop-cloud export`: reviewed cases as a data set for `distill/` and other trainers."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cloud.errors import RequestError
from cloud.export import Exported, Layout, export
from cloud.options import AsJson, Data, opened_store, progress_bar
from cloud.reviewed import reviewed_cases, taught_cases


def export_cases(
    data: Data,
    out: Annotated[Path, typer.Option(help="A new folder for the data set")],
    layout: Annotated[str, typer.Option("--as", help="coco or yolo")] = "coco",
    also: Annotated[str | None, typer.Option(help="`teacher`: also what it answered and no person looked at")] = None,
    craft: Annotated[str | None, typer.Option(help="Only this craft's cases")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only cases answered since, 2026-11-22 or 2026-11-22T08:00Z")
    ] = None,
    licence: Annotated[str, typer.Option(help="Of the imagery, written beside it")] = "not stated by its owner",
    as_json: AsJson = False,
) -> None:
    """Write the cases that people reviewed as a data set, also while a server runs.

    Example: skyloop-cloud export --as coco --out cases-2026-11 --data skyloop-data
    """
    if also not in (None, "teacher"):
        raise RequestError(f"--also {also!r} is not `teacher`; leave it out for people's answers alone")
    since_s = parse_time(since) if since else 0.0
    with opened_store(data) as store:
        of_craft = store.craft(craft).name if craft else None
        cases = reviewed_cases(store, of_craft, since_s)
        if also:
            cases += taught_cases(store, of_craft, since_s)
        with progress_bar("export") as advance:
            told = export(store, cases, out, _layout(layout), licence=licence, advance=advance)
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    for line in told.left_out:
        console.print(line)
    typer.echo(json.dumps({"out": str(out), **asdict(told)}) if as_json else _summary(told, out, layout))


def parse_time(text: str) -> float:
    """The wall time of an ISO 8601 date or time; UTC where it does not say.

    Raises:
        RequestError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text.removesuffix("Z") + ("+00:00" if text.endswith("Z") else ""))
    except ValueError as exc:
        raise RequestError(f"{text[:40]!r} is no date or time; write 2026-11-22 or 2026-11-22T08:00Z") from exc
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _layout(text: str) -> Layout:
    if text == "coco":
        return "coco"
    if text == "yolo":
        return "yolo"
    raise RequestError(f"--as {text!r} is not coco or yolo")


def _summary(told: Exported, out: Path, layout: str) -> str:
    boxes = ", ".join(f"{count} {label}" for label, count in told.boxes.items()) or "no box"
    lines = [f"{told.pictures} pictures in {out}: {boxes}"]
    if told.hard_negatives or told.unjudged:
        where = "as ignored regions" if layout == "coco" else "in provenance.jsonl alone, YOLO's files cannot say them"
        lines.append(f"{told.hard_negatives} hard negatives and {told.unjudged} boxes that nobody judged, {where}")
    return "\n".join(lines)
