"""`skyloop-sim`: the demo, scenarios, renders for training, benchmarks."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from edge.entry import fail, run_program
from sim.bench_cli import bench_app
from sim.compare_cli import compare
from sim.display import Display, console, quiet_logs
from sim.errors import OptionError
from sim.link_cli import link
from sim.mission_cli import mission
from sim.processes import end_children_on_sigterm
from sim.render_cli import render
from sim.seed_option import parse_seed

if TYPE_CHECKING:
    from sim.day.settings import SatelliteDay

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Try skyloop on this machine: simulated flights with the real edge and the real cloud.\n\n"
    "Start with:  skyloop-sim demo",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench_app, name="bench")
app.command()(mission)
app.command()(compare)
app.command()(render)
app.command()(link)

# None: an image library that says no more than that it could not write.
_OUTPUT_ERRNOS = (None, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR)

Bundle = Annotated[Path | None, typer.Option(help="Student bundle; by default the one in the package")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program")]


def main() -> None:
    """Entry point: one clear line and an exit code for every error we foresee; see `edge.entry`."""
    try:
        run_program(app)
    except OSError as exc:
        if exc.errno not in _OUTPUT_ERRNOS:
            raise
        where = exc.filename or "the output folder"
        fail(f"{where}: {exc.strerror}; free some space or choose another --out" if exc.errno else str(exc))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Output folder; an earlier demo there is replaced")] = Path("demo-out"),
    seconds: Annotated[float, typer.Option(min=8, max=600, help="Length of the flight")] = 30.0,
    seed: Annotated[str, typer.Option(help="Another seed is another town and another flight")] = "1",
    bundle: Bundle = None,
    teacher: Annotated[
        str, typer.Option(help="`bundled`, or one of docs/teachers.md (bundle, .onnx, .toml)")
    ] = "bundled",
    as_json: AsJson = False,
) -> None:
    """Close the loop: edge and cloud as two real processes on one flight over a town that an earthquake strikes.

    Writes report.html, report.json, video.mp4, figures and logs; exit code 1 when the loop did not close.

    Example:  skyloop-sim demo --seed 3 --out demo-3
    """
    from sim.demo import DemoOptions, run_demo

    quiet_logs()
    end_children_on_sigterm()
    report = run_demo(DemoOptions(out, seconds, parse_seed(seed), bundle, teacher), Display())
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _print_report(report, out)


@app.command()
def scenarios(as_json: AsJson = False) -> None:
    """List the bundled scenarios. Example: skyloop-sim scenarios."""
    from sim.day.loader import bundled_days, day_text, parse_day
    from sim.scenario import bundled_names, find_scenario

    found = [find_scenario(name) for name in bundled_names()]
    days = [parse_day(day_text(name), name) for name in bundled_days()]
    if as_json:
        keys = ("name", "description", "seconds", "fps")
        rows = [{**item.model_dump(include=set(keys)), "craft": [c.name for c in item.craft]} for item in found]
        none = {"seconds": None, "fps": None}
        rows += [{"name": day.name, "description": day.description, **none, "craft": [day.craft]} for day in days]
        typer.echo(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("name", "craft", "seconds", "what it shows"):
        table.add_column(name, justify="right" if name in ("craft", "seconds") else "left")
    for item in found:
        table.add_row(item.name, str(len(item.craft)), f"{item.seconds:g}", item.description)
    for day in days:
        table.add_row(day.name, "1", "a day", day.description)
    console.print(table, highlight=False)


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A bundled scenario's name, or a TOML file")],
    seed: Annotated[str, typer.Option(help="Same scenario and seed, same frames and same event log")] = "1",
    out: Annotated[Path | None, typer.Option(help="Output folder, an earlier run there is replaced; NAME-out")] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            help="Seconds of flight in one second, 1 by default; `max` is as fast as this machine can fly it. Of a "
            "satellite's day: seconds of a pass in one second, by default the file's"
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Show the flight on a page, and in a window if there is one")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fly a scenario with the real edge and the real cloud over a simulated link.

    Writes report.html, run.json, events.jsonl, the frames, and what edge and cloud leave behind.

    Example:  skyloop-sim run disaster --seed 3 --live
    """
    from sim.day.loader import find_run
    from sim.live import LiveView
    from sim.runner import RunOptions, run_scenario
    from sim.scenario import Scenario

    quiet_logs()
    end_children_on_sigterm()
    found = find_run(scenario)
    out = out or Path(f"{found.name}-out")
    if not isinstance(found, Scenario):
        _run_day(found, DayRequest(scenario, parse_seed(seed), out, speed, live), as_json=as_json)
        return
    options = RunOptions(found, parse_seed(seed), out, scenario, parse_speed(speed or "1"))
    report = run_scenario(options, Display(), LiveView() if live else None)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _print_run(report, options.out)


