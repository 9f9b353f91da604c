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


def shown(value: float | None, digits: int) -> str:
    """A measure in words."""
    return "-" if value is None else f"{value:,.{digits}f}"


def change(value: float | None, digits: int) -> str:
    """A difference in words, with its sign."""
    if value is None:
        return "-"
    return "0" if round(value, digits) == 0 else f"{value:+,.{digits}f}"


def curve_pictures(name: str, a: CraftMeasures, b: CraftMeasures) -> list[Picture]:
    """Curves of one craft that at least one run has: recall for each common label, bytes, loop latency, power."""
    labels = [label for label in a.recall if label in b.recall][:MAX_LABELS]
    found = [
        _overlaid(f"{name}: recall of {label}", f"recall of {label}", (a.recall[label], b.recall[label]), top=1.04)
        for label in labels
    ]
    for words, form, pair in (
        ("kB from edge to cloud", "step", (a.sent_kb, b.sent_kb)),
        ("loop latency (ms)", "points", (a.loops_ms, b.loops_ms)),
        ("power (W), an estimate", "line", (a.power_w, b.power_w)),
    ):
        found.append(_overlaid(f"{name}: {words}", words, pair, form))
    return [picture for picture in found if picture is not None]


def _overlaid(
    caption: str, ylabel: str, pair: tuple[Curve, Curve], form: str = "line", top: float | None = None
) -> Picture | None:
    """Both curves in one diagram; None where both are empty.

    Args:
        caption: of the picture.
        ylabel: of its axis.
        pair: of A and B.
        form: `line`, `step` or `points`.
        top: of the axis; None is as high as the curves.
    """
    a, b = pair
    if not a and not b:
        return None
    figure, axes = time_axes(ylabel, _SIZE_IN)
    for run, points, colour, dashes in (("A", a, BLUE, "-"), ("B", b, ORANGE, "--")):
        if points:
            times, values = zip(*points, strict=True)
            marker = ("o" if run == "A" else "x") if form == "points" else "." if form == "line" else ""
            line = "none" if form == "points" else dashes
            style = "steps-post" if form == "step" else "default"
            axes.plot(times, values, color=colour, linestyle=line, drawstyle=style, marker=marker, label=run,
                      markersize=6 if form == "points" else 3)  # fmt: skip
    axes.set_ylim(bottom=0, top=top)
    axes.set_xlim(left=0)
    legend_above(axes)
    return png_picture(figure, "curve.png", caption)
