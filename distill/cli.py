"""`skyloop-distill`: train a teacher, distil a student, quantize it, write its bundle, evaluate either."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from distill.errors import DistillError
from distill.model_card import CARD_NAME
from distill.recipe import Recipe, Workspace, open_source
from edge.config import read_toml
from edge.entry import run_program
from edge.tiling import MIN_TILE_PX

app = typer.Typer(
    no_args_is_help=True,
    help="Turn a large teacher into a small student that flies.\n\n"
    "The bundled models come from: skyloop-sim render (once for each mix), then "
    "skyloop-distill train-teacher distill/recipes/teacher.toml, skyloop-distill distill distill/recipes/student.toml, "
    "then quantize and bundle.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
error_console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)

Config = Annotated[Path, typer.Argument(help="Recipe, for example distill/recipes/student.toml")]
DataRoot = Annotated[Path, typer.Option("--data", help="Folder that holds the real data sets (hit_uav, …)")]
RunsRoot = Annotated[Path, typer.Option("--runs", help="Folder for checkpoints, curves and renders")]
DATA_DEFAULT, RUNS_DEFAULT = Path("../shared/data"), Path("runs")


def main() -> None:
    """Entry point: one clear line and an exit code for every error we foresee; see `edge.entry`."""
    run_program(app)


@app.command("train-teacher")
def train_teacher(config: Config, data: DataRoot = DATA_DEFAULT, runs: RunsRoot = RUNS_DEFAULT) -> None:
    """Train a teacher (supervised), and the runs it starts from, and export it as ONNX.

    Example: skyloop-distill train-teacher distill/recipes/teacher.toml --data ../shared/data
    """
    recipe = read_toml(config, Recipe)
    if recipe.teacher:
        raise DistillError(f"{config}: names a teacher; use `skyloop-distill distill` for it")
    _train_chain(config, Workspace(data, runs))


@app.command()
def distill(config: Config, data: DataRoot = DATA_DEFAULT, runs: RunsRoot = RUNS_DEFAULT) -> None:
    """Train a student, from its teacher where the recipe names one, and export it as ONNX.

    Runs that the recipe needs (its teacher, its starting weights) and that do not exist yet are trained first.
    """
    _train_chain(config, Workspace(data, runs))


def _train_chain(config: Path, workspace: Workspace, above: tuple[str, ...] = ()) -> None:
    """Train what a recipe needs, then the recipe; finished runs are kept. `above` are the runs that wait for it."""
    from distill.bundle import export_run

    recipe = read_toml(config, Recipe)
    if recipe.name in above:
        raise DistillError(f"{config}: needs itself ({' → '.join((*above, recipe.name))}); change an init or teacher")
    for needed in (recipe.init, recipe.teacher):
        if needed and not workspace.weights(needed).is_file():
            _train_chain(config.with_name(f"{needed}.toml"), workspace, (*above, recipe.name))
    if workspace.weights(recipe.name).is_file():
        error_console.print(f"{recipe.name}: already trained, kept; delete {workspace.folder(recipe.name)} to repeat")
    else:
        _train_with_progress(recipe, workspace)
    path = export_run(recipe, workspace)
    error_console.print(f"{recipe.name}: exported to {path}")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=error_console,
    )


def _train_with_progress(recipe: Recipe, workspace: Workspace) -> None:
    from distill.train import train

    with _training(recipe.name, recipe.steps) as show:
        train(recipe, workspace, show)


@contextmanager
def _training(name: str, steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A bar of a training run; yields what to call after each step."""
    with _progress() as progress:
        task = progress.add_task(name, total=steps)

        def show(step: int, losses: dict[str, float]) -> None:
            if step % 10 == 0:
                text = " ".join(f"{loss} {value:.2f}" for loss, value in losses.items())
                progress.update(task, completed=step, description=f"{name}: {text}")

        yield show


@app.command()
def match(
    config: Annotated[Path, typer.Argument(help="Recipe, for example distill/recipes/teacher-match.toml")],
    into: Annotated[Path | None, typer.Option("--into", help="Bundle of the same network that gets the head")] = None,
    data: DataRoot = DATA_DEFAULT,
    runs: RunsRoot = RUNS_DEFAULT,
) -> None:
    """Train the head that finds a thing again which a chip shows, on a trained network, and export it as ONNX.

    Example: skyloop-distill match distill/recipes/teacher-match.toml --into cloud/bundles/teacher
    """
    from distill.match_export import add_match, export_match
    from distill.match_training import MatchRecipe, train_match

    recipe, workspace = read_toml(config, MatchRecipe), Workspace(data, runs)
    if recipe.weights(workspace).is_file():
        error_console.print(f"{recipe.name}: already trained, kept; delete {workspace.folder(recipe.name)} to repeat")
    else:
        with _training(recipe.name, recipe.steps) as show:
            train_match(recipe, workspace, show)
    path = export_match(recipe, workspace)
    error_console.print(f"{recipe.name}: exported to {path}")
    if into is not None:
        add_match(recipe, workspace, into)
        typer.echo(f"{into}: {path.name}, {path.stat().st_size / 1e6:.2f} MB")


