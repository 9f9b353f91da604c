"""One picture of a mission: battery, spool and windows of every craft over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sim.mission.craft import MissionCraft
from sim.mission.passes import Pass
from sim.mission.run import MissionResult

_BLUE, _ORANGE, _GREY, _GREEN = "#1f5fa8", "#d9620c", "#6b7480", "#2f8f4e"
_MAX_ROWS = 24


def draw_mission(result: MissionResult, path: Path) -> None:
    """Write a PNG with one row a craft: battery on the left, spool on the right, windows as bars below each.

    Of more than 24 craft the first 24 are shown, which the title says.

    Raises:
        OSError: the file cannot be written.
    """
    shown = list(result.craft)[:_MAX_ROWS]
    figure = Figure(figsize=(13, 1.0 + 1.15 * len(shown)), dpi=110, layout="constrained")
    grid = figure.subplots(len(shown), 2, sharex=True, squeeze=False)
    for row, craft in enumerate(shown):
        passes = result.timetable.passes.get(craft.name, [])
        _draw_battery(grid[row][0], craft, passes)
        _draw_spool(grid[row][1], craft, passes)
    for axes, title in zip(
        grid[0], ("battery, % of capacity", "spool, MB of imagery (dotted: its limit)"), strict=True
    ):
        axes.set_title(title, fontsize=10, loc="left")
    for axes in grid[-1]:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 3, 6, 10]))
        axes.set_xlim(0, result.duration_s / 3600.0)
        axes.set_xlabel(f"hours since {result.settings.start:%Y-%m-%d %H:%M} UTC", fontsize=9)
    figure.suptitle(_title(result, len(shown)), fontsize=11)
    figure.savefig(path, format="png")


def _title(result: MissionResult, shown: int) -> str:
    cut = f", the first {shown} of {len(result.craft)} craft" if shown < len(result.craft) else ""
    return f"{result.settings.name}, seed {result.seed}{cut}; green bars: the craft has a link"


def _draw_battery(axes: Axes, craft: MissionCraft, passes: Sequence[Pass]) -> None:
    hours = [sample.time_s / 3600 for sample in craft.samples]
    axes.plot(hours, [100 * sample.battery_share for sample in craft.samples], color=_BLUE, linewidth=1.1)
    axes.axhline(100 * craft.profile.rest.below_share, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel(craft.name, fontsize=9, rotation=0, ha="right", va="center")
    _style(axes, 100.0, passes)


def _draw_spool(axes: Axes, craft: MissionCraft, passes: Sequence[Pass]) -> None:
    hours = [sample.time_s / 3600 for sample in craft.samples]
    limit_mb = craft.profile.spool.max_bytes / 1e6
    top_mb = min(limit_mb, max(craft.spool.peak_bytes / 1e6, 0.1) * 1.15)
    kept = [sample.spool_bytes / 1e6 for sample in craft.samples]
    axes.fill_between(hours, kept, step="post", color=_ORANGE, alpha=0.35, linewidth=0)
    axes.step(hours, kept, where="post", color=_ORANGE, linewidth=0.9)
    if limit_mb <= top_mb * 1.01:
        axes.axhline(limit_mb, color=_GREY, linewidth=0.8, linestyle=":")
    axes.locator_params(axis="y", nbins=3)
    _style(axes, top_mb, passes)


def _style(axes: Axes, top: float, passes: Sequence[Pass]) -> None:
    """Common looks, and the windows as bars below zero."""
    spans = [(found.start_s / 3600, (found.end_s - found.start_s) / 3600) for found in passes]
    axes.broken_barh(spans, (-0.22 * top, 0.16 * top), facecolors=_GREEN, edgecolors=_GREEN, linewidth=0.6)
    axes.set_ylim(-0.26 * top, 1.06 * top)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)
