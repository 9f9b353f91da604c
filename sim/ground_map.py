"""Where a craft was, what it looked at, and where on the ground lies what it tracked.

Pixels are projected along the told pose onto flat ground at the height of the world's origin: good to a few metres for
a drone, worse where the pose is noisy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.ground import on_flat_ground
from protocols.values import Detection
from sim.arrays import FloatArray
from sim.craft.camera import Camera, CameraPose
from sim.flat_map import to_metres
from sim.record import FlightRecord, FlownFrame

_GAP_S = 2.0
"""A track of the same number that comes back later than that is drawn as another one: programs start anew."""

_LEAST_POINTS = 3
_WINDING = 4.0
"""A track so many times longer than the way from its beginning to its end goes nowhere."""


@dataclass(frozen=True)
class GroundTrack:
    """One track on the ground.

    Attributes:
        label: of its detections.
        is_prompted: whether a prompt began it.
        points_m: (N, 2) east and north in metres.
    """

    label: str
    is_prompted: bool
    points_m: FloatArray

    @property
    def middle_m(self) -> FloatArray:
        """(2,) the median of its points."""
        return np.asarray(np.median(self.points_m, axis=0), np.float64)

    @property
    def is_scatter(self) -> bool:
        """Whether its points jump about one place, as those of a standing thing do where the told pose is noisy."""
        third = max(len(self.points_m) // 3, 1)
        moved = np.median(self.points_m[-third:], axis=0) - np.median(self.points_m[:third], axis=0)
        length_m = np.linalg.norm(np.diff(self.points_m, axis=0), axis=1).sum()
        return bool(length_m > _WINDING * np.linalg.norm(moved))


@dataclass(frozen=True)
class GroundMap:
    """A flight seen from above; all points are (N, 2) east and north of the world's origin in metres.

    Attributes:
        path_m: of the craft.
        centres_m: where the middle of each frame lay.
        cases_m: middles of the regions that were sent.
        first_m: where the first prompted detection of each label lay.
        tracks: reported tracks of at least three frames.
    """

    path_m: FloatArray
    centres_m: FloatArray
    cases_m: FloatArray
    first_m: Mapping[str, FloatArray]
    tracks: Sequence[GroundTrack]

    @property
    def is_empty(self) -> bool:
        """Whether no pose was known."""
        return not len(self.path_m)


def pose_of(told: Mapping[str, float | None] | None) -> CameraPose | None:
    """A pose of `frames.jsonl` on the flat map about the world's origin; None where a part is unknown."""
    names = ("lat_deg", "lon_deg", "altitude_m", "yaw_deg", "pitch_deg", "roll_deg")
    values = [(told or {}).get(name) for name in names]
    known = [float(value) for value in values if value is not None]
    if len(known) < len(names) or known[2] <= 0:
        return None
    lat_deg, lon_deg, up_m, yaw_deg, pitch_deg, roll_deg = known
    return CameraPose(*to_metres(lat_deg, lon_deg), up_m, yaw_deg, pitch_deg, roll_deg)


def on_ground(camera: Camera, pose: CameraPose, pixel: tuple[float, float]) -> tuple[float, float] | None:
    """East and north of the ground under a pixel; None at the horizon and above it."""
    offset_px = (pixel[0] - camera.width / 2, pixel[1] - camera.height / 2)
    moved = on_flat_ground(pose.rotation, camera.focal_px, pose.up_m, offset_px)
    return None if moved is None else (pose.east_m + moved[0], pose.north_m + moved[1])


def ground_map(record: FlightRecord, camera: Camera, poses: Mapping[int, CameraPose]) -> GroundMap:
    """The map of a flight.

    Args:
        record: of the flight.
        camera: of the craft.
        poses: told pose of each frame by its index, where known.
    """
    known = [(frame, poses[frame.index]) for frame in record.frames if frame.index in poses]
    middle, whole = (camera.width / 2, camera.height / 2), (0.0, 0.0, float(camera.width), float(camera.height))
    centres = [on_ground(camera, pose, middle) for _, pose in known]
    cases = [
        on_ground(camera, pose, _middle(region))
        for frame, pose in known
        if frame.is_sent
        for region in frame.regions_xyxy or [whole]
    ]
    tracks, first = _tracks(known, camera)
    path = [(pose.east_m, pose.north_m) for _, pose in known]
    return GroundMap(_points(path), _points(centres), _points(cases), first, tracks)


def _tracks(
    known: Sequence[tuple[FlownFrame, CameraPose]], camera: Camera
) -> tuple[list[GroundTrack], dict[str, FloatArray]]:
    """Tracks with enough points, and where each label was first found by a prompt."""
    open_tracks: dict[tuple[int, str], _OpenTrack] = {}
    done: list[_OpenTrack] = []
    first: dict[str, FloatArray] = {}
    for frame, pose in known:
        for detection in frame.detections:
            place = on_ground(camera, pose, _middle(detection.box_xyxy))
            if place is None:
                continue
            if _is_prompted(detection):
                first.setdefault(detection.label, _points([place]))
            if detection.track_id is not None:
                key = (detection.track_id, detection.label)
                if key not in open_tracks or frame.time_s - open_tracks[key].last_s > _GAP_S:
                    open_tracks[key] = _OpenTrack(detection.label, [])
                    done.append(open_tracks[key])
                open_tracks[key].add(frame.time_s, place, _is_prompted(detection))
    long_enough = [track for track in done if len(track.places) >= _LEAST_POINTS]
    return [GroundTrack(t.label, t.is_prompted, _points(t.places)) for t in long_enough], first


@dataclass
class _OpenTrack:
    label: str
    places: list[tuple[float, float]]
    last_s: float = 0.0
    is_prompted: bool = False

    def add(self, at_s: float, place: tuple[float, float], is_prompted: bool) -> None:
        self.places.append(place)
        self.last_s = at_s
        self.is_prompted = self.is_prompted or is_prompted


def _is_prompted(detection: Detection) -> bool:
    return detection.provenance.startswith("prompt:")


def _middle(box_xyxy: Sequence[float]) -> tuple[float, float]:
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def _points(places: Sequence[tuple[float, float] | None]) -> FloatArray:
    return np.array([place for place in places if place is not None], float).reshape(-1, 2)
