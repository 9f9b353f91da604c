"""`skyloop-sim mission`: a fleet of many craft over hours or days, without imagery, in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from sim.display import Display, console
from sim.errors import OutputError, ScenarioError
from sim.run_folder import check_free, make_ready
from sim.seed_option import parse_seed

MISSIONS = Path(__file__).parent / "missions"

EVENTS_FILE, SUMMARY_FILE, FIGURE_FILE = "events.jsonl", "summary.json", "mission.png"
_HEADS = ("craft", "captures", "sent", "dropped", "MB sent", "windows", "prompts", "p50", "p99", "battery")


def mission(
    file: Annotated[Path, typer.Argument(help="Mission file, or the name of a bundled one: constellation")],
    seed: Annotated[str, typer.Option(help="Another seed is another run of captures; the orbits stay")] = "1",
    out: Annotated[Path, typer.Option(help="Output folder; an earlier mission there is replaced")] = Path(
        "mission-out"
    ),
    hours: Annotated[float | None, typer.Option(help="Simulate so many hours instead of the file's")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON for a program")] = False,
    template: Annotated[
        bool, typer.Option("--template", help="Print the mission file with its comments, and end")
    ] = False,
) -> None:
    """Simulate many craft for days: orbits, contact windows, budgets, spools, prompts, batteries; no imagery.

    Captures and their hardness are drawn from the seed; what becomes of them follows the real scheduler's and spool's
    rules. Writes events.jsonl (the same seed gives the same bytes), summary.json and mission.png.

    Start with the bundled ten craft, two days:  skyloop-sim mission constellation

    Then write your own; the bundled file explains every key:

    skyloop-sim mission constellation --template > mine.toml

    skyloop-sim mission mine.toml --seed 3 --hours 12 --out mine
    """
    from sim.mission import load_mission, run_mission, summarize

    if template:
        typer.echo(_find(file).read_text(), nl=False)
        return
    number = parse_seed(seed)
    settings = load_mission(_find(file))
    check_free(out, "mission")
    display = Display()
    length_h = settings.hours if hours is None else hours
    with display.stage(f"simulating {len(settings.craft)} craft for {length_h:g} h", 1000) as advance:
        result = run_mission(
            settings, number, hours, lambda done_h: advance(round(1000 * done_h / length_h), f"{done_h:.1f} h")
        )
    summary = summarize(result)
    make_ready(out, "mission", "skyloop-sim mission")
    try:
        with display.stage("writing"):
            _write(out, result, summary)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise OutputError(f"{out}: cannot be written ({reason}); free some space or choose another --out") from exc
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        _print(summary, out)


def bundled_missions() -> list[str]:
    """Names of the mission files in the package."""
    return sorted(path.stem for path in MISSIONS.glob("*.toml"))


def _find(file: Path) -> Path:
    from sim.day.loader import bundled_days
    from sim.scenario import bundled_names
    from sim.scenario.near import nearest

    if file.exists():
        return file
    bundled = MISSIONS / f"{file}.toml"
    if len(file.parts) == 1 and bundled.exists():
        return bundled
    if file.suffix == ".toml" or len(file.parts) > 1:
        raise ScenarioError(f"{file}: no such file; begin one with `skyloop-sim mission constellation --template`")
    if str(file) in (*bundled_names(), *bundled_days()):
        raise ScenarioError(f"{file} is a scenario; use `skyloop-sim run {file}`")
    raise ScenarioError(
        f"mission {str(file)!r} is not known; {nearest(str(file), bundled_missions())}, or give a file's path"
    )


def _write(out: Path, result: Any, summary: dict[str, Any]) -> None:  # noqa: ANN401  (MissionResult, loaded lazily)
    from sim.mission import draw_mission, write_events

    write_events(result.events, out / EVENTS_FILE)
    (out / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    draw_mission(result, out / FIGURE_FILE)


def _print(summary: dict[str, Any], out: Path) -> None:
    title = f"{summary['mission']}: {summary['hours']:g} h, seed {summary['seed']}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False)  # fits 80 columns
    for head in _HEADS:
        table.add_column(head, justify="left" if head == "craft" else "right")
    for row in [*summary["craft"], {**summary["overall"], "name": "all"}]:
        table.add_row(*_cells(row), end_section=row is summary["craft"][-1])
    console.print(table)
    typer.echo("windows: used / all; p50, p99: time from capture to prompt; battery: least charge")
    typer.echo(f"digest {summary['digest']}\nopen {out / FIGURE_FILE}")


def _cells(row: dict[str, Any]) -> list[str]:
    latency = row["latency_s"]
    return [
        row["name"],
        *(str(row[key]) for key in ("captures", "sent", "dropped")),
        f"{row['sent_bytes'] / 1e6:.1f}",
        f"{row['windows_used']}/{row['windows']}",
        str(row["prompts"]),
        _time(latency["p50"]),
        _time(latency["p99"]),
        f"{100 * row['min_battery_share']:.0f} %",
    ]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
