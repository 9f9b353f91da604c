"""The pictures of a day's report: both passes, the second overpass on its map, and scenes before and after."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge.raster import RasterImage, open_raster
from protocols.arrays import ImageArray
from sim.day.flight import CASE, PROMPT, DayRecord, PassRecord
from sim.day.scenes import TRUTH, scene_name
from sim.day.score import UNFAMILIAR, DayScore, MapFeatures, read_map
from sim.day.settings import SatelliteDay
from sim.plotting import BLUE, GREEN, GREY, ORANGE, RED, png_picture
from sim.record import read_frames
from sim.report import Picture

_OVERVIEW_PX = 1400
_STILL_PX, _STILL_QUALITY = 640, 88
_TRUTH_BGR, _PROMPT_BGR = (255, 255, 255), (40, 120, 255)


def pass_figure(record: DayRecord) -> Picture:
    """Both passes: what the link could carry, what it carried, and when cases and prompts arrived."""
    figure = Figure(figsize=(9.6, 3.8), dpi=150)
    room = {"left": 0.07, "right": 0.98, "top": 0.92, "bottom": 0.2, "wspace": 0.12, "hspace": 0.15}
    grid = figure.subplots(2, 2, sharex="col", squeeze=False, height_ratios=(1, 1.6), gridspec_kw=room)
    for column, done in enumerate(record.passes):
        _draw_rate(grid[0][column], done, column + 1)
        _draw_bytes(grid[1][column], done)
    grid[0][0].set_ylabel("Mbit/s", fontsize=9)
    grid[1][0].set_ylabel("kB carried", fontsize=9)
    named = grid[1][0].get_legend_handles_labels()
    figure.legend(*named, loc="lower left", bbox_to_anchor=(0.05, 0.0), ncols=4, frameon=False, fontsize=8)
    caption = (
        "Above: the rate to the cloud that the satellite's height above the station allows. Below: bytes carried, "
        "encryption included; dots are cases that the cloud came to keep, diamonds prompts that "
        "came into force on board."
    )
    return png_picture(figure, "passes.png", caption)


def _draw_rate(axes: Axes, done: PassRecord, number: int) -> None:
    spans = done.plan.spans()
    edges = [start for start, _, _ in spans] + [done.plan.duration_s]
    axes.stairs([stretch.profile.edge_to_cloud_bps / 1e6 for _, _, stretch in spans], edges, color=GREY)
    axes.set_ylim(bottom=0)
    title = f"pass {number}: {done.plan.station}, up to {done.plan.max_elevation_deg:.0f}° high"
    axes.set_title(title, fontsize=9, loc="left")
    _plain(axes)


def _draw_bytes(axes: Axes, done: PassRecord) -> None:
    at_s = [sample[0] for sample in done.samples]
    for place, (colour, words) in enumerate([(BLUE, "to the cloud"), (GREEN, "to the edge")], 1):
        axes.plot(at_s, [sample[place] / 1000 for sample in done.samples], color=colour, label=words)
    for what, words, marker, colour in ((CASE, CASE, "o", BLUE), (PROMPT, "prompts on board", "D", ORANGE)):
        times_s = [time_s for time_s, word in done.news if word.startswith(what)]
        axes.plot(times_s, [0.0] * len(times_s), marker, color=colour, clip_on=False, zorder=3, label=words)
    axes.set_xlim(0, done.plan.duration_s)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds of the pass", fontsize=9)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)


def map_figure(flight: Path, edge: Path, day: SatelliteDay, score: DayScore) -> Picture:
    """The scenes of the second overpass on their map, with what was found and what was not."""
    found = read_map(edge / "detections.geojson").of_label(UNFAMILIAR, by_prompt=True)
    truth = _counted(read_map(flight / "overpass-2" / TRUTH))
    width_in, map_in, above_in, below_in = 9.6, 8.6, 0.35, 0.5
    height_in = map_in / day.scene.count + above_in + below_in
    figure = Figure(figsize=(width_in, height_in), dpi=150)
    height = map_in / day.scene.count / height_in
    axes = figure.add_axes((0.09, below_in / height_in, map_in / width_in, height))
    for number in range(day.scene.count):
        raster = open_raster(flight / "overpass-2" / scene_name(number))
        axes.imshow(raster.overview(_OVERVIEW_PX // day.scene.count)[..., ::-1], extent=_extent(raster))
    is_found = np.array(score.matches, np.int64) >= 0
    hits = {match for match in score.matches if match >= 0}
    strays = [row for row in range(len(found.boxes)) if row not in hits]
    marks = [("found", "o", ORANGE, truth.boxes[is_found]), ("not found", "x", RED, truth.boxes[~is_found])]
    for words, marker, colour, boxes in [*marks, ("found, and not there", "s", "#ffd21f", found.boxes[strays])]:
        x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
        axes.plot(x, y, marker, color=colour, markersize=5, fillstyle="none", linewidth=0, label=f"{words}: {len(x)}")
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.tick_params(labelsize=7)
    axes.set_xlabel(f"easting, m ({score.crs.rsplit(':', 1)[-1]})", fontsize=8)
    axes.set_ylabel("northing, m", fontsize=8)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0, ncols=3)
    caption = (
        f"{UNFAMILIAR} at the second overpass, as detections.geojson and truth.geojson have it, in the scene's CRS."
    )
    return png_picture(figure, "map.png", caption)


def _extent(raster: RasterImage) -> tuple[float, float, float, float]:
    a, _, c, _, e, f = raster.georeference.transform
    return c, c + a * raster.shape[1], f + e * raster.shape[0], f


def _counted(truth: MapFeatures) -> MapFeatures:
    kind = truth.of_label(UNFAMILIAR)
    return kind.chosen([row for row, item in enumerate(kind.properties) if not item["ignore"]])


def still_pictures(flight: Path, edge: Path, record: DayRecord) -> list[Picture]:
    """What was asked about at the first overpass, and where most was found at the second."""
    asked = [frame for frame in read_frames(edge / "detections.1.jsonl") if frame.case_id in record.spooled]
    pictures = []
    for number, frame in enumerate(asked[:2], 1):
        words = "No prompt came of it."
        answers = [given for given in record.given if given.case_id == frame.case_id]
        if answers:
            words = f"The person boxed {answers[0].boxes} {answers[0].label} in it."
        scene = scene_name(frame.index)
        region = frame.regions_xyxy[0]  # the strangest
        content = _still(flight / "overpass-1", scene, region, read_map(flight / "overpass-1" / TRUTH), None)
        caption = f"Asked about at the first overpass, in {scene}. {words} White: truth of {UNFAMILIAR}."
        pictures.append(Picture(f"asked-{number}.jpg", caption, content))
    found = read_map(edge / "detections.geojson").of_label(UNFAMILIAR, by_prompt=True)
    if len(found.boxes):
        scene, window = _densest(found)
        content = _still(flight / "overpass-2", scene, window, read_map(flight / "overpass-2" / TRUTH), found)
        caption = f"Found at the second overpass by the prompt, in {scene}. White: truth of {UNFAMILIAR}."
        pictures.append(Picture("found.jpg", caption, content))
    return pictures


def _densest(found: MapFeatures) -> tuple[str, tuple[float, float, float, float]]:
    """The scene and the window in it, in pixels, with most detections."""
    best: tuple[int, str, tuple[float, float]] = (0, "", (0.0, 0.0))
    for scene in sorted({item["scene"] for item in found.properties}):
        boxes = np.array([item["box_xyxy"] for item in found.properties if item["scene"] == scene], np.float64)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        near = (np.abs(middles[:, None] - middles[None]).max(axis=2) < 0.45 * _STILL_PX).sum(axis=1)
        row = int(near.argmax())
        if near[row] > best[0]:
            best = (int(near[row]), scene, (float(middles[row, 0]), float(middles[row, 1])))
    x, y = best[2]
    half = _STILL_PX / 2
    return best[1], (x - half, y - half, x + half, y + half)


def _still(
    folder: Path, scene: str, window: tuple[float, float, float, float], truth: MapFeatures, found: MapFeatures | None
) -> bytes:
    """A window of a scene with truth and, where given, detections drawn."""
    raster = open_raster(folder / scene)
    height, width = raster.shape[:2]
    left, top = max(int(window[0]), 0), max(int(window[1]), 0)
    right, bottom = min(int(window[2]), width), min(int(window[3]), height)
    canvas: ImageArray = np.ascontiguousarray(raster[top:bottom, left:right])
    for features, colour, grow in ((truth.of_label(UNFAMILIAR), _TRUTH_BGR, 3), (found, _PROMPT_BGR, 0)):
        for box in _in_pixels(features, raster, scene):
            x1, y1, x2, y2 = (round(float(v)) for v in box - np.array([left, top, left, top]))
            cv2.rectangle(canvas, (x1 - grow, y1 - grow), (x2 + grow, y2 + grow), colour, 1 + (grow == 0))
    return cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, _STILL_QUALITY])[1].tobytes()


def _in_pixels(features: MapFeatures | None, raster: RasterImage, scene: str) -> NDArray[np.float64]:
    """(N, 4) boxes of a scene, from the map back to its pixels."""
    if features is None:
        return np.zeros((0, 4))
    a, _, c, _, e, f = raster.georeference.transform
    rows = [row for row, item in enumerate(features.properties) if item["scene"] == scene]
    west, south, east, north = features.boxes[rows].T
    return np.stack([(west - c) / a, (north - f) / e, (east - c) / a, (south - f) / e], axis=1)
