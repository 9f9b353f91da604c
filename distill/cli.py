"""`skyloop-distill`: train a teacher, distil a student, quantize it, write its bundle, evaluate either."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cases_cli import from_cases
from distill.display import (
    error_console,
    print_ablation,
    print_parity,
    print_scores,
    progress_bar,
    stage_bars,
    training_bar,
)
from distill.errors import DistillError
from distill.model_card import CARD_NAME
from distill.recipe import Recipe, Workspace, open_source
from edge.config import parse_range, read_toml
from edge.entry import run_program
from edge.runtime import Runtime, RuntimeRequest, open_runtime
from edge.tiling import MIN_TILE_PX

app = typer.Typer(
    no_args_is_help=True,
    help="Turn a large teacher into a small student that flies.\n\n"
    "The bundled models come from: skyloop-sim render (once for each mix), then "
    "skyloop-distill train-teacher distill/recipes/teacher.toml, skyloop-distill distill distill/recipes/student.toml, "
    "then quantize and bundle.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("from-cases")(from_cases)

Config = Annotated[Path, typer.Argument(help="Recipe, for example distill/recipes/student.toml")]
DataRoot = Annotated[Path, typer.Option("--data", help="Folder that holds the real data sets (hit_uav, …)")]
RunsRoot = Annotated[Path, typer.Option("--runs", help="Folder for checkpoints, curves and renders")]
Labels = Annotated[str, typer.Option(help="Scored classes; every other box is an ignore region")]
DATA_DEFAULT, RUNS_DEFAULT, LABELS_DEFAULT = Path("../shared/data"), Path("runs"), "Person,Car,Bicycle"


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
    recipe = read_toml(config, Recipe)
    if recipe.name in above:
        raise DistillError(f"{config}: needs itself ({' → '.join((*above, recipe.name))}); change an init or teacher")
    _train_needed(config, recipe, workspace, above)
    _train_and_export(recipe, workspace)


def _train_needed(config: Path, recipe: Recipe, workspace: Workspace, above: tuple[str, ...] = ()) -> None:
    for needed in recipe.needed_runs:
        if not workspace.weights(needed).is_file():
            if not (path := config.with_name(f"{needed}.toml")).is_file():
                raise DistillError(
                    f"{config}: needs the run {needed!r}, of which {workspace.runs} holds no weights and {path.parent} "
                    "no recipe; check its init and teacher"
                )
            _train_chain(path, workspace, (*above, recipe.name))


def _train_and_export(recipe: Recipe, workspace: Workspace) -> None:
    from distill.bundle import export_run
    from distill.weights import check_trained_by, read_card

    if workspace.weights(recipe.name).is_file():
        check_trained_by(recipe, workspace.weights(recipe.name))
        error_console.print(f"{recipe.name}: already trained, kept; delete {workspace.folder(recipe.name)} to repeat")
    else:
        _train_with_progress(recipe, workspace)
        if missing := read_card(workspace.weights(recipe.name))["labels_without_boxes"]:
            error_console.print(
                f"{recipe.name}: no box of {', '.join(missing)} in its data, so it learnt nothing of them"
            )
    path = export_run(recipe, workspace)
    error_console.print(f"{recipe.name}: exported to {path}")


@app.command()
def ablate(
    config: Config,
    left_out: Annotated[
        str, typer.Option("--without", help="Losses to leave out in turn, with commas; `distillation` is all of kd_")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of every run, counted up from the recipe's")] = 1,
    split: Annotated[str, typer.Option(help="Split of HIT-UAV to score on: dev or val")] = "dev",
    labels: Labels = LABELS_DEFAULT,
    data: DataRoot = DATA_DEFAULT,
    runs: RunsRoot = RUNS_DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Train a recipe in full and with each of its losses left out, same steps, data and seeds, and score them.

    Each run is one of `distill`, called NAME-without-LOSS: killed, it goes on; finished, it is kept. The result also
    stands in <runs>/NAME/ablation.json, for the model card of a bundle.

    Example: skyloop-distill ablate distill/recipes/ablation.toml --without distillation --seeds 3
    """
    from distill.ablation import planned, save_summary, score, summary
    from distill.recipe import Source

    recipe, workspace = read_toml(config, Recipe), Workspace(data, runs)
    plan = planned(recipe, _listed(left_out), seeds)
    scored_on = open_source(Source(path="hit_uav", split=split, weight=1.0), workspace, recipe.network.bands)
    scored_on.check_shows(_listed(labels))
    _train_needed(config, recipe, workspace)
    scores: dict[str, list[dict[str, float | None]]] = {name: [] for name in plan}
    for name, variants in plan.items():
        for variant in variants:
            _train_and_export(variant, workspace)
            scores[name].append(score(variant, workspace, scored_on, _listed(labels)))
    result = summary(recipe, scored_on, seeds, scores)
    path = save_summary(workspace.folder(recipe.name), result)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        print_ablation(result)
        error_console.print(f"{path}: give it to `skyloop-distill card` with --numbers")


