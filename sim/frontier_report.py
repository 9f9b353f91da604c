"""What `skyloop-sim bench frontier` found, as a picture and as tables."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from sim.frontier import BUDGETS, G_BUDGETS, OURS
from sim.plotting import BLUE, GREY, ORANGE, PALETTE

SPLITS = ("val", "dev")
_NAMES = {
    OURS: "ours",
    "oracle": "oracle",
    "random": "random",
    "sedna_ibt": "Sedna IBT",
    "sedna_threshold": "Sedna Threshold",
    "axonmesh_margin": "axonmesh's rule",
    "difficult_case": "DCSB-like",
    "entropy_sum": "summed entropy",
}
_METRICS = {"map50": "mAP50", "f1": "mean F1 of an image"}


def frontier_picture(result: dict[str, Any]) -> bytes:
    """PNG: one row for each split, mAP50 and mean F1 over the share of cloud-only's bytes."""
    figure = Figure(figsize=(9.6, 7.2), dpi=150, layout="constrained")
    panels = figure.subplots(len(SPLITS), len(_METRICS), squeeze=False)
    for split, row in zip(SPLITS, panels, strict=True):
        for metric, axes in zip(_METRICS, row, strict=True):
            _draw(axes, result[split], metric)
            axes.set_title(f"HIT-UAV {split}", fontsize=9, loc="left")
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(axes: Axes, split: dict[str, Any], metric: str) -> None:
    edge, cloud = split["edge_only"][metric], split["cloud_only"][metric]
    colours = dict(zip([name for name in _NAMES if name not in (OURS, "oracle", "random")], PALETTE[2:], strict=False))
    for name, label in _NAMES.items():
        points = split["policies"][name]
        shares = [100 * point["bytes"] / split["cloud_only"]["bytes"] for point in points]
        colour = {OURS: ORANGE, "oracle": BLUE, "random": GREY}.get(name) or colours[name]
        width, style = (2.2, "-") if name == OURS else (1.1, "--" if name in ("oracle", "random") else "-")
        axes.plot([0, *shares], [edge, *(p[metric] for p in points)], style, color=colour, linewidth=width, label=label)
    axes.axhline(cloud, color="black", linewidth=0.8, linestyle=":", label="cloud only, all bytes")
    axes.set_xlabel("bytes, % of cloud-only's", fontsize=9)
    axes.set_ylabel(_METRICS[metric], fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)


def frontier_tables(result: dict[str, Any]) -> Iterator[Table]:
    """One table for each split: mAP50 and F1 of every way at every budget, then G and the gap recovered."""
    for split in SPLITS:
        found = result[split]
        cloud, edge = found["cloud_only"], found["edge_only"]
        table = Table(
            title=f"HIT-UAV {split}, {found['images']} images: mAP50 / F1; cloud-only ({result['cloud_only_sends']}) "
            f"{cloud['map50']:.3f} / {cloud['f1']:.3f} for {cloud['bytes'] / 1e6:.2f} MB, "
            f"edge-only {edge['map50']:.3f} / {edge['f1']:.3f}"
        )
        table.add_column("sent first")
        for budget in BUDGETS:
            table.add_column(f"{budget:.0%}", justify="right")
        for name, label in _NAMES.items():
            table.add_row(label, *(f"{p['map50']:.3f} / {p['f1']:.3f}" for p in found["policies"][name]))
        table.add_section()
        table.add_row("gap recovered", *(_with_spread(found, "gap_recovered", "gap_interval", b) for b in BUDGETS))
        table.add_row("mAP50 / cloud-only's", *(f"{found['map50_share_of_cloud'][str(b)]:.1%}" for b in BUDGETS))
        table.add_row("G", *(_with_spread(found, "g", "g_interval", b) for b in G_BUDGETS))
        yield table
    yield _prompts_table(result["with_prompts"])


def _prompts_table(found: dict[str, Any]) -> Table:
    table = Table(title=f"Val in capture order, prompts at work; edge-only F1 {found['edge_only']['f1']:.3f}")
    for name in (
        "sent first",
        "budget",
        "kB",
        "of it prompts",
        "cases",
        "F1",
        "set right",
        "set wrong",
        "right per kB",
    ):
        table.add_column(name, justify="left" if name == "sent first" else "right")
    for name, points in found["policies"].items():
        for p in points:
            sizes = (f"{p[key] / 1000:.0f}" for key in ("bytes", "prompt_bytes"))
            counts = (str(p[key]) for key in ("set_right", "set_wrong"))
            numbers = (str(p["cases"]), f"{p['f1']:.3f}", *counts, f"{p['right_per_kb']:.3f}")
            table.add_row(name.replace("_", " "), f"{p['budget']:.0%}", *sizes, *numbers)
    return table


def _with_spread(found: dict[str, Any], value: str, spread: str, budget: float) -> str:
    number = found[value][str(budget)]
    if number is None:
        return "undefined: the gap's interval holds 0"
    low, high = found[spread][str(budget)]
    return f"{number:.2f} ({low:.2f} to {high:.2f})"