@app.command()
def quantize(config: Config, data: DataRoot = DATA_DEFAULT, runs: RunsRoot = RUNS_DEFAULT) -> None:
    """Quantize a trained run to INT8 (QDQ; U8S8 for CPUs, S8S8 for TensorRT) and check what it kept of the original."""
    from distill.quantize import quantize_run

    typer.echo(json.dumps(quantize_run(read_toml(config, Recipe), Workspace(data, runs))))


@app.command()
def bundle(
    config: Config,
    out: Annotated[Path | None, typer.Option("--out", help="Bundle folder; by default <runs>/<name>/bundle")] = None,
    data: DataRoot = DATA_DEFAULT,
    runs: RunsRoot = RUNS_DEFAULT,
) -> None:
    """Write the bundle of a trained run: ONNX files, digests, labels, training data and their attribution."""
    from distill.bundle import write_bundle
    from distill.calibrate import calibrate_bundle

    recipe, workspace = read_toml(config, Recipe), Workspace(data, runs)
    folder = out or workspace.folder(recipe.name) / "bundle"
    parity = workspace.folder(recipe.name) / "parity.json"
    metrics: dict[str, Any] = {"parity": json.loads(parity.read_text())} if parity.is_file() else {}
    manifest = write_bundle(recipe, workspace, folder, metrics)
    if recipe.held_out:
        manifest = calibrate_bundle(folder, [open_source(source, workspace) for source in recipe.held_out])
    size = sum(entry.size_bytes for entry in manifest.variants.values())
    typer.echo(f"{folder}: {', '.join(manifest.variants)}, {size / 1e6:.2f} MB, space {manifest.space_id}")


@app.command()
def card(
    bundle: Annotated[str, typer.Argument(help="Bundle folder, or the bundled `student` or `teacher`")],
    command: Annotated[str, typer.Option(help="What was typed to measure the numbers")],
    numbers: Annotated[Path, typer.Option(help="JSON file with what it printed; - reads standard input")],
) -> None:
    """Write measured numbers into a bundle's manifest and model card, beside the command that measures them.

    Example: skyloop-sim bench models --json > found.json, then
    skyloop-distill card student --command "skyloop-sim bench models" --numbers found.json
    """
    from distill.bundle import add_measurements
    from distill.evaluate import bundle_folder

    folder = bundle_folder(bundle)
    try:
        found = json.loads(sys.stdin.read() if str(numbers) == "-" else numbers.read_text())
    except (OSError, ValueError) as exc:
        raise DistillError(f"{numbers}: no readable JSON ({exc}); give what the command printed with --json") from exc
    if not isinstance(found, dict):
        raise DistillError(f"{numbers}: holds no table of numbers; give what the command printed with --json")
    add_measurements(folder, command, found)
    typer.echo(f"{folder / CARD_NAME}")


@app.command()
def evaluate(
    bundle_or_teacher: Annotated[str, typer.Argument(help="Bundle folder, or the bundled `student` or `teacher`")],
    data: Annotated[Path, typer.Option("--data", help="HIT-UAV, COCO or YOLO folder")] = DATA_DEFAULT / "hit_uav",
    split: Annotated[str, typer.Option(help="val or dev (COCO folders: all)")] = "val",
    only: Annotated[str, typer.Option(help="Shell patterns of the file names to score, with commas")] = "",
    variant: Annotated[str | None, typer.Option(help="Which file of the bundle, for example fp32")] = None,
    labels: Annotated[
        str, typer.Option(help="Scored classes; every other box is an ignore region")
    ] = "Person,Car,Bicycle",
    threads: Annotated[int, typer.Option(help="ONNX Runtime threads; 0 is all cores")] = 0,
    tile: Annotated[
        int | None,
        typer.Option(min=MIN_TILE_PX, help="Look at larger images in overlapping tiles of this side, pixels"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Score a student or teacher: AP50 per class, mAP50, mAP50-95, milliseconds per image, file sizes.

    Example: skyloop-distill evaluate student --data ../shared/data/hit_uav --split val
    """
    from distill.dataset import read_data_set
    from distill.evaluate import bundle_folder
    from distill.evaluate import evaluate as score
    from edge.bundle import load_bundle
    from edge.tiling import open_student

    data_set = read_data_set(data, split).named(_listed(only))
    student = open_student(load_bundle(bundle_folder(bundle_or_teacher), variant), threads=threads, tile_px=tile)
    with _progress() as progress:
        task = progress.add_task("evaluating", total=len(data_set))
        advance: Callable[[int], None] = lambda _: progress.advance(task)  # noqa: E731
        result = score(student, data_set, _listed(labels), advance)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _print_scores(result)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _print_scores(result: dict[str, Any]) -> None:
    table = Table(title=f"{result['bundle']} ({result['variant']}) on {result['data']}, {result['images']} images")
    table.add_column("measure")
    table.add_column("value", justify="right")
    rows = {f"AP50 {label}": value for label, value in result["ap50"].items()}
    rows |= {"mAP50": result["map50"], "mAP50-95": result["map50_95"], "mAP50 under 16x16 px": result["ap50_small"]}
    for name, value in rows.items():
        table.add_row(name, "no such box" if value is None else f"{value:.3f}")
    table.add_row("ms per image", f"{result['ms_per_image']:.1f}")
    for name, size in result["file_bytes"].items():
        table.add_row(f"{name} file", f"{size / 1e6:.2f} MB")
    Console().print(table)
