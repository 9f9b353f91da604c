"""Writing bundles: files, digests, manifest; whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.export import export_onnx, file_entry, space_id
from distill.files import disk_errors
from distill.model_card import CARD_NAME, CURVES_NAME, model_card
from distill.network import STRIDE_PX
from distill.recipe import INPUT_MULTIPLE_PX, Recipe, Source, Workspace
from distill.stac import ITEM_NAME, output_shapes, stac_item
from distill.weights import load_network, read_card
from edge.bundle import BGR, MANIFEST_NAME, FileDigest, Manifest, read_manifest
from edge.durable import write_durably

_SUITS = {"fp32": ("cuda", "tensorrt-rtx", "cpu"), "u8s8": ("cpu", "openvino"), "s8s8": ("tensorrt",)}

LICENSE = "Apache-2.0"
"""SPDX identifier of what is written here; training data keep the licences that `ATTRIBUTION` names."""

ATTRIBUTION = {
    "hit_uav": "HIT-UAV, Suo et al., Scientific Data 2023, doi 10.1038/s41597-023-02066-6, CC BY 4.0",
    "renders": "skyloop-sim renders, Apache-2.0",
    "runs": "cases reviewed by the operator, as kept beside the run",
    "aerial_rgb/aerial_cars": "aerial-cars-dataset, jekhor, CC BY 3.0 (KIT AIS part) and CC BY-SA",
    "aerial_rgb/brighton_beach": "drone_dataset_brighton_beach, pierotofy, BSD-2-Clause",
    "aerial_rgb/neon_trees": "DeepForest's images of NEON, weecology, MIT",
}
"""What a manifest says about each data set that weights were trained on."""


def export_run(recipe: Recipe, workspace: Workspace) -> Path:
    """Write a finished run's `fp32.onnx` beside its weights and return its path."""
    network, _ = load_network(workspace.weights(recipe.name))
    path = workspace.folder(recipe.name) / "fp32.onnx"
    export_onnx(network, path)
    return path


def write_bundle(
    recipe: Recipe,
    workspace: Workspace,
    out: Path,
    metrics: dict[str, Any] | None = None,
    variants: Collection[str] = (),
) -> Manifest:
    """Write the bundle of a finished, exported run.

    Args:
        recipe: what was trained.
        workspace: where the run lies.
        out: the bundle's folder; an older bundle there is replaced, whole or not at all.
        metrics: measurements to keep in the manifest; `parity` is the gate's report.
        variants: the files to ship; none named ships all that the run has.

    Raises:
        DistillError: the run was not exported, it lacks a variant that was named, the gate refused its INT8 files and
            none was named, `out` holds something else, or the disk is full.
    """
    run = workspace.folder(recipe.name)
    files = {name: run / f"{name}.onnx" for name in _SUITS if (run / f"{name}.onnx").is_file()}
    if "fp32" not in files:
        raise DistillError(f"{run}: holds no fp32.onnx; train the run first")
    if missing := set(variants) - set(files):
        lacking = ", ".join(sorted(missing))
        raise DistillError(f"{run}: has no {lacking}, but {', '.join(files)}; quantize it, or name these")
    if not variants and set((metrics or {}).get("parity", {})) - set(files):
        raise DistillError(
            f"{run}: the gate refused its INT8 files, see parity.json; quantize it again, or take --variants fp32"
        )
    files = {name: path for name, path in files.items() if not variants or name in variants}
    manifest = make_manifest(recipe, workspace, files, metrics)
    with disk_errors(out):
        curves = curves_of(run)
        manifest, papers = papers_of(manifest, curves)
        contents = {path.name: path.read_bytes() for path in files.values()} | curves
        replace_folder(out.resolve(), contents | papers)
    return manifest


def curves_of(folder: Path) -> dict[str, bytes]:
    """The training curves of a run or a bundle, by file name, where it has any."""
    path = folder / CURVES_NAME
    return {CURVES_NAME: path.read_bytes()} if path.is_file() else {}


