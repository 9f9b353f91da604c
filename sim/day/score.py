"""What the satellite found, judged on the map: its `detections.geojson` against the truth in the same CRS."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protocols.arrays import Boxes
from protocols.boxes import box_inside, box_iou
from sim.arrays import FloatArray
from sim.errors import RecordError
from sim.score import IGNORED_SHARE, MATCH_IOU
from sim.world.layout import Label

UNFAMILIAR = Label.NOVEL.value


@dataclass(frozen=True)
class MapFeatures:
    """A FeatureCollection of boxes.

    Attributes:
        crs: as the file names it.
        boxes: (N, 4) float64 west, south, east, north in the CRS's units.
        properties: N.
    """

    crs: str
    boxes: FloatArray
    properties: tuple[dict[str, Any], ...]

    def chosen(self, rows: Sequence[int]) -> MapFeatures:
        """Some of them."""
        return MapFeatures(self.crs, self.boxes[list(rows)], tuple(self.properties[row] for row in rows))

    def of_label(self, label: str, *, by_prompt: bool = False) -> MapFeatures:
        """Those of a label; on request only what a prompt found."""
        return self.chosen([
            row
            for row, item in enumerate(self.properties)
            if item["label"] == label and (not by_prompt or item["provenance"].startswith("prompt:"))
        ])  # fmt: skip


def read_map(path: Path) -> MapFeatures:
    """Boxes of a GeoJSON file.

    Raises:
        RecordError: it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text())
        rings = [np.asarray(f["geometry"]["coordinates"][0], np.float64) for f in content["features"]]
        crs, properties = content["crs"]["properties"]["name"], tuple(f["properties"] for f in content["features"])
    except OSError as exc:
        raise RecordError(f"{path}: cannot be read ({exc.strerror}); see the edge's log") from exc
    except (ValueError, KeyError, TypeError, IndexError) as exc:
        raise RecordError(f"{path}: not the GeoJSON of an edge ({exc}); fly again") from exc
    boxes = np.array([[*ring.min(axis=0), *ring.max(axis=0)] for ring in rings], np.float64).reshape(-1, 4)
    return MapFeatures(str(crs), boxes, properties)


@dataclass(frozen=True)
class DayScore:
    """How the unfamiliar kind fared at the second overpass, by prompts alone.

    Attributes:
        truths: things that can be seen, by whether they stood there at the first overpass.
        recalled: of them, those found, likewise.
        false_alarms: prompted detections that show none of them.
        offsets_px: distance on the map of each found thing's middle from the truth's, in pixels of the scene.
        matches: for each truth box of the kind, the row of the detection that found it, or -1; ignored truth is left
            out.
        crs: of the detections.
        crs_of_truth: of the scenes.
    """

    truths: dict[str, int]
    recalled: dict[str, int]
    false_alarms: int
    offsets_px: tuple[float, ...]
    matches: tuple[int, ...]
    crs: str
    crs_of_truth: str

    @property
    def recall(self) -> float | None:
        """Over both; None where there was nothing."""
        count = sum(self.truths.values())
        return sum(self.recalled.values()) / count if count else None

    @property
    def offset_px(self) -> float | None:
        """Median; None where nothing was found."""
        return float(np.median(self.offsets_px)) if self.offsets_px else None


def score_day(found: MapFeatures, truth: MapFeatures, before: MapFeatures, gsd_m: float) -> DayScore:
    """Judge the second overpass.

    A thing is found by a box at IoU of at least 0.5, the surest box first; each box finds one at most.

    Args:
        found: the edge's detections.
        truth: of the second overpass.
        before: truth of the first one.
        gsd_m: metres of a pixel.
    """
    prompted = found.of_label(UNFAMILIAR, by_prompt=True)
    there = truth.of_label(UNFAMILIAR)
    counted = there.chosen([row for row, item in enumerate(there.properties) if not item["ignore"]])
    ignored = there.chosen([row for row, item in enumerate(there.properties) if item["ignore"]])
    matches = _matched(prompted, counted)
    old = {_identity(item) for item in before.properties}
    ages = ["stood there" if _identity(item) in old else "new" for item in counted.properties]
    truths = {age: ages.count(age) for age in ("stood there", "new")}
    recalled = {age: sum(a == age and m >= 0 for a, m in zip(ages, matches, strict=True)) for age in truths}
    hits = {match for match in matches if match >= 0}
    strays = prompted.chosen([row for row in range(len(prompted.boxes)) if row not in hits])
    is_excused = box_inside(_local(strays.boxes, there), _local(ignored.boxes, there)).max(axis=1, initial=0.0)
    false_alarms = int(np.count_nonzero(is_excused < IGNORED_SHARE))
    offsets_px = _offsets(prompted, counted, matches, gsd_m)
    return DayScore(truths, recalled, false_alarms, offsets_px, tuple(matches), found.crs, truth.crs)


def _identity(item: dict[str, Any]) -> tuple[str, int]:
    return item["scene"], item["object_id"]


def _matched(found: MapFeatures, truth: MapFeatures) -> list[int]:
    iou = box_iou(_local(truth.boxes, truth), _local(found.boxes, truth))
    matches = [-1] * len(truth.boxes)
    for row in sorted(range(len(found.boxes)), key=lambda row: -float(found.properties[row]["score"])):
        free = [column for column, match in enumerate(matches) if match < 0]
        best = max(free, key=lambda column: iou[column, row], default=None)
        if best is not None and iou[best, row] >= MATCH_IOU:
            matches[best] = row
    return matches


def _local(boxes: FloatArray, around: MapFeatures) -> Boxes:
    """Boxes about a corner of their scene: float32 cannot tell centimetres apart in UTM's millions of metres."""
    corner = around.boxes[:, :2].min(axis=0) if len(around.boxes) else np.zeros(2)
    return np.asarray(boxes - np.tile(corner, 2), dtype=np.float32)


def _offsets(found: MapFeatures, truth: MapFeatures, matches: Sequence[int], gsd_m: float) -> tuple[float, ...]:
    pairs = [(row, match) for row, match in enumerate(matches) if match >= 0]
    middles = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (truth.boxes, found.boxes)]
    return tuple(float(np.linalg.norm(middles[0][row] - middles[1][match])) / gsd_m for row, match in pairs)