class DayRequest(NamedTuple):
    """What the command line says about a satellite's day."""

    origin: str
    seed: int
    out: Path
    speed: str | None
    live: bool


def _run_day(day: SatelliteDay, asked: DayRequest, *, as_json: bool) -> None:
    from sim.day.run import DayOptions, require_checks, run_day

    if asked.live:
        raise OptionError("--live: a satellite's day has no video to watch; leave it out")
    options = DayOptions(day, asked.seed, asked.out, asked.origin, parse_pass_speed(asked.speed))
    report = run_day(options, Display())
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _print_day(report, asked.out)
    require_checks(report, asked.out)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the scenario: lower-case letters, digits and hyphens")],
    out: Annotated[Path | None, typer.Option(help="The file; default NAME.toml")] = None,
) -> None:
    """Write a new scenario file in which every key is explained. Example: skyloop-sim new my-flight."""
    from sim.scenario.loader import new_scenario

    path = out or Path(f"{name.removesuffix('.toml')}.toml")
    new_scenario(name, path)
    typer.echo(f"{path}; fly it with: skyloop-sim run {path}")


def parse_pass_speed(text: str | None) -> float | None:
    """How fast the passes of a satellite's day are flown; None is as its file says.

    Raises:
        OptionError: it is no number, or out of range.
    """
    if text is None:
        return None
    low, high = 1.0, 60.0
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not low <= speed <= high:
        raise OptionError(f"--speed {text!r} is not a number from {low:g} to {high:g}; a satellite's day takes one")
    return speed


def parse_speed(text: str) -> float | None:
    """How fast a flight passes; None is as fast as can be.

    Raises:
        OptionError: it is no number, or out of range.
    """
    from sim.hurry import FASTEST

    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0.1 <= speed <= FASTEST:
        raise OptionError(f"--speed {text!r} is not a number from 0.1 to {FASTEST:g}; give one, or `max`")
    return speed


def _print_report(report: dict[str, Any], out: Path) -> None:
    from sim.report import requirements

    table = Table(title=f"The loop closed: {report['cases_sent']} cases, {report['prompts_applied']} prompt updates")
    table.add_column("measure")
    table.add_column("here", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("")
    for item in requirements(report):
        table.add_row(item.name, item.value, item.limit, "[green]pass[/green]" if item.is_met else "[red]fail[/red]")
    console.print(table)
    typer.echo(f"open {out / 'report.html'} and {out / 'video.mp4'}")


def _print_day(report: dict[str, Any], out: Path) -> None:
    table = Table(title=f"{report['scenario']}, seed {report['seed']}, {report['wall_s']:.0f} s")
    for name in ("measure", "here", "limit", ""):
        table.add_column(name, justify="right" if name in ("here", "limit") else "left")
    for item in report["checks"]:
        verdict = "[green]pass[/green]" if item["is_met"] else "[red]fail[/red]"
        table.add_row(item["name"], item["value"], item["limit"], verdict)
    console.print(table)
    typer.echo(f"open {out / 'report.html'}; on a map: {out / 'edge' / 'detections.geojson'}")


def _print_run(report: dict[str, Any], out: Path) -> None:
    speed = "" if report["speed"] == 1 else f", flown {report['speed']:g} times as fast"
    table = Table(title=f"{report['scenario']}, seed {report['seed']}, {report['wall_s']:.0f} s{speed}")
    for name in ("craft", "frames", "cases sent", "kB up", "kB down", "prompt updates", "loop p50 (ms)", "learned"):
        table.add_column(name, justify="left" if name in ("craft", "learned") else "right")
    for name, craft in report["craft"].items():
        wire, loop = craft["bytes_on_the_wire"], craft["loop_ms"]["p50"]
        kilobytes = [f"{wire[direction] / 1000:.0f}" for direction in ("edge_to_cloud", "cloud_to_edge")]
        counts = [str(craft["frames"]), str(craft["cases_sent"]), *kilobytes, str(craft["prompts_applied"])]
        learned = ", ".join(craft["labels_learned"]) or "-"
        table.add_row(name, *counts, "-" if loop is None else f"{loop:.0f}", learned)
    console.print(table)
    typer.echo(f"open {out / 'report.html'}; event log {report['events_sha256'][:16]}")
