"""How every diagram of a report looks: colours, axes over the time of a flight, pictures as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.report import Picture

BLUE, ORANGE, GREY, GREEN, RED = "#1f5fa8", "#d9620c", "#6b7480", "#2f8f4e", "#b3261e"
PALETTE = (ORANGE, BLUE, GREEN, "#8a4fa3", "#c2417a", "#0f8b8d", "#a0722a", "#7a8f1a", "#5aa9e6", "#3d3a8c")
"""For labels, in the order of `label_colours`; they come round again where a page has more labels than that."""


def label_colours(labels: Iterable[str]) -> dict[str, str]:
    """One colour for each label, to be used wherever a page shows it; the first ones differ most."""
    return dict(zip(dict.fromkeys(labels), cycle(PALETTE), strict=False))


def time_axes(ylabel: str, size_in: tuple[float, float] = (6.4, 2.6)) -> tuple[Figure, Axes]:
    """A figure with one diagram over seconds of flight, which are recorded seconds."""
    figure = Figure(figsize=size_in, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("seconds of flight", fontsize=9)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)
    return figure, axes


def legend_above(axes: Axes, columns: int = 4) -> None:
    """Name the curves above the diagram, where they hide nothing."""
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=columns,
                columnspacing=1.2, handlelength=1.6)  # fmt: skip


def png_picture(figure: Figure, name: str, caption: str) -> Picture:
    """The figure as a picture of a report."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Picture(name, caption, buffer.getvalue())
