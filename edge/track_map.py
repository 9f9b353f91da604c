"""`tracks.geojson`: where targets were on the ground, for QGIS and other maps (GeoJSON, RFC 7946)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.followed_target import Target, TargetState
from edge.geojson import DEGREE_DIGITS, FeatureFile, feature, time_text
from edge.ground import ground_place
from protocols.values import FrameHeader

NAME = "tracks.geojson"

LEAST_APART_S = 1.0
"""Between two points of a target that keeps its state: a map needs no more, and a long flight stays readable."""


class TrackMap:
    """One point for each target a second, and at each change of its state; none while it is lost.

    The file exists once there is a point in it, so not for flights without poses.
    """

    def __init__(self, folder: Path, ground_m: float = 0.0) -> None:
        """Remove an earlier run's file.

        Args:
            folder: where it goes.
            ground_m: height of the ground above the WGS 84 ellipsoid, see `edge.ground`.

        Raises:
            OSError: it cannot be removed.
        """
        self._file, self._ground_m = FeatureFile(folder / NAME), ground_m
        self._told: dict[int, tuple[TargetState, float]] = {}

    def write(self, header: FrameHeader, targets: Sequence[Target]) -> None:
        """Add the points that are due.

        Raises:
            OSError: the disk is full or gone.
        """
        if header.pose is None:
            return
        at_s = header.captured_at_s
        told = {target.target_id: self._told.get(target.target_id) for target in targets}
        for target in targets:
            state, told_s = told[target.target_id] or (None, at_s)
            if state == target.state and (state == "lost" or abs(at_s - told_s) < LEAST_APART_S):
                continue
            x1, y1, x2, y2 = target.box_xyxy.tolist()
            middle = ((x1 + x2) / 2, (y1 + y2) / 2)
            place = ground_place(header.pose, (header.width, header.height), middle, self._ground_m)
            if place is not None:
                self._file.add([point_feature(header, target, place)])
                told[target.target_id] = (target.state, at_s)
        self._told = {target_id: word for target_id, word in told.items() if word is not None}

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def point_feature(header: FrameHeader, target: Target, place: tuple[float, float]) -> bytes:
    """One feature.

    Args:
        header: of the frame.
        target: as it was in it.
        place: longitude and latitude, WGS 84 degrees.
    """
    geometry = {"type": "Point", "coordinates": [round(degrees, DEGREE_DIGITS) for degrees in place]}
    properties = {
        "target_id": target.target_id,
        "label": target.label,
        "state": target.state,
        "presence": round(target.presence, 4),
        "frame": header.index,
        "source": header.source_id,
        "time": time_text(header.captured_at_s),
    }
    return feature(f"{target.target_id}-{header.index}", geometry, properties)
