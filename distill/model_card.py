"""`MODEL_CARD.md`: what a bundle is, what it learnt from and what it reaches, from its manifest alone.

Headings follow Mitchell et al., "Model Cards for Model Reporting", 2019, arXiv:1810.03993, as far as they apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge.bundle import Manifest

CARD_NAME, CURVES_NAME = "MODEL_CARD.md", "curves.png"
PARITY_HEAD = ("file", "measure", "FP32", "INT8")
_REPORTED = ("map50", "ap50_small", "fewshot_ap50")


def model_card(manifest: Manifest, *, has_curves: bool) -> str:
    """The card as Markdown.

    Args:
        manifest: of the bundle; its `metrics` may hold `parity` (the gate's report) and `measured` (numbers by the
            command that measured them).
        has_curves: the bundle holds the training curves as a picture.
    """
    recipe = manifest.training.get("recipe", {})
    parts = [
        f"# {manifest.name}",
        f"A detector for {', '.join(manifest.labels)} and for things without a name: objectness and boxes of no class, "
        f"and an embedding of {manifest.embedding_dim} numbers on a grid of {manifest.stride_px} px that few-shot "
        f"prompts are matched in (space `{manifest.space_id}`). Input: {manifest.bands} bands ({manifest.band_order}), "
        "8 bit, any size.",
        "## Files",
        _table(("file", "kB", "made for"), _files(manifest)),
        "## Intended use",
        "Nadir and oblique images from drones, visible light or heat. It names candidates for "
        "a person or a larger model to confirm; it is not made to identify people, and no decision about a person "
        "should rest on it alone.",
        *(("## Licence", f"{manifest.license}; the training data have their own, below.") if manifest.license else ()),
        "## Training data",
        _table(("set", "images", "SHA-256 of names, sizes and boxes"), _sets(manifest)),
        "\n".join(f"- {line}" for line in manifest.training.get("attribution", ())),
        "## Training",
        _table(("setting", "value"), _settings(recipe)),
    ]
    if has_curves:
        parts.append(f"![Losses over the steps]({CURVES_NAME})")
    if parity := parity_rows(manifest.metrics.get("parity", {})):
        parts += ["## INT8 against FP32", _table(PARITY_HEAD, parity)]
    if measured := manifest.metrics.get("measured"):
        parts += ["## What it reaches", *(f"`{command}`\n\n{_nested(found)}" for command, found in measured.items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _files(manifest: Manifest) -> list[tuple[object, ...]]:
    rows = [(v.file, v.size_bytes, ", ".join(v.suits)) for v in manifest.variants.values()]
    rows += [(v.file, v.size_bytes, f"{use}, beside the network") for use, v in manifest.extras.items()]
    return [(file, round(size / 1000), use) for file, size, use in rows]


def _sets(manifest: Manifest) -> list[tuple[object, ...]]:
    return [
        (name, found.get("images", "-"), f"`{str(found.get('sha256', '-'))[:16]}`")
        for name, found in manifest.training.get("data", {}).items()
    ]


def _settings(recipe: Mapping[str, Any]) -> list[tuple[object, ...]]:
    names = ("init", "teacher", "steps", "batch", "crop_px", "learning_rate", "seed", "loss_weights")
    return [(name, recipe[name]) for name in names if recipe.get(name) is not None]


def parity_rows(parity: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """The gate's report by file as lines of a table under `PARITY_HEAD`."""
    rows: list[tuple[object, ...]] = []
    for name, report in parity.items():
        rows.append((name, "embedding, mean cosine", "", f"{report['mean_cosine']:.4f}"))
        rows.append((name, "embedding, 1st percentile", "", f"{report['p01_cosine']:.4f}"))
        rows.append((name, "convolutions run as integers", "", _of(report)))
        for what in _REPORTED:
            before, after = (report[when].get(what) for when in ("before", "after"))
            if before is not None:
                label = f"{what} ({report['before']['fewshot_label']})" if what == "fewshot_ap50" else what
                rows.append((name, label, f"{before:.3f}", f"{after:.3f}"))
    return rows


def _of(report: Mapping[str, Any]) -> str:
    return f"{report['integer_convolutions']} of {report['convolutions']}"


def _nested(found: Mapping[str, Any]) -> str:
    """Numbers by name, dictionaries flattened to dotted names; an ablation is a table of its own."""
    plain = {name: value for name, value in found.items() if name != "ablation"}
    tables = [_table(("measure", "value"), list(_flat(plain, "")))] if plain else []
    if "ablation" in found:
        head, *rows = ablation_rows(found["ablation"])
        tables.append(_table(head, rows))
    return "\n\n".join(tables)


def ablation_rows(ablation: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The result of `skyloop-distill ablate` as lines of a table, its head first.

    Args:
        ablation: measures by what was left out, `full` first; each None or its mean, min and max over the seeds.
    """
    measures = list(next(iter(ablation.values())))
    lines = [("left out", *measures)]
    for name, row in ablation.items():
        lines.append(("nothing" if name == "full" else name, *(_spread(row.get(measure)) for measure in measures)))
    return lines


def _spread(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "-"
    is_one = found["min"] == found["max"]
    return f"{found['mean']:.3f}" if is_one else f"{found['mean']:.3f} ({found['min']:.3f} to {found['max']:.3f})"


def _flat(found: Mapping[str, Any], prefix: str) -> Iterable[tuple[object, ...]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "-" if value is None else value
