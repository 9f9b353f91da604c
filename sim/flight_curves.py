"""The curves that the reports of a demo and of a run share; their axes are recorded seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from sim.plotting import BLUE, GREEN, ORANGE
from sim.record import FlightRecord

LOOP_CAPTION = (
    "Loop latency as the edge measured it: capture of the frame that became a case, until its prompt was in force. One "
    "mark for each case that was answered with a prompt, at the time the case was taken."
)


def broken(points: Sequence[tuple[float, float]], bin_s: float) -> list[tuple[float, float]]:
    """The points with a NaN wherever a bin is missing, so that no line is drawn across what is not known.

    Args:
        points: (middle of the bin in seconds, value), in order.
        bin_s: length of a bin.
    """
    found: list[tuple[float, float]] = []
    for at_s, value in points:
        if found and at_s - found[-1][0] > 1.5 * bin_s:
            found.append((found[-1][0] + bin_s, math.nan))
        found.append((at_s, value))
    return found


def draw_recall(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    bin_s: float,
    colour: str,
    *,
    dashes: str = "-",
    label: str | None = None,
) -> None:
    """Recall over time, from 0 to 1, with gaps where nothing was in view."""
    whole = broken(points, bin_s)
    times, values = [at_s for at_s, _ in whole], [value for _, value in whole]
    axes.plot(times, values, dashes, color=colour, marker="o", markersize=2.5, linewidth=1.5, label=label)
    axes.set_ylim(-0.04, 1.04)


def draw_bytes(axes: Axes, record: FlightRecord) -> None:
    """Bytes delivered since the start in both directions, in kB."""
    times = record.recorded_s([item.time_s for item in record.traffic])
    for name, colour in (("edge_to_cloud", BLUE), ("cloud_to_edge", ORANGE)):
        kilobytes = [getattr(item, name) / 1000 for item in record.traffic]
        axes.step(times, kilobytes, where="post", color=colour, linewidth=1.6, label=name.replace("_", " "))


def draw_loops(axes: Axes, record: FlightRecord) -> None:
    """Each loop in ms, at the time its case was taken."""
    loops = record.loops()
    axes.vlines([at_s for at_s, _ in loops], 0, [ms for _, ms in loops], color=GREEN, linewidth=1.2)
    axes.plot([at_s for at_s, _ in loops], [ms for _, ms in loops], "o", color=GREEN, markersize=4.5)
    axes.set_ylim(bottom=0)
