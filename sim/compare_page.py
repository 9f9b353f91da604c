"""The page of two runs compared: the measures as a table, and the curves of both laid over each other."""

from __future__ import annotations

from pathlib import Path

from sim.compare import Comparison, CraftMeasures, Curve
from sim.errors import OutputError
from sim.pages import page_of
from sim.plotting import BLUE, ORANGE, legend_above, png_picture, time_axes
from sim.report import Picture

MAX_LABELS = 6
_SIZE_IN = (5.6, 2.7)


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write the page, one self-contained file.

    Raises:
        OutputError: it cannot be written.
    """
    pictures = {name: curve_pictures(name, *pair) for name, pair in comparison.pairs.items()}
    page = page_of("compare.html", comparison=comparison, pictures=pictures, shown=shown, change=change)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as exc:
        raise OutputError(f"{path}: cannot be written ({exc.strerror}); choose another --out") from exc


def shown(value: float | None) -> str:
    """A measure in words: whole numbers whole, small ones with digits."""
    if value is None:
        return "-"
    if value == int(value) and abs(value) >= 1:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def change(value: float | None) -> str:
    """A difference in words, with its sign."""
    if value is None:
        return "-"
    return "0" if round(value, 2) == 0 else ("+" if value > 0 else "-") + shown(abs(value))


def curve_pictures(name: str, a: CraftMeasures, b: CraftMeasures) -> list[Picture]:
    """Curves of one craft that at least one run has: recall for each common label, bytes, loop latency, power."""
    labels = [label for label in a.recall if label in b.recall][:MAX_LABELS]
    found = [_overlaid(f"{name}: recall of {label}", a.recall[label], b.recall[label]) for label in labels]
    found.append(_overlaid(f"{name}: kB from edge to cloud", a.sent_kb, b.sent_kb, form="step"))
    found.append(_overlaid(f"{name}: loop latency (ms)", a.loops_ms, b.loops_ms, form="points"))
    found.append(_overlaid(f"{name}: power (W), an estimate", a.power_w, b.power_w))
    return [picture for picture in found if picture is not None]


def _overlaid(title: str, a: Curve, b: Curve, form: str = "line") -> Picture | None:
    """Both curves in one diagram; None where both are empty."""
    if not a and not b:
        return None
    figure, axes = time_axes(title.split(": ", 1)[1], _SIZE_IN)
    for run, points, colour, dashes in (("A", a, BLUE, "-"), ("B", b, ORANGE, "--")):
        if points:
            times, values = zip(*points, strict=True)
            marker = ("o" if run == "A" else "x") if form == "points" else ""
            line = "none" if marker else dashes
            style = "steps-post" if form == "step" else "default"
            axes.plot(times, values, color=colour, linestyle=line, drawstyle=style, marker=marker, label=run)
    axes.set_ylim(bottom=0, top=1.04 if "recall" in title else None)
    axes.set_xlim(left=0)
    legend_above(axes)
    return png_picture(figure, "curve.png", title)