def _train_with_progress(recipe: Recipe, workspace: Workspace) -> None:
    from distill.train import train

    with training_bar(recipe.name, recipe.steps) as show:
        train(recipe, workspace, show)


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
        with training_bar(recipe.name, recipe.steps) as show:
            train_match(recipe, workspace, show)
    path = export_match(recipe, workspace)
    error_console.print(f"{recipe.name}: exported to {path}")
    if into is not None:
        add_match(recipe, workspace, into)
        typer.echo(f"{into}: {path.name}, {path.stat().st_size / 1e6:.2f} MB")


@app.command()
def quantize(
    config: Config,
    data: DataRoot = DATA_DEFAULT,
    runs: RunsRoot = RUNS_DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Quantize a trained run to INT8 (QDQ; U8S8 for CPUs, S8S8 for TensorRT) and check what it kept of the original.

    Files that lost too much are not written. What was measured, layer by layer too, stands in <runs>/NAME/parity.json.

    Example: skyloop-distill quantize distill/recipes/student.toml
    """
    from distill.quantize import quantize_run

    recipe = read_toml(config, Recipe)
    with stage_bars() as show:
        report = quantize_run(recipe, Workspace(data, runs), show)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        print_parity(recipe.name, report)


@app.command()
def bundle(
    config: Config,
    out: Annotated[Path | None, typer.Option("--out", help="Bundle folder; by default <runs>/<name>/bundle")] = None,
    variants: Annotated[str, typer.Option(help="Files to ship, with commas, for example u8s8; default all")] = "",
    data: DataRoot = DATA_DEFAULT,
    runs: RunsRoot = RUNS_DEFAULT,
) -> None:
    """Write the bundle of a trained run: ONNX files, digests, labels, training data and their attribution."""
    from distill.bundle import write_bundle
    from distill.calibrate import calibrate_bundle

    recipe, workspace = read_toml(config, Recipe), Workspace(data, runs)
    folder = out or workspace.folder(recipe.name) / "bundle"
    parity = workspace.folder(recipe.name) / "parity.json"
    metrics = {"parity": _read_json(parity, "quantize the run again")} if parity.is_file() else {}
    manifest = write_bundle(recipe, workspace, folder, metrics, _listed(variants))
    if recipe.held_out:
        manifest = calibrate_bundle(
            folder, [open_source(source, workspace, recipe.network.bands) for source in recipe.held_out]
        )
    size = sum(entry.size_bytes for entry in manifest.variants.values())
    typer.echo(f"{folder}: {', '.join(manifest.variants)}, {size / 1e6:.2f} MB, space {manifest.space_id}")


@app.command()
def calibrate(
    bundle: Annotated[str, typer.Argument(help="Bundle folder, or the bundled `student`")] = "student",
    teacher: Annotated[str, typer.Option(help="Bundle that answers on the ground")] = "teacher",
    data: Annotated[Path, typer.Option("--data", help="Images that the student was not trained on")] = DATA_DEFAULT
    / "hit_uav",
    split: Annotated[str, typer.Option(help="dev (other folders: all)")] = "dev",
    labels: Annotated[bool, typer.Option(help="Right is what the data say; without, what the teacher says")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Fit what asking the cloud about a frame is worth, and keep it beside a bundle as hardness.json.

    The bundle's space and digests stay as they are. Example: skyloop-distill calibrate student
    """
    from distill.dataset import read_data_set
    from distill.evaluate import bundle_folder
    from distill.reward_fit import calibrate_reward
    from edge.bundle import load_bundle
    from edge.student import Student

    if split == "val":
        raise DistillError("split 'val' is for reporting: what is chosen on it says nothing there; give dev")
    student, answering = (Student.open(load_bundle(bundle_folder(name))) for name in (bundle, teacher))
    data_set = read_data_set(data, split)
    with progress_bar() as progress:
        task = progress.add_task("both models", total=len(data_set))
        fit = calibrate_reward(student, answering, data_set, lambda _: progress.advance(task), with_labels=labels)
    if as_json:
        typer.echo(json.dumps(fit.model.fitted | {"full": fit.model.full}))
    else:
        typer.echo(
            f"{bundle}: rank correlation {fit.model.fitted['rank_correlation_held_out']} with what the cloud put right "
            f"on flights that the fit had not seen ({len(data_set)} images)"
        )


@app.command()
def restore(
    bundle: Annotated[
        str, typer.Argument(help="Bundle folder with the variant fp32, or the bundled `student` or `teacher`")
    ],
    data: DataRoot = DATA_DEFAULT,
    runs: RunsRoot = RUNS_DEFAULT,
) -> None:
    """Make a bundle a finished run again, to start from it, learn from it or quantize it anew.

    Its batch norms are measured on the training data that its manifest names; they have to be there.

    Example: skyloop-distill restore teacher, then distill with a recipe that says teacher = "teacher"
    """
    from distill.evaluate import bundle_folder
    from distill.restore import restore as restored

    recipe, weights = restored(bundle_folder(bundle), Workspace(data, runs))
    typer.echo(f"{weights.parent}: run {recipe.name!r} as {bundle} holds it")


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
    found = _read_json(numbers, "give what the command printed with --json")
    if not isinstance(found, dict):
        raise DistillError(f"{numbers}: holds no table of numbers; give what the command printed with --json")
    add_measurements(folder, command, found)
    typer.echo(f"{folder / CARD_NAME}")


def _read_json(path: Path, cure: str) -> Any:  # noqa: ANN401 - decoded JSON
    """What a file holds, or standard input where it is called `-`."""
    try:
        return json.loads(sys.stdin.read() if str(path) == "-" else path.read_text())
    except (OSError, ValueError) as exc:
        raise DistillError(f"{path}: no readable JSON ({exc}); {cure}") from exc


@app.command()
def evaluate(
    bundle_or_teacher: Annotated[str, typer.Argument(help="Bundle folder, or the bundled `student` or `teacher`")],
    data: Annotated[Path, typer.Option("--data", help="A data set, see docs/data.md")] = DATA_DEFAULT / "hit_uav",
    split: Annotated[str, typer.Option(help="val or dev (COCO folders: all)")] = "val",
    only: Annotated[str, typer.Option(help="Shell patterns of the file names to score, with commas")] = "",
    variant: Annotated[str | None, typer.Option(help="Which file of the bundle, for example fp32")] = None,
    labels: Labels = LABELS_DEFAULT,
    runtime: Annotated[Runtime, typer.Option(help="What runs it, see docs/runtimes.md")] = Runtime.CPU,
    threads: Annotated[int, typer.Option(help="ONNX Runtime threads; 0 is all cores")] = 0,
    tile: Annotated[
        int | None,
        typer.Option(min=MIN_TILE_PX, help="Look at larger images in overlapping tiles of this side, pixels"),
    ] = None,
    pixel_range: Annotated[
        str | None, typer.Option(help="LOW,HIGH: of images with more than 8 bits, what becomes 0 and 255")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Score a student or teacher: AP50 per class, mAP50, mAP50-95, milliseconds per image, file sizes.

    Example: skyloop-distill evaluate student --data ../shared/data/hit_uav --split val
    """
    from distill.dataset import Reading, read_data_set
    from distill.evaluate import bundle_folder
    from distill.evaluate import evaluate as score
    from edge.tiling import open_student

    opened = open_runtime(bundle_folder(bundle_or_teacher), RuntimeRequest(runtime, variant, threads))
    student = open_student(opened.bundle, tile_px=tile, backend=opened.backend)
    reading = Reading(student.manifest.band_names, parse_range(pixel_range) if pixel_range else None)
    data_set = read_data_set(data, split, reading).named(_listed(only))
    data_set.check_shows(_listed(labels))
    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=len(data_set))
        advance: Callable[[int], None] = lambda _: progress.advance(task)  # noqa: E731
        result = score(student, data_set, _listed(labels), advance)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        print_scores(result)


@app.command()
def stac(folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder")]) -> None:
    """Write a bundle's STAC Item (`item.json`, extension mlm) anew; new bundles have one already.

    The manifest gets the digests of all files on the way, and the model card is made anew.
    """
    from distill.bundle import rewrite_manifest
    from distill.stac import ITEM_NAME
    from edge.bundle import read_manifest

    rewrite_manifest(folder, read_manifest(folder))
    typer.echo(f"{folder / ITEM_NAME}")


@app.command()
def engine(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder with the variants fp32 or s8s8")],
    int8: Annotated[
        bool, typer.Option("--int8/--fp16", help="INT8 from the S8S8 file, or half precision from FP32")
    ] = False,
    size: Annotated[str, typer.Option(help="Images it is tuned for, WIDTHxHEIGHT")] = "640x512",
    largest: Annotated[str, typer.Option(help="Largest images it takes, WIDTHxHEIGHT")] = "1920x1088",
    out: Annotated[Path | None, typer.Option(help="Copy the bundle here and add the engine to the copy")] = None,
) -> None:
    """Build a TensorRT engine for this machine's GPU and add it to a bundle; `skyloop-edge run` then takes it.

    Example: skyloop-distill engine my-bundle --int8
    """
    from distill.engine import EngineOptions, add_engine

    options = EngineOptions("int8" if int8 else "fp16", _size(size), _size(largest))
    built = add_engine(folder, options, out)
    typer.echo(f"{built.path}: variant {built.variant}, cosine to FP32 {built.cosine:.4f}")


def _size(text: str) -> tuple[int, int]:
    """(height, width) of `WIDTHxHEIGHT`."""
    if not re.fullmatch(r"\d{1,5}x\d{1,5}", text):
        raise DistillError(f"size {text!r}: give WIDTHxHEIGHT in pixels, for example 640x512")
    width, height = map(int, text.split("x"))
    return height, width


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
