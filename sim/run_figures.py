"""The diagrams of a run's report, one craft at a time; each is None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.craft.power import PowerSettings
from sim.figures import stills
from sim.flight_curves import LOOP_CAPTION, draw_bytes, draw_loops, draw_recall
from sim.ground_map import GroundMap, GroundTrack, ground_map
from sim.plotting import BLUE, GREEN, GREY, ORANGE, RED, legend_above, png_picture, time_axes
from sim.report import Picture
from sim.run_story import LANES, CraftStory, Happening
from sim.score import tally_flight

MAX_CURVES = 8
MAX_STILL_LABELS = 4
MAX_TRACKS = 120
_FAR = 8.0
"""A path so many times longer than the ground it looks at (a satellite's) is told in words and not drawn."""

_LANE_COLOURS = {"world": "#8a4fa3", "faults": RED, "link": GREEN, "cases": BLUE, "answers": GREY, "prompts": ORANGE}


def recall_figure(story: CraftStory, colours: Mapping[str, str]) -> Picture | None:
    """Recall over time of every label that the craft reported or had a prompt for.

    Args:
        story: of the craft.
        colours: of the labels.
    """
    shown = story.recalls[:MAX_CURVES]
    if not shown:
        return None
    figure, axes = _flight_axes(story, "share found")
    for item in shown:
        colour, dashes = colours[item.label], "-" if item.is_prompted else "--"
        draw_recall(axes, item.over_time, item.bin_s, colour, dashes=dashes, label=item.label)
        if item.first_prompt_s is not None:
            axes.axvline(item.first_prompt_s, color=colour, linestyle=":", linewidth=1.2)
    legend_above(axes)
    more = len(story.recalls) - len(shown)
    caption = (
        "Recall over time at IoU ≥ 0.5, a gap where none was in view; solid: labels that a prompt taught, dotted: "
        "their first prompt; dashed: classes of the student. Ignored truth and frames that were sent as cases are left "
        "out." + (f" {more} rarer labels are left out too." if more else "")
    )
    return png_picture(figure, f"{story.name}-recall.png", caption)


def bytes_figure(story: CraftStory) -> Picture | None:
    """Bytes delivered over time against the budget of imagery."""
    traffic, budget = story.record.traffic, story.scenario.budget
    if not traffic or not (traffic[-1].edge_to_cloud or traffic[-1].cloud_to_edge):
        return None
    figure, axes = _flight_axes(story, "kB since the start")
    draw_bytes(axes, story.record)
    clock_s = np.array([item.time_s for item in traffic])
    allowed_kb = (budget.burst_bytes + budget.bytes_per_s * clock_s) / 1000
    axes.plot(story.record.recorded_s(clock_s), allowed_kb, ":", color=GREY, label="budget of imagery")
    axes.set_xlim(0, carried_until_s(story))
    axes.set_ylim(bottom=0)
    legend_above(axes)
    caption = (
        f"Bytes on the wire against the budget of imagery: {budget.burst_bytes / 1000:g} kB at once and "
        f"{budget.bytes_per_s / 1000:g} kB more each second. The budget limits the pictures alone, and the last one "
        "may overdraw it; offers, heartbeats, encryption and what a broken link makes the craft send again come on "
        "top, so that the wire may carry more."
    )
    return png_picture(figure, f"{story.name}-bytes.png", caption)


def loop_figure(story: CraftStory) -> Picture | None:
    """How long each answered case took until its prompt was in force."""
    if not story.record.loops():
        return None
    figure, axes = _flight_axes(story, "ms")
    draw_loops(axes, story.record)
    return png_picture(figure, f"{story.name}-loop.png", LOOP_CAPTION)


def link_figure(story: CraftStory) -> Picture | None:
    """When the link was up, and what it carried; None where it never was, or nothing was counted on it."""
    traffic, until_s = story.record.traffic, carried_until_s(story)
    if len(traffic) < 2 or not story.link_spans():
        return None
    figure, axes = _flight_axes(story, "kbit/s")
    for number, (start, end) in enumerate(story.link_spans(until_s)):
        axes.axvspan(start, end, color=GREEN, alpha=0.13, linewidth=0, label="link up" if number == 0 else None)
    pairs = [(seen, later) for seen, later in pairwise(traffic) if later.time_s > seen.time_s]
    times = story.record.recorded_s([later.time_s for _, later in pairs])
    for name, colour in (("edge_to_cloud", BLUE), ("cloud_to_edge", ORANGE)):
        rates = [(getattr(b, name) - getattr(a, name)) * 8 / 1000 / (b.time_s - a.time_s) for a, b in pairs]
        axes.plot(times, rates, color=colour, linewidth=1.1, label=name.replace("_", " "))
    axes.set_xlim(0, until_s)
    axes.set_ylim(bottom=0)
    legend_above(axes)
    link = story.scenario.link
    caption = (
        f"Link state and what was delivered; the link carries {link.edge_to_cloud_bps / 1000:g} kbit/s up and "
        f"{link.cloud_to_edge_bps / 1000:g} kbit/s down, {link.latency_ms:g} ms one way. {story.link_words()}"
    )
    return png_picture(figure, f"{story.name}-link.png", caption)


def power_figure(story: CraftStory) -> Picture:
    """The estimate of the craft's power over time."""
    power = story.power
    figure, axes = _flight_axes(story, "W, estimated", (10.8, 2.0))
    times, watts = zip(*power.over_time, strict=True)
    axes.step(times, watts, where="mid", color=BLUE, linewidth=1.4)
    axes.axhline(power.mean_w, color=GREY, linestyle=":", linewidth=1)
    axes.set_ylim(bottom=0, top=1.15 * max(watts))
    caption = (
        f"An estimate, not a measurement: frames, inferences and bytes of this flight through the power model with "
        f"{power_words(story.power_settings)}. Mean {power.mean_w:.1f} W (dotted), {power.used_wh * 1000:.0f} mWh in "
        f"all; {100 * power.charge_share:.0f} % of the battery is left, and the module ends at "
        f"{power.temperature_deg_c:.0f}\u00a0°C."
    )
    return png_picture(figure, f"{story.name}-power.png", caption)


def power_words(settings: PowerSettings) -> str:
    """What the estimate was made with: the model's defaults, or what the scenario sets instead of them."""
    changed = settings.model_dump(exclude_defaults=True)
    words = [f"{part}.{key} = {value}" for part, values in changed.items() for key, value in values.items()]
    mode = settings.compute.mode
    return f"its defaults ({mode})" if not words else f"the scenario's {', '.join(words)} and defaults for the rest"


def map_figure(story: CraftStory, colours: Mapping[str, str]) -> Picture | None:
    """The flight from above: path, cases, and reported tracks projected to the ground.

    Args:
        story: of the craft.
        colours: of the labels.
    """
    seen = ground_map(story.record, story.camera, story.poses)
    if seen.is_empty:
        return None
    figure, axes = time_axes("metres north", (10.8, 7.2 if _is_tall(seen) else 5.4))
    axes.set_xlabel("metres east", fontsize=9)
    axes.grid(axis="x", color="#e3e6ea", linewidth=0.8)
    tracks = clearest(seen.tracks)
    _draw_tracks(axes, tracks, colours)
    is_near = _extent_m(seen.path_m) <= _FAR * max(_extent_m(seen.centres_m), 100.0)
    if is_near:
        axes.plot(*seen.path_m.T, color=GREY, linewidth=1.6, label="craft (dot: start)", zorder=3)
        axes.plot(*seen.path_m[0], "o", color=GREY, markersize=6, zorder=4)
    axes.plot(*seen.centres_m.T, ":", color=GREY, linewidth=1.0, label="middle of the image")
    axes.plot(*seen.cases_m.T, "s", markersize=7, markerfacecolor="none", color="#b59a00", label="case", zorder=5)
    for number, (label, place_m) in enumerate(seen.first_m.items()):
        said = "first found by a prompt" if number == 0 else None
        axes.plot(*place_m.T, "*", color=RED, markersize=13, label=said, zorder=6)
        axes.annotate(label, place_m[0], xytext=(7, 5), textcoords="offset points", fontsize=9, color=RED, zorder=6)
    axes.set_aspect("equal", adjustable="datalim")
    legend_above(axes, 8)
    return png_picture(figure, f"{story.name}-map.png", _map_caption(story, seen, len(tracks), is_near))


def _map_caption(story: CraftStory, seen: GroundMap, drawn: int, is_near: bool) -> str:
    left_out = len(seen.tracks) - drawn
    shown = f"{drawn} tracks" if not left_out else f"The {drawn} longest tracks of {len(seen.tracks)}"
    far = "" if is_near else f" The craft itself flew {_extent_m(seen.path_m) / 1000:.0f} km and is not drawn."
    noisy = " The told pose is noisy in this scenario, and so are places and lines." if story.is_pose_noisy else ""
    where = "projected roughly along the told pose onto flat ground, as a dot where a track goes nowhere"
    return f"{shown}, {where}.{noisy}{far}"


def clearest(tracks: Sequence[GroundTrack]) -> list[GroundTrack]:
    """The longest tracks, as many as a map can show; those that a prompt began come before all others."""
    return sorted(tracks, key=lambda track: (not track.is_prompted, -len(track.points_m)))[:MAX_TRACKS]


def timeline_figure(happenings: Sequence[Happening], story: CraftStory) -> Picture:
    """What happened when, a lane for each kind that happened."""
    lanes = [lane for lane in LANES if any(item.lane == lane for item in happenings)]
    figure, axes = time_axes("", (10.8, 0.8 + 0.46 * len(lanes)))
    for item in happenings:
        _draw_happening(axes, item, lanes.index(item.lane))
    axes.set_yticks(range(len(lanes)), lanes, fontsize=9)
    axes.set_ylim(len(lanes) - 0.6, -0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(0, max([story.scenario.seconds, *(item.at_s for item in happenings)]))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    caption = "World events, faults, link, cases, answers of the operator and prompts that came into force."
    return png_picture(figure, f"{story.name}-timeline.png", caption)


def still_pictures(story: CraftStory) -> list[Picture]:
    """Frames before and after the first prompt of each learned label."""
    found = []
    for label in story.learned[:MAX_STILL_LABELS]:
        for picture in stills(story.record, tally_flight(story.record, label), label):
            found.append(replace(picture, name=f"{story.name}-{_slug(label)}-{picture.name}"))
    return found


def _flight_axes(story: CraftStory, ylabel: str, size_in: tuple[float, float] = (5.6, 2.7)) -> tuple[Figure, Axes]:
    figure, axes = time_axes(ylabel, size_in)
    axes.set_xlim(0, story.scenario.seconds)
    return figure, axes


def carried_until_s(story: CraftStory) -> float:
    """End of the flight, or later: a slow edge still sends when the recording is over."""
    traffic = story.record.traffic
    moved_s = [b.time_s for a, b in pairwise(traffic) if b.edge_to_cloud > a.edge_to_cloud]
    return max([story.scenario.seconds, *(float(at_s) for at_s in story.record.recorded_s(moved_s[-1:]))])


def _draw_tracks(axes: Axes, tracks: Sequence[GroundTrack], colours: Mapping[str, str]) -> None:
    named = set()
    for track in tracks:
        name = f"{track.label} (prompted)" if track.is_prompted else track.label
        colour, width = colours.get(track.label, GREY), 1.8 if track.is_prompted else 1.1
        said = None if name in named else name
        if track.is_scatter:
            axes.plot(*track.middle_m, "o", color=colour, markersize=4 * width, alpha=0.75, label=said)
        else:
            axes.plot(*track.points_m.T, color=colour, linewidth=width, alpha=0.75, label=said)
            axes.plot(*track.points_m[-1], ".", color=colour, markersize=4)
        named.add(name)


def _draw_happening(axes: Axes, item: Happening, row: int) -> None:
    colour = _LANE_COLOURS[item.lane]
    if item.end_s is not None:
        axes.barh(row, item.end_s - item.at_s, left=item.at_s, height=0.34, color=colour, alpha=0.45)
    else:
        axes.plot(item.at_s, row, "|", color=colour, markersize=11, markeredgewidth=1.6)
    if item.is_named:
        axes.annotate(item.words, (item.at_s, row), xytext=(0, 8), textcoords="offset points", fontsize=8,
                      va="bottom", color="#1c232b")  # fmt: skip


def _is_tall(seen: GroundMap) -> bool:
    wide_m, tall_m = np.ptp(seen.centres_m, axis=0) if len(seen.centres_m) else (0.0, 0.0)
    return bool(tall_m > wide_m)


def _extent_m(points_m: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(np.ptp(points_m, axis=0).max()) if len(points_m) else 0.0


def _slug(label: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in label.lower())