def papers_of(manifest: Manifest, curves: dict[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest with the digests of what is not run, and the files made from it; the manifest's own comes last."""
    card = model_card(manifest, has_curves=bool(curves)).encode()
    digests = {name: FileDigest.of(content) for name, content in {CARD_NAME: card, **curves}.items()}
    manifest = manifest.model_copy(update={"files": digests, "outputs": output_shapes(manifest)})
    text = (manifest.model_dump_json(indent=1) + "\n").encode()
    item = (json.dumps(stac_item(manifest, text), indent=1) + "\n").encode()
    return manifest, {CARD_NAME: card, ITEM_NAME: item, MANIFEST_NAME: text}


def check_out(out: Path) -> None:
    """Refuse a folder that a bundle may not replace.

    Raises:
        DistillError: it holds something else than a bundle.
    """
    if out.exists() and not (out / MANIFEST_NAME).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise DistillError(f"{out}: exists and is no bundle, so it is not overwritten; choose another --out")


def replace_folder(out: Path, contents: dict[str, bytes]) -> None:
    """Replace a bundle's folder with these files by name, whole or not at all.

    Raises:
        DistillError: it holds something else than a bundle.
        OSError: the disk below fails.
    """
    check_out(out)
    temporary, old = out.with_name(out.name + ".tmp"), out.with_name(out.name + ".old")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, content in contents.items():
            write_durably(temporary / name, content)
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.replace(old)
        temporary.replace(out)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not out.exists():
            old.replace(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def make_manifest(
    recipe: Recipe, workspace: Workspace, files: dict[str, Path], metrics: dict[str, Any] | None = None
) -> Manifest:
    """The manifest of a finished run with some of its files."""
    weights = workspace.weights(recipe.name)
    network, labels = load_network(weights)
    card = read_card(weights)
    return Manifest(
        name=recipe.name,
        labels=labels,
        space_id=space_id(network),
        embedding_dim=network.config.embedding_dim,
        stride_px=STRIDE_PX,
        multiple_px=INPUT_MULTIPLE_PX,
        bands=len(network.config.bands),
        band_order="bgr" if network.config.bands == BGR else ",".join(network.config.bands),
        band_mean=network.config.band_mean,
        band_deviation=network.config.band_deviation,
        score_floor=recipe.score_floor,
        object_floor=recipe.object_floor,
        variants={name: file_entry(path, _SUITS[name]) for name, path in files.items()},
        license=LICENSE,
        training={
            "recipe": card["recipe"],
            "data": card["data"],
            "torch": card["torch"],
            "attribution": attribution_of(Recipe.model_validate(card["recipe"]).sources),
        },
        metrics=metrics or {},
    )


def attribution_of(sources: Iterable[Source]) -> list[str]:
    """What a manifest says about the data sets of a recipe, each once."""
    paths = {source.path if source.root == "data" else source.root for source in sources}
    said = {path: [line for name, line in ATTRIBUTION.items() if f"{path}/".startswith(f"{name}/")] for path in paths}
    return sorted({line for path, lines in said.items() for line in lines or [f"{path}: not recorded"]})


def add_measurements(folder: Path, command: str, numbers: dict[str, Any]) -> Manifest:
    """Keep what a command measured in a bundle's manifest and model card; an older measurement of it is replaced.

    Args:
        folder: the bundle.
        command: what anybody can type to measure it again.
        numbers: by name, as that command prints them with `--json`.

    Raises:
        ModelError: the folder holds no bundle.
        DistillError: the disk is full.
    """
    manifest = read_manifest(folder)
    measured = manifest.metrics.get("measured", {}) | {command: numbers}
    manifest = manifest.model_copy(update={"metrics": manifest.metrics | {"measured": measured}})
    return rewrite_manifest(folder, manifest)


def rewrite_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Replace a bundle's manifest, and the model card and the STAC Item that are made from it; return what is kept.

    Raises:
        DistillError: the disk is full.
    """
    with disk_errors(folder):
        manifest, papers = papers_of(manifest, curves_of(folder))
        for name, content in papers.items():
            write_durably(folder / name, content)
    return manifest


def copy_bundle(folder: Path, out: Path) -> Path:
    """Copy a bundle, whole or not at all, and return where to; an older bundle there is replaced.

    Raises:
        DistillError: `out` holds something else, or the disk is full.
    """
    with disk_errors(out):
        replace_folder(out.resolve(), {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    return out
